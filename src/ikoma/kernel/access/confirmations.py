"""A person's word before something is destroyed: what would be lost, and a token that lets exactly that call go on.

A token is bound to the caller, the capability and the arguments, works once, and ends by itself. It is sealed with a
key that only this process has, so nobody can make or change one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
import time

from ikoma.errors import ConfirmationInvalid, ConfirmationNeeded
from ikoma.kernel.registry import Loss

_SECONDS = 600
_NONCE, _SEAL = 12, 24
_FORM = struct.Struct(f">d{_NONCE}s")


class Confirmations:
    """Gives out tokens and takes each back once."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._used: dict[bytes, float] = {}

    def ask(self, caller: str, capability: str, digest: str, loss: Loss) -> ConfirmationNeeded:
        """The refusal that names what would be lost and carries the token to go on with."""
        expires = time.time() + _SECONDS
        body = _FORM.pack(expires, secrets.token_bytes(_NONCE))
        token = base64.urlsafe_b64encode(body + self._seal(body, caller, capability, digest)).decode()
        return ConfirmationNeeded(
            f"{loss.summary} A person must agree first.",
            summary=loss.summary,
            lost=list(loss.lost),
            kept=list(loss.kept),
            confirmation=token,
            expiresAt=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires)),
        )

    def check(self, token: str, caller: str, capability: str, digest: str, *, take: bool) -> None:
        """See that a token is good; ConfirmationInvalid where it is not for this very call, has ended or was used.

        Args:
            take: whether that uses it.
        """
        try:
            sealed = base64.b64decode(token, altchars=b"-_", validate=True)
        except ValueError:
            raise ConfirmationInvalid from None
        body, seal = sealed[: _FORM.size], sealed[_FORM.size :]
        if len(sealed) != _FORM.size + _SEAL or not hmac.compare_digest(
            seal, self._seal(body, caller, capability, digest)
        ):
            raise ConfirmationInvalid
        expires, nonce = _FORM.unpack(body)
        now = time.time()
        self._used = {used: until for used, until in self._used.items() if until > now}
        if expires <= now or nonce in self._used:
            raise ConfirmationInvalid
        if take:
            self._used[nonce] = expires

    def _seal(self, body: bytes, *bound: str) -> bytes:
        text = b"\0".join([body.hex().encode(), *(part.encode("utf-8", "surrogatepass") for part in bound)])
        return hmac.digest(self._key, text, hashlib.sha256)[:_SEAL]
