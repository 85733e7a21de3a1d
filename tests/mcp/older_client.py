"""A client of the protocol's older revisions that sees each event and its id, as the official clients do not show."""

from __future__ import annotations

import http.client
import itertools
import json
from contextlib import suppress
from typing import Any

from tests.support import Server

_ids = itertools.count(1)


class Older:
    """One session, begun at once.

    Args:
        version: 2025-11-25 says where a stream begins; 2025-06-18 does not.
    """

    def __init__(self, house: Server, key: str, version: str = "2025-11-25") -> None:
        self.house, self.key, self.version, self.session = house, key, version, ""
        client = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "older", "version": "1"}}
        answer = self.post("initialize", client)
        self.status = answer.status
        if self.status == 200:
            self.session = answer.headers["mcp-session-id"]
            self.events(answer)
            assert self.post("notifications/initialized", identity=None).status == 202
        else:
            self.refusal: dict[str, Any] = json.loads(answer.read())

    def post(
        self, method: str, params: dict[str, Any] | None = None, identity: int | None = -1
    ) -> http.client.HTTPResponse:
        """Send a message; without an id, it is a notification."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if identity is not None:
            message["id"] = next(_ids) if identity == -1 else identity
        return self._request("POST", json.dumps(message).encode())

    def call(self, tool: str, arguments: dict[str, Any] | None = None, identity: int = -1) -> http.client.HTTPResponse:
        return self.post("tools/call", {"name": tool, "arguments": arguments or {}}, identity)

    def get(self, last: str | None = None, *, key: str = "", seconds: float = 2) -> http.client.HTTPResponse:
        """Open the stream; behind an event's id, take a broken one up again. Reading it waits so long for each line."""
        return self._request("GET", None, {"Last-Event-ID": last} if last else {}, key, seconds)

    def delete(self) -> int:
        return self._request("DELETE", None).status

    def events(self, answer: http.client.HTTPResponse, most: int = 1000) -> list[tuple[str, str]]:
        """(id, data) of the events that come, until the stream ends or nothing has come for some seconds."""
        found: list[tuple[str, str]] = []
        identity = ""
        try:
            while len(found) < most and (line := answer.readline()):
                name, _, value = line.decode().rstrip("\r\n").partition(": ")
                if name == "id":
                    identity = value
                elif name == "data":
                    found.append((identity, value))
                elif not name and identity and (not found or found[-1][0] != identity):
                    found.append((identity, ""))
        except TimeoutError:
            pass
        return found

    def _request(
        self, method: str, body: bytes | None, more: dict[str, str] | None = None, key: str = "", seconds: float = 90
    ) -> http.client.HTTPResponse:
        headers = {
            "X-Api-Key": key or self.key,
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "MCP-Protocol-Version": self.version,
            **({"Mcp-Session-Id": self.session} if self.session else {}),
            **(more or {}),
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.house.port, timeout=90)
        connection.request(method, "/mcp", body, headers)
        assert connection.sock is not None
        reading = connection.sock
        answer = connection.getresponse()
        with suppress(OSError):  # it was closed with the answer
            reading.settimeout(seconds)
        return answer
