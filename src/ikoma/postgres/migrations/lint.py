"""Reads migrations before they run: which locks they take, and whether the release before can live with them.

It looks at text alone, never at a database, and never refuses anything. What it cannot judge (DO blocks, procedures)
counts as compatible, with a warning. A person has the last word, in a line of the file: `-- ikoma: breaking` or
`-- ikoma: compatible`. A file that cannot be read is a reason, not an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ikoma.errors import SqlFailed
from ikoma.ports.databases import Migration
from ikoma.postgres.migrations import no_transaction
from ikoma.postgres.migrations.locks import Lock, TableLock, find_locks, merge
from ikoma.postgres.migrations.rules import judge
from ikoma.postgres.migrations.schema import KnownSchema
from ikoma.postgres.migrations.table_rules import LintFinding
from ikoma.postgres.sql import parser, statements
from ikoma.postgres.sql.statements import Statement

__all__ = ["Lock", "MigrationVerdict", "TableLock", "lint", "lint_all"]

_MARKER = re.compile(r"--[ \t\f\v]*ikoma:([^\n\r]*)")
_INSERT = re.compile(r"INSERT\s+INTO\s+([\w.\"$]+)\s*(?:\([^()]*\)\s*)?VALUES\b", re.IGNORECASE)
_DEFINES = re.compile(r"(?:CREATE|ALTER|DROP|SET|RESET|COMMENT)\b", re.IGNORECASE)
_MOST_PARSED = 1 << 20
"""Characters of all statements that are pending, and of those that were applied: a few seconds."""
_EACH = 50
"""Cost of a statement, however short."""
_MOST_IN_TEXTS = 100
_EXPECTED = {
    "": "here: write breaking or compatible",
    no_transaction.MARK: "behind a statement: it stands in the first lines of a file",
}
_TOO_LONG = LintFinding("begins what is too long to be judged", "look at it yourself", breaks=False, unknown=True)


@dataclass(frozen=True, slots=True)
class MigrationVerdict:
    """Judgement of one migration before it runs."""

    name: str
    compatible: bool
    """Whether the previous release can run on the database afterwards."""
    reasons: tuple[str, ...] = ()
    """Why not: one sentence each, with the line, the object and the safer way."""
    locks: tuple[TableLock, ...] = ()
    """The strongest of each table that was there before, the strongest first."""
    warnings: tuple[str, ...] = ()
    """Points for a person to look at, and what a marker overruled."""
    unknown: bool = False
    """Whether there is something in it that could not be judged."""


def lint(sql: str, *, name: str = "migration.sql") -> MigrationVerdict:
    """One migration by itself: tables that it does not make are taken to be there, with columns unknown."""
    return lint_all([Migration.of(name, sql)])[0]


def lint_all(pending: Sequence[Migration], applied: Sequence[Migration] = ()) -> list[MigrationVerdict]:
    """Pending migrations in the order they apply; what an earlier one makes is new to the previous release too.

    A second or more for megabytes of SQL: run it in a thread where others wait.

    Args:
        applied: those that the previous release knows, in order. They tell the types of columns, their defaults and
            what is unique, so that less must be taken for the worst.
    """
    schema, room = KnownSchema(), _Room(_MOST_PARSED)
    for migration in applied:
        _learn(migration, schema, room)
    room = _Room(_MOST_PARSED)
    return [_lint(migration, schema, room) for migration in pending]


@dataclass(slots=True)
class _Room:
    """For how many characters more there is time."""

    left: int

    def has_room_for(self, statement: Statement) -> bool:
        """Whether this statement is parsed."""
        if len(statement.text) > parser.LONGEST_TREE:
            return False
        self.left -= len(statement.text) + _EACH
        return self.left >= 0


def _learn(migration: Migration, schema: KnownSchema, room: _Room) -> None:
    schema.begin(pending=False)
    for statement in statements.split(migration.sql.removeprefix("\ufeff")):
        if _DEFINES.match(statement.text) and room.has_room_for(statement):
            for node, command in split_statement(statement):
                schema.learn(node, command)


def _lint(migration: Migration, schema: KnownSchema, room: _Room) -> MigrationVerdict:
    text = migration.sql.removeprefix("\ufeff")
    try:
        statements.check(migration.name, text)
    except SqlFailed as error:
        return MigrationVerdict(migration.name, False, (f"It cannot be applied: {error.audit_message}",))
    schema.begin(pending=True)
    parts = []
    found: list[tuple[int, LintFinding]] = []
    for statement in _select_unlike(statements.split(text)):
        if room.has_room_for(statement):
            parts += [(statement, *part) for part in split_statement(statement)]
        elif not found:
            found.append((statement.line, _TOO_LONG))
    made = {key for _, node, _ in parts for key in schema.list_created(node)}
    locks: list[TableLock] = []
    outside = no_transaction.is_marked(text)
    for statement, node, command in parts:
        found += [(statement.line, finding) for finding in judge(node, command, schema, made, outside=outside)]
        locks += find_locks(node, command, schema)
        schema.learn(node, command)
    reasons = tuple(_make_sentence(line, finding) for line, finding in found if finding.breaks)
    warnings = tuple(_make_sentence(line, finding) for line, finding in found if not finding.breaks)
    unknown = any(finding.unknown for _, finding in found)
    verdict = MigrationVerdict(migration.name, not reasons, reasons, merge(iter(locks)), warnings, unknown)
    markers = [marker for marker in _find_markers(text) if not (outside and marker == no_transaction.MARK)]
    return _apply_markers(verdict, markers)


def _select_unlike(known: list[Statement]) -> Iterator[Statement]:
    """Without all but the first of the rows for one table: a file of 20,000 INSERTs says one thing 20,000 times."""
    seen = set()
    for statement in known:
        rows = _INSERT.match(statement.text)
        if rows is None or rows[1] not in seen:
            is_long = rows is not None and len(statement.text) > parser.LONGEST_TREE
            yield replace(statement, text=f"{rows[0]} (NULL)") if rows and is_long else statement
        if rows is not None:
            seen.add(rows[1])


def split_statement(statement: Statement) -> Iterator[tuple[Any, Any]]:
    """The statement as the parser reads it; an ALTER TABLE once for each of its commands."""
    from pglast.parser import ParseError

    try:
        nodes: list[Any] = [raw.stmt for raw in parser.parse_tree(statement.text) or ()]
    except ParseError:  # of an applied file, which may have been written for another version
        return
    for node in nodes:
        if type(node).__name__ == "AlterTableStmt":
            yield from ((node, command) for command in node.cmds)
        else:
            yield node, None


def _make_sentence(line: int, finding: LintFinding) -> str:
    return f"Line {line} {finding.what}: {finding.advice}."


# --- a person's word ---------------------------------------------------------------------------------------


def _find_markers(sql: str) -> Iterator[str]:
    """Markers in comments of the form `-- ikoma: …`; what looks like one inside a text or a body is none."""
    begin, in_texts = 0, 0
    for found in _MARKER.finditer(sql):
        if statements.is_outside(sql, begin, found.start()):
            begin = found.end()  # behind a comment nothing is open
            yield found[1].strip()
        elif (in_texts := in_texts + 1) == _MOST_IN_TEXTS:
            return


def _apply_markers(verdict: MigrationVerdict, markers: list[str]) -> MigrationVerdict:
    strange = tuple(
        f"The marker `-- ikoma: {marker[:40]}` means nothing {_EXPECTED.get(marker, _EXPECTED[''])}."
        for marker in markers
        if marker not in ("breaking", "compatible")
    )
    verdict = replace(verdict, warnings=(*verdict.warnings, *strange))
    if "breaking" in markers:
        said = "It is marked `-- ikoma: breaking`: deploy what works with both first, then this."
        return replace(verdict, compatible=False, reasons=(said, *verdict.reasons))
    if "compatible" in markers:
        overruled = tuple(f"Overruled by `-- ikoma: compatible`: {reason}" for reason in verdict.reasons)
        return replace(verdict, compatible=True, reasons=(), warnings=(*overruled, *verdict.warnings), unknown=False)
    return verdict
