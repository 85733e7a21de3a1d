"""Differences between the files of two releases, line by line: the compose files as they were written, and the source.

Values of variables never stand in it: in compose files they are hidden before anything is compared, as are secrets of
either release. It is bounded in length, and in the work that it takes.
"""

from __future__ import annotations

import difflib
import posixpath
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ikoma.app_folder import App
from ikoma.apps.deploying.release_files import ReleaseFiles, is_below
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.secrets import app_secrets
from ikoma.apps.snapshots.manifest import SnapshotEntry
from ikoma.kernel.redaction.redaction import HIDDEN, list_encodings, redact, select_certain
from ikoma.model import FilePath, Secret, make_printable
from ikoma.readable import decode_text

_LARGEST = 256 << 10
"""Bytes of a file whose lines are compared."""
_MOST_PAIRS = 4_000_000
"""The most lines that are compared with each other; beyond that all that differs is one change."""
_LONGEST_LINE = 2000
_SECONDS = 5.0
_HOLD_VARIABLES = ("environment", "args", "labels", "annotations")
_OF_VARIABLES = re.compile(r"(^|.*\.)env(\..*|$)")
"""Names of files that hold variables."""
_NAME = re.compile(r"\s*#?\s*(?:export\s+)?[\w.-]+\s*[=:]")
_NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class ChangedVariables:
    """Names of variables whose values are others; sorted."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def compare_variables(app: App, old: Release, new: Release) -> ChangedVariables:
    """Compare the variables of `.env`, of the call and of each service's `environment`."""
    before, after = _collect_variables(app, old), _collect_variables(app, new)
    return ChangedVariables(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(sorted(name for name in after.keys() & before.keys() if before[name] != after[name])),
        removed=tuple(sorted(before.keys() - after.keys())),
    )


def compare_files(app: App, old: Release, new: Release, *, path: FilePath | None, limit: int) -> tuple[str, bool]:
    """Unified differences, and whether there are more than are shown.

    Args:
        path: a file or folder; all when None.
        limit: the most characters.
    """
    before, after = ReleaseFiles(app, old), ReleaseFiles(app, new)
    known = [
        *app_secrets.find_of_app(app),
        *app_secrets.find_of_release(app, old),
        *app_secrets.find_of_release(app, new),
    ]
    names = [name for name in {**before.entries, **after.entries} if is_below(name, path)]
    names = [name for name in names if name != app.runbook.name]  # each deploy writes it anew
    names.sort(key=lambda name: (name not in before.texts and name not in after.texts, name))
    ends, size = time.monotonic() + _SECONDS, 0
    shown: list[str] = []
    for name in names:
        if not _is_different(before.entries.get(name), after.entries.get(name)):
            continue
        if time.monotonic() > ends:
            return "\n".join(shown), True
        for line in _compare_file(name, before, after, known):
            size += len(line) + 1
            if size > limit:
                return "\n".join(shown), True
            shown.append(line)
    return "\n".join(shown), False


def _collect_variables(app: App, release: Release) -> dict[str, Any]:
    releases = Releases(app)
    found: dict[str, Any] = {name: {"": value} for name, value in releases.read_variables(release).items()}
    for service, item in releases.read_model(release.id).services.items():
        for name, value in item.environment.items():
            found[name] = {**found.get(name, {}), service: value}
    return found


def _is_different(old: SnapshotEntry | None, new: SnapshotEntry | None) -> bool:
    """Whether a file or link is another one. Folders are not told of: what is in them is."""
    old, new = (None if item is None or item.kind == "folder" else item for item in (old, new))
    return (old and old[:5]) != (new and new[:5])


def _compare_file(name: str, before: ReleaseFiles, after: ReleaseFiles, known: Sequence[Secret]) -> Iterator[str]:
    """The lines of one file's difference, with a head that names it."""
    shown = make_printable(name)
    old, new = (files.entries.get(name) for files in (before, after))
    yield f"--- {f'a/{shown}' if old else '/dev/null'}"
    yield f"+++ {f'b/{shown}' if new else '/dev/null'}"
    if old and new and (old.kind, *old[1:4]) != (new.kind, *new[1:4]):
        yield f"# {_describe_entry(old)} → {_describe_entry(new)}"
    texts = [_read_text(files, name) for files in (before, after)]
    if any(text is None for text in texts):
        sizes = " → ".join(f"{item.size} bytes" if item else "nothing" for item in (old, new))
        yield f"# Not shown, since it is no text or too large: {sizes}"
        return
    is_compose = name in before.texts or name in after.texts
    old_text, new_text = (_hide_secrets(name, text or "", known, is_compose=is_compose) for text in texts)
    if old_text == new_text and old and new and old.content != new.content:
        yield "# It differs in values that are not shown."
        return
    yield from _format_difference(old_text, new_text)


