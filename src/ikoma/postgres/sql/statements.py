"""SQL text as statements: where each begins, and what has no place in a migration.

The reading is PostgreSQL's own (libpg_query, by way of pglast), so quotes, dollar quotes, comments and SQL bodies
of functions are read as the server reads them. All offsets are in characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ikoma.errors import SqlFailed
from ikoma.model import quote_name
from ikoma.postgres.sql import parser

_LONGEST_SHOWN = 500
_PIECE = 1 << 20
"""Characters that are parsed at once: what the parser makes of them may have fifty times their size."""
_LONGEST_PIECE = 8 << 20
"""Where one statement is longer."""
_MOST_TRIED = 8 << 20
"""Characters that are parsed again to find where a broken statement begins."""
_NEAR = 64 << 10
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


@dataclass(eq=False)
class _Unreadable(Exception):
    """The parser's complaint, where it is, and where the piece of the text begins and ends that was parsed."""

    said: str
    offset: int
    begin: int
    end: int


def split(sql: str) -> list[Statement]:
    """The statements of a file, in order. Also of one with a syntax error, as well as it can be read."""
    from pglast.parser import ParseError

    if parser.find_excess(sql):
        return []
    for exactly in (True, False):
        try:
            return list(_split(sql, exactly))
        except (ParseError, _Unreadable):
            continue
    return []


def join_whole(sql: str) -> list[Statement]:
    """All of the text as one statement, where it cannot be read; none where there is nothing in it."""
    start = _skip_blank(sql, 0)
    return [Statement(1, find_line(sql, start), start, sql[start:].rstrip())] if start < len(sql) else []


def check(name: str, sql: str) -> None:
    """Refuse what PostgreSQL cannot read, what would break the one transaction, and what only psql understands.

    Raises:
        SqlFailed: names the line and what to do instead.
    """
    if "\0" in sql:
        raise SqlFailed(
            f"{quote_name(name)} holds a NUL character.", hint="Remove it: PostgreSQL takes none in SQL.", file=name
        )
    if found := parser.find_excess(sql):
        offset, problem, hint = found
        line = find_line(sql, offset)
        raise SqlFailed(f"{quote_name(name)}, line {line}: {problem}.", hint=hint, file=name, line=line)
    number = 0
    try:
        for statement in _split(sql, True):
            number = statement.number
            word = _WORD.match(statement.text)
            if word and word[0].upper() in _SUSPECT:
                _check_meaning(name, statement)
    except _Unreadable as error:
        raise _make_unreadable(name, sql, error, number) from None


def is_outside(sql: str, begin: int, offset: int) -> bool:
    """Whether nothing that began between these two is open at `offset`: no text, name or comment."""
    from pglast.parser import ParseError

    letters = f'{_NOT_ASCII.sub("q", sql[begin:offset])} "'  # what opens here is missed here, and nowhere else
    try:
        _scan(letters)
    except ParseError as error:
        return bool(error.args[1] == len(letters) - 1)
    return False


def find_at(statements: list[Statement], offset: int) -> Statement | None:
    """The statement that holds the character at this offset."""
    return next((item for item in reversed(statements) if item.start <= offset), None)


def find_line(sql: str, offset: int) -> int:
    """The line, from 1, of the character at this offset."""
    return sql.count("\n", 0, offset) + 1


def _split(sql: str, exactly: bool) -> Iterator[Statement]:
    # To PostgreSQL all that is not ASCII is a letter. As one ASCII letter each, offsets in bytes are offsets in
    # characters, and pglast need not convert them, which it does at great length.
    letters = _NOT_ASCII.sub("q", sql)
    line, seen = 1, 0
    for number, part in enumerate(_parse(letters) if exactly else _scan(letters), 1):
        start = _skip_blank(sql, part.start)
        line += sql.count("\n", seen, start)
        seen = start
        yield Statement(number, line, start, sql[start : part.stop].rstrip(" \t\r\n;"))


def _scan(letters: str) -> tuple[slice, ...]:
    """Parts between semicolons: also where the parser fails, and also inside the SQL bodies of functions."""
    from pglast import split as split_sql

    parts: tuple[slice, ...] = split_sql(letters, with_parser=False, only_slices=True)
    return parts


def _parse(letters: str) -> Iterator[slice]:
    """Statements as the parser reads them, of a long text piece by piece.

    A piece ends at a semicolon. Where that is inside a function's body, the parser misses what comes after it and gets
    more; any other complaint is about the whole text too.
    """
    from pglast import split as split_sql
    from pglast.parser import ParseError

    begin, wanted = 0, _PIECE
    for end in _find_ends(letters):
        if end - begin < wanted and end < len(letters):
            continue
        if end - begin > _LONGEST_PIECE:
            raise _Unreadable(f"a statement is longer than {_LONGEST_PIECE >> 20} MiB", begin, begin, end)
        try:
            parts = split_sql(letters[begin:end], with_parser=True, only_slices=True)
        except ParseError as error:
            if "at end of input" in str(error.args[0]) and end < len(letters):
                wanted = 2 * (end - begin)
                continue
            place = error.args[1] if len(error.args) > 1 else None
            raise _Unreadable(str(error.args[0]), begin + (place or 0), begin, end) from None
        yield from (slice(begin + part.start, begin + part.stop) for part in parts)
        begin, wanted = end, _PIECE


def _find_ends(letters: str) -> Iterator[int]:
    """Places where a piece may end."""
    from pglast.parser import ParseError

    if len(letters) > _PIECE:
        try:
            parts = _scan(letters)
        except ParseError as error:  # a text or a comment that has no end, from there on
            parts = _scan(letters[: error.args[1] or 0])
        yield from (part.stop for part in parts)
    yield len(letters)


