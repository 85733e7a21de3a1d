"""Findings of the linter of migrations, case by case: SQL in, what the previous release cannot live with out."""

from __future__ import annotations

import pytest

from ikoma.ports.databases import Migration
from ikoma.postgres.migrations.lint import Lock, MigrationVerdict, lint, lint_all

BEFORE = """
CREATE TABLE users (
    id serial PRIMARY KEY, name varchar(20) NOT NULL, email text, score int DEFAULT 0, price numeric(8, 2),
    state text NOT NULL DEFAULT 'new', tags varchar(5)[], code char(3), manager int REFERENCES users
);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id int CONSTRAINT of_user REFERENCES users
);
CREATE SCHEMA stock;
CREATE TABLE stock.items (id int, name text);
CREATE UNIQUE INDEX users_email ON users (email);
CREATE INDEX users_state ON users (state);
CREATE VIEW names AS SELECT name FROM users;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN positive AS int;
CREATE FUNCTION greet(who text) RETURNS text LANGUAGE sql AS $$ SELECT who $$;
"""

COMPATIBLE = [
    "",
    "-- nothing\n;;",
    "CREATE TABLE t (id int)",
    "CREATE TABLE IF NOT EXISTS t (id int NOT NULL)",
    "ALTER TABLE users ADD COLUMN age int",
    "ALTER TABLE users ADD COLUMN age int NOT NULL DEFAULT 0",
    "ALTER TABLE users ADD COLUMN IF NOT EXISTS name varchar(20) NOT NULL",
    "ALTER TABLE users ADD COLUMN twice int GENERATED ALWAYS AS (score * 2) STORED NOT NULL",
    "ALTER TABLE users ADD COLUMN number int GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE users ADD COLUMN number bigserial",
    "ALTER TABLE users ADD COLUMN boss int REFERENCES users (id)",
    "ALTER TABLE users ADD COLUMN nick text UNIQUE",
    "ALTER TABLE users ALTER COLUMN name TYPE varchar(40)",
    "ALTER TABLE users ALTER COLUMN name TYPE varchar",
    "ALTER TABLE users ALTER COLUMN name TYPE text USING name::text",
    "ALTER TABLE users ALTER COLUMN price TYPE numeric(12, 2)",
    "ALTER TABLE users ALTER COLUMN price TYPE numeric",
    "ALTER TABLE users ALTER COLUMN score SET NOT NULL",
    "ALTER TABLE users ALTER COLUMN name SET NOT NULL",
    "ALTER TABLE users ALTER COLUMN name DROP NOT NULL",
    "ALTER TABLE users ALTER COLUMN score DROP DEFAULT",
    "ALTER TABLE users ALTER COLUMN email SET DEFAULT ''; ALTER TABLE users ALTER COLUMN email SET NOT NULL",
    "ALTER TABLE users ADD COLUMN a int, ADD COLUMN b int; ALTER TABLE users ADD CHECK (a < b), ADD UNIQUE (a, b)",
    "ALTER TABLE users ADD COLUMN a int; ALTER TABLE users DROP COLUMN a",
    "ALTER TABLE users ADD COLUMN a int; ALTER TABLE users RENAME COLUMN a TO b; ALTER TABLE users DROP COLUMN b",
    "ALTER TABLE users ADD COLUMN a int; UPDATE users SET a = score; ALTER TABLE users ALTER COLUMN a SET NOT NULL",
    "ALTER TABLE users ADD CONSTRAINT c UNIQUE USING INDEX users_email",
    "ALTER TABLE users ADD CONSTRAINT c CHECK (score > 0) NOT ENFORCED",
    "ALTER TABLE users VALIDATE CONSTRAINT c",
    "ALTER TABLE orders DROP CONSTRAINT of_user",
    "ALTER TABLE users SET (fillfactor = 70)",
    "CREATE INDEX ON users (lower(name))",
    "CREATE TABLE t (id int); CREATE UNIQUE INDEX ON t (id); ALTER TABLE t RENAME TO u; TRUNCATE u; DROP TABLE u",
    "CREATE TABLE t (a int); ALTER TABLE t ALTER a TYPE text, ALTER a SET NOT NULL, ADD PRIMARY KEY (a); DELETE FROM t",
    "CREATE TABLE t AS SELECT 1 AS a; UPDATE t SET a = 2; ALTER TABLE t DROP COLUMN a",
    "CREATE VIEW v AS SELECT 1; DROP VIEW v",
    "CREATE OR REPLACE VIEW names AS SELECT name, email FROM users",
    "CREATE OR REPLACE FUNCTION greet(who text) RETURNS text LANGUAGE sql AS $$ DELETE FROM users; SELECT who $$",
    "CREATE TYPE m AS ENUM ('a'); ALTER TYPE m RENAME VALUE 'a' TO 'b'; DROP TYPE m",
    "CREATE SCHEMA s; CREATE TABLE s.t (id int); DROP TABLE s.t; DROP SCHEMA s",
    "CREATE SCHEMA s CREATE TABLE t (id int); ALTER TABLE s.t DROP COLUMN id",
    "SET search_path = s; CREATE TABLE t (id int); DROP TABLE s.t",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP FUNCTION f()",
    "CREATE TRIGGER g BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f()",
    "INSERT INTO users (name) VALUES ('DROP TABLE users')",
    "UPDATE users SET score = 1 WHERE score IS NULL",
    "DELETE FROM users WHERE name = 'x'",
    "DELETE FROM users WHERE CURRENT OF c",
    "DELETE FROM orders USING users WHERE users.id = orders.user_id",
    "GRANT SELECT ON users TO PUBLIC",
    "SELECT setval('users_id_seq', 100)",
    "DROP INDEX users_state",
    "COMMENT ON TABLE users IS '-- ikoma: breaking'",
    "SELECT $$\n-- ikoma: breaking\n$$",
]

