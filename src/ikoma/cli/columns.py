"""Lays out a result by the columns and facts that stand beside it in its capability's file: see kernel/page.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, FactList, ItemList, Message, Raw, Table
from ikoma.cli.words import Size, State, Time
from ikoma.kernel.page import Fact, ResultPage


def lay_out(page: ResultPage, result: Mapping[str, Any], say: Callable[[str], str]) -> Sequence[Block]:
    """The blocks of a page.

    Args:
        say: words a sentence that names capabilities.
    """
    blocks: list[Block] = []
    if page.says:
        words = {name: yes if result.get(name) else no for name, (yes, no) in page.either.items()}
        blocks.append(Message(page.says.format_map({**result, **words}), "" if page.is_plain else "good"))
    if page.facts:
        blocks.append(FactList([(fact.name, _word_fact(fact, result)) for fact in page.facts]))
    if page.text:
        text = result[page.text]
        blocks.append(Raw(text if isinstance(text, str) else "\n".join(text)))
    blocks += [ItemList(title, result.get(name) or []) for title, name in page.lists.items()]
    if page.rows:
        rows = [[_word_fact(column, row) for column in page.columns] for row in result[page.rows]]
        blocks.append(Table(page.columns, rows, empty=say(page.empty)))
    warnings = [*(result.get("warnings") or ()), *([page.warning] if page.warning else [])]
    return [*blocks, *(Message(warning, "warning") for warning in warnings)]


def choose_address(urls: Sequence[str] | None) -> str | None:
    """The address that people use: a domain's before that of a port."""
    return min(urls, key=lambda url: ("127.0.0.1" in url, ".localhost" in url), default=None) if urls else None


def join_lines(text: str | None) -> str:
    return " ".join((text or "").split())


_WORDED: Mapping[str, Callable[[Any], Any]] = {
    "address": choose_address,
    "line": join_lines,
    "size": Size,
    "state": State,
    "time": Time,
}


def _word_fact(fact: Fact, of: Mapping[str, Any]) -> Any:
    values = (_find_field(of, name) for name in (fact.field or fact.name).split("|"))
    value = next((value for value in values if value not in (None, "", [])), fact.empty or None)
    if fact.also and of.get(fact.also):
        value = f"{value} ({fact.also})"
    return _WORDED[fact.kind](value) if fact.kind else value


def _find_field(of: Any, path: str) -> Any:
    for name in path.split("."):
        of = (of or {}).get(name)
    return of
