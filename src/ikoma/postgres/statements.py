"""SQL text as statements: where each begins, and what has no place in a migration.

The splitting is PostgreSQL's own (libpg_query, by way of pglast), so quotes, dollar quotes, comments and SQL bodies
of functions are read as the server reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ikoma.errors import SqlFailed

_LONGEST_SHOWN = 500
_BLANK = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_TRANSACTION = re.compile(
    r"(BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK(?!\s+(?:(?:WORK|TRANSACTION)\s+)?TO\b)|ABORT|PREPARE\s+TRANSACTION)\b",
    re.IGNORECASE,
)
_COPY = re.compile(r"COPY\b.*\b(FROM\s+STDIN|TO\s+STDOUT)\b", re.IGNORECASE | re.DOTALL)
_META = re.compile(r"^\\\w*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a file. `number` and `line` count from 1; `start` is an offset in characters."""

    number: int
    line: int
    start: int
    text: str

    @property
    def shown(self) -> str:
        return self.text if len(self.text) <= _LONGEST_SHOWN else self.text[:_LONGEST_SHOWN] + "…"


def split(sql: str) -> list[Statement]:
    """The statements of a file, in order. Also of one with a syntax error, as well as it can be read."""
    from pglast import split as split_sql
    from pglast.parser import ParseError

    try:
        slices = split_sql(sql, with_parser=True, only_slices=True)
    except ParseError:
        try:
            slices = split_sql(sql, with_parser=False, only_slices=True)
        except ParseError:
            return []
    statements = []
    line, seen = 1, 0
    for number, part in enumerate(slices, 1):
        start = _after_blank(sql, part.start)
        line += sql.count("\n", seen, start)
        seen = start
        statements.append(Statement(number, line, start, sql[start : part.stop].rstrip(" \t\r\n;")))
    return statements


def check(name: str, sql: str) -> None:
    """Refuse what would break the one transaction, or what only psql understands.

    Raises:
        SqlFailed: names the line and what to do instead.
    """
    if "\0" in sql:
        raise SqlFailed(f"{name} holds a NUL character.", hint="Remove it: PostgreSQL takes none in SQL.")
    for statement in split(sql):
        if found := _TRANSACTION.match(statement.text):
            word = " ".join(found[1].upper().split())
            raise _refusal(
                name, statement, f"{word} has no place here.", "Remove it: each file runs in a transaction of its own."
            )
        if statement.text[:4].upper() == "COPY" and _COPY.match(statement.text):
            raise _refusal(
                name, statement, "COPY cannot read from or write to the client here.", "Write INSERT statements."
            )
        if found := _META.match(statement.text):
            raise _refusal(name, statement, f"{found[0]} is a command of psql, not SQL.", "Remove it.")


def at(statements: list[Statement], offset: int) -> Statement | None:
    """The statement that holds the character at this offset."""
    return next((item for item in reversed(statements) if item.start <= offset), None)


def line_of(sql: str, offset: int) -> int:
    """The line, from 1, of the character at this offset."""
    return sql.count("\n", 0, offset) + 1


def _after_blank(sql: str, start: int) -> int:
    """Where the statement itself begins, after spaces and comments."""
    found = _BLANK.match(sql, start)
    return found.end() if found else start


def _refusal(name: str, statement: Statement, problem: str, hint: str) -> SqlFailed:
    return SqlFailed(
        f"{name}, line {statement.line}: {problem}",
        hint=hint,
        file=name,
        line=statement.line,
        statement=statement.number,
        sql=statement.shown,
    )
