"""Tokens of an outside issuer, taken besides API keys where JWT_ISSUER is set: checked here, made elsewhere.

A token is taken when its signature fits one of the issuer's published keys, it is for this server, and has not
ended. Its scopes `ikoma:observer` … `ikoma:admin` say the highest role.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import jwt

from ikoma.errors import Unauthenticated
from ikoma.kernel.callers import Caller
from ikoma.model import Role

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_SECONDS = 5.0
_LEEWAY = 30
_SCOPE = "ikoma:"


class Tokens:
    """Checks tokens of one issuer.

    Args:
        audience: what `aud` must hold.
        jwks_url: where the issuer's keys are; its metadata says when left out.
    """

    def __init__(self, issuer: str, audience: str, jwks_url: str | None) -> None:
        self._issuer = issuer
        self._audience = audience
        self._jwks_url = jwks_url
        self._keys: jwt.PyJWKClient | None = None

    @staticmethod
    def looks_like_one(key: str) -> bool:
        """Whether this is a token at all: API keys hold no dots."""
        return key.count(".") == 2 and key.startswith("ey")

    def caller(self, token: str) -> Caller:
        """Whose token it is. May ask the issuer for its keys: call it in a thread.

        Raises:
            Unauthenticated: without saying what is wrong with it.
        """
        try:
            keys = self._keys = self._keys or jwt.PyJWKClient(self._where(), timeout=_SECONDS, cache_keys=True)
            claims: dict[str, Any] = jwt.decode(
                token,
                keys.get_signing_key_from_jwt(token).key,
                algorithms=_ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, OSError, ValueError) as error:
            raise Unauthenticated("This token is not valid.") from error
        role = _role(claims)
        if role is None:
            raise Unauthenticated("This token has no scope of IKOMA.", hint="Ask for a scope such as ikoma:operator.")
        subject = str(claims["sub"])[:80]
        return Caller(id=f"jwt:{self._issuer}:{subject}", name=subject, role=role)

    def _where(self) -> str:
        if self._jwks_url:
            return self._jwks_url
        metadata = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        with urllib.request.urlopen(metadata, timeout=_SECONDS) as answer:  # noqa: S310 - settings allow https only
            return str(json.load(answer)["jwks_uri"])


def _role(claims: dict[str, Any]) -> Role | None:
    given = claims.get("scope") or claims.get("scp") or []
    scopes = given.split() if isinstance(given, str) else [str(item) for item in given]
    roles = [role for role in Role if f"{_SCOPE}{role}" in scopes]
    return max(roles, default=None)
