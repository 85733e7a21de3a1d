"""The certificate by which PostgreSQL is known, and the authority of this platform alone that signs it.

The authority is made once and stays, so that apps can keep its certificate. What it signed is used for a year, as long
as the server is called the same.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ikoma.durable import write_file

_YEAR = 365 * 86_400
_CLOCKS_DIFFER = 86_400


class Authority:
    """The platform's own, under `folder`: ca.crt, which anyone may read, and ca.key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = folder / "server.pem"

    @property
    def certificate(self) -> str | None:
        """The certificate that apps verify by, as PEM text; None before it was made."""
        path = self._folder / "ca.crt"
        return path.read_text() if path.is_file() else None

    def make_context(self, names: Iterable[str]) -> ssl.SSLContext:
        """For a server that is called so, by name or address."""
        called = sorted(names)
        if self._is_current(called):
            with suppress(ssl.SSLError):  # else it is damaged
                return self._load()
        from ikoma.postgres.server.signing import sign_certificate

        signed = sign_certificate(self._folder, called)
        write_file(self._own, self._describe(called) + signed, mode=0o600)
        return self._load()

    def _is_current(self, names: list[str]) -> bool:
        """Whether this authority signed the one at hand, for these names and not long ago."""
        if not (self._own.is_file() and self.certificate):
            return False
        age = time.time() - self._own.stat().st_mtime
        return -_CLOCKS_DIFFER < age < _YEAR and self._own.read_bytes().startswith(self._describe(names))

    def _describe(self, names: list[str]) -> bytes:
        """The line above the certificate: what it was made for. Readers of PEM pass over it."""
        authority = hashlib.sha256((self.certificate or "").encode()).hexdigest()
        return f"For {' '.join(names)}, by {authority}\n".encode()

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._own)
        return context
