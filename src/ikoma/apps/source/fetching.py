"""https requests to git hosts, by the rules that hold for git: hosts that are named, or public ones where any may be.

A connection goes to the address that was looked at, whatever the name means a moment later. Redirects are not followed
but handed back: each step is looked at anew. Answers are bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ikoma.apps.source.url import SourceReach
from ikoma.durable import open_whole_file
from ikoma.errors import HostNotListed, SourceUnavailable
from ikoma.model import Secret

_PIECE = 1 << 16
_MOST_SAID = 4 << 20


@dataclass(frozen=True, slots=True)
class FetchedAnswer:
    """The answer to a request. `body` is empty where it went to a file; `digest` is its SHA-256."""

    status: int
    location: str | None
    body: bytes
    digest: str
    size: int


async def request(
    reach: SourceReach,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    secret: tuple[str, Secret] | None = None,
    body: bytes | None = None,
    into: Path | None = None,
    most: int = _MOST_SAID,
    timeout: float,
) -> FetchedAnswer:
    """One request and its answer.

    Args:
        secret: the name of a header, and what it carries.
        into: a file for the body of a good answer; it is there whole or not at all.
        most: bytes that the body may have.

    Raises:
        HostNotListed: the address is not https to a host that source may come from.
        SourceUnavailable: there is no answer, or a larger one.
    """
    host = _check_host(url)
    pinned = await reach.find_address(host)
    resolver = _Pinned(pinned) if pinned else None
    sent = {"User-Agent": "ikoma", **(headers or {}), **({secret[0]: secret[1].reveal()} if secret else {})}
    connector = aiohttp.TCPConnector(ssl=_make_tls_context(reach.ca_file), resolver=resolver, use_dns_cache=False)
    bounds = aiohttp.ClientTimeout(total=timeout, connect=15)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=bounds, auto_decompress=False) as session,
            session.request(method, url, headers=sent, data=body, allow_redirects=False) as answer,
        ):
            return await _read(answer, into, most)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise SourceUnavailable(f"{host} does not answer ({type(error).__name__}).") from error


def _check_host(url: str) -> str:
    """The host that an address leads to; HostNotListed where it is none of ours to ask."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:  # brackets that do not close, a port that is no number
        host = None
    if not host or parts.scheme != "https" or parts.username or not url.isprintable():
        raise HostNotListed("That address is not https://HOST/PATH.", hint="Only https is taken.")
    return host


async def _read(answer: aiohttp.ClientResponse, into: Path | None, most: int) -> FetchedAnswer:
    digest, size, kept = hashlib.sha256(), 0, bytearray()
    location = answer.headers.get("Location")
    if into is None or answer.status != 200:
        async for piece in answer.content.iter_chunked(_PIECE):
            kept += piece
            if len(kept) > most:
                raise SourceUnavailable(f"{answer.url.host} answers with more than {most} bytes.")
        return FetchedAnswer(answer.status, location, bytes(kept), hashlib.sha256(kept).hexdigest(), len(kept))
    with open_whole_file(into) as stream:
        async for piece in answer.content.iter_chunked(_PIECE):
            digest.update(piece)
            size += len(piece)
            if size > most:
                raise SourceUnavailable(f"{answer.url.host} answers with more than {most} bytes.")
            await asyncio.to_thread(stream.write, piece)
    return FetchedAnswer(answer.status, location, b"", digest.hexdigest(), size)


def _make_tls_context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


class _Pinned(AbstractResolver):
    """Knows one address for whatever it is asked."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host, host=self._address, port=port, family=found, proto=socket.IPPROTO_TCP, flags=flags
            )
        ]

    async def close(self) -> None:
        return None
