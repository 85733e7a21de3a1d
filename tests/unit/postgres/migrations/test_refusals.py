"""Facts known of a migration before it runs: what the server is sure to refuse, and nothing that it would take."""

from __future__ import annotations

import pytest

from ikoma.ports.databases import Migration
from ikoma.postgres.migrations.refusals import find_refusals

ALONE = "cannot run in a transaction, and each migration is one."
REFUSED = [
    ("ALTER TABLE a ALTER b SET NOT NUL", 1, 'Syntax error at or near "NUL".'),
    ("SELECT 1;\nSELECT 'secret", 2, "Unterminated quoted string."),
    ('SELECT "se cret', 1, "Unterminated quoted identifier."),
    ("SELECT 1\n'two words' 'and';", 2, "Syntax error."),
    ("BEGIN;\nSELECT 1;\nCOMMIT;", 1, "BEGIN has no place here."),
    ("SELECT 1;\nCOPY a FROM stdin;\n1\n\\.\n", 2, "COPY cannot read from or write to the client here."),
    ("\\restrict abc\nSELECT 1;", 1, "\\restrict is a command of psql, not SQL."),
    ("CREATE UNIQUE INDEX CONCURRENTLY i ON a (b)", 1, f"CREATE INDEX {ALONE}"),
    ("DROP INDEX CONCURRENTLY i", 1, f"DROP INDEX {ALONE}"),
    ("REINDEX TABLE CONCURRENTLY a", 1, f"REINDEX TABLE {ALONE}"),
    ("REINDEX SCHEMA public", 1, f"REINDEX SCHEMA {ALONE}"),
    (
        "ALTER TABLE a ADD c int, ADD d int;\n-- x\nALTER TABLE a DETACH PARTITION b CONCURRENTLY",
        3,
        f"ALTER TABLE {ALONE}",
    ),
    ("VACUUM FULL a", 1, f"VACUUM {ALONE}"),
    ("CLUSTER", 1, f"CLUSTER {ALONE}"),
    ("DISCARD ALL", 1, f"DISCARD ALL {ALONE}"),
    ("CREATE DATABASE other", 1, f"CREATE DATABASE {ALONE}"),
    ("ALTER SYSTEM SET work_mem = '1GB'", 1, f"ALTER SYSTEM {ALONE}"),
    ("CREATE USER other", 1, "CREATE USER makes a role, which an app's role may not."),
    (
        "ALTER DATABASE shop SET work_mem = '1GB'",
        1,
        "ALTER DATABASE changes the database itself, which an app's role may not.",
    ),
    ("COPY a FROM '/tmp/a'", 1, "COPY uses a file of the database's server, which an app's role may not."),
    (
        "ALTER TABLE a OWNER TO postgres",
        1,
        "ALTER TABLE gives something to the role 'postgres', which an app's role may not.",
    ),
    (
        "ALTER VIEW v OWNER TO postgres",
        1,
        "ALTER VIEW gives something to the role 'postgres', which an app's role may not.",
    ),
]
MARK = "-- ikoma: no-transaction\n"
OUTSIDE = "has no place in a file without a transaction."
TWICE = "cannot run twice, as it would after a run that was cut off."
REFUSED += [
    (f"{MARK}VACUUM;\nINSERT INTO a VALUES (1)", 3, f"INSERT {OUTSIDE}"),
    (f"{MARK}CREATE INDEX i ON a (b)", 2, f"CREATE INDEX {OUTSIDE}"),
    (f"{MARK}CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON a (b);\nDROP INDEX CONCURRENTLY i", 3, f"DROP INDEX {TWICE}"),
    (f"{MARK}CREATE UNIQUE INDEX CONCURRENTLY ON a (b)", 2, f"CREATE INDEX {TWICE}"),
    (f"{MARK}ALTER TYPE m ADD VALUE 'x'", 2, f"ALTER TYPE {TWICE}"),
    (f"{MARK}SET LOCAL work_mem = '1GB'", 2, f"SET {OUTSIDE}"),
    (f"{MARK}CREATE DATABASE other", 2, f"CREATE DATABASE {OUTSIDE}"),
]
TAKEN = [
    f"{MARK}CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON a (b);",
    f"{MARK}REINDEX INDEX CONCURRENTLY i; VACUUM FULL a; RESET ALL;",
    f"{MARK}ALTER TYPE m ADD VALUE IF NOT EXISTS 'x'; DROP INDEX CONCURRENTLY IF EXISTS i;",
    "",
    "SELECT 'it''s vacuum', $$COPY a FROM stdin; VACUUM;$$ -- VACUUM\n;",
    "ANALYZE; CLUSTER a; REINDEX TABLE a; DISCARD TEMP;",
    "CREATE INDEX i ON a (b); DROP INDEX i; ALTER TABLE a DETACH PARTITION b;",
    "ALTER TABLE a OWNER TO shop; ALTER TABLE a OWNER TO CURRENT_USER; ALTER TABLE IF EXISTS gone OWNER TO postgres;",
    'CREATE TABLE "user" ("database" text, role text); ALTER TABLE "user" ADD "group" text;',
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;",
    "SAVEPOINT a; ROLLBACK TO a;",
    "\ufeffSELECT 1;",
]


@pytest.mark.parametrize(("sql", "line", "says"), REFUSED)
def test_what_the_server_is_sure_to_refuse_is_named_with_its_line(sql: str, line: int, says: str) -> None:
    [found] = find_refusals(Migration.of("003.sql", sql), "shop")
    assert (found.line, found.problem) == (line, says)
    assert found.fix
    assert "secret" not in found.problem


@pytest.mark.parametrize("sql", TAKEN)
def test_what_it_may_take_is_not_refused(sql: str) -> None:
    assert find_refusals(Migration.of("003.sql", sql), "shop") == []


def test_all_that_is_refused_in_a_file_is_told_at_once() -> None:
    found = find_refusals(Migration.of("003.sql", "VACUUM;\nSELECT 1;\nCREATE ROLE a;\nDROP ROLE a;"), "shop")
    assert [item.line for item in found] == [1, 3, 4]
