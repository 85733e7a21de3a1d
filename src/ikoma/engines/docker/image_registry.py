"""Asks, through Docker, whether an image is here and whether its registry would give it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiodocker

from ikoma.engines.docker.docker_api import DockerApi
from ikoma.engines.docker.engine_socket import COULD_NOT_CONNECT
from ikoma.engines.docker.readable import make_sentence
from ikoma.errors import EngineUnavailable

_SECONDS = 5.0
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,400}")
_HUB = "https://index.docker.io/v1/"
_NOT_THERE = re.compile(r"not found|manifest unknown|name unknown|no such", re.IGNORECASE)
_REFUSED = re.compile(r"denied|unauthorized|authentication required|forbidden", re.IGNORECASE)
_UNREACHABLE = re.compile(r"dial tcp|no such host|timeout|refused to connect|connection refused|TLS|EOF|proxy")


async def has_image(api: DockerApi, reference: str) -> bool:
    """Whether the image is on this machine."""
    if not _is_reference(reference):
        return False
    async with api.connect() as docker:
        try:
            await docker.images.inspect(reference)
        except aiodocker.DockerError as error:
            if error.status not in (400, 404):
                raise
            return False
    return True


async def check_obtainable(api: DockerApi, reference: str) -> str | None:
    """None when the image's registry would give it, else the reason in one sentence. Few are asked for at a time; each
    takes at most five seconds."""
    if not _is_reference(reference):
        return "its name is not one that an image can have."
    async with api.lookups:
        if not await api.is_there():
            raise EngineUnavailable
        logins = await asyncio.to_thread(_read_logins)
        headers = _make_header(logins, _find_registry(reference))
        try:
            async with asyncio.timeout(_SECONDS), api.connect(None) as docker:
                try:
                    async with docker._query(f"distribution/{reference}/json", headers=headers):
                        return None
                except aiodocker.DockerError as error:
                    if error.status == COULD_NOT_CONNECT:
                        raise
                    return _read_reason(error, asks_others=bool(logins.get("credsStore") or logins.get("credHelpers")))
        except TimeoutError:
            return f"its registry did not answer within {_SECONDS:g} s."


def _is_reference(text: str) -> bool:
    """The reference becomes a part of a URL, so that nothing may be in it that leads elsewhere."""
    return bool(_REFERENCE.fullmatch(text)) and ".." not in text and "//" not in text


def _read_reason(error: aiodocker.DockerError, *, asks_others: bool) -> str | None:
    message = make_sentence(error.message)
    if _UNREACHABLE.search(message):
        return f"its registry cannot be reached: {message}"
    if error.status in (401, 403) or _REFUSED.search(message):
        # A password store may hold a login that Compose will use and this question could not.
        return None if asks_others else "its registry says that there is no such image, or that it takes a login."
    if error.status == 404 or _NOT_THERE.search(message):
        return "its registry has no such image."
    return f"its registry gave no answer: {message}"


def _find_registry(reference: str) -> str:
    first, slash, _ = reference.partition("/")
    return first if slash and (re.search(r"[.:]", first) or first == "localhost") else _HUB


def _read_logins() -> Mapping[str, Any]:
    """The logins that `docker login` wrote for the user who runs this."""
    try:
        logins = json.loads((Path("~").expanduser() / ".docker" / "config.json").read_bytes())
    except (OSError, ValueError, RuntimeError):
        return {}
    return logins if isinstance(logins, dict) else {}


def _make_header(logins: Mapping[str, Any], registry: str) -> dict[str, str | int | bool]:
    entry = (logins.get("auths") or {}).get(registry) or {}
    try:
        user, _, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
    except ValueError:
        return {}
    if not user:
        return {}
    login = {"username": user, "password": password, "serveraddress": registry}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(login).encode()).decode()}
