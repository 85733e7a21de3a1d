"""SQL text as statements: where each begins, and what has no place in a migration.

The reading is PostgreSQL's own (libpg_query, by way of pglast), so quotes, dollar quotes, comments and SQL bodies
of functions are read as the server reads them. All offsets are in characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ikoma.errors import SqlFailed

_LONGEST_SHOWN = 500
_SPACE = re.compile(r"(?:[ \t\n\r\f\v;]+|--[^\n\r]*)+")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_WORD = re.compile(r"[A-Za-z]+")
_SUSPECT = frozenset({"ABORT", "BEGIN", "COMMIT", "COPY", "END", "PREPARE", "ROLLBACK", "START"})
_META = re.compile(r"^\\(?:[A-Za-z]\w*|[!?.]|$)", re.MULTILINE)
_COPY = re.compile(r"COPY\b.*\b(FROM\s+STDIN|TO\s+STDOUT)\b", re.IGNORECASE | re.DOTALL)


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
    from pglast.parser import ParseError

    for exactly in (True, False):
        try:
            return _split(sql, exactly)
        except ParseError:
            continue
    return []


def whole(sql: str) -> list[Statement]:
    """All of the text as one statement, where it cannot be read; none where there is nothing in it."""
    start = _after_blank(sql, 0)
    return [Statement(1, line_of(sql, start), start, sql[start:].rstrip())] if start < len(sql) else []


def check(name: str, sql: str) -> None:
    """Refuse what PostgreSQL cannot read, what would break the one transaction, and what only psql understands.

    Raises:
        SqlFailed: names the line and what to do instead.
    """
    from pglast.parser import ParseError

    if "\0" in sql:
        raise SqlFailed(f"{name} holds a NUL character.", hint="Remove it: PostgreSQL takes none in SQL.", file=name)
    try:
        known = _split(sql, True)
    except ParseError as error:
        raise _unreadable(name, sql, error) from None
    for statement in known:
        word = _WORD.match(statement.text)
        if word and word[0].upper() in _SUSPECT:
            _check_meaning(name, statement)


def at(statements: list[Statement], offset: int) -> Statement | None:
    """The statement that holds the character at this offset."""
    return next((item for item in reversed(statements) if item.start <= offset), None)


def line_of(sql: str, offset: int) -> int:
    """The line, from 1, of the character at this offset."""
    return sql.count("\n", 0, offset) + 1


def _split(sql: str, exactly: bool) -> list[Statement]:
    from pglast import split as split_sql

    # To PostgreSQL all that is not ASCII is a letter. As one ASCII letter each, offsets in bytes are offsets in
    # characters, and pglast need not convert them, which it does at great length.
    letters = _NOT_ASCII.sub("q", sql)
    statements = []
    line, seen = 1, 0
    for number, part in enumerate(split_sql(letters, with_parser=exactly, only_slices=True), 1):
        start = _after_blank(sql, part.start)
        line += sql.count("\n", seen, start)
        seen = start
        statements.append(Statement(number, line, start, sql[start : part.stop].rstrip(" \t\r\n;")))
    return statements


def _after_blank(sql: str, start: int) -> int:
    """Where the statement itself begins, after spaces and comments, which may be nested."""
    while True:
        if found := _SPACE.match(sql, start):
            start = found.end()
        elif sql.startswith("/*", start):
            start = _after_comment(sql, start)
        else:
            return start


def _after_comment(sql: str, start: int) -> int:
    depth, place = 0, start
    while edge := _COMMENT_EDGE.search(sql, place):
        depth += 1 if edge[0] == "/*" else -1
        place = edge.end()
        if depth == 0:
            return place
    return len(sql)


def _check_meaning(name: str, statement: Statement) -> None:
    """Parse one statement: its first word alone does not tell ROLLBACK from ROLLBACK TO, nor PREPARE from its kin."""
    from pglast import ast, parse_sql
    from pglast.enums import TransactionStmtKind

    node = parse_sql(statement.text)[0].stmt
    inside = (
        TransactionStmtKind.TRANS_STMT_SAVEPOINT,
        TransactionStmtKind.TRANS_STMT_RELEASE,
        TransactionStmtKind.TRANS_STMT_ROLLBACK_TO,
    )
    if isinstance(node, ast.TransactionStmt) and node.kind not in inside:
        word = statement.text.split(None, 1)[0].upper()
        problem, hint = f"{word} has no place here.", "Remove it: each file runs in a transaction of its own."
        raise _refusal(name, statement, problem, hint)
    if isinstance(node, ast.CopyStmt) and node.filename is None:
        raise _copy_refusal(name, statement)


def _unreadable(name: str, sql: str, error: Exception) -> SqlFailed:
    """The parser's complaint with its place; the better known reason where psql would have read on."""
    offset = int(error.args[1] or 0) if len(error.args) > 1 else 0
    statement = _broken(sql, offset)
    copying = next((item for item in split(sql) if item.start <= offset and _COPY.match(item.text)), None)
    if copying is not None:
        return _copy_refusal(name, copying)
    line = line_of(sql, offset)
    if found := _META.match(sql, sql.rfind("\n", 0, offset + 1) + 1):
        shown = Statement(statement.number, line, offset, found[0])
        return _refusal(name, shown, f"{found[0]} is a command of psql, not SQL.", "Remove it.")
    return SqlFailed(
        f"{name}, line {line}: {_complaint(sql, error)}.",
        audit_message=f"{name}, line {line}: SyntaxError (42601).",
        file=name,
        line=line,
        statement=statement.number,
        sql=statement.shown,
        sqlstate="42601",
    )


def _broken(sql: str, offset: int) -> Statement:
    """The statement that cannot be read at this offset.

    A broken file can only be cut at its semicolons, and some of those are inside the bodies of functions: it begins
    after the last of them up to which all is well.
    """
    from pglast.parser import ParseError

    cuts = _semicolons(sql) or _semicolons(sql[:offset])
    end = next((cut for cut in cuts if cut >= offset), len(sql))
    for cut in reversed([0, *(cut + 1 for cut in cuts if cut < offset)]):
        try:
            number = len(_split(sql[:cut], True)) + 1
        except ParseError:
            continue
        break
    start = min(_after_blank(sql, cut), offset)
    return Statement(number, line_of(sql, start), start, sql[start:end].rstrip())


def _semicolons(sql: str) -> list[int]:
    """Where semicolons stand that are not part of text, names or comments; none where the text has no end."""
    from pglast.parser import ParseError, scan

    try:
        return [token.start for token in scan(_NOT_ASCII.sub("q", sql)) if token.name == "ASCII_59"]
    except ParseError:
        return []


def _complaint(sql: str, error: Exception) -> str:
    """What the parser said, of the file's own letters."""
    from pglast import split as split_sql
    from pglast.parser import ParseError

    try:
        split_sql(sql, with_parser=True, only_slices=True)
    except ParseError as exact:
        error = exact
    return str(error.args[0])


def _copy_refusal(name: str, statement: Statement) -> SqlFailed:
    problem = "COPY cannot read from or write to the client here."
    return _refusal(name, statement, problem, "Write INSERT statements.")


def _refusal(name: str, statement: Statement, problem: str, hint: str) -> SqlFailed:
    return SqlFailed(
        f"{name}, line {statement.line}: {problem}",
        hint=hint,
        file=name,
        line=statement.line,
        statement=statement.number,
        sql=statement.shown,
    )