def _skip_blank(sql: str, start: int) -> int:
    """The beginning of the statement itself, after spaces and comments, which may be nested."""
    while True:
        if found := _SPACE.match(sql, start):
            start = found.end()
        elif sql.startswith("/*", start):
            start = _skip_comment(sql, start)
        else:
            return start


def _skip_comment(sql: str, start: int) -> int:
    depth, place = 0, start
    while edge := _COMMENT_EDGE.search(sql, place):
        depth += 1 if edge[0] == "/*" else -1
        place = edge.end()
        if depth == 0:
            return place
    return len(sql)


def _check_meaning(name: str, statement: Statement) -> None:
    """Parse one statement: its first word alone does not tell ROLLBACK from ROLLBACK TO, nor PREPARE from its kin."""
    from pglast import ast
    from pglast.enums import TransactionStmtKind

    nodes = parser.parse_tree(statement.text)
    if nodes is None:
        problem = f"This statement is longer than {parser.LONGEST_TREE >> 10} KiB."
        raise make_refusal(name, statement, problem, "Split it; only COPY, PREPARE and their like are limited.")
    node = nodes[0].stmt
    inside = (
        TransactionStmtKind.TRANS_STMT_SAVEPOINT,
        TransactionStmtKind.TRANS_STMT_RELEASE,
        TransactionStmtKind.TRANS_STMT_ROLLBACK_TO,
    )
    if isinstance(node, ast.TransactionStmt) and node.kind not in inside:
        word = statement.text.split(None, 1)[0].upper()
        problem, hint = f"{word} has no place here.", "Remove it: each file runs in a transaction of its own."
        raise make_refusal(name, statement, problem, hint)
    if isinstance(node, ast.CopyStmt) and node.filename is None:
        raise _copy_refusal(name, statement)


def _make_unreadable(name: str, sql: str, error: _Unreadable, number: int) -> SqlFailed:
    """The parser's complaint with its place; the better known reason where psql would have read on."""
    offset = error.offset
    statement = _describe_broken(sql, error, number)
    copying = next((item for item in _list_before(sql, error) if _COPY.match(item.text)), None)
    if copying is not None:
        return _copy_refusal(name, copying)
    line = find_line(sql, offset)
    if found := _META.match(sql, sql.rfind("\n", 0, offset + 1) + 1):
        command = Statement(statement.number, line, offset, found[0])
        return make_refusal(name, command, f"{found[0]} is a command of psql, not SQL.", "Remove it.")
    return SqlFailed(
        f"{quote_name(name)}, line {line}: {_read_complaint(sql, error)}.",
        audit_message=f"{quote_name(name)}, line {line}: SyntaxError (42601).",
        file=name,
        line=line,
        statement=statement.number,
        sql=statement.shown,
        sqlstate="42601",
    )


def _list_before(sql: str, error: _Unreadable) -> list[Statement]:
    """The statements of the piece that begin before what cannot be read, as well as they can be."""
    line = find_line(sql, error.begin) - 1
    return [
        replace(item, line=item.line + line)
        for item in split(sql[error.begin : error.end])
        if error.begin + item.start <= error.offset
    ]


def _describe_broken(sql: str, error: _Unreadable, number: int) -> Statement:
    """The statement that cannot be read, behind as many that can.

    A broken file can only be cut at its semicolons, and some of those are inside the bodies of functions: it begins
    after the last of them up to which all is well.
    """
    piece, offset = sql[error.begin : error.end], error.offset - error.begin
    cuts = _find_semicolons(piece[: offset + _NEAR]) or _find_semicolons(piece[:offset])
    end = next((cut for cut in cuts if cut >= offset), len(piece))
    before = [0, *(cut + 1 for cut in cuts if cut < offset)]
    tried = 0
    for cut in reversed(before):
        tried += cut
        try:
            number += sum(1 for _ in _split(piece[:cut], True)) + 1
        except _Unreadable:
            if tried < _MOST_TRIED:
                continue
            cut = before[-1]
            number += len(before)
        break
    start = error.begin + min(_skip_blank(piece, cut), offset)
    return Statement(number, find_line(sql, start), start, sql[start : error.begin + end].rstrip())


def _find_semicolons(sql: str) -> list[int]:
    """Places of semicolons that are not part of text, names or comments; none where the text has no end."""
    from pglast.parser import ParseError, scan

    if len(sql) > _PIECE + _NEAR:
        return []
    try:
        return [token.start for token in scan(_NOT_ASCII.sub("q", sql)) if token.name == "ASCII_59"]
    except ParseError:
        return []


def _read_complaint(sql: str, error: _Unreadable) -> str:
    """The parser's complaint, of the file's own letters."""
    from pglast import split as split_sql
    from pglast.parser import ParseError

    piece = sql[error.begin : error.end]
    if piece.isascii() or len(piece) > _LONGEST_PIECE:
        return error.said
    try:
        split_sql(piece, with_parser=True, only_slices=True)
    except ParseError as exact:
        return str(exact.args[0])
    return error.said


def _copy_refusal(name: str, statement: Statement) -> SqlFailed:
    problem = "COPY cannot read from or write to the client here."
    return make_refusal(name, statement, problem, "Write INSERT statements.")


def make_refusal(name: str, statement: Statement, problem: str, hint: str) -> SqlFailed:
    """The error of a statement that is not sent, with its place."""
    return SqlFailed(
        f"{quote_name(name)}, line {statement.line}: {problem}",
        hint=hint,
        file=name,
        line=statement.line,
        statement=statement.number,
        sql=statement.shown,
    )
