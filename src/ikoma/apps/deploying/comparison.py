"""The differences between two releases, in lines that a person reads.

Values that may be secret are never quoted: of variables, commands, labels and the like it is only said that they have
changed. What is quoted is what a compose file says openly, less the values of `.env` that it may have been made with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ikoma.apps.database.variables import KEPT_AS
from ikoma.apps.snapshots.manifest import Snapshot
from ikoma.compose.model import ComposeModel
from ikoma.kernel.redaction.redaction import list_encodings, redact, select_certain
from ikoma.model import Secret, make_printable

_QUOTED = frozenset(
    (
        *("image", "ports", "expose", "scale", "restart", "user", "working_dir", "hostname", "container_name", "init"),
        *("mem_limit", "mem_reservation", "memswap_limit", "cpus", "pids_limit", "shm_size", "read_only", "privileged"),
        *("network_mode", "ipc", "pid", "platform", "pull_policy", "stop_signal", "stop_grace_period", "depends_on"),
        *("networks", "volumes", "tmpfs", "cap_add", "cap_drop", "deploy", "profiles"),
    )
)
"""Keys of a service whose values are said: they name things, and hold none."""
_BY_NAME = (KEPT_AS, "build", "environment", "labels", "sysctls", "extra_hosts", "annotations")
"""Keys whose values are mappings of which only names are said."""
_LONGEST = 300
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class ChangedService:
    """A service that both have, and a line for each key that differs."""

    service: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChangedServices:
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[ChangedService, ...]


@dataclass(frozen=True, slots=True)
class ChangedFiles:
    """Paths of source, relative to the app's folder."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def compare_services(before: ComposeModel, after: ComposeModel, secrets: Sequence[Secret]) -> ChangedServices:
    """Compare the services of two resolved models.

    Args:
        secrets: values that no line may hold.
    """
    old, new = before.services, after.services
    hidden = _list_spellings(secrets)
    changed = (
        ChangedService(
            name, tuple(_redact_line(line, hidden) for line in _compare_service(old[name].raw, new[name].raw))
        )
        for name in new
        if name in old
    )
    return ChangedServices(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(item for item in changed if item.lines),
    )


def compare_rest(before: ComposeModel, after: ComposeModel, secrets: Sequence[Secret]) -> tuple[str, ...]:
    """Compare the rest of two models: their x-ikoma blocks, networks, volumes, configs and secrets."""
    lines = list(_compare_by_name("x-ikoma", before.block, after.block, quoted=True))
    for kind in ("networks", "volumes", "configs", "secrets"):
        lines += _compare_by_name(kind, before.raw.get(kind), after.raw.get(kind))
    hidden = _list_spellings(secrets)
    return tuple(_redact_line(line, hidden) for line in lines)


def compare_source(before: Snapshot, after: Snapshot) -> ChangedFiles:
    """Compare the files of two snapshots. Folders are not counted; a changed mode or owner counts."""
    old = {path: entry[:5] for path, entry in before.entries.items() if entry.kind != "folder"}
    new = {path: entry[:5] for path, entry in after.entries.items() if entry.kind != "folder"}
    return ChangedFiles(
        added=tuple(make_printable(path) for path in new if path not in old),
        changed=tuple(make_printable(path) for path in new if path in old and new[path] != old[path]),
        removed=tuple(make_printable(path) for path in old if path not in new),
    )


def _compare_service(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before == after or (key == KEPT_AS and before is None):  # a release of before it was kept
            continue
        if key in _BY_NAME and all(isinstance(value, Mapping | None) for value in (before, after)):
            yield from _compare_by_name(key, before, after)
        elif key in _QUOTED:
            yield f"{key}: {_describe_value(before)} → {_describe_value(after)}"
        else:
            yield f"{key} {_describe_change(*(_ABSENT if value is None else value for value in (before, after)))}"


def _compare_by_name(
    kind: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, *, quoted: bool = False
) -> Iterator[str]:
    old, new = before or {}, after or {}
    for name in sorted({*old, *new}):
        if old.get(name, _ABSENT) != new.get(name, _ABSENT):
            if quoted:
                yield f"{kind}: {name}: {_describe_value(old.get(name))} → {_describe_value(new.get(name))}"
            else:
                yield f"{kind}: {name} {_describe_change(old.get(name, _ABSENT), new.get(name, _ABSENT))}"


def _describe_change(before: Any, after: Any) -> str:
    if before is _ABSENT:
        return "added"
    return "removed" if after is _ABSENT else "changed"


def _describe_value(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _list_spellings(secrets: Sequence[Secret]) -> tuple[str, ...]:
    """Every way in which these may be written in a resolved model, where `$` is `$$`; but words, which names may be."""
    return select_certain(
        list_encodings([*secrets, *(Secret(secret.reveal().replace("$", "$$")) for secret in secrets)])
    )


def _redact_line(line: str, hidden: Sequence[str]) -> str:
    """A line without secrets, and no longer than one reads."""
    clean = redact(line, hidden)
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"
