"""The certificate that visitors of a name get: found out as they find out, by a look through the proxy."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ikoma.apps.routing.request import make_unchecked_context
from ikoma.moments import format_moment
from ikoma.ports.proxy import Entrance

if TYPE_CHECKING:
    from cryptography import x509

_OWN = "Caddy Local Authority"


@dataclass(frozen=True, slots=True)
class Certificate:
    """`ends` is RFC 3339 in UTC."""

    issuer: str
    ends: str
    is_own: bool
    """Whether this server's own authority signed it, which no browser knows."""

    @property
    def said(self) -> str:
        if self.is_own:
            return f"Signed by this server's own authority, which browsers do not know, until {self.ends[:10]}."
        return f"Signed by {self.issuer}, until {self.ends[:10]}."


async def read_certificate(entrance: Entrance, name: str, seconds: float) -> Certificate | None:
    """Read the certificate of a name; None where the proxy has none, or has not shown it in so many seconds."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(
                entrance.address,
                entrance.port,
                ssl=make_unchecked_context(),
                server_hostname=str(name),  # uvloop takes no kind of str
            )
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        shown = tls.getpeercert(binary_form=True)
        writer.transport.abort()
        return _read(shown) if shown else None
    return None


def _read(encoded: bytes) -> Certificate:
    from cryptography import x509  # large, and few servers look at certificates
    from cryptography.x509.oid import NameOID

    found = x509.load_der_x509_certificate(encoded)
    ends = format_moment(found.not_valid_after_utc)
    parts = [_read_part(found.issuer, kind) for kind in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)]
    issuer = " ".join(part for part in parts if part) or "an authority without a name"
    return Certificate(issuer, ends, is_own=_OWN in issuer)


def _read_part(name: x509.Name, kind: x509.ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(kind)
    return str(found[0].value)[:100] if found else ""
