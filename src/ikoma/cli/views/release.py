"""Releases: one whole, and what is different between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, FactList, ItemList, Message, Raw, Table
from ikoma.cli.views import shorten_image
from ikoma.cli.words import Size, State, Time, word_count
from ikoma.kernel.page import Column


def show_one(item: Mapping[str, Any]) -> Sequence[Block]:
    source = item.get("source")
    facts = FactList(
        [
            ("release", item["id"]),
            ("state", State(_word_state(item))),
            ("started", Time(item["startedAt"])),
            ("finished", Time(item.get("finishedAt"))),
            ("served", Time(item.get("servedAt"))),
            ("by", item["caller"]),
            ("reason", item.get("reason")),
            ("failed of", item.get("cause")),
            ("it answered", item.get("answerStatus")),
            ("commit", item.get("commit")),
            ("source", word_count(source["files"], "file") if source else None),
            ("its size", Size(source["bytes"]) if source else None),
            ("migrations", item.get("applied")),
            ("backup", item.get("backup")),
            ("domains", item.get("domains")),
            ("variables", item.get("environment")),
            ("pinned", "yes" if item.get("pinned") else None),
        ]
    )
    columns = (Column("service"), Column("containers", right=True), Column("image", cut=True))
    rows = [
        (
            service["name"],
            "runs once" if service.get("oneShot") else service["scale"],
            shorten_image(service.get("image")),
        )
        for service in item.get("services") or ()
    ]
    blocks: list[Block] = [facts]
    if rows:
        blocks.append(Table(columns, rows))
    answer, healthcheck = ((item.get(name) or "").splitlines() for name in ("answer", "healthcheck"))
    for title, lines in (
        ("what its health path answered", answer),
        ("what its healthcheck said last", healthcheck),
        ("what its build said last", item.get("output")),
        ("what its containers said last", item.get("logs")),
    ):
        if lines:
            blocks.append(Raw("\n".join(lines), quoted=True, title=title))
    return blocks


def show_differences(result: Mapping[str, Any]) -> Sequence[Block]:
    blocks: list[Block] = [Message(f"{result['release']} against {result['to']}:")]
    blocks.append(FactList([("new services", result.get("added")), ("gone services", result.get("removed"))]))
    for item in result.get("changed") or ():
        blocks.append(ItemList(f"service {item['service']}", item["changes"]))
    blocks.append(ItemList("outside the services", result.get("rest") or []))
    images = [
        f"{item['service']}: " + " → ".join(shorten_image(item.get(name)) or "none" for name in ("before", "after"))
        for item in result.get("images") or ()
    ]
    blocks.append(ItemList("images", images))
    blocks.append(ItemList("migrations", result.get("migrations") or []))
    blocks.append(ItemList("migrations that only the other had", result.get("migrationsGone") or []))
    variables = result.get("variables") or {}
    names = [f"{word}: {name}" for word in ("added", "changed", "removed") for name in variables.get(word) or ()]
    blocks.append(ItemList("variables", names))
    source = result.get("source") or {}
    files = [f"{word}: {path}" for word in ("added", "changed", "removed") for path in source.get(word) or ()]
    more = source.get("count", 0) - len(files)
    blocks.append(ItemList("source", [*files, f"and {word_count(more, 'more file')}"] if more > 0 else files))
    if result.get("diff"):
        blocks.append(Raw(result["diff"], colours=True))
    if result.get("truncated"):
        blocks.append(Message("There is more: --path shows one file, --limit more characters.", "warning"))
    if (
        all(isinstance(block, (Message, FactList)) or not getattr(block, "items", True) for block in blocks[2:])
        and not images
    ):
        blocks.append(Message("Nothing is different."))
    return blocks


def _word_state(item: Mapping[str, Any]) -> str:
    return f"{item['state']} (current)" if item.get("current") else str(item["state"])


VIEWS = {
    "release.diff": show_differences,
    "release.show": show_one,
}
