"""Signatures of webhooks' deliveries: the forms of GitHub, Gitea, Forgejo, Bitbucket and GitLab, and our own.

All but one are HMAC-SHA256 with the hook's secret: over the body alone, or over an id, a time and the body (Standard
Webhooks, which GitLab's signing token makes; and our own). GitLab's older token is the secret itself, sent along with
every delivery: it proves nothing of the body, and whoever has seen it once may send what they like.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from ikoma.apps.source.webhook import DeliveryMark, Webhook
from ikoma.model import Secret
from ikoma.transports.body import Body
from ikoma.transports.headers import Headers, read_text

GITHUB, GITEA, GITLAB, BITBUCKET, OURS = "github", "gitea", "gitlab", "bitbucket", "ikoma"

_OURS = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_HEX = re.compile(r"(?:sha256=)?([0-9a-f]{64})")
_TIME = re.compile(r"[0-9]{1,12}")
_STANDARD = re.compile(r"v1,([A-Za-z0-9+/]{43}=)")
_PREFIX = "whsec_"
_NOBODYS = Secret(secrets.token_urlsafe(32))
_LONGEST = 100
_MOST_SIGNATURES = 10

# Kind of host, and the headers of its signature, of the delivery's id and of the event.
_FORGES = (
    (GITEA, b"x-gitea-signature", b"x-gitea-delivery", b"x-gitea-event"),
    (GITEA, b"x-forgejo-signature", b"x-forgejo-delivery", b"x-forgejo-event"),
    (GITHUB, b"x-hub-signature-256", b"x-github-delivery", b"x-github-event"),
    (BITBUCKET, b"x-hub-signature", b"x-request-uuid", b"x-event-key"),
    (BITBUCKET, b"x-hub-signature", b"x-request-id", b"x-event-key"),
)


@dataclass(frozen=True, slots=True)
class SignedDelivery:
    """A delivery as it says it is; `is_by` tells whether it is.

    Args:
        proves: whether a secret has made what proves it.
        host: the kind of git host.
        at: when it was signed, in seconds of Unix time, where the signature says so.
        marks: what it is remembered by.
    """

    proves: Callable[[str], bool]
    host: str
    event: str
    delivery: str
    at: int | None
    marks: tuple[DeliveryMark, ...]

    def is_by(self, hook: Webhook | None) -> bool:
        """Whether the holder of the hook's secret sent it. Where there is no hook it takes as long to say no."""
        proven = self.proves((hook.secret if hook else _NOBODYS).reveal())
        return proven and hook is not None


def read(headers: Headers, body: Body) -> SignedDelivery:
    """The delivery of these headers; one without a proof of a known form is nobody's. A large body takes a moment."""

    def said(name: bytes) -> str:
        return (read_text(headers.get(name)) or "")[:_LONGEST]

    if found := _OURS.fullmatch(read_text(headers.get(b"x-ikoma-signature")) or ""):
        at, signature = found.groups()
        mark = DeliveryMark(f"signature {signature}", lasts=False)
        return SignedDelivery(_make_check(signature, f"{at}.".encode(), body), OURS, "push", "", int(at), (mark,))
    if _TIME.fullmatch(said(b"webhook-timestamp")) and headers.get(b"webhook-signature"):
        return _read_standard(headers, body, said)
    # Signed or not, the body is what must not come twice: what else there is of a delivery is not proven.
    digest = DeliveryMark(f"body {hashlib.sha256(body).hexdigest()}", lasts=True)
    for host, *names in _FORGES:
        signature, delivery, event = map(said, names)
        if (found := _HEX.fullmatch(signature)) and (event or host != BITBUCKET):
            return SignedDelivery(
                _make_check(found[1], b"", body), host, event, delivery, None, (digest, *_name_scheme(delivery))
            )
    if token := headers.get(b"x-gitlab-token"):
        delivery = said(b"idempotency-key") or said(b"x-gitlab-event-uuid")
        marks = (digest, *_name_scheme(delivery))
        return SignedDelivery(_is(token), GITLAB, said(b"x-gitlab-event"), delivery, None, marks)
    return SignedDelivery(_make_check("", b"", body), "", "", "", None, (digest,))


def _read_standard(headers: Headers, body: Body, said: Callable[[bytes], str]) -> SignedDelivery:
    """A delivery in the form of Standard Webhooks: its id and its time are signed too."""
    identity, at = read_text(headers.get(b"webhook-id")) or "", said(b"webhook-timestamp")
    given = (read_text(headers.get(b"webhook-signature")) or "").split(" ")[:_MOST_SIGNATURES]
    signatures = [found[1] for item in given if (found := _STANDARD.fullmatch(item))]

    def proves(secret: str) -> bool:
        made = hmac.new(_decode_key(secret), f"{identity}.{at}.".encode("latin-1", "replace"), hashlib.sha256)
        made.update(body)
        right = base64.b64encode(made.digest()).decode()
        return sum(hmac.compare_digest(right, signature) for signature in signatures) > 0

    mark = DeliveryMark(f"id {hashlib.sha256(identity.encode()).hexdigest()}", lasts=False)
    signed = SignedDelivery(proves, GITLAB, said(b"x-gitlab-event"), identity[:_LONGEST], int(at), (mark,))
    if (token := headers.get(b"x-gitlab-token")) is None:
        return signed
    is_token = _is(token)  # GitLab signs with a token of its own making, where it was given none of ours
    digest = DeliveryMark(f"body {hashlib.sha256(body).hexdigest()}", lasts=True)
    return replace(signed, proves=lambda secret: proves(secret) | is_token(secret), marks=(digest, mark))


def _decode_key(secret: str) -> bytes:
    """The key of Standard Webhooks: what whsec_ stands before is base64 of it."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return secret.encode()


def _make_check(signature: str, before: bytes, body: Body) -> Callable[[str], bool]:
    def proves(secret: str) -> bool:
        made = hmac.new(secret.encode(), before, hashlib.sha256)
        made.update(body)
        return hmac.compare_digest(made.hexdigest(), signature)

    return proves


def _is(token: bytes) -> Callable[[str], bool]:
    return lambda secret: hmac.compare_digest(secret.encode(), token)


def _name_scheme(delivery: str) -> tuple[DeliveryMark, ...]:
    return (DeliveryMark(f"delivery {delivery}", lasts=False),) if delivery else ()
