"""What a person is shown of results that have too much for a line of a terminal; `--json` has all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ikoma.cli.output import tame


def of(capability: str, result: Any) -> Any:
    """The result as a person is shown it."""
    shorten = _BRIEF.get(capability)
    return shorten(result) if shorten else result


def _file(result: Mapping[str, Any]) -> Any:
    """The text itself where all of it is there."""
    return result["content"] if result["encoding"] == "utf-8" and not result["truncated"] else result


def _visit(result: Mapping[str, Any]) -> str:
    """As a browser's or curl's person reads it: the status, the headers, and what came."""
    headers = [f"{name}: {line}" for name, value in result["headers"].items() for line in value.split("\n")]
    unseen = "" if result["encoding"] == "utf-8" else f"[{result['size']} bytes that are no text]"
    rest = f"\n[cut after {result['size']} bytes; --limit shows more]" if result["truncated"] else ""
    took = f"{result['status']}  {result['url']}  {result['durationMs']} ms"
    shown = "\n".join([took, *headers, "", f"{result['body']}{unseen}{rest}"])
    return tame(shown)


def _domains(result: Mapping[str, Any]) -> str:
    """A few lines for each name: sentences fit no table of 80 columns."""
    return "\n\n".join(map(_domain, result["domains"])) or "No domains."


def _domain(item: Mapping[str, Any]) -> str:
    lines = [
        f"{item['name']}  {item['url'] or 'not deployed yet'}  ({item['kind']}, {item['source']})",
        item["pointing"],
    ]
    lines += [f"set at its name server: {item['record']}"] if item["record"] else []
    lines.append(f"certificate: {item['certificate']}")
    lines += [f"the authority said: {tame(item['trouble'])}"] if item["trouble"] else []
    return "\n  ".join(lines)


def _releases(result: Mapping[str, Any]) -> dict[str, Any]:
    rows = [_release(item) for item in result["releases"]]
    return {"releases (* is the current one)" if rows else "releases": rows, "truncated": result["truncated"]}


def _release(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": item["id"],
        "state": f"{item['state']} *" if item["current"] else item["state"],
        "started": item["startedAt"][:16].replace("T", " "),
        "why": " ".join((item["cause"] or item["reason"]).split()),
    }


def _operations(result: Mapping[str, Any]) -> dict[str, Any]:
    return {"operations": [_operation(item) for item in result["operations"]], "truncated": result["truncated"]}


def _operation(item: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"id": item["id"], "state": item["state"], "capability": item["capability"], "app": item["appName"]}
    times = {"started": _minute(item["startedAt"]), "finished": _minute(item["finishedAt"] or "")}
    return {**shown, **times, "caller": item["caller"], "step": item["step"]}


def _minute(timestamp: str) -> str:
    """Month, day, hour and minute: what is listed is of the last days."""
    return timestamp[5:16].replace("T", " ")


def _plan(result: Mapping[str, Any]) -> dict[str, Any]:
    """What concerns a rollback only for one, by short names: the hash is 64 characters, and is copied whole."""
    shown = {"other changes" if name == "rest" else name: value for name, value in result.items()}
    shown["migrations"] = [_migration(item) for item in result.get("migrations", ())]
    if (back := shown.pop("rollback")) is not None:
        shown |= {"back to": back["release"], "database": back["database"], "lost": back["lost"]}
        shown |= {"undone migrations": back["undone"], "staying migrations": back["stay"]}
    return shown


def _migration(item: Mapping[str, Any]) -> str:
    """Sentences below a name, which may be a whole command: no table of 80 columns holds them."""
    said = (*item["reasons"], *(f"lock: {lock}" for lock in item["locks"]), *item["warnings"])
    return "\n- ".join([f"{item['name']}: {'compatible' if item['compatible'] else 'breaking'}", *said])


def _adapted(result: Mapping[str, Any]) -> dict[str, Any]:
    """What was done, or is to be done now, before what it is about."""
    if result["written"]:
        message = "It is written."
    elif result["sha256"]:
        message = "This is what it would become; --write with the sha256 below writes it."
    else:
        message = "The compose file needs no change for its routes."
    return {"message": message, **{name: value for name, value in result.items() if name != "written"}}


_BRIEF: Mapping[str, Callable[[Any], Any]] = {
    "apps.adapt": _adapted,
    "apps.request": _visit,
    "deploy.plan": _plan,
    "domain.list": _domains,
    "files.read": _file,
    "operations.list": _operations,
    "release.list": _releases,
}
