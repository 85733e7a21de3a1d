"""Point in time where PostgreSQL is a container of the official image, as deploy/docker-compose.yml starts it."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import yaml

from ikoma.errors import RecoveryFailed
from ikoma.postgres.archive import archive as looking_after
from ikoma.postgres.server.external import ExternalPostgres
from scripts.images import ensure
from tests.contract.conftest import settings_of
from tests.contract.postgres.archived import Do, World, archived
from tests.support import eventually, free_port

COMPOSE = Path(__file__).parents[3] / "deploy" / "docker-compose.yml"
PASSWORD = "a password of this test"


@contextmanager
def container(port: int) -> Iterator[str]:
    """The service `postgres` of the platform, on this port of the host."""
    text = COMPOSE.read_text().replace("@POSTGRES_PORT@", str(port)).replace("@LISTEN@", "127.0.0.1")
    service = yaml.safe_load(text.replace("@MEMORY@", "512").replace("@", ""))["services"]["postgres"]
    asyncio.run(ensure(["postgres:18"]))
    name = f"ikoma-test-archived-{uuid.uuid4().hex[:8]}"
    given = {**service["environment"], "POSTGRES_PASSWORD": PASSWORD}
    argv = ["docker", "run", "--detach", "--rm", f"--name={name}", f"--network={service['network_mode']}"]
    argv += [f"--env={key}={value}" for key, value in given.items()]
    argv += [f"--cap-drop={item}" for item in service["cap_drop"]] + [
        f"--cap-add={item}" for item in service["cap_add"]
    ]
    argv += [f"--security-opt={item}" for item in service["security_opt"]]
    subprocess.run([*argv, "postgres:18", *service["command"]], check=True, capture_output=True)
    try:
        yield name
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)


def is_there(server: ExternalPostgres) -> bool:
    try:
        psycopg.connect(**server.make_admin_login()).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="module")
def world(do: Do) -> Iterator[World]:
    port = free_port()

    def make(folder: Path) -> ExternalPostgres:
        given = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(port), "POSTGRES_PASSWORD": PASSWORD}
        server = ExternalPostgres(settings_of(folder, **given))
        eventually(lambda: is_there(server), "PostgreSQL answers")
        return server

    with pytest.MonkeyPatch.context() as patched, container(port), archived(do, make) as made:
        patched.setattr(looking_after, "_CALM_SECONDS", 0.2)
        yield made


def test_its_log_and_its_base_backups_come_by_the_network_and_a_moment_comes_back(world: World) -> None:
    world.run("CREATE TABLE t AS SELECT generate_series(1, 5000) AS n")
    first = world.note()
    world.run("DELETE FROM t WHERE n > 100")
    full = world.chain.list_bases()[-1]
    world.age(full)
    world.wait_for(lambda _: world.chain.list_bases()[-1].name != full.name)
    assert world.chain.list_bases()[-1].parent == full.name
    world.run("INSERT INTO t VALUES (0)")
    second = world.note()
    world.run("DROP TABLE t")
    assert world.go_back(first) == {"t": 5000}
    assert world.go_back(second) == {"t": 101}
    window = world.wait_for(lambda window: window.lag_bytes == 0)
    assert window.problem is None


def test_the_slot_is_bounded_and_who_comes_by_the_network_gives_a_password(world: World) -> None:
    login = world.server.make_admin_login()
    with psycopg.connect(**login) as session:
        assert session.execute("SHOW max_slot_wal_keep_size").fetchone() == ("2GB",)
        assert session.execute("SELECT slot_type, active FROM pg_replication_slots").fetchall() == [("physical", True)]
        rules = session.execute(
            "SELECT DISTINCT auth_method FROM pg_hba_file_rules WHERE type = 'host' AND 'replication' = ANY (database)"
        ).fetchall()
    assert rules == [("scram-sha-256",)]


def test_a_locale_that_is_not_there_where_it_is_recovered_is_told(world: World) -> None:
    with psycopg.connect(**world.server.make_admin_login("template1"), autocommit=True) as session:
        (before,) = session.execute("SELECT datcollate FROM pg_database WHERE datname = 'postgres'").fetchone() or ("",)
        assert before == "C", "not the image's own"
        session.execute("UPDATE pg_database SET datcollate = 'xx_XX.utf8' WHERE datname = 'postgres'")
        try:
            moment = world.note()
        finally:
            session.execute("UPDATE pg_database SET datcollate = %s WHERE datname = 'postgres'", [before])
    with pytest.raises(RecoveryFailed, match="sort by a locale") as caught:
        world.go_back(moment)
    assert "datcollate" in (caught.value.hint or "")