INCOMPATIBLE = [
    ("DROP TABLE users", "drops the table users"),
    ("DROP TABLE IF EXISTS stock.items CASCADE", "drops the table stock.items"),
    ("DROP TABLE users; CREATE TABLE users (id int)", "drops the table users"),
    ("ALTER TABLE users DROP COLUMN email", "drops the column users.email"),
    ("DROP VIEW names", "drops the view names"),
    ("DROP MATERIALIZED VIEW m", "drops the materialized view m"),
    ("DROP TYPE mood", "drops the type mood"),
    ("DROP DOMAIN positive", "drops the domain positive"),
    ("DROP FUNCTION greet(text)", "drops the function greet"),
    ("DROP PROCEDURE p", "drops the procedure p"),
    ("DROP SCHEMA stock CASCADE", "drops the schema stock"),
    ("DROP SEQUENCE users_id_seq", "drops the sequence users_id_seq"),
    ("DROP EXTENSION citext", "drops the extension citext"),
    ("DROP OWNED BY CURRENT_USER", "drops all that a role owns"),
    ("ALTER TABLE users RENAME TO people", "renames the table users to people"),
    ("ALTER TABLE users RENAME COLUMN name TO title", "renames the column users.name to title"),
    ("ALTER TABLE users RENAME CONSTRAINT a TO b", "renames the constraint users.a to b"),
    ("ALTER VIEW names RENAME TO n", "renames the view names to n"),
    ("ALTER TYPE mood RENAME TO m", "renames the type mood to m"),
    ("ALTER FUNCTION greet(text) RENAME TO g", "renames the function greet to g"),
    ("ALTER SCHEMA stock RENAME TO s", "renames the schema stock to s"),
    ("ALTER INDEX users_email RENAME TO i", "renames the index users_email to i"),
    ("ALTER TABLE users SET SCHEMA stock", "moves users to the schema stock"),
    ("ALTER TYPE mood SET SCHEMA stock", "moves mood to the schema stock"),
    ("ALTER TABLE users ALTER COLUMN id TYPE bigint", "changes the type of users.id to int8"),
    ("ALTER TABLE users ALTER COLUMN name TYPE varchar(10)", "changes the type of users.name to varchar"),
    ("ALTER TABLE users ALTER COLUMN email TYPE varchar(100)", "changes the type of users.email to varchar"),
    ("ALTER TABLE users ALTER COLUMN name TYPE text USING upper(name)", "changes the type of users.name"),
    ("ALTER TABLE users ALTER COLUMN price TYPE numeric(12, 3)", "changes the type of users.price"),
    ("ALTER TABLE users ALTER COLUMN tags TYPE text[]", "changes the type of users.tags"),
    ("ALTER TABLE users ALTER COLUMN code TYPE text", "changes the type of users.code"),
    ("ALTER TABLE stranger ALTER COLUMN a TYPE text", "its old type is not known here"),
    ("ALTER TABLE users ALTER COLUMN email SET NOT NULL", "sets users.email NOT NULL"),
    ("ALTER TABLE users ADD CONSTRAINT n NOT NULL email", "sets users.email NOT NULL"),
    ("ALTER TABLE stranger ALTER COLUMN a SET NOT NULL", "sets stranger.a NOT NULL"),
    ("ALTER TABLE users ADD COLUMN age int NOT NULL", "adds the column users.age NOT NULL without a DEFAULT"),
    ("ALTER TABLE users ADD COLUMN age int NOT NULL DEFAULT NULL::int", "adds the column users.age NOT NULL"),
    ("ALTER TABLE users ADD COLUMN age int PRIMARY KEY", "adds the column users.age NOT NULL"),
    ("ALTER TABLE users ADD CONSTRAINT u UNIQUE (name)", "adds the UNIQUE constraint u to users"),
    ("ALTER TABLE users ADD CHECK (score > 0)", "adds the CHECK constraint to users"),
    ("ALTER TABLE users ADD COLUMN a int, ADD CHECK (score > a)", "adds the CHECK constraint to users"),
    ("ALTER TABLE users ADD CHECK (score > 0) NOT VALID", "adds the CHECK constraint to users"),
    ("ALTER TABLE users ADD FOREIGN KEY (score) REFERENCES stock.items (id)", "adds the FOREIGN KEY constraint"),
    ("ALTER TABLE users ADD EXCLUDE USING gist (name WITH =)", "adds the EXCLUDE constraint to users"),
    ("ALTER TABLE stock.items ADD PRIMARY KEY (id)", "adds the PRIMARY KEY constraint to stock.items"),
    ("CREATE UNIQUE INDEX ON users (lower(name))", "adds a UNIQUE index to users"),
    ("ALTER TABLE users ALTER COLUMN state DROP DEFAULT", "drops the DEFAULT of users.state, which is NOT NULL"),
    ("ALTER TABLE users ALTER COLUMN state SET DEFAULT NULL; ALTER TABLE users ALTER state DROP DEFAULT", "drops the"),
    ("ALTER TABLE stranger ALTER COLUMN a DROP DEFAULT", "NOT NULL as far as is known here"),
    ("ALTER TABLE users ALTER COLUMN score ADD GENERATED ALWAYS AS IDENTITY", "makes users.score GENERATED ALWAYS"),
    ("ALTER TABLE users ALTER COLUMN score SET GENERATED ALWAYS", "makes users.score GENERATED ALWAYS"),
    ("ALTER TABLE orders ALTER COLUMN id DROP IDENTITY", "drops the identity of orders.id"),
    ("ALTER TABLE users FORCE ROW LEVEL SECURITY", "forces row security on users"),
    ("ALTER TABLE users DETACH PARTITION old", "takes rows away between users and old"),
    ("ALTER TABLE users OWNER TO other", "gives users to another owner"),
    ("ALTER FUNCTION greet(text) OWNER TO other", "another owner"),
    ("TRUNCATE users, orders", "truncates orders"),
    ("DELETE FROM users", "deletes all rows of users"),
    ("EXPLAIN ANALYZE DELETE FROM users", "deletes all rows of users"),
    ("DELETE FROM users WHERE true", "deletes all rows of users"),
    ("UPDATE users SET score = 0", "changes all rows of users"),
    ("ALTER TABLE users ADD COLUMN a int; UPDATE users SET a = 1, score = 0", "changes all rows of users"),
    ("WITH gone AS (DELETE FROM users RETURNING *) SELECT count(*) FROM gone", "deletes all rows of users"),
    ("REVOKE SELECT ON users FROM PUBLIC", "revokes rights on users"),
    ("REVOKE other FROM CURRENT_USER", "revokes rights"),
    ("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "renames the value 'sad' of the enum mood"),
    ("ALTER DOMAIN positive ADD CHECK (VALUE > 0)", "makes the domain positive stricter"),
    ("ALTER DOMAIN positive SET NOT NULL", "makes the domain positive stricter"),
    ("ALTER TYPE pair ADD ATTRIBUTE c int", "changes the type pair"),
    ("SET search_path = stock, public; DROP TABLE items", "drops the table stock.items"),
    ('ALTER TABLE "Odd; table" DROP COLUMN "a; b"', "drops the column Odd; table.a; b"),
    ("-- ikoma: breaking\nSELECT 1", "marked `-- ikoma: breaking`"),
    ("SELECT 1; --ikoma:breaking", "marked"),
    ("SELEC 1", "cannot be applied"),
    ("SELECT 'never closed", "cannot be applied"),
    ("BEGIN; SELECT 1", "no place here"),
    ("SELECT 1;\0", "NUL"),
    ("\\d users", "command of psql"),
]

UNKNOWN = [
    ("DO $$ BEGIN EXECUTE 'DROP TABLE users'; END $$", "a DO block"),
    ("CALL tidy()", "a procedure"),
    ("PREPARE p AS SELECT 1; EXECUTE p", "a prepared statement"),
    ("SELECT greet('x')", "the app's own function greet"),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT f()", "the app's own function f"),
    ("DROP VIEW names; CREATE VIEW names AS SELECT 1 AS name", "drops the view names and makes it again"),
    ("DROP FUNCTION greet; CREATE FUNCTION greet(a int) RETURNS int LANGUAGE sql AS 'SELECT a'", "makes it again"),
]

WARNED = [
    ("ALTER TYPE mood ADD VALUE 'so'", "adds the value 'so' to the enum mood"),
    ("DROP INDEX users_email", "drops the index users_email"),
    ("DROP TRIGGER g ON users", "drops the trigger g on users"),
    ("ALTER TABLE users DROP CONSTRAINT c", "drops the constraint users.c"),
    ("CREATE INDEX CONCURRENTLY ON users (name)", "cannot run in a migration's transaction"),
    ("VACUUM users", "begin a file of its own with `-- ikoma: no-transaction`"),
    (
        "CREATE INDEX ON users (name)",
        "builds an index while writes to users wait: where users is large write CREATE INDEX",
    ),
    ("-- ikoma: no-transaction\nINSERT INTO users DEFAULT VALUES", "has no place in a file without a transaction"),
    ("-- ikoma: no-transaction\nDROP INDEX CONCURRENTLY users_state", "Write DROP INDEX CONCURRENTLY IF EXISTS."),
    ("SELECT 1;\n-- ikoma: no-transaction", "means nothing behind a statement"),
    ("-- ikoma: braking\nSELECT 1", "means nothing"),
]

LOCKS = [
    ("CREATE TABLE t (id int)", []),
    ("CREATE TABLE t (id int REFERENCES users)", ["users: SHARE ROW EXCLUSIVE"]),
    ("ALTER TABLE users ADD COLUMN a int", ["users: ACCESS EXCLUSIVE"]),
    ("ALTER TABLE users ADD COLUMN a timestamptz DEFAULT now()", ["users: ACCESS EXCLUSIVE"]),
    ("ALTER TABLE users ADD COLUMN a uuid DEFAULT gen_random_uuid()", ["users: ACCESS EXCLUSIVE, rewritten"]),
    (
        "ALTER TABLE users ALTER COLUMN id TYPE bigint",
        ["orders: ACCESS EXCLUSIVE", "users: ACCESS EXCLUSIVE, rewritten"],
    ),
    ("ALTER TABLE users ALTER COLUMN name TYPE text", ["users: ACCESS EXCLUSIVE"]),
    ("ALTER TABLE users ALTER COLUMN email SET NOT NULL", ["users: ACCESS EXCLUSIVE, scanned"]),
    ("ALTER TABLE users ADD CHECK (score > 0)", ["users: ACCESS EXCLUSIVE, scanned"]),
    ("ALTER TABLE users ADD CHECK (score > 0) NOT VALID", ["users: ACCESS EXCLUSIVE"]),
    (
        "ALTER TABLE stock.items ADD FOREIGN KEY (id) REFERENCES users",
        ["stock.items: SHARE ROW EXCLUSIVE, scanned", "users: SHARE ROW EXCLUSIVE"],
    ),
    ("ALTER TABLE users VALIDATE CONSTRAINT c", ["users: SHARE UPDATE EXCLUSIVE, scanned"]),
    ("CREATE INDEX ON users (name)", ["users: SHARE, scanned"]),
    ("DROP INDEX users_state", ["users: ACCESS EXCLUSIVE"]),
    ("DROP INDEX none", ["the table of the index none: ACCESS EXCLUSIVE"]),
    ("DROP TABLE orders", ["orders: ACCESS EXCLUSIVE", "users: ACCESS EXCLUSIVE"]),
    ("INSERT INTO users (name) SELECT name FROM stock.items", ["users: ROW EXCLUSIVE"]),
    ("UPDATE users SET score = 1 WHERE id = 1", ["users: ROW EXCLUSIVE, scanned"]),
    ("LOCK TABLE users IN EXCLUSIVE MODE", ["users: EXCLUSIVE"]),
    ("TRUNCATE orders", ["orders: ACCESS EXCLUSIVE"]),
    (
        "UPDATE stock.items SET name = 'x'; CREATE INDEX ON users (name); ALTER TABLE users ADD COLUMN a int",
        ["users: ACCESS EXCLUSIVE, scanned", "stock.items: ROW EXCLUSIVE, scanned"],
    ),
]


def judged(text: str) -> MigrationVerdict:
    return lint_all([Migration.of("2.sql", text)], [Migration.of("1.sql", BEFORE)])[0]


@pytest.mark.parametrize("text", COMPATIBLE)
def test_the_previous_release_can_live_with(text: str) -> None:
    verdict = judged(text)
    assert (verdict.compatible, verdict.reasons) == (True, ())


@pytest.mark.parametrize(("text", "said"), INCOMPATIBLE)
def test_the_previous_release_cannot_live_with(text: str, said: str) -> None:
    verdict = judged(text)
    assert not verdict.compatible
    assert any(said in reason for reason in verdict.reasons), verdict.reasons
    assert all(reason.endswith(".") for reason in verdict.reasons)


@pytest.mark.parametrize(("text", "said"), UNKNOWN)
def test_what_cannot_be_judged_is_said_and_counts_as_compatible(text: str, said: str) -> None:
    verdict = judged(text)
    assert verdict.compatible
    assert verdict.unknown
    assert any(said in warning for warning in verdict.warnings), verdict.warnings


@pytest.mark.parametrize(("text", "said"), WARNED)
def test_what_a_person_should_look_at_is_a_warning(text: str, said: str) -> None:
    verdict = judged(text)
    assert verdict.compatible
    assert any(said in warning for warning in verdict.warnings), verdict.warnings


@pytest.mark.parametrize(("text", "wanted"), LOCKS)
def test_locks_are_the_strongest_of_each_table_that_was_there(text: str, wanted: list[str]) -> None:
    assert [str(lock) for lock in judged(text).locks] == wanted


# --- a person's word ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "-- ikoma: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON users (name)",
        "\n  -- about\r\n--ikoma:no-transaction\r\nVACUUM users; ANALYZE orders; SET work_mem = '1GB'",
        "\ufeff-- ikoma: no-transaction\nREINDEX TABLE CONCURRENTLY users",
        "-- ikoma: no-transaction\nDROP INDEX CONCURRENTLY IF EXISTS users_state",
        "CREATE TABLE t (id int); CREATE INDEX ON t (id)",
    ],
)
def test_a_file_without_a_transaction_says_nothing_of_what_fits_there(text: str) -> None:
    assert judged(text).warnings == ()


