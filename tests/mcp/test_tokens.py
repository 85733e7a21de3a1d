"""Tokens of an outside issuer: a real key pair, a real JWKS endpoint, and everything that can be wrong with a token."""

from __future__ import annotations

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
        documents = {
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
            "exp": int(time.time()) + 60,
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
    with support.server(JWT_ISSUER=issuer.url, JWT_AUDIENCE="https://ikoma.example/mcp") as server:
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

    talk(over_http(house, key=token), conversation)
    assert house.audit()[-1]["caller"] == "ann"
    builder = issuer.token(scope=None, scp=["ikoma:builder", "ikoma:observer"])
    assert house.call("apps.init", {"appName": "jwt-x"}, key=builder).status == 200


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
    }
    for what, token in wrong.items():
        assert house.call("platform.info", key=token).code == "unauthenticated", what


def test_the_metadata_names_the_issuer(house: Server, issuer: Issuer) -> None:
    import urllib.request

    answer = fetch(urllib.request.Request(f"{house.url}/.well-known/oauth-protected-resource/mcp"))
    assert answer.body["authorization_servers"] == [issuer.url]
    assert "ikoma:operator" in answer.body["scopes_supported"]


def test_an_issuer_that_is_away_is_no_way_in(issuer: Issuer) -> None:
    with support.server(JWT_ISSUER="http://127.0.0.1:9", JWT_AUDIENCE="https://ikoma.example/mcp") as alone:
        assert alone.call("platform.info", key=issuer.token()).code == "unauthenticated"
        assert alone.call("platform.info").status == 200
