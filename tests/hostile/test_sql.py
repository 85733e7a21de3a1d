"""Hostile SQL, for real: every script of sql/ as an app's own role, on a server with another app and a file to steal.

A script begins with what becomes of it. `-- stops:` names conditions of PostgreSQL (or `code:`, one of ours), any of
which must end it; `-- harmless:` says why it may run, and `-- expect:` a query and what that gives afterwards.
`-- via:` is the way in: seed (db.seed and db.migrate, the default), login (a session of the app itself, as its
containers have it) or query (db.query, of what stands behind `-- then query`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from ikoma.errors import DatabasesUnavailable, IkomaError
from ikoma.model import AppName, Secret
from ikoma.ports.databases import Credentials, Migration
from tests.contract.conftest import state_folder
from tests.contract.postgres.conftest import Postgres, make_database
from tests.contract.postgres.test_dump import content

SCRIPTS = sorted(Path(__file__).with_name("sql").glob("*.sql"))
SEEDS = [path for path in SCRIPTS if "-- via:" not in path.read_text()]
CANARY = "canary-4f1c9"
SHOP, BANK = AppName.parse("shop"), AppName.parse("bank")


@dataclass(frozen=True)
class Script:
    stops: tuple[str, ...]
    via: str
    expect: str | None
    before: str
    text: str


def read(path: Path, places: dict[str, str]) -> Script:
    text = path.read_text()
    head = {}
    for line in text.splitlines():
        name, colon, value = line.removeprefix("-- ").partition(":")
        if not line.startswith("-- ") or not colon or name not in ("stops", "harmless", "via", "expect"):
            break
        head[name] = value.strip()
    assert ("stops" in head) != ("harmless" in head), path
    assert ("expect" in head) == ("harmless" in head), path
    body = text.split("\n", len(head))[len(head)]
    for place, value in places.items():
        body = body.replace(place, value)
    before, found, after = body.partition("-- then query\n")
    stops = tuple(name.strip() for name in head.get("stops", "").split(",") if name.strip())
    return Script(stops, head.get("via", "seed"), head.get("expect"), before if found else "", after or before)


@dataclass(frozen=True)
class World:
    """A server with the app that attacks, the app that is attacked, and a file."""

    postgres: Postgres
    shop: Credentials
    bank: Credentials
    folder: Path

    @property
    def places(self) -> dict[str, str]:
        port = str(self.postgres.server.endpoint.port)
        return {"{file}": str(self.folder / "secret"), "{folder}": str(self.folder), "{port}": port, "{nul}": "\0"}

    def everything(self) -> dict[str, Any]:
        """All of the server that is not the attacker's own."""
        queries = {
            "roles": "SELECT * FROM pg_authid ORDER BY oid",
            "members": "SELECT * FROM pg_auth_members ORDER BY oid",
            "databases": "SELECT datname, datdba, datallowconn, datistemplate, datconnlimit,"
            " CASE WHEN datname <> 'shop' THEN datacl END, shobj_description(oid, 'pg_database')"
            " FROM pg_database ORDER BY 1",
            "of roles and databases": "SELECT * FROM pg_db_role_setting WHERE setrole <> 'shop'::regrole ORDER BY 1, 2",
            "settings": "SELECT name, setting FROM pg_settings WHERE name <> 'application_name' ORDER BY 1",
            "in files": "SELECT * FROM pg_file_settings",
            "rules of entry": "SELECT * FROM pg_hba_file_rules",
            "tablespaces": "SELECT * FROM pg_tablespace",
            "slots": "SELECT slot_name FROM pg_replication_slots",
            "origins": "SELECT * FROM pg_replication_origin",
            "subscriptions": "SELECT subname FROM pg_subscription",
            "prepared": "SELECT gid FROM pg_prepared_xacts",
            "templates": "SELECT count(*) FROM pg_proc",
            "of others": "SELECT pid, backend_start FROM pg_stat_activity WHERE usename = 'bank'",
        }
        with self.postgres.admin() as session:
            seen: dict[str, Any] = {name: session.execute(query.encode()).fetchall() for name, query in queries.items()}
        seen["bank"] = content(self.postgres, "bank")
        seen["files"] = sorted(path.name for path in self.folder.iterdir())
        return seen

    def run(self, script: Script) -> str:
        """Return what the script gave, as text; the error where it was stopped."""
        databases = self.postgres.databases
        if script.via == "seed":
            self.postgres.do(databases.run_sql(self.shop, "seed.sql", script.text, timeout=120))
            return "[]"
        if script.via == "login":
            with self.postgres.login(self.shop) as session:
                session.execute(script.text.encode())
            return "[]"
        if script.before:
            self.postgres.do(databases.run_sql(self.shop, "seed.sql", script.before, timeout=120))
        return self.ask(script.text, timeout=2 if "code:query_timeout" in script.stops else 60)

    def ask(self, sql: str, timeout: int = 60) -> str:
        found = self.postgres.do(self.postgres.databases.query(self.shop, sql, limit=1000, timeout=timeout))
        return orjson.dumps(found.rows).decode()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that PostgreSQL's own user may read and write, with a secret in it."""
    made = state_folder()
    made.chmod(0o777)
    (made / "secret").write_text(CANARY)
    yield made
    for path in made.iterdir():
        path.unlink()
    made.rmdir()


