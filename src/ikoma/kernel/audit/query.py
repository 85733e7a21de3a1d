"""Entries of the audit log for who asks for them: the last that fit, from as few files as hold them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ikoma.kernel.audit.files import list_rotated, parse_entry

_NEEDED = {"timestamp", "capability", "arguments", "caller", "result"}
_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("timestamp", "capability", "result"), (str,)),
    **dict.fromkeys(("caller", "role", "code"), (str, type(None))),
    "arguments": (dict,),
    "duration": (int, float, type(None)),
}


def read_last(
    path: Path, limit: int, wanted: Callable[[dict[str, Any]], bool], since: str | None = None
) -> tuple[list[dict[str, Any]], int]:
    """The last entries that are wanted, oldest first, and how many lines that were read are no entries.

    Reads whole files, the newest first: run it in a thread.

    Args:
        since: a timestamp before which none is wanted; files that end before it are not read.
    """
    found: list[dict[str, Any]] = []
    odd = 0
    for file in (path, *reversed(list_rotated(path))):
        earlier, skipped = _read_last_of(file, limit - len(found), wanted)
        found, odd = [*earlier, *found], odd + skipped
        if len(found) >= limit or (since is not None and _read_begin(file) < since):
            break
    return found, odd


def _read_begin(path: Path) -> str:
    """The time of a file's first entry; late enough for everything where that cannot be said."""
    try:
        with path.open("rb") as stream:
            begins = (parse_entry(stream.readline()) or {}).get("timestamp")
            return begins if isinstance(begins, str) else "~"
    except FileNotFoundError:
        return "~"


def _read_last_of(path: Path, limit: int, wanted: Callable[[dict[str, Any]], bool]) -> tuple[list[dict[str, Any]], int]:
    odd = 0
    found: deque[dict[str, Any]] = deque(maxlen=limit)
    try:
        with path.open("rb") as stream:
            for line in stream:
                entry = parse_entry(line)
                if entry is None or not _is_entry(entry):
                    odd += 1
                elif wanted(entry):
                    found.append(entry)
    except FileNotFoundError:
        return [], 0
    return list(found), odd


def _is_entry(entry: Mapping[str, Any]) -> bool:
    """Whether it is what it should be where readers rely on it: whoever may write the log may put anything there."""
    return entry.keys() >= _NEEDED and all(isinstance(entry.get(name), kinds) for name, kinds in _KINDS.items())