def _describe_entry(entry: SnapshotEntry) -> str:
    return f"{entry.kind}, mode {entry.mode:o}, owner {entry.uid}:{entry.gid}"


def _read_text(files: ReleaseFiles, name: str) -> str | None:
    """Read a file's text, "" where there is none; None where it is no text, or too large."""
    entry = files.entries.get(name)
    if entry is None or entry.kind == "folder":
        return ""
    content = files.read_whole(name, _LARGEST)
    return None if content is None or b"\0" in content else decode_text(content, is_part=False)


def _hide_secrets(name: str, text: str, known: Sequence[Secret], *, is_compose: bool) -> str:
    """The text without values of variables where they are known to stand, and without secrets."""
    if is_compose:
        text = hide_values(text)
    elif _OF_VARIABLES.fullmatch(posixpath.basename(name)):
        text = "\n".join(map(_hide_value, text.split("\n")))
    text = redact(text, select_certain(list_encodings(app_secrets.find_in_text(text))))
    return redact(text, list_encodings(known))


def _hide_value(line: str) -> str:
    """A line of a file of variables without the value, or the part of one, that stands in it."""
    if found := _NAME.match(line):
        return f"{found[0]}{HIDDEN}"
    return line if not line.strip() or line.lstrip().startswith("#") else HIDDEN


def hide_values(text: str) -> str:
    """A compose file without the values of its variables, labels and build arguments; names stay.

    Where it cannot be read as YAML nothing of it is shown.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return "# This file cannot be read.\n"
    spans = sorted({span for node in _find_holders(root) for span in _find_spans(node, text)}, reverse=True)
    for begin, end in spans:
        text = f"{text[:begin]}{HIDDEN}{text[end:]}"
    return text


def _find_holders(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """Find the nodes that hold variables, wherever they stand."""
    pending, seen = [root], set()
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                pending.append(value)
                if key.value in _HOLD_VARIABLES:
                    yield value
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value


def _find_spans(node: yaml.Node, text: str) -> Iterator[tuple[int, int]]:
    """Find the places of values: of NAME: VALUE, and behind the = of NAME=VALUE."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "<<":
                yield from _find_merged_spans(value, text)
            elif isinstance(value, yaml.ScalarNode) and value.start_mark.index < value.end_mark.index:
                yield value.start_mark.index, _find_end(value, text)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            written = text[item.start_mark.index : item.end_mark.index]
            if isinstance(item, yaml.ScalarNode) and "=" in written:
                yield item.start_mark.index + written.index("=") + 1, _find_end(item, text)


def _find_merged_spans(node: yaml.Node, text: str) -> Iterator[tuple[int, int]]:
    for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if isinstance(item, yaml.MappingNode):
            for _, value in item.value:
                if isinstance(value, yaml.ScalarNode) and value.start_mark.index < value.end_mark.index:
                    yield value.start_mark.index, _find_end(value, text)


def _find_end(node: yaml.Node, text: str) -> int:
    """Find the end of a scalar: one of several lines keeps its last line break."""
    end: int = node.end_mark.index
    while end > node.start_mark.index and text[end - 1] in "\n ":
        end -= 1
    return end


def _format_difference(old: str, new: str) -> Iterator[str]:
    before, after = _split_lines(old), _split_lines(new)
    first = next((n for n, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), None)
    begin = min(len(before), len(after)) if first is None else first
    end = 0
    while end < min(len(before), len(after)) - begin and before[-1 - end] == after[-1 - end]:
        end += 1
    gone, come = before[begin : len(before) - end], after[begin : len(after) - end]
    if len(gone) * len(come) > _MOST_PAIRS:
        yield f"@@ -{begin + 1},{len(gone)} +{begin + 1},{len(come)} @@"
        lines: Iterator[str] = iter([*(f"-{line}" for line in gone), *(f"+{line}" for line in come)])
    else:
        lines = iter(list(difflib.unified_diff(before, after, lineterm=""))[2:])
    for line in lines:
        yield line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"


def _split_lines(text: str) -> list[str]:
    if not text:
        return []
    lines = text.split("\n")
    return lines[:-1] if not lines[-1] else [*lines[:-1], f"{lines[-1]}\n{_NO_NEWLINE}"]
