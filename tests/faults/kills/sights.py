"""Sights of what is there without IKOMA: PostgreSQL by sessions of its own, files and volumes, processes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from ikoma.postgres.backup.text.packing import unpack
from ikoma.postgres.server.tools import find_bundled
from tests.faults.server_observations import half_written, list_proof_volumes, postgres_port, processes_of
from tests.support import Server

TOOLS = (
    *("pg_dump", "psql", "pg_restore", "pg_basebackup", "pg_combinebackup", "pg_verifybackup", "pg_ctl"),
    "pg_waldump",
)
_DIGEST = "SELECT count(*), md5(coalesce(string_agg(md5(t::text), '' ORDER BY id), '')) FROM t t"
_OWN = frozenset({"postgres", "template0", "template1", "ikoma"})


@dataclass(frozen=True)
class Parts:
    """An app's database, volume and folder at one moment."""

    rows: tuple[int, str]
    volume: str
    folder: str


def connect(server: Server, database: str) -> psycopg.Connection[Any]:
    password = (Path(server.env["IKOMA_STATE"]) / "postgres" / "password").read_text().strip()
    return psycopg.connect(
        host="127.0.0.1",
        port=postgres_port(server),
        user="ikoma",
        password=password,
        dbname=database,
        autocommit=True,
        connect_timeout=10,
    )


def list_databases(server: Server) -> set[str]:
    with connect(server, "postgres") as session:
        return {str(row[0]) for row in session.execute("SELECT datname FROM pg_database").fetchall()}


def read_rows(server: Server, database: str) -> tuple[int, str]:
    """The number of rows of `t`, and a digest of all of them."""
    with connect(server, database) as session:
        row = session.execute(_DIGEST).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])


def read_volume(name: str) -> Path:
    """The place of a volume on this machine's disk."""
    return Path(
        subprocess.check_output(["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", name], text=True).strip()
    )


def look(server: Server, app: str) -> Parts:
    note = (read_volume(f"{app}_data") / "note").read_text()
    return Parts(read_rows(server, app), note, (server.apps / app / "uploads" / "note").read_text())


def find_faulty_backups(server: Server, listed: list[str]) -> list[str]:
    """Find faults of backups on the disk, and of the list of them."""
    found = []
    there = {path.name for path in server.backups.iterdir() if path.suffix in (".sql", ".zst", ".backup")}
    found += [f"{name} is listed and not there" for name in set(listed) - there]
    found += [f"{name} is there and not listed" for name in there - set(listed)]
    for name in sorted(there & set(listed)):
        path = server.backups / name
        try:
            found += _compare_folder(path) if path.is_dir() else _compare_dump(path)
        except (OSError, ValueError, KeyError) as error:
            found.append(f"{name} cannot be read: {error!r}")
    return found


def _compare_dump(path: Path) -> list[str]:
    told = json.loads(path.with_name(f"{path.name}.json").read_text())["manifest"]
    content = path.read_bytes()
    same = (len(content), hashlib.sha256(content).hexdigest()) == (told["size"], told["sha256"])
    with path.open("rb") as file:
        text = b"".join(unpack(file, path.name)) if path.suffix == ".zst" else content
    whole = text.endswith(b"COMMIT;\n\\endif\n")
    return [] if same and whole else [f"{path.name} is not whole, or not what its manifest says"]


def _compare_folder(path: Path) -> list[str]:
    told = json.loads((path / "manifest.json").read_text())["manifest"]["files"]
    there = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file()}
    del there["manifest.json"]
    if set(there) != set(told):
        return [f"{path.name} has other files than its manifest says"]
    wrong = [name for name, file in there.items() if _digest(file) != told[name]["sha256"]]
    return [f"{path.name}: {name} is not what its manifest says" for name in wrong]


