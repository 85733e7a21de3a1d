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
from ikoma.ports import Migration
from ikoma.postgres import statements
from ikoma.postgres.migration_locks import Lock, TableLock, locks_of, merged
from ikoma.postgres.migration_rules import judge
from ikoma.postgres.migration_schema import Schema
from ikoma.postgres.migration_table_rules import Finding
from ikoma.postgres.statements import Statement

__all__ = ["Lock", "TableLock", "Verdict", "lint", "lint_all"]

_MARKER = re.compile(r"--\s*ikoma:\s*(.*?)\s*")
_INSERT = re.compile(r"INSERT\s+INTO\s+([\w.\"$]+)\s*(?:\([^()]*\)\s*)?VALUES\b", re.IGNORECASE)
_DEFINES = re.compile(r"(?:CREATE|ALTER|DROP|SET|RESET|COMMENT)\b", re.IGNORECASE)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one migration before it runs."""

    name: str
    compatible: bool
    """Whether the previous release can run on the database afterwards."""
    reasons: tuple[str, ...] = ()
    """Why not: one sentence each, with the line, the object and the safer way."""
    locks: tuple[TableLock, ...] = ()
    """The strongest of each table that was there before, the strongest first."""
    warnings: tuple[str, ...] = ()
    """What a person should look at, and what a marker overruled."""
    unknown: bool = False
    """Whether there is something in it that could not be judged."""


def lint(sql: str, *, name: str = "migration.sql") -> Verdict:
    """One migration by itself: tables that it does not make are taken to be there, with columns unknown."""
    return lint_all([Migration.of(name, sql)])[0]


def lint_all(pending: Sequence[Migration], applied: Sequence[Migration] = ()) -> list[Verdict]:
    """Pending migrations in the order they apply; what an earlier one makes is new to the previous release too.

    A second or more for megabytes of SQL: run it in a thread where others wait.

    Args:
        applied: those that the previous release knows, in order. They tell the types of columns, their defaults and
            what is unique, so that less must be taken for the worst.
    """
    schema = Schema()
    for migration in applied:
        _learn(migration, schema)
    return [_lint(migration, schema) for migration in pending]


def _learn(migration: Migration, schema: Schema) -> None:
    schema.begin(pending=False)
    for statement in statements.split(migration.sql.removeprefix("\ufeff")):
        if _DEFINES.match(statement.text):
            for node, command in parts_of(statement):
                schema.learn(node, command)


def _lint(migration: Migration, schema: Schema) -> Verdict:
    text = migration.sql.removeprefix("\ufeff")
    try:
        statements.check(migration.name, text)
    except SqlFailed as error:
        return Verdict(migration.name, False, (f"It cannot be applied: {error.message}",))
    schema.begin(pending=True)
    parts = [(statement, *part) for statement in _unlike(statements.split(text)) for part in parts_of(statement)]
    made = {key for _, node, _ in parts for key in schema.creates(node)}
    found: list[tuple[int, Finding]] = []
    locks: list[TableLock] = []
    for statement, node, command in parts:
        found += [(statement.line, finding) for finding in judge(node, command, schema, made)]
        locks += locks_of(node, command, schema)
        schema.learn(node, command)
    reasons = tuple(_sentence(line, finding) for line, finding in found if finding.breaks)
    warnings = tuple(_sentence(line, finding) for line, finding in found if not finding.breaks)
    unknown = any(finding.unknown for _, finding in found)
    verdict = Verdict(migration.name, not reasons, reasons, merged(iter(locks)), warnings, unknown)
    return _marked(verdict, list(_markers(text)))


def _unlike(known: list[Statement]) -> Iterator[Statement]:
    """Without all but the first of the rows for one table: a file of 20,000 INSERTs says one thing 20,000 times."""
    seen = set()
    for statement in known:
        rows = _INSERT.match(statement.text)
        if rows is None or rows[1] not in seen:
            yield statement
        if rows is not None:
            seen.add(rows[1])


def parts_of(statement: Statement) -> Iterator[tuple[Any, Any]]:
    """The statement as the parser reads it; an ALTER TABLE once for each of its commands."""
    from pglast import parse_sql
    from pglast.parser import ParseError

    try:
        nodes: list[Any] = [raw.stmt for raw in parse_sql(statement.text)]
    except ParseError:  # of an applied file, which may have been written for another version
        return
    for node in nodes:
        if type(node).__name__ == "AlterTableStmt":
            yield from ((node, command) for command in node.cmds)
        else:
            yield node, None


def _sentence(line: int, finding: Finding) -> str:
    return f"Line {line} {finding.what}: {finding.advice}."


# --- a person's word ---------------------------------------------------------------------------------------


def _markers(sql: str) -> Iterator[str]:
    """What comments of the form `-- ikoma: …` say; what looks like one inside a text or a body is none."""
    from pglast.parser import scan

    for token in scan(_NOT_ASCII.sub("q", sql)):
        if token.name == "SQL_COMMENT" and (found := _MARKER.fullmatch(sql[token.start : token.end + 1].rstrip())):
            yield found[1]


def _marked(verdict: Verdict, markers: list[str]) -> Verdict:
    strange = tuple(
        f"The marker `-- ikoma: {marker[:40]}` means nothing: write breaking or compatible."
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
