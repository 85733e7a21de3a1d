"""Asks an app for a page as its visitors do: through the proxy, by one of the app's own names.

It reaches nothing else: where it connects to is the proxy's own listener, redirects are told and not followed, and no
cookie is kept. What comes back is the app's word, read up to a limit and never unpacked.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
from yarl import URL

from ikoma import __version__
from ikoma.errors import AnswerTimeout, AnswerUnreadable, CertificateMissing, ProxyUnavailable
from ikoma.model import RequestPath
from ikoma.ports.proxy import Entrance

_OF_PATHS = "!$%&'()*+,-./:;=?@_~[]|^`{}<>\""
"""The characters that go as they are written: the app is to see them so. All others get percent signs, as browsers send
them.
"""
_MOST_HEADERS, _MOST_READ = 100, 5000
"""So many are told, and taken."""
_LONGEST_HEADER = 4096
_LARGEST_FIELD = 64 << 10


@dataclass(frozen=True, slots=True)
class AppAnswer:
    """The answer of an app. `headers` by their names in lower case; several of one name are lines."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool
    seconds: float


async def visit(entrance: Entrance, path: RequestPath, *, method: str, limit: int, seconds: float) -> AppAnswer:
    """Make one request.

    Args:
        limit: the most bytes of the body that are read.
        seconds: for all of it; a body that has not ended by then is told as far as it came.

    Raises:
        AnswerTimeout: not even the answer's head came in that time.
        AnswerUnreadable, CertificateMissing, ProxyUnavailable
    """
    target = quote(path, safe=_OF_PATHS)
    scheme = "https" if entrance.encrypted else "http"
    address = f"[{entrance.address}]" if ":" in entrance.address else entrance.address
    url = URL(f"{scheme}://{address}:{entrance.port}{target}", encoded=True)
    headers = {"Host": entrance.host, "User-Agent": f"IKOMA/{__version__}", "Accept-Encoding": "identity"}
    began = time.monotonic()
    try:
        async with (
            asyncio.timeout(seconds),
            _make_session() as session,
            session.request(
                method, url, headers=headers, allow_redirects=False, server_hostname=_describe_entrance(entrance)
            ) as answer,
        ):
            left = seconds - (time.monotonic() - began)
            body, is_whole = await _read(answer.content, limit, left * 0.95)
    except TimeoutError:
        raise AnswerTimeout(f"No answer to {method} {path[:200]} came within {seconds:g} s.") from None
    except aiohttp.ClientConnectorSSLError:
        raise CertificateMissing(f"The proxy has no certificate for {_describe_entrance(entrance)} yet.") from None
    except aiohttp.ClientConnectorError as error:
        raise ProxyUnavailable from error
    except (aiohttp.ClientError, ValueError) as error:
        raise AnswerUnreadable(f"The answer to {method} {path[:200]} is no HTTP that can be read.") from error
    return AppAnswer(
        f"{entrance.url}{target}",
        answer.status,
        _decode_headers(answer.raw_headers),
        body,
        is_whole,
        time.monotonic() - began,
    )


def _make_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=make_unchecked_context(), force_close=True),
        timeout=aiohttp.ClientTimeout(),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=_LARGEST_FIELD,
        max_field_size=_LARGEST_FIELD,
        max_headers=_MOST_READ,
    )


def make_unchecked_context() -> ssl.SSLContext:
    """The proxy on this machine is asked, whoever has signed its certificate: domain.list says who."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _describe_entrance(entrance: Entrance) -> str:
    return entrance.host.partition(":")[0]


async def _read(content: aiohttp.StreamReader, limit: int, seconds: float) -> tuple[bytes, bool]:
    """Read at most so much of a body; and tell whether that is all of it."""
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in content.iter_any():
                body += piece
                if len(body) > limit:
                    return bytes(body[:limit]), False
    except (TimeoutError, aiohttp.ClientPayloadError):  # it goes on, or broke off
        return bytes(body), False
    return bytes(body), True


def _decode_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in list(raw)[:_MOST_HEADERS]:
        key, text = (part.decode("utf-8", "replace")[:_LONGEST_HEADER] for part in (name.lower(), value))
        headers[key] = f"{headers[key]}\n{text}" if key in headers else text
    return headers
