"""Keys to an app's repositories: deploy keys that are made here, and tokens that were given.

They are the app's own, in its `.ikoma` folder, for its owner alone. Each is for a host, or for one place on it
(`github.com/you/shop`): the longest that fits is used. Nothing but the public half of a key ever leaves.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ikoma.app_folder import App, list_folder
from ikoma.apps.source.url import SourceUrl
from ikoma.durable import make_folder, write_file
from ikoma.model import ParsedText, Secret

FILE = "source-tokens.json"
_KEYS = "source-keys"
_USERS = {"bitbucket.org": "x-token-auth", "gitlab.com": "oauth2"}
_USER = "x-access-token"


class SourcePlace(ParsedText):
    """A git host, or a repository or group on it: what a key or token is for."""

    pattern = re.compile(
        r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?(/(?!\.{1,2}(/|$))[A-Za-z0-9_.~+-]{1,100}){0,10}"
    )
    advice = "a host such as github.com, or a repository on it such as github.com/you/shop"
    example = "github.com"

    def holds(self, url: SourceUrl) -> bool:
        """Whether a repository is at this place, or below it."""
        host, _, path = self.partition("/")
        if host not in (url.host, f"{url.host}:{url.port}"):
            return False
        return not path or url.repository == path.removesuffix(".git") or url.repository.startswith(f"{path}/")


@dataclass(frozen=True, slots=True)
class SourceToken:
    secret: Secret
    user: str | None = None

    def make_header(self, url: SourceUrl) -> str:
        """Make the header that carries the token."""
        user = self.user or _USERS.get(url.host, _USER)
        return "Basic " + base64.b64encode(f"{user}:{self.secret.reveal()}".encode()).decode()


@dataclass(frozen=True, slots=True)
class SourceAccess:
    """Keys and tokens, and the place that each opens. `given` came with a call, for that call's repository alone."""

    tokens: Mapping[str, SourceToken] = field(default_factory=dict)
    keys: Mapping[str, Path] = field(default_factory=dict)
    given: tuple[SourceUrl, Secret] | None = None

    def find_token(self, url: SourceUrl) -> SourceToken | None:
        """Find the token for a repository over https."""
        if self.given is not None and self.given[0].origin == url.origin:
            return SourceToken(self.given[1])
        place = _find_nearest(self.tokens, url)
        return None if place is None else self.tokens[place]

    def find_key(self, url: SourceUrl) -> Path | None:
        """Find the private key for a repository over ssh."""
        place = _find_nearest(self.keys, url)
        return None if place is None else self.keys[place]

    @property
    def secrets(self) -> list[Secret]:
        """Secrets that no message may quote."""
        return [*(token.secret for token in self.tokens.values()), *([self.given[1]] if self.given else [])]


def read(app: App, given: tuple[SourceUrl, Secret] | None = None) -> SourceAccess:
    """Read what opens an app's repositories now."""
    keys = {path.name.replace("%", "/"): path for path in list_folder(app.state / _KEYS) if path.name[0] != "."}
    return SourceAccess(read_tokens(app), keys, given)


def read_tokens(app: App) -> dict[str, SourceToken]:
    stored = app.read_state(FILE, dict[str, Any]) or {}
    return {place: SourceToken(Secret(item["token"]), item.get("user")) for place, item in stored.items()}


def keep_token(app: App, place: SourcePlace, token: SourceToken | None) -> list[str]:
    """Keep a token for a place, or forget it (None); the places that there are tokens for."""
    known = (
        {**read_tokens(app), str(place): token}
        if token
        else {at: it for at, it in read_tokens(app).items() if at != place}
    )
    stored = {at: {"token": item.secret.reveal(), "user": item.user} for at, item in known.items() if item}
    write_file(app.make_state() / FILE, orjson.dumps(stored), mode=0o600)
    return sorted(stored)


def obtain_public_key(app: App, place: SourcePlace, *, anew: bool = False) -> tuple[str, bool]:
    """The public half of the app's key for a place, which is made where there is none; whether it was made now."""
    # Large, and few servers have keys.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_ssh_private_key,
    )

    make_folder(app.make_state() / _KEYS, 0o700)
    path = _find_key_file(app, place)
    is_new = anew or not path.is_file()
    if is_new:
        made = Ed25519PrivateKey.generate()
        write_file(path, made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), mode=0o600)
    private = load_ssh_private_key(path.read_bytes(), None)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return f"{public} ikoma:{app.name}", is_new


def has_key(app: App, place: SourcePlace) -> bool:
    """Whether there is a key of the app for a place."""
    return _find_key_file(app, place).is_file()


def _find_key_file(app: App, place: SourcePlace) -> Path:
    return app.state / _KEYS / place.replace("/", "%")


def _find_nearest(places: Mapping[str, object], url: SourceUrl) -> str | None:
    fitting: Sequence[str] = [place for place in places if SourcePlace(place).holds(url)]
    return max(fitting, key=len, default=None)
