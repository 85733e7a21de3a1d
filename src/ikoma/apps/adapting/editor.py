"""Changes the text of a compose file where it must be changed, and nowhere else: comments and order stay.

A service is cut out of the text, and lines are put under `x-ikoma:`. What comes out is read again and compared with
what was meant: a file that this cannot be done to is refused, and stays as it is.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import yaml

from ikoma.apps.yaml.form import parse_documents
from ikoma.errors import NotAdaptable

_BLOCK = "x-ikoma"


class ComposeText:
    """The text of one compose file.

    Raises:
        NotAdaptable: it is no mapping in YAML.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._wanted: dict[str, Any] = copy.deepcopy(self._read())

    @property
    def services(self) -> Collection[str]:
        """Names of the services that the text has."""
        return list(self._wanted.get("services") or {})

    def take_out(self, services: Collection[str]) -> None:
        """Take services out, and out of what others wait for."""
        for service in services:
            if service in self.services:
                self._cut("services", service)
                del self._wanted["services"][service]
        for name, described in (self._wanted.get("services") or {}).items():
            for key in ("depends_on", "links"):
                self._leave_out(name, described, key, services)
        self._check()

    def leave_out(self, place: Sequence[str | int], line: int | None = None) -> bool:
        """Take one entry out; False where the text does not have it.

        Args:
            line: the line, from 1, of an item of a list: what a merged list numbers can have another number here.
        """
        parent = self._look_up(place[:-1])
        step = place[-1]
        if isinstance(parent, list) and isinstance(step, int):
            numbers = [number for number in range(len(parent)) if self._find((*place[:-1], number))[1].line + 1 == line]
            if len(numbers) != 1:
                numbers = [step] if step < len(parent) and (line is None or len(numbers) > 1) else []
            if not numbers:
                return False
            step = numbers[0]
        elif not isinstance(parent, dict) or step not in parent:
            return False
        if len(parent) == 1 and len(place) > 3:  # the last entry of a key of a service
            return self.leave_out(place[:-1])
        self._cut(*place[:-1], step)
        del parent[step]
        self._check()
        return True

    def _look_up(self, place: Sequence[str | int]) -> Any:
        """Find the text's value at a place; None where it has none."""
        found: Any = self._wanted
        for step in place:
            try:
                found = found[step]
            except (LookupError, TypeError):
                return None
        return found

    def set_lines(self, lines: Mapping[str, Any]) -> None:
        """Put keys under `x-ikoma:`, in place of those it has."""
        block = self._wanted.get(_BLOCK)
        for key in lines:
            if isinstance(block, dict) and key in block:
                self._cut(_BLOCK, key)
        if block is None and _BLOCK in self._wanted:
            self._cut(_BLOCK)
        self._wanted[_BLOCK] = {**(block or {}), **lines}
        self._insert(lines, is_new=not isinstance(block, dict))
        self._check()

    def _leave_out(self, name: str, described: Any, key: str, services: Collection[str]) -> None:
        """Take services out of a list or mapping of a service that stays."""
        given = described.get(key) if isinstance(described, dict) else None
        if isinstance(given, dict):
            gone = [item for item in given if item in services]
        elif isinstance(given, list):
            gone = [item for item in given if str(item).partition(":")[0] in services]
        else:
            return
        if gone and len(gone) == len(given):
            self._cut("services", name, key)
            del described[key]
            return
        for item in gone:
            self._cut("services", name, key, item if isinstance(given, dict) else given.index(item))
            given.pop(item) if isinstance(given, dict) else given.remove(item)

    def _cut(self, *place: str | int) -> None:
        """Cut the last step of a place out of the text."""
        parent, begin, node = self._find(place)
        if parent.flow_style:
            self._cut_from_flow(parent, begin, node)
        elif len(parent.value) == 1 and len(place) > 1:
            self._cut_all(place)
        else:
            lines = self.text.splitlines(keepends=True)
            del lines[begin.line : self._end(begin, node)]
            self.text = "".join(lines)

    def _cut_all(self, place: Sequence[str | int]) -> None:
        """Leave an empty mapping or list where the only entry of one would be cut out."""
        parent, begin, node = self._find(place)
        lines = self.text.splitlines(keepends=True)
        end = self._end(begin, node)
        indent = " " * begin.column
        lines[begin.line : end] = [f"{indent}{'{}' if isinstance(parent, yaml.MappingNode) else '[]'}{self._newline}"]
        self.text = "".join(lines)

    def _cut_from_flow(self, parent: yaml.CollectionNode, begin: yaml.Mark, node: yaml.Node) -> None:
        entries = [entry if isinstance(entry, tuple) else (entry, entry) for entry in parent.value]
        index = next(number for number, entry in enumerate(entries) if entry[0].start_mark.index == begin.index)
        first, last = begin.index, node.end_mark.index
        if index + 1 < len(entries):
            last = entries[index + 1][0].start_mark.index
        elif index:
            first = entries[index - 1][1].end_mark.index
        self.text = self.text[:first] + self.text[last:]

    def _end(self, begin: yaml.Mark, node: yaml.Node) -> int:
        """The line after the last one of an entry of a block, with the comments that are indented as its content."""
        lines = self.text.splitlines()
        end = max(_find_last_line(node), begin.line) + 1
        following = end
        while following < len(lines) and (not lines[following].strip() or lines[following].lstrip().startswith("#")):
            following += 1
            if lines[following - 1].strip() and _measure_indent(lines[following - 1]) > begin.column:
                end = following
        return end

    def _insert(self, lines: Mapping[str, Any], *, is_new: bool) -> None:
        """Write keys under the block, or with it at the end of the file."""
        root = parse_documents(self.text)[0]
        assert isinstance(root, yaml.MappingNode)
        flow = ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in lines.items())
        if is_new and root.flow_style:
            self._write_at(root.end_mark.index - 1, f'{", " if root.value else ""}"{_BLOCK}": {{{flow}}}')
            return
        if is_new:
            ending = "" if self.text.endswith(("\n", "\r")) or not self.text else self._newline
            self.text += f"{ending}{self._newline}{_BLOCK}:{self._newline}{self._write_lines(lines, 2)}"
            return
        key, block = next(entry for entry in root.value if entry[0].value == _BLOCK)
        if block.flow_style:
            self._write_at(block.start_mark.index + 1, f"{flow}{', ' if block.value else ''}")
            return
        indent = block.value[0][0].start_mark.column
        place = self.text.splitlines(keepends=True)
        place[key.start_mark.line + 1 : key.start_mark.line + 1] = [self._write_lines(lines, indent)]
        self.text = "".join(place)

    def _write_lines(self, lines: Mapping[str, Any], indent: int) -> str:
        return "".join(f"{' ' * indent}{key}: {_write_plain(value)}{self._newline}" for key, value in lines.items())

    def _write_at(self, index: int, text: str) -> None:
        self.text = self.text[:index] + text + self.text[index:]

    @property
    def _newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    def _find(self, place: Sequence[str | int]) -> tuple[yaml.CollectionNode, yaml.Mark, yaml.Node]:
        """The collection that holds the last step of a place, where that begins, and what it is."""
        node: yaml.Node = parse_documents(self.text)[0]
        for number, step in enumerate(place):
            if isinstance(node, yaml.MappingNode):
                entry = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                entry = (node.value[step], node.value[step])
            else:
                entry = None
            if entry is None:
                raise NotAdaptable(f"{self.name} does not say {'.'.join(map(str, place))} in a place of its own.")
            if number == len(place) - 1:
                return node, entry[0].start_mark, entry[1]  # type: ignore[return-value]
            node = entry[1]
        raise AssertionError("a place has a step")

    def _read(self) -> dict[str, Any]:
        try:
            found = yaml.safe_load(self.text)
            parse_documents(self.text)
        except (yaml.YAMLError, RecursionError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise NotAdaptable(f"{self.name} cannot be read as one mapping in YAML.")
        return found

    def _check(self) -> None:
        """See that the text says now what it is meant to say."""
        if _remove_empty(self._read()) != _remove_empty(self._wanted):
            raise NotAdaptable(f"{self.name} is written in a way that cannot be changed without rewriting it.")


def _find_last_line(node: yaml.Node) -> int:
    """The last line, from 0, that a node has anything on."""
    if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style:
        return max(max(_find_last_line(key), _find_last_line(value)) for key, value in node.value)
    if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
        return max(_find_last_line(item) for item in node.value)
    end: yaml.Mark = node.end_mark
    if end.column == 0 and end.line > node.start_mark.line:  # a text in lines of its own
        return int(end.line) - 1
    return int(end.line)


def _measure_indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _write_plain(value: Any) -> str:
    """A value as a person would write it."""
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return json.dumps(value) if isinstance(value, bool | dict) else str(value)


def _remove_empty(found: Mapping[str, Any]) -> dict[str, Any]:
    """The content, where an empty `services` is as good as none."""
    return {key: value for key, value in found.items() if value not in (None, {}, [])}
