"""People's schemas come back as they were: functions find each other by the search path, wherever they are run."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg import sql

from ikoma.errors import BackupUnproven
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import ignore_progress
from tests.contract.postgres.conftest import Postgres
from tests.contract.postgres.test_dump import content, dump, restore

HELPERS = """
CREATE EXTENSION unaccent;
CREATE TABLE words (word text PRIMARY KEY);
INSERT INTO words VALUES ('one'), ('two');
CREATE FUNCTION plain(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(unaccent($1)) $$;
CREATE FUNCTION plain(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT plain($1) || $2 $$;
CREATE FUNCTION tail(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT plain($1, '-') $$;
CREATE FUNCTION known(text) RETURNS bool LANGUAGE plpgsql STABLE AS
    $$ BEGIN RETURN EXISTS (SELECT FROM words WHERE word = tail(lower($1)) OR word = lower($1)); END $$;
CREATE FUNCTION pl(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN plain($1); END $$;
"""

ZOO = {
    "a generated column": "CREATE TABLE t (x text, y text GENERATED ALWAYS AS (plain(x)) STORED);"
    "INSERT INTO t (x) VALUES ('É'), ('ü')",
    "a generated column over a function of a function": "CREATE TABLE t (x text,"
    "y text GENERATED ALWAYS AS (tail(x)) STORED); INSERT INTO t (x) VALUES ('É')",
    "a check over another table": "CREATE TABLE t (x text CHECK (known(x))); INSERT INTO t VALUES ('ONE')",
    "a check that was added later": "CREATE TABLE t (x text); INSERT INTO t VALUES ('ONE');"
    "ALTER TABLE t ADD CONSTRAINT c CHECK (known(x)) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c",
    "a domain": "CREATE DOMAIN word AS text CHECK (known(VALUE)); CREATE TABLE t (x word, y word[]);"
    "INSERT INTO t VALUES ('ONE', '{two}')",
    "an enum in a function": "CREATE TYPE mood AS ENUM ('sad', 'happy');"
    "CREATE FUNCTION is_happy(text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1::mood = 'happy' $$;"
    "CREATE TABLE t (x text CHECK (is_happy(x)), y bool GENERATED ALWAYS AS (is_happy(x)) STORED);"
    "INSERT INTO t (x) VALUES ('happy')",
    "an index": "CREATE TABLE t (x text); INSERT INTO t VALUES ('É');"
    "CREATE FUNCTION fixed(text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = public"
    " AS $$ SELECT plain($1) $$;"
    "CREATE INDEX ON t (fixed(x)); CREATE UNIQUE INDEX ON t (x) WHERE fixed(x) <> ''",
    "an index that was made while its table was empty": "CREATE TABLE t (x text); CREATE INDEX ON t (pl(x));"
    "INSERT INTO t VALUES ('É'), ('ü')",
    "a materialised view that was made while its table was empty": "CREATE TABLE t (x text);"
    "CREATE MATERIALIZED VIEW m AS SELECT pl(x) AS y FROM t; CREATE INDEX ON m (pl(y))",
    "a materialised view over no table": "CREATE FUNCTION n() RETURNS int LANGUAGE sql IMMUTABLE"
    " SET search_path = public AS $$ SELECT length(plain('É')) $$; DROP TABLE words CASCADE;"
    "CREATE MATERIALIZED VIEW m AS SELECT n()",
    "a partition key": "CREATE TABLE t (x text) PARTITION BY LIST (plain(x));"
    "CREATE TABLE t_e PARTITION OF t FOR VALUES IN ('e'); CREATE TABLE t_rest PARTITION OF t DEFAULT;"
    "INSERT INTO t VALUES ('É'), ('ü')",
    "an exclusion": "CREATE EXTENSION btree_gist; CREATE TABLE t (x text, EXCLUDE USING gist (pl(x) WITH =));"
    "INSERT INTO t VALUES ('É')",
    "a default": "CREATE TABLE t (n int, x text DEFAULT plain('É')); INSERT INTO t (n) VALUES (1)",
    "a trigger with a condition": "CREATE TABLE t (x text, y text);"
    "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.y := plain(NEW.x); RETURN NEW; END $$;"
    "CREATE TRIGGER fill BEFORE INSERT ON t FOR EACH ROW WHEN (plain(NEW.x) <> '') EXECUTE FUNCTION fill();"
    "INSERT INTO t VALUES ('É')",
    "row security": "CREATE TABLE t (x text); INSERT INTO t VALUES ('ONE'); ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
    "ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (known(x)) WITH CHECK (known(x))",
    "extensions in public": "CREATE EXTENSION citext; CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore;"
    "CREATE TABLE t (x citext UNIQUE CHECK (x <> 'no'), h hstore, y text GENERATED ALWAYS AS (plain(x::text)) STORED);"
    "CREATE INDEX ON t USING gin ((x::text) gin_trgm_ops);"
    "INSERT INTO t (x, h) VALUES ('É', 'a=>1')",
    "a name that is looked up in a row": "CREATE TABLE t (x text CHECK (to_regclass(x) IS NOT NULL));"
    "INSERT INTO t VALUES ('words')",
    "a range, an operator and a cast": "CREATE FUNCTION gap(text, text) RETURNS float8 LANGUAGE sql IMMUTABLE AS"
    " $$ SELECT length(plain($1))::float8 - length(plain($2)) $$;"
    "CREATE TYPE span AS RANGE (subtype = text, subtype_diff = gap);"
    "CREATE FUNCTION same(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT plain($1) = plain($2) $$;"
    "CREATE OPERATOR =~= (LEFTARG = text, RIGHTARG = text, FUNCTION = same);"
    "CREATE TABLE t (x text, s span, CHECK (x =~= 'e')); INSERT INTO t VALUES ('É', '[a,b)');"
    "CREATE INDEX ON t USING gist (s)",
    "a function that hides one of PostgreSQL's": "CREATE SCHEMA mine; CREATE FUNCTION mine.length(text) RETURNS int"
    " LANGUAGE sql IMMUTABLE AS $$ SELECT 7 $$; CREATE TABLE t (x text, y int GENERATED ALWAYS AS (length(x)) STORED);"
    "INSERT INTO t VALUES ('abc')",
    "functions with settings of their own": "CREATE FUNCTION set1(text) RETURNS text LANGUAGE sql IMMUTABLE"
    " SET TimeZone = 'UTC' AS $$ SELECT plain($1) $$; CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;"
    "CREATE TABLE t (x text, y text GENERATED ALWAYS AS (set1(x)) STORED); INSERT INTO t (x) VALUES ('É')",
    "odd names, kinds of functions and types of types": """
CREATE SCHEMA "a ""b"".c"; CREATE TYPE "a ""b"".c"."Mood; $x$" AS ENUM ('sad', 'it''s');
CREATE FUNCTION "a ""b"".c"."f""(x)"("a ""b"".c"."Mood; $x$", n int DEFAULT length(plain('É'))) RETURNS text
    LANGUAGE sql IMMUTABLE AS $$ SELECT plain($1::text) || n $$;
CREATE FUNCTION many(VARIADIC anyarray) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    RETURN array_length($1, 1) + length(plain('É')); END $$;
CREATE FUNCTION words() RETURNS TABLE (w words) LANGUAGE sql STABLE AS $$ SELECT words FROM words $$;
CREATE PROCEDURE words(int) LANGUAGE sql AS $$ DELETE FROM words WHERE length(word) > $1 $$;
CREATE FUNCTION add(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT plain(coalesce($1, '')) || $2 $$;
CREATE AGGREGATE joined(text) (SFUNC = add, STYPE = text, INITCOND = '');
CREATE FUNCTION to_mood(text) RETURNS "a ""b"".c"."Mood; $x$" LANGUAGE plpgsql IMMUTABLE AS
    $$ DECLARE found "a ""b"".c"."Mood; $x$" := $1; BEGIN RETURN found; END $$;
CREATE FUNCTION moody(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT to_mood($1)::text $$;
CREATE DOMAIN inner_word AS text CHECK (known(VALUE)); CREATE DOMAIN outer_word AS inner_word CHECK (tail(VALUE) <> '');
CREATE TYPE pair AS (a outer_word, b int); CREATE TYPE pairs AS RANGE (subtype = pair);
CREATE FUNCTION atomic(text) RETURNS text LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT plain($1); END;
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, p pair[], r pairs, x text, m text,
    s text GENERATED ALWAYS AS (atomic(x)) STORED, u text GENERATED ALWAYS AS (moody(m)) STORED,
    CHECK ("a ""b"".c"."f""(x)"(to_mood(m)) <> ''), CHECK (many(id, 2) > 1));
CREATE TABLE sub (x text, d date NOT NULL) PARTITION BY LIST (pl(x));
CREATE TABLE sub_e PARTITION OF sub FOR VALUES IN ('e') PARTITION BY RANGE (date_part('year', d));
CREATE TABLE sub_e_all PARTITION OF sub_e DEFAULT;
CREATE VIEW seen AS SELECT joined(x) AS x, (SELECT count(*) FROM words()) AS n FROM t;
CREATE MATERIALIZED VIEW kept AS SELECT joined(x) AS x, max(pl(x)) FROM t;
CREATE FUNCTION of_view(seen) RETURNS text LANGUAGE sql STABLE AS $$ SELECT plain($1.x) $$;
CREATE RULE quiet AS ON DELETE TO words WHERE known(OLD.word) DO INSTEAD NOTHING;
INSERT INTO t (p, r, x, m) VALUES ('{"(ONE,1)","(two,2)"}', '["(one,1)","(two,2)")', 'É', 'it''s');
INSERT INTO sub VALUES ('É', '2026-01-01');
SELECT lo_from_bytea(0, 'large');
""",
    "a function with definer's rights": "CREATE FUNCTION d(text) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER"
    " AS $$ SELECT plain($1) $$; CREATE TABLE t (x text CHECK (d(x) <> '')); INSERT INTO t VALUES ('É')",
}


def fill(postgres: Postgres, owned: Credentials, *texts: str) -> None:
    with postgres.login(owned) as session:
        for text in texts:
            session.execute(text.encode())


def comes_back(postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path) -> None:
    """By psql as the runbook says, and by IKOMA's own restore, over whatever was done since."""
    before = content(postgres, app)
    file = dump(postgres, app, tmp_path / "x.sql").path
    change = "CREATE TABLE since AS SELECT 1; DROP FUNCTION IF EXISTS plain(text) CASCADE"
    fill(postgres, owned, change)
    done = restore(postgres, app, file)
    assert (done.returncode, done.stderr) == (0, "")
    assert content(postgres, app) == before
    fill(postgres, owned, change)
    postgres.do(postgres.databases.restore(owned, file, progress=ignore_progress))
    assert content(postgres, app) == before


def prove(postgres: Postgres, owned: Credentials, made: Dump) -> float:
    """As db.backup does, in the database that stands in."""

    async def proven() -> float:
        async with postgres.databases.make_stand_in(owned) as place:
            return await postgres.databases.prove(
                owned, made, place, what="It cannot be restored", progress=ignore_progress
            )

    try:
        taken: float = postgres.do(proven())
        return taken
    finally:
        assert stand_ins(postgres) == []


def stand_ins(postgres: Postgres) -> list[str]:
    with postgres.admin() as session:
        found = session.execute("SELECT datname FROM pg_database WHERE datname LIKE 'ikoma-%'").fetchall()
    return [name for (name,) in found]


@pytest.mark.parametrize("made", ZOO)
def test_it_comes_back(postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path, made: str) -> None:
    fill(postgres, owned, HELPERS, ZOO[made])
    comes_back(postgres, app, owned, tmp_path)


def test_it_comes_back_where_the_database_has_a_search_path_of_its_own(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    with postgres.admin() as session:
        session.execute(
            sql.SQL('ALTER DATABASE {} SET search_path = "the ""shop""; --", pg_catalog').format(sql.Identifier(app))
        )
        session.execute(sql.SQL("ALTER DATABASE {} SET shop.tail = 'it is %x'").format(sql.Identifier(app)))
    fill(
        postgres,
        owned,
        'CREATE SCHEMA "the ""shop""; --"',
        "CREATE FUNCTION length(text) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 7 $$;"
        "CREATE FUNCTION seven(text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN length($1); END $$;"
        "CREATE TABLE t (x text CHECK (seven(x) = 7 AND current_setting('shop.tail') LIKE '%x%'),"
        "y int GENERATED ALWAYS AS (seven(x)) STORED, z int GENERATED ALWAYS AS (pg_catalog.length(x)) STORED);"
        "INSERT INTO t VALUES ('ab'); CREATE INDEX ON t (seven(x))",
    )
    comes_back(postgres, app, owned, tmp_path)
    with postgres.login(owned) as session:
        assert session.execute("SELECT x, y, z FROM t").fetchall() == [("ab", 7, 2)]


def test_it_comes_back_where_the_role_has_a_search_path_of_its_own(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    fill(postgres, owned, f'CREATE SCHEMA stock; ALTER ROLE "{owned.role}" SET search_path = stock, public')
    fill(postgres, owned, HELPERS, ZOO["a generated column"])
    with postgres.admin(app) as session:
        assert session.execute("SELECT count(*) FROM stock.t").fetchone() == (2,)
    comes_back(postgres, app, owned, tmp_path)
    # A new database does not know the role's settings; the file does.
    assert prove(postgres, owned, dump(postgres, app, tmp_path / "y.sql")) > 0


def test_a_materialised_view_is_made_anew_of_the_rows_in_the_backup(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    fill(postgres, owned, "CREATE TABLE t (n int); CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t")
    fill(postgres, owned, "CREATE MATERIALIZED VIEW never AS SELECT 1 WITH NO DATA; INSERT INTO t VALUES (1), (2)")
    comes_back(postgres, app, owned, tmp_path)
    with postgres.login(owned) as session:
        assert session.execute("SELECT n FROM m").fetchone() == (2,)
        query = "SELECT relname, relispopulated FROM pg_class WHERE relkind = 'm' ORDER BY 1"
        assert session.execute(query).fetchall() == [("m", True), ("never", False)]


# --- the proof ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "broken", "says"),
    [
        (
            "CREATE FUNCTION ok(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';"
            "CREATE TABLE t (n int CHECK (ok(n))); INSERT INTO t VALUES (1)",
            "CREATE OR REPLACE FUNCTION ok(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 1'",
            "violates check constraint",
        ),
        (
            HELPERS + ZOO["a generated column"],
            "CREATE OR REPLACE FUNCTION plain(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 1 / 0 || $1 $$",
            "division by zero",
        ),
    ],
)
def test_a_backup_that_cannot_be_restored_is_told_at_once(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path, made: str, broken: str, says: str
) -> None:
    fill(postgres, owned, made)
    good = dump(postgres, app, tmp_path / "good.sql")
    assert prove(postgres, owned, good) > 0
    fill(postgres, owned, broken)
    before = content(postgres, app)
    bad = dump(postgres, app, tmp_path / "bad.sql")
    with pytest.raises(BackupUnproven, match=says) as caught:
        prove(postgres, owned, bad)
    assert says not in caught.value.audit_message
    assert bad.path.is_file()
    assert content(postgres, app) == before


def test_a_table_that_lost_rows_is_no_proof(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    fill(postgres, owned, 'CREATE SCHEMA "S x"; CREATE TABLE "S x"."T; 1" AS SELECT generate_series(1, 5) AS n')
    made = dump(postgres, app, tmp_path / "x.sql")
    made.path.write_bytes(made.path.read_bytes().replace(b"\n4\n", b"\n", 1))
    with pytest.raises(BackupUnproven, match=r"'S x\.T; 1' has 4 rows then, of 5"):
        prove(postgres, owned, made)


def test_a_proof_lets_nobody_else_in_and_runs_nothing_as_the_admin(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    fill(
        postgres,
        owned,
        "CREATE FUNCTION spy(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_user <> 'ikoma' THEN RETURN true; END IF; RETURN false; END $$;"
        "CREATE FUNCTION spy_always(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " IF current_user = 'ikoma' THEN RAISE 'as the admin'; END IF; RETURN $1; END $$;"
        "CREATE TABLE t (n int CHECK (spy(n))); CREATE INDEX ON t (n) WHERE spy_always(1) = 1;"
        "INSERT INTO t VALUES (1)",
    )
    made = dump(postgres, app, tmp_path / "x.sql")
    prove(postgres, owned, made)


def test_what_a_killed_proof_left_is_swept_and_goes_with_its_app(
    postgres: Postgres, app: AppName, owned: Credentials
) -> None:
    left = ["ikoma-stand-in-" + "0" * 32, "ikoma-stand-in-" + "1" * 32]
    with postgres.admin() as session:
        for name in left:
            session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with postgres.admin(left[1]):
        postgres.do(postgres.databases.sweep())
        assert stand_ins(postgres) == left[1:]
    postgres.do(postgres.databases.sweep())
    assert stand_ins(postgres) == []
