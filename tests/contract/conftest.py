"""One real PostgreSQL for the contract tests, and one event loop that it lives in."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from ikoma.model import AppName, Secret
from ikoma.ports.databases import Credentials
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server.embedded import EmbeddedPostgres
from ikoma.settings import Settings, load_settings
from tests.support import free_port

T = TypeVar("T")
SOON = 30.0
"""Seconds: many times what such an answer takes, and much less than one that waits for nobody."""
Do = Callable[[Coroutine[Any, Any, T]], T]


def state_folder() -> Path:
    """A folder that PostgreSQL's own user can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="ikoma-contract-"))
    folder.chmod(0o711)
    return folder


def settings_of(folder: Path, **more: str) -> Settings:
    """One port for each folder, unless told otherwise: a usual one may be taken by others while its server is down."""
    kept = folder / "port-of-the-test"
    if not kept.exists():
        kept.write_text(str(free_port()))
    known = {"IKOMA_HOME": str(folder / "home"), "IKOMA_STATE": str(folder), "POSTGRES_PORT": kept.read_text()}
    return load_settings(known | more)


def remove(folder: Path) -> None:
    """End what a test has left running on this folder, then remove it."""
    with suppress(OSError, ValueError):
        pid = int((folder / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if str(folder) in " ".join(process.cmdline()):
                process.kill()
                process.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
def do() -> Iterator[Do[Any]]:
    """Runs a coroutine to its end, always in the same event loop."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="package")
def server(do: Do[Any]) -> Iterator[EmbeddedPostgres]:
    folder = state_folder()
    started = EmbeddedPostgres(settings_of(folder))
    do(started.start())
    yield started
    do(started.stop())
    remove(folder)


@pytest.fixture(scope="package")
def databases(do: Do[Any], server: EmbeddedPostgres) -> Iterator[PostgresDatabases]:
    made = PostgresDatabases(server)
    yield made
    do(made.close())


@pytest.fixture
def make(do: Do[Any], databases: PostgresDatabases) -> Iterator[Callable[[str], Credentials]]:
    """Makes an app's database, which is dropped at the end; its credentials."""
    names: list[AppName] = []

    def create(name: str) -> Credentials:
        app = AppName.parse(name)
        names.append(app)
        password = Secret(os.urandom(12).hex())
        do(databases.create(app, password))
        return Credentials(app.database, app.role, password)

    yield create
    for app in names:
        do(databases.drop(app))
