"""Places for copies on this machine: a real S3 server (SeaweedFS) and a real SFTP server (OpenSSH), each made anew."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session

from ikoma.model import Secret
from ikoma.offsite_place import OffsitePlace
from tests.ssh_server import start_ssh_server
from tests.support import free_port

_WEED = Path(sys.executable).parent / "weed"
_SECONDS = 60.0
SECRET = "s3cret-of-the-bucket-0123456789"


@dataclass(frozen=True)
class S3Server:
    """SeaweedFS with two keys: `writer`, and `reader`, which may read and list only. Both have SECRET."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = "writer") -> Any:
        session = botocore.session.Session()
        session.set_credentials(key, SECRET)
        return session.create_client("s3", region_name="us-east-1", endpoint_url=self.endpoint)

    def make_bucket(self, name: str, *, locks: bool = False) -> str:
        self.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=locks)
        return name

    def place(self, bucket: str, recipient: str, **more: Any) -> OffsitePlace:
        values = {
            "endpoint": self.endpoint,
            "key_id": "writer",
            "secret": Secret(SECRET),
            "path": "some/prefix",
            **more,
        }
        return OffsitePlace(kind="s3", host=bucket, recipients=(recipient,), **values)


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server for the block."""
    folder.mkdir(parents=True, exist_ok=True)
    identities = [
        _identity("writer", ["Admin", "Read", "Write", "List", "Tagging"]),
        _identity("reader", ["Read", "List"]),
    ]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": identities}))
    names = ("master", "volume", "filer", "s3")
    ports = {name: free_port() for name in (*names, *(f"{name}.grpc" for name in names))}
    argv = [
        *(str(_WEED), "server", "-s3", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={config}"),
        *(
            "-volume.max=100",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=256",
            "-master.volumePreallocate=false",
        ),
        *(f"-{name}.port={ports[name]}" for name in names),
        *(f"-{name}.port.grpc={ports[f'{name}.grpc']}" for name in names),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log)
    server = S3Server(folder, ports["s3"], process)
    try:
        _wait_for_bucket(server)
        yield server
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class SftpServer:
    """OpenSSH's sshd with its own SFTP server, for one key."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def root(self) -> Path:
        return self.folder / "backups"

    def place(self, recipient: str, **more: Any) -> OffsitePlace:
        values = {"ssh_key": self.folder / "id", "known_hosts": self.folder / "known_hosts", "path": str(self.root)}
        values |= {"host": "127.0.0.1", "port": self.port, "user": "root", **more}
        return OffsitePlace(kind="sftp", recipients=(recipient,), **values)


@contextmanager
def sftp_server(folder: Path, files: str = "internal-sftp") -> Iterator[SftpServer]:
    """A server for the block."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "backups").mkdir()
    stranger = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "stranger")]
    subprocess.run(stranger, check=True)
    process = start_ssh_server(folder, port, Subsystem=f"sftp {files}")
    (folder / "known_hosts").write_text(f"* {(folder / 'host.pub').read_text()}")
    (folder / "other_hosts").write_text(f"* {(folder / 'stranger.pub').read_text()}")
    try:
        _wait_for_port(port)
        yield SftpServer(folder, port, process)
    finally:
        process.kill()
        process.wait()


def _identity(name: str, actions: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": name, "secretKey": SECRET}], "actions": actions}


def _wait_for_bucket(server: S3Server) -> None:
    """Until it takes an object: it listens before that."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            client = server.client()
            if not any(item["Name"] == "ready" for item in client.list_buckets()["Buckets"]):
                client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
            return
        except Exception:
            if time.monotonic() > deadline or server.process.poll() is not None:
                raise AssertionError((server.folder / "log").read_text(errors="replace")[-2000:]) from None
            time.sleep(0.3)


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Line:
    """A line to a server on this machine, which a test can make slow, or cut in the middle of what passes."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.seconds_per_mib = 0.0
        self.left: int | None = None
        """Bytes that still pass towards the server; None: all."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._server.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                for source, sink, counts in ((here, there, True), (there, here, False)):
                    threading.Thread(target=self._pass_on, args=(source, sink, counts), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                if counts and self.left is not None:
                    self.left -= len(piece)
                    if self.left < 0:
                        break
                if counts and self.seconds_per_mib:
                    time.sleep(self.seconds_per_mib * len(piece) / (1 << 20))
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
