"""Each form of a proof is taken with the hook's secret, and with nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from ikoma.apps.source.webhook import Webhook, generate_secret
from ikoma.model import Secret
from ikoma.transports.webhooks.signatures import SignedDelivery, read

BODY = b'{"ref": "refs/heads/main"}'
KEY = bytes(range(32))
WHSEC = "whsec_" + base64.b64encode(KEY).decode()


def hook(secret: str) -> Webhook:
    return Webhook(Secret(secret), "main", "ann", "2026-01-01T00:00:00Z")


def signed(headers: dict[str, str], body: bytes = BODY) -> SignedDelivery:
    return read({name.lower().encode(): value.encode() for name, value in headers.items()}, body)


def hexed(secret: str, body: bytes = BODY) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard(key: bytes, identity: str = "msg_1", at: str = "1700000000", body: bytes = BODY) -> dict[str, str]:
    made = hmac.new(key, f"{identity}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(made).decode()}"
    return {"webhook-id": identity, "webhook-timestamp": at, "webhook-signature": signature}


@pytest.mark.parametrize("secret", ["plain-secret-of-a-person", WHSEC])
@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("github", ("X-Hub-Signature-256", "X-GitHub-Delivery", "X-GitHub-Event")),
        ("gitea", ("X-Gitea-Signature", "X-Gitea-Delivery", "X-Gitea-Event")),
        ("gitea", ("X-Forgejo-Signature", "X-Forgejo-Delivery", "X-Forgejo-Event")),
        ("bitbucket", ("X-Hub-Signature", "X-Request-UUID", "X-Event-Key")),
    ],
)
def test_a_signature_over_the_body_is_the_secrets(host: str, names: tuple[str, str, str], secret: str) -> None:
    prefix = "" if host == "gitea" else "sha256="
    headers = dict(zip(names, (prefix + hexed(secret), "id-1", "push"), strict=True))
    found = signed(headers)
    assert (found.host, found.event, found.delivery, found.at) == (host, "push", "id-1", None)
    assert found.is_by(hook(secret))
    assert not found.is_by(hook(f"{secret}x"))
    assert not found.is_by(None)
    assert not signed(headers, BODY + b" ").is_by(hook(secret))


def test_gitlabs_signing_token_is_base64_of_its_key() -> None:
    found = signed({**standard(KEY), "X-Gitlab-Event": "Push Hook"})
    assert (found.host, found.event, found.delivery, found.at) == ("gitlab", "Push Hook", "msg_1", 1_700_000_000)
    assert found.is_by(hook(WHSEC))
    assert not found.is_by(hook("whsec_" + base64.b64encode(b"other" * 6).decode()))
    plain = "no-prefix-before-it"
    assert signed(standard(plain.encode())).is_by(hook(plain))


@pytest.mark.parametrize("changed", [{"webhook-id": "msg_2"}, {"webhook-timestamp": "1700000001"}])
def test_the_id_and_the_time_are_signed_too(changed: dict[str, str]) -> None:
    assert not signed({**standard(KEY), **changed}).is_by(hook(WHSEC))


def test_one_of_several_signatures_is_enough() -> None:
    given = standard(KEY)
    several = f"v1a,xyz v1,{base64.b64encode(bytes(32)).decode()} {given['webhook-signature']}"
    assert signed({**given, "webhook-signature": several}).is_by(hook(WHSEC))
    assert not signed({**given, "webhook-signature": several.rpartition(" ")[0]}).is_by(hook(WHSEC))
    many = "v1,x " * 10 + given["webhook-signature"]
    assert not signed({**given, "webhook-signature": many}).is_by(hook(WHSEC))


def test_a_retry_of_gitlab_is_known_by_its_id() -> None:
    first, again = signed(standard(KEY)), signed(standard(KEY, at="1700000060"))
    assert first.marks == again.marks


def test_gitlabs_older_token_is_the_secret_itself() -> None:
    found = signed({"X-Gitlab-Token": WHSEC, "X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": "u"})
    assert (found.host, found.delivery) == ("gitlab", "u")
    assert found.is_by(hook(WHSEC))
    assert not found.is_by(hook(WHSEC[:-1]))
    assert not found.is_by(None)
    assert not signed({"X-Gitlab-Token": "ü"}).is_by(hook(WHSEC))


def test_a_delivery_that_gitlab_signs_and_sends_with_our_token_is_proven_by_either() -> None:
    other = "whsec_" + base64.b64encode(b"other key, made by gitlab itself").decode()
    found = signed({**standard(KEY), "X-Gitlab-Token": "our-secret-token"})
    assert found.is_by(hook(WHSEC))
    assert found.is_by(hook("our-secret-token"))
    assert not found.is_by(hook(other))
    assert {mark.lasts for mark in found.marks} == {True, False}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature": "sha1=" + "0" * 40},
        {"X-Hub-Signature": f"sha256={hexed(WHSEC)}"},  # of Bitbucket without its event
        {"webhook-id": "1", "webhook-timestamp": "x", "webhook-signature": "v1,x"},
        {"X-Gitlab-Token": ""},
        {"X-Ikoma-Signature": "t=1"},
    ],
)
def test_what_has_no_known_form_is_nobodys(headers: dict[str, str]) -> None:
    assert not signed(headers).is_by(hook(WHSEC))


def test_a_secret_that_is_made_here_has_the_form_that_all_take() -> None:
    secret = generate_secret().reveal()
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert generate_secret().reveal() != secret
