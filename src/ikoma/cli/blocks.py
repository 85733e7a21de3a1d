"""The parts of a page of the command line, and how they are laid out: for a person within the width of the
terminal, for a program in lines that are whole.

A view answers with blocks and knows no terminal; `Paper` lays them out and knows no capability.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import combining, east_asian_width

from click import style

from ikoma.cli.words import Phrase, YesNo, choose_colour, clean_lines, write_value
from ikoma.kernel.page import Column

_GAP = 2
_LEAST = 12  # columns that a cut cell keeps
_COMFORT = 26  # columns that a cut cell keeps before others are left out
_COMMAND = re.compile(r"`[^`]+`")
_HELD = "\x1f"
"""Stands for the spaces of a command while lines are broken; texts are clean of it."""
_MARKS = {"good": ("✓", "green"), "warning": ("!", "yellow"), "bad": ("✗", "red"), "": ("", None)}


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence: good, warning, bad, or plain."""

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class LabelledSentence:
    """A sentence behind the word for what it is: error, hint, next, code."""

    word: str
    text: str


@dataclass(frozen=True, slots=True)
class FactList:
    """Names and values, one below the other; what has no value is not shown."""

    pairs: Sequence[tuple[str, Any]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values below the names of their columns."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    empty: str = ""
    """Said instead of a table without rows."""
    narrow: str = "--json has"
    """How what was left out can be seen."""


@dataclass(frozen=True, slots=True)
class ItemList:
    """Sentences below a title, each with a mark."""

    title: str
    items: Sequence[str]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class CheckList:
    """Things that were looked at: well or not, the name, what was seen, and where it is not well what to do."""

    rows: Sequence[tuple[bool | None, str, Any, str]]


@dataclass(frozen=True, slots=True)
class FindingList:
    """Problems of files: where, what, and what to change. `word` is error or warning."""

    word: str
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Raw:
    """Text as it is, whole."""

    text: str | Phrase
    colours: bool = False
    """Whether it is a difference, whose lines have colours by how they begin."""
    quoted: bool = False
    """Whether it is what a container, a build or a statement said: a bar stands before each line."""
    title: str = ""


Block = Message | LabelledSentence | FactList | Table | ItemList | CheckList | FindingList | Raw


@dataclass(frozen=True, slots=True)
class Paper:
    """The terminal, file or pipe that blocks are written on.

    Args:
        people: whether a person reads it: then sizes and times are in words, and lines fit the width.
    """

    people: bool
    width: int = 80
    colour: bool = field(default=False)

    def lay_out(self, blocks: Sequence[Block]) -> list[str]:
        """The lines of a page. A block with a title has an empty line before it."""
        lines: list[str] = []
        before: Block | None = None
        for block in blocks:
            made = list(self._write_lines(block))
            if made and lines and (_stands_apart(block) or (isinstance(before, Table) and isinstance(block, FactList))):
                lines.append("")
            lines += made
            before = block if made else before
        return lines

    def _write_lines(self, block: Block) -> Iterator[str]:
        match block:
            case Message(text, kind):
                yield from self._message(text, kind)
            case LabelledSentence(word, text):
                yield from self._write_sentence(word, text)
            case FactList(pairs, title):
                yield from self._write_facts(pairs, title)
            case Table():
                yield from self._write_table(block)
            case ItemList(title, items, kind):
                yield from self._write_items(title, items, kind)
            case CheckList(rows):
                yield from self._write_checks(rows)
            case FindingList(word, rows):
                yield from self._write_findings(word, rows)
            case Raw():
                yield from self._write_raw(block)

    def _message(self, text: str, kind: str) -> Iterator[str]:
        mark, colour = _MARKS[kind]
        for number, line in enumerate(self._wrap(text, len(mark) + 1 if mark else 0)):
            head = (self._paint(mark, colour) if number == 0 else " ") + " " if mark else ""
            yield head + line

    def _write_sentence(self, word: str, text: str) -> Iterator[str]:
        first, *rest = [text] if word == "next" else self._wrap(text, 7)  # a command is pasted as a whole
        head = self._paint("error:", "red") if word == "error" else self._dim(f"{word}:")
        yield f"{head}{' ' * (6 - len(word))}{first}"
        yield from (f"       {line}" for line in rest)

    def _write_facts(self, pairs: Sequence[tuple[str, Any]], title: str) -> Iterator[str]:
        shown = [(name, value) for name, value in pairs if write_value(value, people=self.people) != ""]
        if not shown:
            return
        if title:
            yield self._write_title(title)
        margin = max(measure_width(name) for name, _ in shown) + _GAP
        for name, value in shown:
            head = self._dim(name) + " " * (margin - measure_width(name))
            lines = self._write_value_lines(value, margin)
            yield head + self._paint(lines[0], choose_colour(value))
            yield from (" " * margin + self._paint(line, choose_colour(value)) for line in lines[1:])

    def _write_value_lines(self, value: Any, margin: int) -> list[str]:
        """A list has a line for each where it does not fit one; a word that is longer than the line stays whole."""
        text = write_value(value, people=self.people)
        if not self.people or margin + measure_width(text) <= self.width:
            return [text]
        if isinstance(value, (list, tuple)):
            return [line for item in value for line in self._write_value_lines(item, margin)]
        return self._wrap(text, margin)

    def _write_table(self, table: Table) -> Iterator[str]:
        if not table.rows:
            if table.empty:
                yield from self._wrap(table.empty, 0)
            return
        if table.title:
            yield self._write_title(table.title)
        cells = [[write_value(value, people=self.people) for value in row] for row in table.rows]
        shown, widths = self._fit(table, cells)
        if shown is None:
            yield from self._write_records(table)
            return
        columns = [table.columns[index] for index in shown]
        names = [column.name.upper() for column in columns]
        yield self._dim(_join(_align(names, widths, columns)))
        for row, texts in zip(table.rows, cells, strict=True):
            placed = [
                _cut(texts[index] or ("" if self.people else "-"), size)
                for index, size in zip(shown, widths, strict=True)
            ]
            aligned = _align(placed, widths, columns)
            yield _join(
                [self._paint(text, choose_colour(row[index])) for text, index in zip(aligned, shown, strict=True)]
            )
        left = [
            column.name for index, column in enumerate(table.columns) if index not in shown and _has_any(cells, index)
        ]
        if left and self.people:
            yield from (self._dim(line) for line in self._wrap(f"Not shown: {', '.join(left)}; {table.narrow}.", 0))

    def _fit(self, table: Table, cells: list[list[str]]) -> tuple[list[int] | None, list[int]]:
        """Choose the columns that are shown and their widths; None where even the few that must be whole do not fit."""
        natural = [
            max(measure_width(column.name), *(measure_width(row[index]) for row in cells))
            for index, column in enumerate(table.columns)
        ]
        everything = list(range(len(table.columns)))
        if not self.people:
            return everything, natural
        shown = [index for index in everything if _has_any(cells, index)]
        while True:
            widths = self._shrink(table, shown, natural, _COMFORT)
            if widths is not None:
                return shown, widths
            spare = [index for index in shown if table.columns[index].spare]
            if not spare:
                break
            shown.remove(spare[-1])
        widths = self._shrink(table, shown, natural, _LEAST)
        return (None, []) if widths is None else (shown, widths)

    def _shrink(self, table: Table, shown: list[int], natural: list[int], least: int) -> list[int] | None:
        """Widths at which the columns fit, the widest that may be cut shrunk first; None where they cannot."""
        widths = {index: natural[index] for index in shown}
        room = self.width - _GAP * (len(shown) - 1)
        while sum(widths.values()) > room:
            able = [index for index in shown if table.columns[index].cut and widths[index] > least]
            if not able:
                return None
            widest = max(able, key=lambda index: widths[index])
            widths[widest] = max(least, widths[widest] - (sum(widths.values()) - room))
        return [widths[index] for index in shown]

    def _write_records(self, table: Table) -> Iterator[str]:
        """Each row as facts: for rows that are wider than the terminal."""
        for number, row in enumerate(table.rows):
            if number:
                yield ""
            yield from self._write_facts(
                [(column.name, value) for column, value in zip(table.columns, row, strict=True)], ""
            )

    def _write_items(self, title: str, items: Sequence[str], kind: str) -> Iterator[str]:
        if not items:
            return
        if title:
            yield self._write_title(title)
        mark, colour = _MARKS[kind] if kind else ("-", None)
        for item in items:
            first, *rest = self._wrap(item, 4)
            yield f"  {self._paint(mark, colour)} {first}"
            yield from (f"    {line}" for line in rest)

    def _write_checks(self, rows: Sequence[tuple[bool | None, str, Any, str]]) -> Iterator[str]:
        margin = max((measure_width(name) for _, name, _, _ in rows), default=0) + 2 + _GAP
        for well, name, seen, remedy in rows:
            mark = {True: "✓", False: "✗", None: "–"}[well]
            head = f"{self._paint(mark, choose_colour(YesNo(well)))} {name.ljust(margin - 2)}"
            said = seen if isinstance(seen, str) else write_value(seen, people=self.people)
            first, *rest = self._wrap(said, margin) or [""]
            yield (head + first).rstrip()
            yield from (" " * margin + line for line in rest)
            for number, line in enumerate(self._wrap(remedy, margin + 2) if remedy else []):
                yield f"{' ' * margin}{' ' if number else self._paint('→', 'yellow')} {line}"

    def _write_findings(self, word: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        colour = "red" if word == "error" else "yellow"
        for row in rows:
            place = f"{row.get('file') or ''}:{row['line']}" if row.get("line") else str(row.get("file") or "")
            head = f"{word}: {place}: " if place else f"{word}: "
            lines = self._wrap(head + str(row.get("problem") or ""), 2)
            yield self._paint(lines[0][: len(word) + 1], colour) + lines[0][len(word) + 1 :]
            yield from (f"  {line}" for line in lines[1:])
            if row.get("fix"):
                lines = self._wrap(f"fix: {row['fix']}", 4)
                yield f"  {self._dim('fix:')}{lines[0][4:]}"
                yield from (f"  {line}" for line in lines[1:])

    def _write_raw(self, block: Raw) -> Iterator[str]:
        if block.title:
            yield self._write_title(block.title)
        text = block.text if isinstance(block.text, str) else write_value(block.text, people=self.people)
        for line in clean_lines(text).splitlines():
            shown = self._write_difference(line) if block.colours else line
            yield f"  {self._dim('|')} {shown}" if block.quoted else shown

    def _write_difference(self, line: str) -> str:
        colours = {"+": "green", "-": "red", "@": "cyan"}
        return self._paint(line, colours.get(line[:1])) if not line.startswith(("+++", "---")) else self._dim(line)

    def _wrap(self, text: str, margin: int) -> list[str]:
        """The lines of a text, beside a margin; words and commands longer than a line stay whole, to be copied."""
        if not self.people:
            return clean_lines(text).splitlines() or [""]
        room = max(self.width - margin, 20)
        lines: list[str] = []
        for part in clean_lines(text).splitlines() or [""]:
            held = _COMMAND.sub(lambda command: command[0].replace(" ", _HELD), part)
            lines += textwrap.wrap(held, room, break_long_words=False, break_on_hyphens=False) or [""]
        return [line.replace(_HELD, " ") for line in lines]

    def _write_title(self, text: str) -> str:
        return style(text, bold=True) if self.colour else text

    def _dim(self, text: str) -> str:
        return style(text, dim=True) if self.colour and text.strip() else text

    def _paint(self, text: str, colour: str | None) -> str:
        return style(text, fg=colour) if self.colour and colour and text.strip() else text


def _stands_apart(block: Block) -> bool:
    match block:
        case FactList(_, title) | ItemList(title):
            return bool(title)
        case Raw():
            return bool(block.title) or not block.quoted
        case FindingList() | Table():
            return True
        case _:
            return False


def measure_width(text: str) -> int:
    """Count the columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _align(texts: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> list[str]:
    spaces = [" " * (size - measure_width(text)) for text, size in zip(texts, widths, strict=True)]
    return [
        space + text if column.right else text + space
        for text, space, column in zip(texts, spaces, columns, strict=True)
    ]


def _join(cells: Sequence[str]) -> str:
    return (" " * _GAP).join(cells).rstrip()


def _cut(text: str, size: int) -> str:
    if measure_width(text) <= size:
        return text
    while measure_width(text) > size - 1:
        text = text[:-1]
    return f"{text}…"


def _has_any(cells: Sequence[Sequence[str]], index: int) -> bool:
    return any(row[index] for row in cells)
