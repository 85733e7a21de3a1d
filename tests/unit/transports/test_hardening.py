"""Headers of every answer, also where the application has failed or has a say of its own."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.types import Message, Receive, Scope, Send

from ikoma.transports.hardening import add_headers, harden_app
from ikoma.web.policy import make_content_security_policy


def test_an_unforeseen_failure_is_answered_with_the_envelope_and_still_raised() -> None:
    sent: list[Message] = []

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("password hunter2")

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError):
        asyncio.run(harden_app(failing)({"type": "http"}, receive, send))  # type: ignore[arg-type]
    start, body = sent
    assert start["status"] == 500
    assert dict(start["headers"])[b"x-content-type-options"] == b"nosniff"
    assert json.loads(body["body"])["code"] == "internal_error"
    assert b"hunter2" not in body["body"]


def test_a_page_has_its_own_policy_and_nothing_is_stored() -> None:
    given = [(b"content-security-policy", b"default-src 'self'"), (b"cache-control", b"public, max-age=9")]
    headers = add_headers(given)
    assert [value for name, value in headers if name == b"content-security-policy"] == [b"default-src 'self'"]
    assert [value for name, value in headers if name == b"cache-control"] == [b"no-store"]


def test_a_policy_names_each_inline_style_and_script_and_nothing_else() -> None:
    policy = make_content_security_policy("<style>a</style><p>b</p><script type='module'>\nc()\n</script>")
    assert policy.count("'sha256-") == 2
    assert "style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='" in policy  # of "a"
    assert "unsafe" not in policy
    assert "script-src" not in make_content_security_policy("<p>no script</p>")
