"""The kind of file that somebody gives to psql, by its first bytes, and what to use where psql is not it.

psql goes on after an error unless it is told otherwise, and does as the file says: a dump of elsewhere gives tables to
other roles, and can connect to other databases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ikoma.errors import SqlFileForeign
from ikoma.postgres.backup.restore import HEAD

HEAD_BYTES = 64 << 10

_PACKED = {
    b"\x1f\x8b": ("gzip", "gunzip -c"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -dc"),
    b"\xfd7zXZ\0": ("xz", "xz -dc"),
    b"BZh": ("bzip2", "bzip2 -dc"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -dc"),
    b"PK\x03\x04": ("zip", "unzip -p"),
}
_OTHERS = (
    (re.compile(rb"^(?:-- (?:MySQL|MariaDB) dump|/\*M?!\d{5,6}|\) ENGINE=)", re.MULTILINE), "MySQL or MariaDB"),
    (re.compile(rb"\ASQLite format 3\0|\APRAGMA foreign_keys"), "SQLite"),
    (re.compile(rb"\A(?:\xff\xfe|\xfe\xff)|^SET ANSI_NULLS|^USE \[", re.MULTILINE), "Microsoft SQL Server"),
    (re.compile(rb"\A\x6d\xe2\x99\x81"), "MongoDB"),
    (re.compile(rb"\AREDIS\d{4}"), "Redis"),
    (re.compile(rb"\A\x03\x00?.?EXPORT:V|\AEXPORT:V"), "Oracle"),
)
_DUMP = re.compile(rb"^-- PostgreSQL database dump\s*$", re.MULTILINE)
_CLUSTER = re.compile(rb"^-- PostgreSQL database cluster dump\s*$", re.MULTILINE)
_CONNECTS = re.compile(rb"^\s*\\c(?:onnect)?\s", re.MULTILINE)
_OWN_TRANSACTION = re.compile(
    rb"^\s*(?:BEGIN|START\s+TRANSACTION|COMMIT|ROLLBACK|VACUUM|ALTER\s+SYSTEM"
    rb"|(?:CREATE|DROP)\s+(?:DATABASE|TABLESPACE|SUBSCRIPTION)|(?:CREATE|DROP|REINDEX)\b[^;]*\bCONCURRENTLY)\b",
    re.MULTILINE | re.IGNORECASE,
)
_FROM = "a dump without owners is made by `pg_dump --no-owner --no-privileges DATABASE`"


@dataclass(frozen=True, slots=True)
class SqlInput:
    """The way psql is to take a file, and what a person is told of it first."""

    arguments: tuple[str, ...]
    told: str | None = None


def look(head: bytes, *, app: str, database: str, is_admin: bool, is_folder: bool = False) -> SqlInput:
    """Tell from its beginning how psql is to take an input.

    Args:
        head: the first bytes, 64 KiB where there are so many.
        is_admin: whether it would run with the platform's rights.

    Raises:
        SqlFileForeign: it is nothing for psql, or nothing to run with the platform's rights.
    """
    if found := HEAD.match(head):
        return _judge_backup(found[1].decode(errors="replace"), app, database, is_admin=is_admin)
    if is_folder or head.startswith(b"PGDMP") or head[257:262] == b"ustar":
        kind = "a folder" if is_folder else "pg_dump's custom format" if head.startswith(b"PGDMP") else "a tar archive"
        raise SqlFileForeign(
            f"This is {kind}, and psql takes SQL.",
            hint="Where it is a dump of pg_dump: `pg_restore --no-owner --no-privileges --file=plain.sql FILE`, "
            f"then `ikoma psql {app} < plain.sql`.",
        )
    for begin, (name, unpack) in _PACKED.items():
        if head.startswith(begin):
            raise SqlFileForeign(
                f"This is compressed with {name}, and psql takes SQL.",
                hint=f"`{unpack} FILE | ikoma psql {app}`, with --admin where it is a backup that IKOMA made.",
            )
    for pattern, product in _OTHERS:
        if pattern.search(head) and not _DUMP.search(head):
            raise SqlFileForeign(
                f"This is of {product}, whose SQL PostgreSQL does not read.",
                hint="Convert it with a tool that reads both, such as pgloader, into a PostgreSQL of your own; "
                f"then {_FROM}, and `ikoma psql {app} < FILE` takes that.",
            )
    if b"\0" in head:
        raise SqlFileForeign("This is not text, and psql takes SQL.", hint="Give a plain dump, or a file of SQL.")
    return _judge_script(head, app, is_admin=is_admin)


def _judge_backup(of: str, app: str, database: str, *, is_admin: bool) -> SqlInput:
    if of != database:
        raise SqlFileForeign(
            f"This is IKOMA's backup of the database {of}, and {app} has {database}.",
            hint=f"It restores over {of} alone: all in it would become that app's. Give the backup of {app}.",
        )
    if not is_admin:
        raise SqlFileForeign(
            "This is a backup that IKOMA made: it restores over all that is there, which the app's own role may not.",
            hint=f"`ikoma psql --admin {app} < FILE`",
        )
    return SqlInput(())  # it stops at the first error and is one transaction by itself


def _judge_script(head: bytes, app: str, *, is_admin: bool) -> SqlInput:
    if _CLUSTER.search(head):
        raise SqlFileForeign(
            "This is a dump of a whole server (pg_dumpall), with roles and databases.",
            hint=f"Dump the one database: {_FROM}; then `ikoma psql {app} < FILE`.",
        )
    if _CONNECTS.search(head):
        raise SqlFileForeign(
            "This file goes to another database by \\connect, as dumps made with --create do.",
            hint=f"Dump it without --create: {_FROM}.",
        )
    is_dump = _DUMP.search(head) is not None
    if is_dump and is_admin:
        raise SqlFileForeign(
            "This is a dump that pg_dump made, not IKOMA: run as the platform, it could give the app's tables away.",
            hint=f"Load it as the app's own role, which is then the owner: `ikoma psql {app} < FILE`.",
        )
    stops = ("--set=ON_ERROR_STOP=1",)
    if not is_dump and _OWN_TRANSACTION.search(head):
        return SqlInput(stops, "Stops at the first error. It has transactions of its own: what came before stays.")
    told = "One transaction that stops at the first error: all of it, or nothing."
    if is_dump:
        told = f"A dump that pg_dump made. {told} Where it stops at OWNER, GRANT or a role: {_FROM}."
    return SqlInput((*stops, "--single-transaction"), told)
