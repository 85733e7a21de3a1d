"""Docker's socket under another name, which can be late or go away while Docker itself runs on."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import DOCKER_HOST


@contextmanager
def forwarded(path: Path, *, late: float = 0) -> Iterator[None]:
    """The real engine's socket under another name, until the block ends.

    Args:
        late: seconds that each connection waits for its first answer; not one that asks whether the engine is there.
    """
    sockets: list[socket.socket] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(100)

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(DOCKER_HOST.removeprefix("unix://"))
            sockets.extend((near, far))
            threading.Thread(target=_begin, args=(near, far, late), daemon=True).start()
            threading.Thread(target=_copy, args=(far, near), daemon=True).start()

    serving = threading.Thread(target=serve)
    serving.start()
    yield
    path.unlink()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    serving.join()
    for connection in sockets:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """A socket at which every request is refused, as by an engine that is starting, until the block ends."""

    class Refuse(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            body = b'{"message": "the daemon is starting"}'
            head = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close\r\n"
            self.wfile.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    with socketserver.ThreadingUnixStreamServer(str(path), Refuse) as listener:
        listener.daemon_threads = True
        serving = threading.Thread(target=listener.serve_forever)
        serving.start()
        try:
            yield
        finally:
            listener.shutdown()
            serving.join()
            path.unlink()


def _begin(source: socket.socket, target: socket.socket, late: float) -> None:
    with suppress(OSError):
        asked = source.recv(65536)
        time.sleep(0 if b"/_ping" in asked else late)
        target.sendall(asked)
        _copy(source, target)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_RDWR)