def test_a_person_overrules_the_linter_and_sees_what_it_found() -> None:
    verdict = judged("-- ikoma: compatible\nDROP TABLE users;\n")
    assert (verdict.compatible, verdict.reasons) == (True, ())
    assert "Overruled" in verdict.warnings[0]
    assert "drops the table users" in verdict.warnings[0]


def test_a_persons_word_covers_what_could_not_be_judged() -> None:
    assert not judged("-- ikoma: compatible\nDO $$ BEGIN END $$").unknown


def test_breaking_weighs_more_than_compatible() -> None:
    assert not judged("-- ikoma: compatible\n-- ikoma: breaking\nSELECT 1").compatible


def test_no_word_makes_a_broken_file_applicable() -> None:
    assert not judged("-- ikoma: compatible\nSELEC").compatible


def test_a_marker_after_letters_that_are_not_ascii_is_found() -> None:
    assert not judged("SELECT 'ü🎈ü🎈';\n-- ikoma: breaking").compatible


def test_a_marker_in_a_windows_file_is_found() -> None:
    assert not judged("SELECT 1;\r\n-- ikoma: breaking\r\nSELECT 2;\r\n").compatible


# --- several together --------------------------------------------------------------------------------------


def test_what_an_earlier_pending_migration_makes_is_new() -> None:
    first = Migration.of("1.sql", "CREATE TABLE t (id int); ALTER TABLE users ADD COLUMN a int")
    second = Migration.of("2.sql", "ALTER TABLE t DROP COLUMN id; ALTER TABLE users DROP COLUMN a; DROP TABLE t")
    verdicts = lint_all([first, second])
    assert [verdict.name for verdict in verdicts] == ["1.sql", "2.sql"]
    assert [verdict.compatible for verdict in verdicts] == [True, True]
    assert [lock.table for lock in verdicts[1].locks] == ["users"]
    assert not lint_all([second])[0].compatible


