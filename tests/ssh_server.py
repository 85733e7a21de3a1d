"""A real ssh server on loopback, for one key, with a host key of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def start_ssh_server(folder: Path, port: int, **options: str) -> subprocess.Popen[bytes]:
    """Start a server that lets in who has the key `folder/id`.

    Args:
        options: more lines of its configuration.
    """
    for name in ("id", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_text((folder / "id.pub").read_text())
    os.makedirs("/run/sshd", exist_ok=True)
    lines = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": folder / "sshd.pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        **options,
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    with (folder / "sshd.log").open("wb") as log:
        argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
        return subprocess.Popen(argv, stdout=log, stderr=log)
