"""The state of apps, what validation finds in them, and what an adapted compose file would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, CheckList, FactList, FindingList, ItemList, Message, Raw, Table
from ikoma.cli.columns import choose_address
from ikoma.cli.naming import word_call, write_command_line
from ikoma.cli.words import Phrase, Size, Span, State, Time, word_count, word_label
from ikoma.kernel.page import Column

_LOOKS = {"path": "HTTP path", "http": "HTTP path", "healthPath": "HTTP path"}


def show_list(result: Mapping[str, Any]) -> Sequence[Block]:
    columns = (Column("app"), Column("health"), Column("release", spare=True), Column("address", cut=True))
    rows = [
        (item["name"], State(_word_health(item)), item.get("release"), choose_address(item.get("urls")))
        for item in result["apps"]
    ]
    blocks: list[Block] = [Table(columns, rows, empty="There are no apps yet: `ikoma init APP` makes one.")]
    return [
        *blocks,
        *(Message(f"{item['name']}: {item['trouble']}", "warning") for item in result["apps"] if item.get("trouble")),
    ]


def show_status(result: Mapping[str, Any]) -> Sequence[Block]:
    facts = FactList(
        [
            ("app", result["name"]),
            ("health", State(_word_health(result))),
            ("release", result.get("release")),
            ("database", {True: "yes", False: "none", None: "unknown"}[result.get("dbExists")]),
            ("addresses", result.get("urls")),
            ("watched until", Time((result.get("watch") or {}).get("until"))),
            ("folder", None if result.get("exists", True) else "gone; its containers or its database remain"),
        ]
    )
    columns = (
        Column("service"),
        Column("container", cut=True),
        Column("state"),
        Column("since"),
        Column("image", cut=True, spare=True),
    )
    rows = [
        (item["name"], item["container"], State(_word_state(item)), Time(item.get("createdAt")), item.get("image"))
        for item in result["services"]
    ]
    blocks: list[Block] = [facts]
    if under_way := result.get("operation"):
        step = f": {under_way['step']}" if under_way.get("step") else ""
        blocks.append(
            Message(
                f"`{word_call(under_way['capability'])}` is under way{step} (`ikoma wait {under_way['id']}`)", "warning"
            )
        )
    if watch := result.get("watch"):
        blocks.append(Message(f"It is watched: where it turns unhealthy, {watch['backTo']} serves again."))
    starting = [
        (item["service"], item["container"], State(item.get("health") or item["state"]), item["release"])
        for item in result.get("starting") or ()
    ]
    if starting:
        names = (Column("service"), Column("container", cut=True), Column("state"), Column("release"))
        blocks.append(Table(names, starting, title="starting, and not serving yet"))
    deploy = write_command_line("deploy.up", {"appName": result["name"]})
    empty = "" if starting else f"It has no containers: `{deploy}` makes them."
    return [*blocks, Table(columns, rows, empty=empty, title="services" if rows else "")]


def show_health(result: Mapping[str, Any]) -> Sequence[Block]:
    rows = [
        (look.get("passed"), _LOOKS.get(name, word_label(name)), look.get("details") or "", "")
        for name, look in result["details"].items()
    ]
    kind = {"healthy": "good", "starting": "warning"}.get(result["health"], "bad")
    blocks: list[Block] = [Message(f"It is {result['health']}.", kind), CheckList(rows)]
    if result.get("maintenance"):
        blocks.append(Message("People get a page of maintenance instead of the app.", "warning"))
    if result.get("answer"):
        blocks += [Message("The app answered:"), Raw(result["answer"], quoted=True)]
    return blocks


def show_validation(result: Mapping[str, Any]) -> Sequence[Block]:
    errors, warnings = result["errors"], result["warnings"]
    counted = ", ".join(
        word_count(len(found), word) for found, word in ((errors, "error"), (warnings, "warning")) if found
    )
    if result["valid"]:
        blocks: list[Block] = [Message(f"It can be deployed{f', with {counted}' if counted else ''}.", "good")]
    else:
        blocks = [Message(f"It cannot be deployed: {counted}.", "bad")]
    blocks += [FindingList("error", errors), FindingList("warning", warnings)]
    folders = [(item["path"], item["kind"], item["reason"]) for item in result.get("folders") or ()]
    if folders:
        blocks.append(Table((Column("folder", cut=True), Column("kind"), Column("why", cut=True)), folders))
    waivers = [
        (item["rule"], Time(item["expiresAt"]), item["caller"], item["reason"], item["id"])
        for item in result.get("waivers") or ()
    ]
    if waivers:
        names = (Column("waived rule"), Column("until"), Column("by", cut=True), Column("why", cut=True), Column("id"))
        blocks.append(Table(names, waivers))
    return blocks


def show_adapted(result: Mapping[str, Any]) -> Sequence[Block]:
    """Show what was done, or is to be done now, before the files it is about."""
    if result.get("written"):
        head = Message("It is written.", "good")
    elif result.get("sha256"):
        head = Message("This is what it would become; --write with the SHA-256 below writes it.")
    else:
        return [
            Message("The compose file needs no change for its routes.", "good"),
            ItemList("left as it is", result.get("left") or []),
        ]
    blocks: list[Block] = [head, FactList([("SHA-256", result.get("sha256"))])]
    blocks += [ItemList("changes", result["changes"]), ItemList("left as it is", result.get("left") or [])]
    return [*blocks, *(Raw(item["diff"], colours=True) for item in result["files"])]


def show_import(result: Mapping[str, Any]) -> Sequence[Block]:
    """Show what is to be mended, what becomes of each part, the files that change, and the way back."""
    told = result["details"]
    kind = "bad" if told["left"] else "" if told.get("release") is None else "good"
    blocks: list[Block] = [Message(result["message"], kind), ItemList("to be mended first", told["left"])]
    if told.get("release") is None:
        blocks += _plan_import(told)
    else:
        rows = [f"{name}: {count}" for name, count in (told.get("rows") or {}).items()]
        neither = Span(told.get("waitedMs")) if told.get("waitedMs") else None
        facts = [("release", told["release"]), ("neither answered for", neither), ("addresses", told.get("urls"))]
        blocks += [FactList(facts), ItemList("rows moved", rows)]
    return [
        *blocks,
        ItemList("not taken over", told["notes"]),
        ItemList("the old one again", told.get("startAgain") or []),
        ItemList("the old one gone for good", told.get("removeOld") or []),
    ]


def _plan_import(told: Mapping[str, Any]) -> Sequence[Block]:
    services = [(item["name"], item["becomes"]) for item in told["services"]]
    volumes = [(item["old"], item["new"], Size(item["size"])) for item in told["volumes"]]
    facts = FactList(
        [
            ("project", told["project"]),
            ("its folder", told["folder"]),
            ("variables", ", ".join(told["variables"])),
            ("folders of data", ", ".join(told["folders"])),
            ("ports of the old one", ", ".join(told["ports"])),
            ("held still for about", Span(told["pauseSeconds"] * 1000) if told["pauseSeconds"] else None),
            ("stopped in the end", ", ".join(told["stopped"])),
            ("neither answers for about", Span(told["stopSeconds"] * 1000) if told["stopSeconds"] else None),
        ]
    )
    columns = (Column("volume", cut=True), Column("is copied to", cut=True), Column("size", right=True))
    return [
        facts,
        Table((Column("service"), Column("becomes", cut=True)), services),
        *([Table(columns, volumes)] if volumes else []),
        ItemList("changes", told["changes"]),
        *(Raw(item["diff"], colours=True) for item in told["files"]),
    ]


def show_usage(result: Mapping[str, Any]) -> Sequence[Block]:
    columns = (
        Column("app", cut=True),
        Column("service", cut=True),
        Column("cpu %", right=True),
        Column("memory", right=True),
        Column("of", right=True),
        Column("read", right=True, spare=True),
        Column("written", right=True, spare=True),
    )
    rows = [
        (
            item["app"],
            item["service"],
            f"{item['cpuPercent']:.1f}",
            Size(item["memoryBytes"]),
            Size(item["memoryLimitBytes"] or None),
            Size(item.get("readBytes")),
            Size(item.get("writtenBytes")),
        )
        for item in result["services"]
    ]
    return [Table(columns, rows, empty="No container of an app runs.")]


def show_response(result: Mapping[str, Any]) -> Sequence[Block]:
    """The answer as a person with a browser or curl reads it: the status, the headers, and what came."""
    headers = [f"{name}: {line}" for name, value in result["headers"].items() for line in value.split("\n")]
    body = result["body"] if result["encoding"] == "utf-8" else f"[{result['size']} bytes that are no text]"
    blocks: list[Block] = [
        Raw(Phrase((result["status"], result["url"], Span(result["durationMs"])), between="  ")),
        Raw("\n".join(headers)),
        Raw(body),
    ]
    if result["truncated"]:
        blocks.append(Message(f"It is cut after {word_count(result['size'], 'byte')}; --limit shows more.", "warning"))
    return blocks


def _word_health(item: Mapping[str, Any]) -> str:
    return f"{item['health']} (maintenance)" if item.get("maintenance") else str(item["health"])


def _word_state(item: Mapping[str, Any]) -> str:
    """A container's state in one word, its health first, and its exit code where it has ended."""
    if item.get("exitCode") is not None:
        return f"{item['state']} ({item['exitCode']})" if item["exitCode"] else f"{item['state']}"
    return str(item.get("health") or item["state"])


VIEWS = {
    "apps.adapt": show_adapted,
    "apps.health": show_health,
    "apps.import": show_import,
    "apps.list": show_list,
    "apps.request": show_response,
    "apps.status": show_status,
    "apps.top": show_usage,
    "apps.validate": show_validation,
}
