"""Apps' databases on the one real server of the contract tests, and ways into it that pass by the code under test."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ikoma.model import AppName, Secret
from ikoma.ports.databases import Credentials
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server.embedded import EmbeddedPostgres
from tests.faults.server_observations import small_disk as make_small_disk
from tests.support import eventually


@dataclass(frozen=True)
class Postgres:
    server: EmbeddedPostgres
    databases: PostgresDatabases
    do: Callable[[Coroutine[Any, Any, Any]], Any]
    """Run a coroutine to its end; the server's own tasks go on meanwhile."""

    def admin(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        parameters = {**self.server.make_admin_login(database), "options": ""}
        return psycopg.connect(**parameters, autocommit=True)

    def login(self, owned: Credentials, database: str | None = None) -> psycopg.Connection[tuple[Any, ...]]:
        parameters = {**self.server.make_app_login(owned), "dbname": database or owned.database}
        return psycopg.connect(**parameters, autocommit=True)


@pytest.fixture(scope="package")
def postgres(
    do: Callable[[Coroutine[Any, Any, Any]], Any], server: EmbeddedPostgres, databases: PostgresDatabases
) -> Postgres:
    return Postgres(server, databases, do)


@pytest.fixture
def app(postgres: Postgres) -> Iterator[AppName]:
    """The name of an app whose database, if it gets one, is dropped at the end."""
    name = AppName.parse(f"app-{secrets.token_hex(4)}")
    yield name
    postgres.do(postgres.databases.drop(name))


@pytest.fixture
def owned(postgres: Postgres, app: AppName) -> Credentials:
    """Credentials of an app that has a database."""
    return make_database(postgres, app)


def is_at_work(postgres: Postgres, what: str) -> bool:
    """Whether a session is at a statement with this text, or a program of this name is at work in one."""
    asked = (
        "SELECT FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        " AND (strpos(query, %s) > 0 OR starts_with(application_name, %s))"
    )
    with postgres.admin() as session:
        return session.execute(asked, (what, what)).rowcount > 0


async def at_work(postgres: Postgres, what: str) -> None:
    """Wait until a session is at that, while the loop goes on."""
    await asyncio.to_thread(eventually, lambda: is_at_work(postgres, what))


async def meanwhile(work: Coroutine[Any, Any, Any], *steps: Callable[[], object]) -> Any:
    """Do some work, and step by step something else meanwhile; the work's result."""
    working = asyncio.ensure_future(work)
    for step in steps:
        await asyncio.to_thread(step)
    return await working


def make_database(postgres: Postgres, app: AppName) -> Credentials:
    password = Secret(secrets.token_urlsafe(16))
    postgres.do(postgres.databases.create(app, password))
    return Credentials(app.database, app.role, password)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    with make_small_disk(tmp_path / "small", "1m") as folder:
        yield folder