def find_faulty_copies(server: Server, place: Path, listed: list[str]) -> list[str]:
    """Find faults of copies off the machine: half ones, and backups of the list that have none."""
    found = []
    for record in place.rglob("copy.json"):
        parts = json.loads(record.read_text())["copy"]["parts"]
        names = [f"{number:05d}.age" for number in range(1, len(parts) + 1)]
        if {path.name for path in record.parent.iterdir()} != {"copy.json", *names}:
            found.append(f"the copy of {record.parent.name} has other parts than its record says")
        elif any(_digest(record.parent / name) != part["sha256"] for name, part in zip(names, parts, strict=True)):
            found.append(f"the copy of {record.parent.name} is not what its record says")
    copies = {record.parent.name for record in place.rglob("copy.json")}
    found += [f"{folder.name} is half a copy" for folder in place.glob("*/*") if not (folder / "copy.json").exists()]
    found += [f"{name} has no copy" for name in listed if name not in copies]
    journals = Path(server.env["IKOMA_STATE"], "offsite").glob("*.journal")
    return found + [f"{path.name} is left" for path in journals]


def find_leftovers(server: Server, known: set[str], proven: Collection[str]) -> list[str]:
    """Find what no work leaves that has ended: files, databases, volumes, processes, servers made for recovery.

    Args:
        known: the databases of apps.
        proven: the apps that may have backups.
    """
    recovered = Path(server.env["IKOMA_STATE"], "postgres", "recovered")
    found = [str(path) for path in half_written(server)]
    found += [str(path) for path in server.backups.iterdir() if path.name.startswith(".")]
    found += [str(path) for path in server.backups.glob("point-in-time/*/base/.*")]
    found += [str(path) for path in (recovered.iterdir() if recovered.is_dir() else ())]
    for app in server.apps.iterdir():
        found += [str(path) for path in (app / ".ikoma").glob("restor*")]
    found += [name for name in list_databases(server) - _OWN - known if not name.startswith("ikoma-undo-")]
    found += list_proof_volumes(proven)
    return found + [f"{item.info['name']} runs" for item in processes_of(server) if item.info["name"] in TOOLS]


def find_program(server: Server, names: tuple[str, ...]) -> psutil.Process | None:
    """A program that works for this server just now."""
    return next((item for item in processes_of(server) if item.info["name"] in names), None)


def find_sender(server: Server) -> psutil.Process | None:
    """The child process that sends copies off the machine."""
    for child in psutil.Process(server.process.pid).children() if server.process else ():
        try:
            if "ikoma.apps.offsite.worker" in child.cmdline():
                return child
        except psutil.NoSuchProcess:
            continue
    return None


def load_dump(server: Server, dump: Path) -> tuple[int, str]:
    """The rows that come out of a dump, loaded by psql into a database of its own."""
    name = "kills-scratch"
    with connect(server, "postgres") as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        info = connect(server, name).info
        argv = [str(find_bundled() / "bin" / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump)]
        argv += ["-h", info.host, "-p", str(info.port), "-U", info.user, "-d", name]
        given = {"PGPASSWORD": info.password, "PATH": server.env["PATH"]}
        subprocess.run(argv, env=given, check=True, capture_output=True, timeout=120)
        return read_rows(server, name)
    finally:
        with connect(server, "postgres") as session:
            session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class Ledger:
    """Commits row after row into an app's database that nobody restores, and knows which were acknowledged."""

    def __init__(self, server: Server, app: str) -> None:
        self._server, self._app = server, app
        self.acknowledged: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def find_lost(self) -> set[int]:
        """The acknowledged rows that are not there."""
        expected = set(self.acknowledged)
        with connect(self._server, self._app) as session:
            there = {int(row[0]) for row in session.execute("SELECT n FROM ledger").fetchall()}
        return expected - there

    @contextmanager
    def writing(self) -> Iterator[Ledger]:
        self._thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._thread.join(60)

    def _write(self) -> None:
        number = 0
        while not self._ended.is_set():
            try:
                with connect(self._server, self._app) as session:
                    while not self._ended.is_set():
                        number += 1
                        session.execute("INSERT INTO ledger VALUES (%s)", [number])
                        self.acknowledged.add(number)
                        time.sleep(0.02)
            except (psycopg.Error, OSError, ValueError):
                time.sleep(0.2)  # PostgreSQL is away, which is what the trial is about


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
