"""Tokens of an outside issuer: a real key pair, a real JWKS endpoint, and everything that can be wrong with a token."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests import support
from tests.mcp.client import do, over_http, refused, talk
from tests.support import Server, fetch, free_port


class Issuer:
    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        public: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        self.documents = documents = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]},
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path in documents else 404)
                self.end_headers()
                self.wfile.write(json.dumps(documents.get(self.path, {})).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, *, key: Any = None, algorithm: str = "RS256", kid: str = "one", **claims: Any) -> str:
        body = {
            "iss": self.url,
            "aud": "https://ikoma.example/mcp",
            "sub": "ann",
            "exp": int(time.time()) + 600,
            "scope": "openid ikoma:operator",
            **claims,
        }
        body = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(body, key or self.key, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def house(issuer: Issuer) -> Iterator[Server]:
    settings = {"JWT_ISSUER": issuer.url, "JWT_AUDIENCE": "https://ikoma.example/mcp", "AUTH_MAX_FAILURES": "1000"}
    with support.server(**settings) as server:
        yield server


def test_a_token_opens_every_door_as_far_as_its_scopes_go(house: Server, issuer: Issuer) -> None:
    token = issuer.token()
    assert house.call("platform.info", key=token).status == 200
    assert house.call("apps.init", {"appName": "jwt-x"}, key=token).code == "role_too_low"
    assert house.call("platform.info", key=token, role="admin").code == "role_too_low"

    async def conversation(client: Any) -> None:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "deploy_up" in names
        assert "apps_init" not in names
        await do(client, "apps_list")
        assert (await refused(client, "apps_init", appName="jwt-x"))["code"] == "role_too_low"

    before = len(house.audit())
    talk(over_http(house, key=token), conversation)
    assert house.audited(before, caller="ann", capability="apps.init", code="role_too_low")
    builder = issuer.token(scope=None, scp=["ikoma:builder", "ikoma:observer"])
    assert house.call("apps.init", {"appName": "jwt-x"}, key=builder).status == 200


STRANGE: tuple[Any, ...] = (
    {"alg": "ES256", "kid": "one"},
    {"alg": "EdDSA", "kid": "one"},
    {"alg": "HS256", "kid": "one"},
    {"alg": ["RS256"], "kid": "one"},
    {"alg": None, "kid": "one"},
    {"alg": "RS256", "kid": 1},
    {"alg": "RS256", "kid": ["one"]},
    {"alg": "RS256", "kid": "one", "b64": False, "crit": ["b64"]},
    {"alg": "RS256", "kid": "one", "crit": 7},
    {"alg": "RS256"},
    {},
    [],
    7,
)


def forged(header: Any, claims: bytes = b"{}") -> str:
    """A token as a stranger makes one up."""
    parts = (json.dumps(header).encode(), claims, b"x" * 64)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_what_is_wrong_with_a_token_keeps_it_out(house: Server, issuer: Issuer) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    wrong = {
        "ended": issuer.token(exp=int(time.time()) - 120),
        "never ends": issuer.token(exp=None),
        "not yet": issuer.token(nbf=int(time.time()) + 600),
        "for another server": issuer.token(aud="https://other.example/mcp"),
        "for nobody": issuer.token(aud=None),
        "of another issuer": issuer.token(iss="https://evil.example"),
        "of nobody": issuer.token(sub=None),
        "without a scope of ours": issuer.token(scope="openid ikoma:root"),
        "signed by another": issuer.token(key=other),
        "signed by an unknown key": issuer.token(kid="two"),
        "signed with the public key as a secret": issuer.token(key="x" * 64, algorithm="HS256"),
        "not signed": jwt.encode({"iss": issuer.url, "sub": "ann", "scope": "ikoma:admin"}, "", algorithm="none"),
        "cut": issuer.token()[:-3],
        "with a scope that is a number": issuer.token(scope=None, scp=7),
        "with scopes that are a mapping": issuer.token(scope=None, scp={"ikoma:admin": True}),
        "ending at a list": issuer.token(exp=[1]),
        "for a number": issuer.token(aud=7),
        "of a number": issuer.token(sub=7),
        **{str(header): forged(header) for header in STRANGE},
    }
    for what, token in wrong.items():
        assert house.call("platform.info", key=token).code == "unauthenticated", what
    assert "Traceback" not in house.log()


def test_tokens_that_are_made_up_are_counted_like_wrong_keys(issuer: Issuer) -> None:
    settings = {"JWT_ISSUER": issuer.url, "JWT_AUDIENCE": "https://ikoma.example/mcp", "AUTH_MAX_FAILURES": "2"}
    with support.server(**settings) as strict:
        codes = [strict.call("platform.info", key=forged(STRANGE[0])).code for _ in range(4)]
        assert codes == ["unauthenticated"] * 3 + ["too_many_failures"]


def test_subjects_that_begin_alike_are_not_one_caller(house: Server, issuer: Issuer) -> None:
    long = "x" * 80
    tokens = [issuer.token(sub=long + end, scope="ikoma:builder") for end in ("", "a", "b")]
    for token in tokens:
        made = house.call("apps.init", {"appName": "jwt-long", "idempotencyKey": "once"}, key=token)
        assert made.status == 200
    begun = [entry for entry in house.audit() if (entry["arguments"] or {}).get("appName") == "jwt-long"]
    assert len({entry["key"] for entry in begun}) == 3
    assert not [entry for entry in begun if entry["code"] == "replayed"]
    assert {entry["caller"] for entry in begun} == {long}


def test_the_metadata_names_the_issuer(house: Server, issuer: Issuer) -> None:
    import urllib.request

    answer = fetch(urllib.request.Request(f"{house.url}/.well-known/oauth-protected-resource/mcp"))
    assert answer.body["authorization_servers"] == [issuer.url]
    assert "ikoma:operator" in answer.body["scopes_supported"]


def test_an_issuer_that_is_away_is_no_way_in(issuer: Issuer) -> None:
    with support.server(JWT_ISSUER="http://127.0.0.1:9", JWT_AUDIENCE="https://ikoma.example/mcp") as alone:
        refused = alone.call("platform.info", key=issuer.token())
        assert refused.code == "unauthenticated"
        assert "issuer" in refused.body["error"]
        assert alone.call("platform.info").status == 200


@pytest.mark.parametrize("metadata", [{"issuer": "?"}, [], {"jwks_uri": None}, {"jwks_uri": "http://127.0.0.1:9/keys"}])
def test_an_issuer_that_does_not_say_where_its_keys_are_is_named_as_the_reason(metadata: Any) -> None:
    broken = Issuer()
    broken.documents["/.well-known/openid-configuration"] = metadata
    with support.server(JWT_ISSUER=broken.url, JWT_AUDIENCE="https://ikoma.example/mcp") as server:
        refused = server.call("platform.info", key=broken.token())
        assert (refused.status, refused.code) == (401, "unauthenticated")
        assert "issuer" in refused.body["error"]
        assert "the issuer of tokens does not tell its keys" in server.log()
        assert "Traceback" not in server.log()
    broken.server.shutdown()
