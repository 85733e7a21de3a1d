"""Input for psql is known by its beginning, and psql is told to stop at the first error."""

from __future__ import annotations

import pytest

from ikoma.errors import SqlFileForeign
from ikoma.postgres.backup.input_kind import look

STOP, ONE = "--set=ON_ERROR_STOP=1", "--single-transaction"
DUMP = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n-- Dumped from database version 15.4\nSET x.y = 0;\n"
BACKUP = b"-- IKOMA 2.0.0: the database shop of PostgreSQL 18, 2026-01-01T00:00:00Z.\n"


def arguments(head: bytes, *, is_admin: bool = False) -> tuple[str, ...]:
    return look(head, app="shop", database="shop", is_admin=is_admin).arguments


@pytest.mark.parametrize("is_admin", [True, False])
@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"SELECT 1;\n",
        b"CREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\n",
        b"INSERT INTO posts VALUES ('it began with\n BEGINNERS and -- MySQL dump; \\copy');\n\\copy t FROM x\n",
    ],
)
def test_a_script_is_one_transaction_that_stops_at_the_first_error(head: bytes, is_admin: bool) -> None:
    assert arguments(head, is_admin=is_admin) == (STOP, ONE)


@pytest.mark.parametrize(
    "head",
    [
        b"BEGIN;\nSELECT 1;\nCOMMIT;\n",
        b"SET x.y = 1;\n  begin;\n",
        b"VACUUM t;\n",
        b"CREATE UNIQUE INDEX CONCURRENTLY i\n ON t (a);\n",
        b"reindex table concurrently t;",
        b"CREATE DATABASE x;",
        b"alter system set work_mem = 1;",
    ],
)
def test_what_cannot_be_one_transaction_stops_at_the_first_error(head: bytes) -> None:
    assert arguments(head) == (STOP,)


def test_a_dump_of_elsewhere_goes_in_as_the_apps_own_role_alone() -> None:
    found = look(DUMP + b"BEGIN;\n) ENGINE=\n", app="shop", database="shop", is_admin=False)
    assert found.arguments == (STOP, ONE)
    assert "pg_dump --no-owner --no-privileges" in str(found.told)
    with pytest.raises(SqlFileForeign, match="pg_dump made, not IKOMA") as refused:
        arguments(DUMP, is_admin=True)
    assert refused.value.hint.endswith("`ikoma psql shop < FILE`.")


def test_a_backup_of_the_app_goes_in_as_the_admin_alone() -> None:
    assert arguments(BACKUP, is_admin=True) == ()
    with pytest.raises(SqlFileForeign) as refused:
        arguments(BACKUP)
    assert refused.value.hint == "`ikoma psql --admin shop < FILE`"


def test_a_backup_of_another_app_is_refused() -> None:
    for is_admin in (True, False):
        with pytest.raises(SqlFileForeign, match="backup of the database shop, and bank has bank"):
            look(BACKUP, app="bank", database="bank", is_admin=is_admin)


@pytest.mark.parametrize(
    ("head", "says", "use"),
    [
        (b"PGDMP\x01\x10\x00", "custom format", "pg_restore --no-owner"),
        (b"toc.dat" + b"\0" * 250 + b"ustar\x0000", "tar archive", "pg_restore --no-owner"),
        (b"\x1f\x8b\x08\x00", "gzip", "gunzip -c FILE | ikoma psql shop"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd", "zstd -dc FILE"),
        (b"\xfd7zXZ\0", "xz", "xz -dc"),
        (b"BZh91AY", "bzip2", "bzip2 -dc"),
        (b"PK\x03\x04\x14", "zip", "unzip -p"),
        (b"-- MySQL dump 10.13  Distrib 8.0.36\n", "MySQL or MariaDB", "pgloader"),
        (b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n", "MySQL or MariaDB", "pgloader"),
        (b"/*!40101 SET NAMES utf8 */;\n", "MySQL or MariaDB", "pgloader"),
        (b"CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB;\n", "MySQL or MariaDB", "pgloader"),
        (b"SQLite format 3\0", "SQLite", "pgloader"),
        (b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", "SQLite", "pgloader"),
        (b"\xff\xfeU\0S\0E\0", "Microsoft SQL Server", "pgloader"),
        (b"USE [shop]\nGO\n", "Microsoft SQL Server", "pgloader"),
        (b"--\n-- PostgreSQL database cluster dump\n--\n", "pg_dumpall", "pg_dump --no-owner"),
        (DUMP + b"CREATE DATABASE x;\n\\connect x\n", "another database", "without --create"),
        (b"\\c - postgres\n", "another database", "without --create"),
        (b"\x7fELF\0\0", "not text", "plain dump"),
    ],
)
@pytest.mark.parametrize("is_admin", [True, False])
def test_what_psql_cannot_run_is_named_with_what_to_use(head: bytes, says: str, use: str, is_admin: bool) -> None:
    with pytest.raises(SqlFileForeign, match=says) as refused:
        arguments(head, is_admin=is_admin)
    assert use in refused.value.hint


def test_a_folder_is_named_with_what_to_use() -> None:
    with pytest.raises(SqlFileForeign, match="This is a folder") as refused:
        look(b"", app="shop", database="shop", is_admin=True, is_folder=True)
    assert "pg_restore --no-owner" in refused.value.hint
