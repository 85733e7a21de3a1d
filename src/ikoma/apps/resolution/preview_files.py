"""A preview: an app beside another one, made of its files, another ref of its source and a copy of its database.

It is an app like any other, under the name APP--SLUG, with its own containers, volumes, database and route: whatever
can be asked of an app can be asked of it. What only one app can have, it has not: host ports, domains, chosen names and
addresses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import orjson

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.compose.web_service import find_web, pin
from ikoma.durable import write_file
from ikoma.errors import InvalidCompose, NameTooLong
from ikoma.model import AppName

_LONGEST_NAME = 63
_LONGEST_SLUG = 40
_LEAST_SLUG = 10
_MARK = 6


@dataclass(frozen=True, slots=True)
class Preview:
    """The record of a preview. Times are RFC 3339 in UTC."""

    name: str
    of: str
    ref: str
    caller: str
    created_at: str
    expires_at: str
    database: bool = False
    """Whether the copy of the app's database is whole."""

    @property
    def has_expired(self) -> bool:
        return datetime.fromisoformat(self.expires_at).astimezone(UTC) <= datetime.now(UTC)

    def write(self, preview: App) -> None:
        write_file(preview.preview_record, orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2), mode=0o600)


def read(preview: App) -> Preview | None:
    """Read the record of an app as a preview; None where it is not one, or nothing can be made of its record."""
    if preview.name.previewed is None:
        return None
    try:
        found = Preview(**orjson.loads(preview.preview_record.read_bytes()))
        datetime.fromisoformat(found.expires_at)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return found


def name_preview(app: AppName, ref: str) -> AppName:
    """The name of an app's preview of a ref: the same for the same ref, and another for each other one.

    Raises:
        NameTooLong: the app's name leaves no room.
    """
    room = min(_LONGEST_SLUG, _LONGEST_NAME - len(app) - len("--"))
    if room < _LEAST_SLUG:
        raise NameTooLong(f"The name {app} is too long for previews: theirs begin with it.")
    slug = re.sub(r"[^a-z0-9]+", "-", ref.lower()).strip("-")
    if slug != ref or len(slug) > room:  # two refs must not become one name
        mark = hashlib.sha256(ref.encode()).hexdigest()[:_MARK]
        slug = f"{slug[: room - _MARK - 1].rstrip('-')}-{mark}".lstrip("-")
    return AppName.parse(f"{app}--{slug}")


def adapt_for_preview(name: AppName, model: ComposeModel) -> ComposeModel:
    """A resolved model as a preview runs it; that of an app itself stays as it is."""
    if name.previewed is None:
        return model
    with suppress(InvalidCompose):  # said at validation; ports that are gone would tell nothing any more
        model = pin(model, find_web(model))
    result = model.copy_raw()
    for service in result["services"].values():
        service.pop("ports", None)
        service.pop("container_name", None)
        joined = service.get("networks")
        for options in joined.values() if isinstance(joined, Mapping) else ():
            for address in ("ipv4_address", "ipv6_address") if options else ():
                options.pop(address, None)
    for network in (result.get("networks") or {}).values():
        if network and not network.get("external"):
            network.pop("ipam", None)
    for kind in ("networks", "volumes"):
        for key, item in (result.get(kind) or {}).items():
            if item and not item.get("external"):
                item["name"] = f"{name.project}_{key}"
    if isinstance(block := result.get("x-ikoma"), dict):
        for alone in ("domains", "redirects"):
            block.pop(alone, None)
    return parse_model(result)
