"""install.sh --check on a machine that is made for one look: its programs, files and networks are what a test says."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.bundle import write_checksums

INSTALL = Path(__file__).parents[2] / "install.sh"
FIT: dict[str, str] = {
    "docker": 'case "$*" in *APIVersion*) echo 1.41 ;; *Security*) echo "[name=seccomp]" ;; esac',
    "getent": "true",
    "getconf": "case $1 in _PHYS_PAGES) echo 262144 ;; *) echo 4096 ;; esac",
    "uname": "echo x86_64",
}
"""Programs that tell of a machine of 1 GB that has nothing in the way."""


def check(
    folder: Path,
    programs: Mapping[str, str],
    *options: str,
    files: Mapping[str, str] | None = None,
    prepare: str = ":",
    install: Path = INSTALL,
    on_terminal: bool = False,
) -> tuple[int, str]:
    """Look at this machine, with these programs and files in place of its own; exit code and output.

    Args:
        prepare: shell commands that make the machine what it is.
        install: the script, where it is another.
        on_terminal: whether a person reads it, and not a pipe.

    It runs in mount and network namespaces of its own, so that the files are another's, and no port is taken.
    """
    (folder / "bin").mkdir()
    for name, script in {**FIT, **programs}.items():
        place = folder / "bin" / name
        place.write_text(f"#!/bin/sh\n{script}\n")
        place.chmod(0o755)
    lines = ["set -e", "mount -t tmpfs none /opt"]
    given = {"/etc/os-release": 'ID=debian\nVERSION_ID="12"\n', **(files or {})}
    for number, (covered, text) in enumerate(given.items()):
        (folder / str(number)).write_text(text)
        lines.append(f"mount --bind {folder}/{number} {covered}")
    lines += [prepare, "exec 2>&1"]
    lines.append(f'PATH={folder}/bin:$PATH exec {install} --check "$@"')
    command = ["unshare", "--mount", "--net", "bash", "-c", "\n".join(lines), "check", *options]
    if on_terminal:
        return read_on_terminal(command)
    environment = {"PATH": os.environ["PATH"]}
    finished = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    return finished.returncode, finished.stdout + finished.stderr


def read_on_terminal(command: Sequence[str]) -> tuple[int, str]:
    """Run a command whose output goes to a terminal; exit code and what stands there."""
    reader, terminal = pty.openpty()
    environment = {"PATH": os.environ["PATH"]}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    written = b""
    try:
        while piece := os.read(reader, 65536):
            written += piece
    except OSError:  # EIO: nobody has the terminal open any more
        pass
    os.close(reader)
    return process.wait(240), written.decode().replace("\r\n", "\n")


def make_checkout(folder: Path, version: str) -> Path:
    """Make the files that install.sh looks at, of that version."""
    for name in ("deploy", "scripts", "requirements"):
        shutil.copytree(INSTALL.parent / name, folder / name)
    for name in ("install.sh", "Makefile", "README.md", "LICENSE", "pyproject.toml"):
        shutil.copy(INSTALL.parent / name, folder)
    (folder / "src/ikoma").mkdir(parents=True)
    (folder / "src/ikoma/__init__.py").write_text(f'__version__ = "{version}"\n')
    return folder


def write_sums(folder: Path) -> None:
    """Make a bundle of a checkout, as far as install.sh can tell."""
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    write_checksums(folder)
