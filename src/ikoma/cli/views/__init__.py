"""Views of each capability's result for a person: `db.status` is shown by views/db.py.

A result without a view of its own is shown by the page that stands beside it in the capability's file, or else by its
fields' names; `--json` has all of any. Views ask for nothing but what they show, so that a result may get more fields.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ikoma.cli.blocks import Block, FactList, ItemList, Message, Raw, Table
from ikoma.cli.capability_index import read_commands
from ikoma.cli.columns import lay_out
from ikoma.cli.naming import AnswerWording, write_command_line
from ikoma.cli.words import flatten, guess, word_label
from ikoma.kernel.page import Column

View = Callable[[Any], Sequence[Block]]


@dataclass(frozen=True, slots=True)
class ForCall:
    """A view that names commands: it is given the call's arguments too, to name the very app."""

    view: Callable[[Any, Mapping[str, Any]], Sequence[Block]]


def lay_out_result(capability: str, result: Any, given: Mapping[str, Any]) -> Sequence[Block]:
    """The page of a result.

    Args:
        given: the arguments of the call.
    """
    view = _find_views(capability.partition(".")[0]).get(capability)
    known = read_commands().get(capability)
    if isinstance(view, ForCall):
        blocks = [*view.view(result, given)]
    elif view is None and known and known.page and isinstance(result, dict):
        blocks = [*lay_out(known.page, result, AnswerWording(capability, given).word_sentence)]
    else:
        blocks = [*(view or lay_out_fields)(result)]
    says_more = known is not None and known.listing.says_more
    if not says_more and isinstance(result, dict) and result.get("truncated") is True:
        blocks.append(Message("There is more: --limit shows it.", "warning"))
    return blocks


def is_well(capability: str, result: Any) -> bool:
    """Whether the answer is no `no`: a command ends with exit code 1 then."""
    known = read_commands().get(capability)
    if known is None or not known.listing.well or not isinstance(result, dict):
        return True
    name, value = known.listing.well
    return bool(result.get(name) == value)


def lay_out_fields(result: Any) -> Sequence[Block]:
    """A result by the names of its fields: its message, its facts, then what it lists."""
    if isinstance(result, str):
        return [Raw(result)]
    if not isinstance(result, dict):
        return [Raw(str(result))]
    if isinstance(result.get("markdown"), str):
        return [Raw(result["markdown"])]
    blocks: list[Block] = []
    facts = flatten({name: value for name, value in result.items() if name not in ("success", "message")})
    if result.get("message"):
        blocks.append(Message(str(result["message"]), "good"))
    blocks.append(FactList([(word_label(name), guess(name, value)) for name, value in facts if _is_fact(name, value)]))
    for name, value in facts:
        if name == "warnings" and _are_texts(value):
            blocks += [Message(item, "warning") for item in value]
        elif not _is_fact(name, value) and value:
            blocks.append(
                make_table(word_label(name), value) if isinstance(value[0], dict) else ItemList(word_label(name), value)
            )
    return blocks


def make_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Objects as rows, by the names of their fields."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [Column(word_label(name), cut=number > 0, spare=number > 2) for number, name in enumerate(names)]
    return Table(columns, [[guess(name, row.get(name)) for name in names] for row in rows], title)


def shorten_image(name: str | None) -> str | None:
    """A digest alone is shown as Docker does, by its beginning."""
    return name[:19] if name and name.startswith("sha256:") else name


def write_command(capability: str, given: Mapping[str, Any], **more: Any) -> str:
    """The command that makes another call for the same app, ready to be pasted."""
    app = {"appName": given["appName"]} if "appName" in given else {}
    return write_command_line(capability, {**app, **more})


def _is_fact(name: str, value: Any) -> bool:
    if not isinstance(value, list):
        return True
    return name != "warnings" and _are_texts(value) and len(value) <= 8 and all(len(item) <= 60 for item in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


@cache
def _find_views(namespace: str) -> Mapping[str, View | ForCall]:
    name = f"{__name__}.{namespace}"
    if not namespace.isidentifier() or importlib.util.find_spec(name) is None:
        return {}
    found: Mapping[str, View | ForCall] = importlib.import_module(name).VIEWS
    return found