@pytest.fixture(scope="module")
def bank(postgres: Postgres) -> Iterator[Credentials]:
    """Another app, with a row to steal and a session that has the secret in its statement."""
    owned = make_database(postgres, BANK)
    with postgres.login(owned) as session:
        session.execute("CREATE TABLE accounts (a text)")
        session.execute("INSERT INTO accounts VALUES (%s)", (CANARY,))
        session.execute(f'SELECT a AS "{CANARY}" FROM accounts'.encode())
        yield owned
    postgres.do(postgres.databases.drop(BANK))


@pytest.fixture
def world(postgres: Postgres, bank: Credentials, folder: Path) -> Iterator[World]:
    yield World(postgres, make_database(postgres, SHOP), bank, folder)
    postgres.do(postgres.databases.drop(SHOP))


def said(error: Exception) -> tuple[set[str], str]:
    """Return what an error may be known by, and all that it says."""
    if isinstance(error, IkomaError):
        state = str(error.details.get("sqlstate") or "")
        words = orjson.dumps([error.message, error.hint, error.details]).decode()
        return {f"code:{error.code}", condition(state)} - {""}, words
    assert isinstance(error, psycopg.Error)
    return {condition(error.sqlstate or "")}, str(error)


def condition(state: str) -> str:
    try:
        name = psycopg.errors.lookup(state).__name__
    except KeyError:
        return state
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("_")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_hostile_script_reaches_nothing(world: World, path: Path) -> None:
    script = read(path, world.places)
    before = world.everything()
    try:
        given = world.run(script)
    except (IkomaError, psycopg.Error) as error:
        names, given = said(error)
        assert names & set(script.stops), (names, given)
    else:
        assert not script.stops, given
        asked, _, wanted = str(script.expect).partition("=> ")
        given = world.ask(asked) if asked else given
        assert orjson.loads(given) == orjson.loads(wanted)
    assert CANARY not in given
    assert world.bank.password.reveal() not in given
    assert "SCRAM-SHA-256" not in given
    assert world.everything() == before
    if script.stops and script.via == "seed":
        assert world.ask("SELECT relname FROM pg_class WHERE relname IN ('kept', 'taken')") == "[]"


@pytest.mark.parametrize(
    "path", [path for path in SCRIPTS if "-- via:" not in path.read_text()], ids=lambda path: path.stem
)
def test_a_hostile_migration_is_stopped_the_same_way(world: World, path: Path) -> None:
    script = read(path, world.places)
    migration = Migration.of("1.sql", script.text)
    if script.stops:
        with pytest.raises(IkomaError) as caught:
            world.postgres.do(world.postgres.databases.migrate(world.shop, migration, timeout=120, lock_timeout=5))
        names, given = said(caught.value)
        assert names & set(script.stops), (names, given)
        assert CANARY not in given
    assert world.postgres.do(world.postgres.databases.read_ledger(world.shop)) == []


def test_there_are_enough_of_them() -> None:
    assert len(SCRIPTS) >= 45


def test_an_apps_password_opens_no_other_database(world: World) -> None:
    for database in ("bank", "postgres", "template1", "template0"):
        with pytest.raises(psycopg.OperationalError) as caught:
            world.postgres.login(world.shop, database)
        assert CANARY not in str(caught.value)
    stranger = Credentials("shop", "bank", world.bank.password)
    with pytest.raises(DatabasesUnavailable):
        world.postgres.do(world.postgres.databases.check_login(stranger))


@pytest.mark.parametrize("kind", ["true", "database"])
def test_an_app_cannot_replicate(world: World, kind: str) -> None:
    parameters = {**world.postgres.server.make_app_login(world.shop), "replication": kind}
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**parameters)


def test_an_app_cannot_log_in_as_the_admin(world: World) -> None:
    for password in (world.shop.password.reveal(), "", "ikoma", "postgres"):
        with pytest.raises(DatabasesUnavailable):
            wrong = Credentials("postgres", "ikoma", Secret(password))
            world.postgres.do(world.postgres.databases.check_login(wrong))


def test_the_servers_files_are_closed_to_other_users(world: World) -> None:
    """Containers and other accounts of the machine have no way past PostgreSQL."""
    with world.postgres.admin() as session:
        row = session.execute("SHOW data_directory").fetchone()
    assert row is not None
    data = Path(row[0])
    assert data.stat().st_mode & 0o077 == 0
    assert (data.parent / "password").stat().st_mode & 0o077 == 0
    assert os.path.exists(data / "PG_VERSION")
