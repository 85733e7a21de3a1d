"""As much of S3 as a sender uses, kept in memory, with faults of a test's choice."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

_ERROR = "<Error><Code>{}</Code><Message>of this test</Message></Error>"


class OddService(ThreadingHTTPServer):
    """A service on this machine, with one bucket named `bucket`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.puts = 0
        self.fault: Callable[[int], tuple[int, str] | None] = lambda number: None
        """Status and code of the answer to the put of that number; None: it is kept."""
        self.keep: Callable[[bytes], bytes] = lambda content: content
        self.show: Callable[[bytes], bytes] = lambda content: content
        self.pause = 0.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OddService

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.pause)
        self.server.puts += 1
        if (fault := self.server.fault(self.server.puts)) is not None:
            return self._answer(fault[0], _ERROR.format(fault[1]).encode())
        self.server.objects[self._name] = self.server.keep(content)
        return self._answer(200)

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        if "list-type" in asked:
            names = [name for name in sorted(self.server.objects) if name.startswith(asked.get("prefix", [""])[0])]
            items = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(self.server.objects[name])}</Size></Contents>" for name in names
            )
            return self._answer(200, f"<ListBucketResult>{items}</ListBucketResult>".encode())
        if self._name not in self.server.objects:
            return self._answer(404, _ERROR.format("NoSuchKey").encode())
        return self._answer(200, self.server.show(self.server.objects[self._name]))

    def do_DELETE(self) -> None:
        self.server.objects.pop(self._name, None)
        self._answer(204)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    @property
    def _name(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/bucket/")

    def _answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
