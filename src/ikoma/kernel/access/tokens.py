"""Tokens of an outside issuer, taken besides API keys where JWT_ISSUER is set: checked here, made elsewhere.

A token is taken when its signature fits one of the issuer's published keys, it is for this server, and has not
ended. Its scopes `ikoma:observer` … `ikoma:admin` say the highest role.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

import jwt

from ikoma.errors import Unauthenticated
from ikoma.kernel.access.caller import Caller
from ikoma.model import Role

log = logging.getLogger("ikoma")

_ALGORITHMS = {
    "RSA": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    "EC": ["ES256", "ES384", "ES512"],
    "OKP": ["EdDSA"],
}
"""Algorithms by type of key: the token's own word for it is a stranger's."""
_SECONDS = 5.0
_LEEWAY = 30
_SCOPE = "ikoma:"
_LONGEST = 80


class Tokens:
    """Checks tokens of one issuer.

    Args:
        audiences: tells what `aud` may hold.
        jwks_url: where the issuer's keys are; its metadata says when left out.
    """

    def __init__(self, issuer: str, audiences: Callable[[], Sequence[str]], jwks_url: str | None) -> None:
        self._issuer = issuer
        self._audiences = audiences
        self._jwks_url = jwks_url
        self._keys: jwt.PyJWKClient | None = None

    @staticmethod
    def is_token(key: str) -> bool:
        """Whether this is a token at all: API keys hold no dots."""
        return key.count(".") == 2 and key.startswith("ey")

    def identify_caller(self, token: str) -> Caller:
        """The caller whose token this is. May ask the issuer for its keys: call it in a thread.

        Raises:
            Unauthenticated: without saying what is wrong with it.
        """
        try:
            keys = self._keys = self._keys or jwt.PyJWKClient(self._find_keys_url(), timeout=_SECONDS, cache_keys=True)
            key = keys.get_signing_key_from_jwt(token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=_ALGORITHMS.get(key.key_type or "", []),
                issuer=self._issuer,
                audience=self._audiences(),
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWKClientConnectionError, OSError) as error:
            raise _explain_missing_keys(error) from error
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated("This token is not valid.") from error
        role = _read_role(claims)
        if role is None:
            raise Unauthenticated("This token has no scope of IKOMA.", hint="Ask for a scope such as ikoma:operator.")
        subject = str(claims["sub"])
        return Caller(id=self._name_subject(subject), name=subject[:_LONGEST], role=role)

    def _name_subject(self, subject: str) -> str:
        """An id that no two subjects share."""
        if len(subject) <= _LONGEST:
            return f"jwt:{self._issuer}:{subject}"
        return f"jwt:{self._issuer}#{hashlib.sha256(subject.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def _find_keys_url(self) -> str:
        if self._jwks_url:
            return self._jwks_url
        metadata = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            with urllib.request.urlopen(metadata, timeout=_SECONDS) as answer:  # noqa: S310 - settings allow https only
                where = json.load(answer)["jwks_uri"]
            if not isinstance(where, str):
                raise TypeError("jwks_uri is no text")
            return where
        except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError) as error:
            raise _explain_missing_keys(error) from error


def _explain_missing_keys(error: Exception) -> Unauthenticated:
    log.warning("the issuer of tokens does not tell its keys: %s: %s", type(error).__name__, error)
    return Unauthenticated(
        "Tokens cannot be checked: their issuer does not tell its keys.",
        hint="Use an API key, or have the server's admin look at JWT_ISSUER and the issuer.",
    )


def _read_role(claims: dict[str, Any]) -> Role | None:
    given = claims.get("scope") or claims.get("scp") or []
    scopes = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    roles = [role for role in Role if f"{_SCOPE}{role}" in scopes]
    return max(roles, default=None)
