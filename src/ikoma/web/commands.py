"""The command of each capability, as the reference and the documentation show it: with what must be given."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from ikoma.kernel.registry import Capability
from ikoma.kernel.schemas import make_request_schema
from ikoma.web import schemas


def make_example_command(item: Capability) -> str:
    """A command that makes such a call."""
    request, listing = make_request_schema(item.request), item.listing
    given = {
        name: schemas.make_example(name, request["properties"][name], request) for name in request.get("required", ())
    }
    if not listing.verb:
        app = f" --app {given.pop('appName')}" if "appName" in given else ""
        return f"ikoma call {item.name}{app}" + "".join(f" --arg {name}={_quote_word(given[name])}" for name in given)
    placed = (
        ["id", "name", "path", "cron", "source"]
        if listing.by_hand
        else [name for name in given if name not in item.sensitive]
    )
    behind = [name for name in dict.fromkeys(["appName", *placed]) if name not in listing.options]
    words = ["ikoma", listing.verb, *(_quote_word(given.pop(name)) for name in behind if name in given)]
    unseen = [name for name in given if name in item.sensitive]
    for name, value in given.items():
        if listing.by_hand and isinstance(value, list):
            words += ["--", *map(_quote_word, value)]
        elif name not in unseen:
            words += [listing.options.get(name) or _name_flag(name), *([] if value is True else [_quote_word(value)])]
    if len(unseen) == 1:
        return " ".join([*words, "< FILE"])
    return " ".join([*words, *(f"{_name_flag(name)} @FILE" for name in unseen)])


def _quote_word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return shlex.quote(value if isinstance(value, str) else json.dumps(value))


def _name_flag(name: str) -> str:
    return f"--{re.sub('([A-Z])', lambda found: f'-{found[1].lower()}', name)}"