def test_a_file_that_cannot_be_read_does_not_keep_the_others_from_being_judged() -> None:
    verdicts = lint_all([Migration.of("1.sql", "SELEC"), Migration.of("2.sql", "DROP TABLE users")])
    assert [len(verdict.reasons) for verdict in verdicts] == [1, 1]


def test_applied_migrations_may_hold_anything() -> None:
    applied = [Migration.of("0.sql", "SELEC"), Migration.of("1.sql", BEFORE), Migration.of("2.sql", "\0")]
    assert lint_all([Migration.of("3.sql", "ALTER TABLE users ALTER COLUMN name TYPE text")], applied)[0].compatible


def test_a_search_path_ends_with_its_file() -> None:
    first, second = Migration.of("1.sql", "SET search_path = s"), Migration.of("2.sql", "DROP TABLE t")
    assert "drops the table t:" in lint_all([first, second])[1].reasons[0]


def test_lines_are_those_of_the_file() -> None:
    verdict = judged("\ufeff-- ü\n\nSELECT 1;\n/* x\n */ ALTER TABLE users\n  DROP COLUMN email;")
    assert verdict.reasons[0].startswith("Line 5 drops the column users.email: ")


def test_a_migration_by_itself_is_judged_too() -> None:
    verdict = lint("DROP TABLE t", name="9.sql")
    assert (verdict.name, verdict.compatible) == ("9.sql", False)
    assert (verdict.locks[0].mode, verdict.locks[0].mode.blocks) == (Lock.ACCESS_EXCLUSIVE, "reads and writes")


def test_a_large_file_of_rows_is_judged_in_seconds() -> None:
    verdict = judged("INSERT INTO users (name) VALUES ('ü');\n" * 5000 + "DROP TABLE users;")
    assert verdict.reasons[0].startswith("Line 5001 ")
