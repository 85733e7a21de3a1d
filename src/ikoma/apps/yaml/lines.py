"""Finds the place in an app's own compose files of a part of the resolved model.

Compose merges files, takes in others, and lets services extend one another. A finding is about what came of it; a
person mends the line that said so, in the file that it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from ikoma.apps.yaml.form import parse_documents

Place = tuple[str | int, ...]

_MERGE = "tag:yaml.org,2002:merge"
_AFRESH = ("!reset", "!override")
_DEEPEST = 40
_MOST_STEPS = 20
_LINE = re.compile(r"\bline:? (\d+)|\bat L(\d+)\.C\d+")
_STEP = re.compile(r"[.\[\]]+")
_RANGE = re.compile(r"(?<!\d)(\d{1,5})-(\d{1,5})(?:/\w+)?$")
_MOUNT = re.compile(r":(/[^:]*)(?::[^:/]*)?$")


@dataclass(frozen=True, slots=True)
class Parts:
    """The compose files of an app, and how they make one.

    Args:
        merged: those that are merged, the later over the earlier.
        included: those that `include` takes in.
        extended: (file, what its `extends` names) → the file that is meant.
    """

    merged: Sequence[str]
    included: Sequence[str] = ()
    extended: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Found:
    """The nearest part of a file to a place: how many steps of the place lead to it."""

    depth: int
    file: str
    node: yaml.Node
    line: int


class Source:
    """An app's compose files as they are written, and where their parts stand.

    Args:
        name: the file that findings about all of it are of.
        more: the others that are read with it, by name.
    """

    def __init__(
        self, name: str, content: bytes, more: Mapping[str, bytes] | None = None, parts: Parts | None = None
    ) -> None:
        self.name = name
        self.texts = {name: content.decode(errors="replace")}
        self.texts |= {file: text.decode(errors="replace") for file, text in (more or {}).items()}
        self._parts = parts or Parts((name,))
        self._roots = {file: root for file, text in self.texts.items() if (root := _read_root(text)) is not None}
        self._known: dict[int, dict[str, tuple[yaml.Node, yaml.Node]]] = {}

    @property
    def text(self) -> str:
        """The text of the first file."""
        return self.texts[self.name]

    def locate(self, *place: str | int) -> tuple[str, int | None]:
        """The file and the line, from 1, of a place such as ("services", "web", "ports", 0), or of the nearest part."""
        found = self._find_item(place) or self._find_nearest(place)
        return (found.file, found.line) if found else (self.name, None)

    def find_line(self, *place: str | int) -> int | None:
        """The line of a place in the first file."""
        found = self._find_in_file(self.name, place)
        return found.line if found else None

    def find_line_in(self, file: str, *place: str | int) -> int | None:
        """The line of a place in one file, as it stands there."""
        found = self._find_in_file(file, place)
        return found.line if found else None

    def locate_message(self, message: str) -> tuple[str, int | None]:
        """The line or file that a message of Compose's names; else the first file."""
        file = max((name for name in self.texts if f"/{name}:" in message), key=len, default=self.name)
        found = _LINE.search(message)
        return (file, int(found[1] or found[2])) if found else (file, None)

    def follow(self, path: str) -> Place:
        """The place that a text such as services.web.ports.0 or services[web].image leads to, as far as it is there."""
        steps = [step for step in _STEP.split(path) if step]
        place: Place = ()
        while steps:
            # Names can have dots in them: the longest that is there is meant.
            known = ((end, step) for end in range(len(steps), 0, -1) for step in _list_meant(".".join(steps[:end])))
            found = next(((end, step) for end, step in known if any(self.find_places_of((*place, step)))), None)
            if found is None:
                break
            place, steps = (*place, found[1]), steps[found[0] :]
        return place

    def find_places_of(self, place: Place) -> Iterator[tuple[str, Place]]:
        """Each file that says something at a place, and where in it that stands."""
        for file in (*self._parts.included, *self._parts.merged):
            yield from self._list_said_in(file, place, 0)

    def locate_text(self, text: str) -> tuple[str, int | None]:
        """The first file and line that hold this text."""
        for file in (*self._parts.merged, *self.texts):
            if (line := self._find_line_with(file, text)) is not None:
                return file, line
        return self.name, None

    def _find_line_with(self, file: str, text: str) -> int | None:
        lines = self.texts.get(file, "").splitlines()
        return next((number for number, line in enumerate(lines, 1) if text in line), None)

    def _list_said_in(self, file: str, place: Place, steps: int) -> Iterator[tuple[str, Place]]:
        own = self._find_own(file, place)
        if own is not None and own.depth == len(place):
            yield file, place
        for further in self._find_extended(file, place):
            if steps < _MOST_STEPS:
                yield from self._list_said_in(*further, steps + 1)

    def _find_nearest(self, place: Place) -> _Found | None:
        """The word that counts of two: the last for a value, the first for what several files add to."""
        best: _Found | None = None
        for file in (*self._parts.included, *self._parts.merged):
            found = self._find_in_file(file, place)
            if found is None or (best is not None and found.depth < best.depth):
                continue
            is_value = found.depth == len(place) and isinstance(found.node, yaml.ScalarNode)
            if best is None or found.depth > best.depth or is_value:
                best = found
        return best

    def _find_item(self, place: Place) -> _Found | None:
        """An item of a list that several files add to."""
        end = next((number for number, step in enumerate(place) if isinstance(step, int)), None)
        if end is None:
            return None
        items: dict[str, _Found] = {}
        for file in (*self._parts.included, *self._parts.merged):
            for afresh, found in self._list_items(file, place[:end], 0):
                if afresh:
                    items.clear()
                items[_name_sameness(place[end - 1], found.node)] = found
        index = place[end]
        assert isinstance(index, int)
        for found in items.values() if index >= 0 else ():
            index -= _count_items(place[end - 1], found.node)
            if index < 0:
                return self._find_below(found.file, found.node, place[end + 1 :], found) or found
        return None

    def _list_items(self, file: str, place: Place, steps: int) -> Iterator[tuple[bool, _Found]]:
        """(whether what came before is left out, item) of a list in one file, those of an extended service first."""
        for further in self._find_extended(file, place):
            if steps < _MOST_STEPS:
                yield from self._list_items(*further, steps + 1)
        found = self._find_own(file, place)
        if found is None or found.depth < len(place) or not isinstance(found.node, yaml.SequenceNode):
            return
        for number, item in enumerate(found.node.value):
            afresh = number == 0 and found.node.tag in _AFRESH
            yield afresh, _Found(len(place) + 1, file, item, item.start_mark.line + 1)

    def _find_in_file(self, file: str, place: Place, steps: int = 0) -> _Found | None:
        found = self._find_own(file, place)
        if found is not None and found.depth == len(place):
            return found
        for further in self._find_extended(file, place):
            other = self._find_in_file(*further, steps + 1) if steps < _MOST_STEPS else None
            if other is not None and (found is None or other.depth > found.depth):
                found = other
        return found

    def _find_extended(self, file: str, place: Place) -> Iterator[tuple[str, Place]]:
        """Find what the service of a place extends, with the place in it."""
        if len(place) < 3 or place[0] != "services":
            return
        own = self._find_own(file, (*place[:2], "extends"))
        if own is None or own.depth < 3:
            return
        if isinstance(own.node, yaml.ScalarNode):
            yield file, ("services", own.node.value, *place[2:])
            return
        said = {key: value.value for key, (_, value) in self._read_pairs(own.node).items()}
        if isinstance(service := said.get("service"), str):
            target = self._parts.extended.get((file, str(said["file"]))) if "file" in said else file
            if target is not None:
                yield target, ("services", service, *place[2:])

    def _find_own(self, file: str, place: Place) -> _Found | None:
        root = self._roots.get(file)
        return None if root is None else self._find_below(file, root, place, None)

    def _find_below(self, file: str, node: yaml.Node, place: Place, found: _Found | None) -> _Found | None:
        for step in place[:_DEEPEST]:
            child = self._find_child(node, step)
            if child is None:
                return found
            key, node = child
            found = _Found(1 if found is None else found.depth + 1, file, node, key.start_mark.line + 1)
        return found

    def _find_child(self, node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
        if isinstance(node, yaml.MappingNode):
            return self._read_pairs(node).get(str(step))
        if not isinstance(node, yaml.SequenceNode):
            return None
        if isinstance(step, int):
            return (node.value[step], node.value[step]) if 0 <= step < len(node.value) else None
        named = (item for item in node.value if isinstance(item, yaml.ScalarNode) and _is_step(item.value, step))
        return next(((item, item) for item in named), None)

    def _read_pairs(self, node: yaml.Node) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Read a mapping, merged ones included."""
        if id(node) in self._known or not isinstance(node, yaml.MappingNode):
            return self._known.get(id(node), {})
        self._known[id(node)] = {}  # one that merges itself has nothing more
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.tag != _MERGE:
                own[key.value] = key, value
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                merged = {**self._read_pairs(source), **merged}
        self._known[id(node)] = {**merged, **own}
        return self._known[id(node)]


def _read_root(text: str) -> yaml.Node | None:
    """The first document; None where YAML can't be read: Compose's own error then says what is wrong."""
    try:
        return next(iter(parse_documents(text)), None)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None


def _list_meant(name: str) -> list[str | int]:
    return [name, int(name)] if name.isdigit() else [name]


def _is_step(item: str, step: str) -> bool:
    """Whether an item of a list such as A=1 is what a mapping has under this key."""
    return item == step or item.startswith((f"{step}=", f"{step}:"))


def _count_items(key: str | int, node: yaml.Node) -> int:
    """Count what Compose makes of one item: a range of ports is so many."""
    found = _RANGE.search(node.value) if key == "ports" and isinstance(node, yaml.ScalarNode) else None
    return max(1, int(found[2]) - int(found[1]) + 1) if found else 1


def _name_sameness(key: str | int, node: yaml.Node) -> str:
    """Tell what makes two items of such a list one, of which the later counts."""
    if key == "volumes":
        if isinstance(node, yaml.MappingNode):
            said = {name.value: value.value for name, value in node.value if isinstance(name, yaml.ScalarNode)}
            return str(said.get("target"))
        found = _MOUNT.search(str(node.value))
        return found[1] if found else str(node.value)
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return f"{node.start_mark.line}:{node.start_mark.column}:{id(node)}"
