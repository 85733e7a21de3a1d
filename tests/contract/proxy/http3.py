"""One request over HTTP/3."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent


class _Client(QuicConnectionProtocol):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._http = H3Connection(self._quic)
        self._status = b""
        self._body = b""
        self._done: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()

    async def get(self, name: str) -> tuple[bytes, bytes]:
        head = {":method": "GET", ":scheme": "https", ":authority": name, ":path": "/"}
        stream = self._quic.get_next_available_stream_id()
        self._http.send_headers(stream, [(k.encode(), v.encode()) for k, v in head.items()], end_stream=True)
        self.transmit()
        return await asyncio.wait_for(self._done, 10)

    def quic_event_received(self, event: QuicEvent) -> None:
        for found in self._http.handle_event(event):
            if isinstance(found, HeadersReceived):
                self._status = dict(found.headers)[b":status"]
            elif isinstance(found, DataReceived):
                self._body += found.data
            if getattr(found, "stream_ended", False) and not self._done.done():
                self._done.set_result((self._status, self._body))


async def get(port: int, name: str, authority: Path) -> tuple[bytes, bytes]:
    """Status and body of https://NAME/ on a port of loopback."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=name)
    configuration.load_verify_locations(str(authority))
    configuration.verify_mode = ssl.CERT_REQUIRED
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=_Client) as client:
        assert isinstance(client, _Client)
        return await client.get(name)
