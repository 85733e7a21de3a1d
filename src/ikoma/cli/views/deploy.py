"""Deploys and rollbacks: what was done, and what would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, FactList, ItemList, LabelledSentence, Message, Table
from ikoma.cli.words import Size, Span, Time, word_count
from ikoma.kernel.page import Column


def show_deployed(result: Mapping[str, Any]) -> Sequence[Block]:
    details = result.get("details") or {}
    facts = FactList(
        [
            ("release", details.get("release")),
            ("left", details.get("left")),
            ("preview", details.get("preview")),
            ("commit", details.get("commit")),
            ("addresses", details.get("urls")),
            ("services", details.get("services")),
            ("replaced", details.get("replaced")),
            ("image", details.get("image")),
            ("migrations", details.get("migrations")),
            ("database", details.get("database") if isinstance(details.get("database"), str) else None),
            ("backup", details.get("backup")),
            ("downtime", _word_downtime(details)),
            ("ends", Time(details.get("expiresAt"))),
        ]
    )
    warnings = [Message(item, "warning") for item in details.get("warnings") or ()]
    return [Message(result["message"], "good" if result.get("success", True) else "bad"), facts, *warnings]


def show_plan(result: Mapping[str, Any]) -> Sequence[Block]:
    blocks: list[Block] = [
        Message(
            "This is what it would do." if result["valid"] else "It would be refused as it stands.",
            "good" if result["valid"] else "bad",
        )
    ]
    if back := result.get("rollback"):
        blocks += [
            FactList([("back to", back.get("release")), ("database", back.get("database"))]),
            ItemList("lost for good", back.get("lost") or [], "bad"),
            ItemList("migrations that are undone", back.get("undone") or []),
            ItemList("migrations that stay", back.get("stay") or []),
        ]
    changes = [
        (item["service"], item["action"], "; ".join(item.get("reasons") or ())) for item in result.get("changes") or ()
    ]
    if changes:
        blocks.append(Table((Column("service", cut=True), Column("what happens"), Column("why", cut=True)), changes))
    downtime = [(item["service"], item["expected"], item["reason"]) for item in result.get("downtime") or ()]
    if downtime:
        blocks.append(Table((Column("service", cut=True), Column("downtime"), Column("why", cut=True)), downtime))
    blocks.append(ItemList("migrations", [_word_migration(item) for item in result.get("migrations") or ()]))
    blocks.append(ItemList("findings", result.get("findings") or [], "warning" if result["valid"] else "bad"))
    blocks.append(ItemList("other changes", result.get("rest") or []))
    source = result.get("source") or {}
    files = [f"{word}: {path}" for word in ("added", "changed", "removed") for path in source.get(word) or ()]
    if files:
        title = f"source: {word_count(source.get('count', len(files)), 'file')}"
        blocks.append(ItemList(title, files[:20] + ([f"and {len(files) - 20} more"] if len(files) > 20 else [])))
        blocks.append(FactList([("new content", Size(source.get("bytes")))]))
    folders = [(item["path"], item["kind"], item["reason"]) for item in result.get("folders") or ()]
    if folders:
        blocks.append(Table((Column("folder", cut=True), Column("kind"), Column("why", cut=True)), folders))
    blocks.append(FactList([("ports", result.get("ports")), ("route", result.get("route"))]))
    if command := (result.get("next") or {}).get("command"):
        lead = LabelledSentence("next", command)
        if result["valid"] and result["plan"] not in command:
            said = "To try the migrations on a copy first; then deploy with this plan:"
            return [*blocks, Message(""), Message(said), lead, FactList([("plan", result["plan"])])]
        return [*blocks, Message(""), Message(_LEADS[result["valid"]]), lead]
    return [*blocks, Message(""), FactList([("plan", result["plan"])])] if result["valid"] else blocks


_LEADS = {True: "To do exactly this, or to be refused where anything has changed:", False: "What leads on:"}


def _word_downtime(details: Mapping[str, Any]) -> Any:
    milliseconds = details.get("downtimeMs")
    return "none" if milliseconds == 0 else Span(milliseconds)


def _word_migration(item: Mapping[str, Any]) -> str:
    """Sentences below a name, which may be a whole command."""
    said = (*item.get("reasons", ()), *(f"lock: {lock}" for lock in item.get("locks", ())), *item.get("warnings", ()))
    return "\n".join([f"{item['name']}: {'compatible' if item['compatible'] else 'breaking'}", *said])


VIEWS = {
    "deploy.down": show_deployed,
    "deploy.image": show_deployed,
    "deploy.plan": show_plan,
    "deploy.preview": show_deployed,
    "deploy.restart": show_deployed,
    "deploy.rollback": show_deployed,
    "deploy.scale": show_deployed,
    "deploy.up": show_deployed,
}
