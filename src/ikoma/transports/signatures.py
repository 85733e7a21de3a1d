"""What a webhook's delivery is signed with: the forms of GitHub, of Gitea and Forgejo, and our own.

Each is HMAC-SHA256 with the hook's secret. GitLab's form is not taken: its token is the secret itself, sent along with
every delivery; it proves nothing of the body, and whoever has seen it once may send what they like.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from ikoma.apps.hooks import Hook, Mark
from ikoma.model import Secret
from ikoma.transports.headers import Headers, text

_OURS = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_HEX = re.compile(r"(?:sha256=)?([0-9a-f]{64})")
_NOBODYS = Secret(secrets.token_urlsafe(32))
_LONGEST = 100

_FORGES = (
    (b"x-gitea-signature", b"x-gitea-delivery", b"x-gitea-event"),
    (b"x-forgejo-signature", b"x-forgejo-delivery", b"x-forgejo-event"),
    (b"x-hub-signature-256", b"x-github-delivery", b"x-github-event"),
)


@dataclass(frozen=True, slots=True)
class Signed:
    """A delivery as it says it is; `is_by` tells whether it is.

    Args:
        message: what the signature is over.
        at: when it was signed, in seconds of Unix time, where the signature says so.
        marks: what it is remembered by.
    """

    message: bytes
    signature: str
    event: str
    delivery: str
    at: int | None
    marks: tuple[Mark, ...]

    def is_by(self, hook: Hook | None) -> bool:
        """Whether the holder of the hook's secret signed it. Where there is no hook it takes as long to say no."""
        key = (hook.secret if hook else _NOBODYS).reveal().encode()
        right = hmac.new(key, self.message, hashlib.sha256).hexdigest()
        return hmac.compare_digest(right, self.signature) and hook is not None


def read(headers: Headers, body: bytes) -> Signed:
    """The delivery of these headers; one without a signature of a known form is signed by nobody."""
    if found := _OURS.fullmatch(text(headers.get(b"x-ikoma-signature")) or ""):
        at, signature = found.groups()
        marks = (Mark(f"signature {signature}", lasts=False),)
        return Signed(f"{at}.".encode() + body, signature, "push", "", int(at), marks)
    # The signature of a git host is over the body alone, so the body is what must not come twice.
    digest = Mark(f"body {hashlib.sha256(body).hexdigest()}", lasts=True)
    for names in _FORGES:
        signature, delivery, event = (text(headers.get(name)) or "" for name in names)
        if found := _HEX.fullmatch(signature):
            delivery = delivery[:_LONGEST]
            named = (Mark(f"delivery {delivery}", lasts=False),) if delivery else ()
            return Signed(body, found[1], event[:_LONGEST], delivery, None, (digest, *named))
    return Signed(body, "", "", "", None, (digest,))
