"""Statements that the server will refuse whatever the tables hold, seen in the text before anything is stopped.

Syntax that it cannot read, statements that have no place in a transaction, and those that take more rights than an
app's role has. A text is a migration of one app: its role is known. What a DO block or a procedure does is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ikoma.errors import SqlFailed
from ikoma.model import quote_name
from ikoma.ports.databases import Migration
from ikoma.postgres.migrations import no_transaction
from ikoma.postgres.sql import parser, statements

_SUSPECT = re.compile(
    r"\b(?:CONCURRENTLY|COPY|CLUSTER|DATABASE|DISCARD|GROUP|OWNER|REINDEX|ROLE|SUBSCRIPTION|SYSTEM|TABLESPACE|USER|VACUUM)\b",
    re.IGNORECASE,
)
_FIRST = re.compile(r"(?:ALTER|CLUSTER|COPY|CREATE|DISCARD|DROP|REINDEX|VACUUM)\b", re.IGNORECASE)
_QUOTED = re.compile(r' at or near "(?!\w{1,40}"$)[\s\S]*"$')
"""Quotes of the parser that are more than a word: they may be the beginning of a text."""
_MOST_PARSED = 1 << 20

_ALWAYS_ALONE = frozenset(
    {
        "AlterSystemStmt",
        "CreateSubscriptionStmt",
        "CreateTableSpaceStmt",
        "CreatedbStmt",
        "DropSubscriptionStmt",
        "DropTableSpaceStmt",
        "DropdbStmt",
    }
)
_OF_THE_ADMIN = {
    "AlterDatabaseSetStmt": "changes the database itself",
    "AlterDatabaseStmt": "changes the database itself",
    "CreateRoleStmt": "makes a role",
    "DropRoleStmt": "drops a role",
}
_ALONE = "cannot run in a transaction, and each migration is one"
_IN_A_FILE = f"{no_transaction.BEGIN[0].upper()}{no_transaction.BEGIN[1:]}."
_BY_HAND = "Take it out; a person at the server can run it with `ikoma psql`."
_TOO_MUCH = "which an app's role may not"
_REINDEXED = ("REINDEX_OBJECT_SCHEMA", "REINDEX_OBJECT_SYSTEM", "REINDEX_OBJECT_DATABASE")


@dataclass(frozen=True, slots=True)
class MigrationRefusal:
    """The reason why a file cannot be applied: the line, a sentence, and the smallest change."""

    line: int | None
    problem: str
    fix: str


def find_refusals(migration: Migration, role: str) -> list[MigrationRefusal]:
    """All that is refused in a file; only the first that cannot be read, for nothing behind it is sure.

    Args:
        role: as whom it is to run.
    """
    text = migration.sql.removeprefix("\ufeff")
    try:
        statements.check(migration.name, text)
    except SqlFailed as error:
        return [_refuse_unreadable(migration.name, error)]
    if no_transaction.is_marked(text):
        return list(_refuse_outside(text))
    return list(_refuse(text, role))


def needs_no_transaction(node: Any, command: Any) -> bool:
    """Whether a statement is refused inside a transaction.

    Args:
        command: the one of an ALTER TABLE that is meant.
    """
    kind = type(node).__name__
    match kind:
        case "IndexStmt" | "DropStmt":
            return bool(node.concurrent)
        case "VacuumStmt":
            return bool(node.is_vacuumcmd)
        case "ReindexStmt":
            return node.kind.name in _REINDEXED or any(item.defname == "concurrently" for item in node.params or ())
        case "ClusterStmt":
            return node.relation is None
        case "DiscardStmt":
            return bool(node.target.name == "DISCARD_ALL")
        case "AlterTableStmt" if command.subtype.name == "AT_DetachPartition":
            return bool(command.def_.concurrent)
    return kind in _ALWAYS_ALONE


def _refuse_unreadable(name: str, error: SqlFailed) -> MigrationRefusal:
    line = error.details.get("line")
    said = error.message.removeprefix(f"{quote_name(name)}, line {line}: ").removeprefix(f"{quote_name(name)} ")
    said = _QUOTED.sub("", said.removesuffix(".")) + "."
    fix = "Correct it: a migration is SQL of PostgreSQL." if error.hint == SqlFailed.default_hint else error.hint
    return MigrationRefusal(line, said[:1].upper() + said[1:], fix)


def _refuse(text: str, role: str) -> Iterator[MigrationRefusal]:
    room = _MOST_PARSED
    for statement in statements.split(text):
        if not (_FIRST.match(statement.text) and _SUSPECT.search(statement.text)):
            continue
        room -= len(statement.text)
        if room < 0:
            return
        for raw in parser.parse_tree(statement.text) or ():
            for command in getattr(raw.stmt, "cmds", None) or (None,):
                if found := _judge(raw.stmt, command, role):
                    what, fix = found
                    yield MigrationRefusal(statement.line, f"{_begin(statement.text)} {what}.", fix)


def _refuse_outside(text: str) -> Iterator[MigrationRefusal]:
    """Refuse what has no place in a file without a transaction, where most statements have none."""
    room = _MOST_PARSED
    for statement in statements.split(text):
        room -= len(statement.text)
        if room < 0:
            return
        for raw in parser.parse_tree(statement.text) or ():
            if found := no_transaction.find_fault(raw.stmt):
                what, fix = found
                yield MigrationRefusal(statement.line, f"{_begin(statement.text)} {what}.", fix)


def _judge(node: Any, command: Any, role: str) -> tuple[str, str] | None:
    kind = type(node).__name__
    if needs_no_transaction(node, command):
        return _ALONE, _IN_A_FILE if no_transaction.fits(node) else _BY_HAND
    if kind in _OF_THE_ADMIN:
        fix = "Take it out: the app's role and database are made by db.create."
        return f"{_OF_THE_ADMIN[kind]}, {_TOO_MUCH}", fix
    if kind == "CopyStmt" and node.filename is not None:
        return f"uses a file of the database's server, {_TOO_MUCH}", "Write INSERT statements."
    owner = _find_owner(node, command)
    if owner is not None and owner != role:
        return f"gives something to the role {owner!r}, {_TOO_MUCH}", f"Take it out: all that it makes is {role}'s."
    return None


def _find_owner(node: Any, command: Any) -> str | None:
    """The name of whom something is given to; None where nothing is, or to whoever runs it."""
    kind, given = type(node).__name__, None
    if kind == "AlterOwnerStmt":
        given = node.newowner
    elif kind == "AlterTableStmt" and command.subtype.name == "AT_ChangeOwner" and not node.missing_ok:
        given = command.newowner
    return None if given is None or given.rolename is None else str(given.rolename)


def _begin(statement: str) -> str:
    """The statement's own first words, which are PostgreSQL's."""
    verb, *rest = re.findall(r"[A-Za-z]+", statement[:60].upper().replace(" UNIQUE ", " ", 1))[:2]
    return " ".join([verb, *rest]) if verb in ("ALTER", "CREATE", "DISCARD", "DROP", "REINDEX") else verb
