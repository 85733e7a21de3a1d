"""`ikoma recover` on a machine whose disks fill on the way: told with a hint, and the next run goes on to the end."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.apps import make_app
from tests.faults.server_observations import fill, is_at, named, small_disk
from tests.faults.test_bringing_back import KEEPS, TABLES, WITH_DATA, note_of
from tests.leftovers import remove_projects
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually, make_server, remove

APP = named("ashes")


@dataclass
class Ashes:
    """A machine that was emptied, with the backups of before; each of its folders is on a small disk of its own."""

    server: Server
    disks: dict[str, Path]
    store: Path
    before: Any = None

    @property
    def state(self) -> Path:
        return Path(self.server.env["IKOMA_STATE"])

    def recover(self, disk: str = "", step: str = "") -> subprocess.CompletedProcess[str]:
        """`ikoma recover`, with a disk that is full: from a step on, or all the time."""
        self.state.mkdir(mode=0o711, exist_ok=True)
        filler = None
        if step:
            (self.state / "wait-at").write_text(step)
        elif disk:
            filler = fill(self.disks[disk])
        given = () if (self.state / "recovery.json").exists() else ("--from", str(self.store))
        argv = [*COMMAND[:-1], "recover", "--yes", *given]
        running = subprocess.Popen(argv, env=self.server.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if step:
            eventually(
                lambda: is_at(self.state / "steps", step) or running.poll() is not None, f"it is at: {step}", 120
            )
            filler = fill(self.disks[disk])
            (self.state / "wait-at").unlink()
        out, err = running.communicate(timeout=200)
        if filler is not None:
            filler.unlink()
        return subprocess.CompletedProcess(argv, running.returncode, out, err)


@pytest.fixture(scope="module")
def ashes() -> Iterator[Ashes]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's own user passes through
        with _burn(Path(folder)) as made:
            yield made


@contextmanager
def _burn(place: Path) -> Iterator[Ashes]:
    with (
        small_disk(place / "apps", "1g") as apps,
        small_disk(place / "backups", "256m") as backups,
        small_disk(place / "state", "1g") as state,
    ):
        server = make_server(
            APPS_ROOT=str(apps / "apps"), BACKUPS_ROOT=str(backups / "backups"), IKOMA_STATE=str(state / "state")
        )
        made = Ashes(server, {"apps": apps, "backups": backups, "state": state}, place / "store")
        try:
            server.start()
            folder = make_app(server, APP, compose=WITH_DATA, command=KEEPS)
            (folder / "big").write_bytes(b"x" * (2 << 20))
            server.do("db.create", {"appName": APP})
            (folder / "migrations" / "001_t.sql").write_text(TABLES)
            server.do("deploy.up", {"appName": APP})
            for name in (APP, "ikoma"):
                server.do("backup.create", {"appName": name})
            made.before = look(server)
            shutil.copytree(server.backups, made.store)
            server.stop(signal.SIGINT)  # with its proxy
            remove_projects({APP})
            for path in (server.apps, server.home, server.backups, made.state):
                shutil.rmtree(path, ignore_errors=True)
            for path in server.folder.glob("audit*.jsonl"):
                path.unlink()
            yield made
        finally:
            (made.state / "recovery.json").unlink(missing_ok=True)
            remove(server)


def look(server: Server) -> tuple[Any, ...]:
    rows = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM t"
    files = sorted((path.name, path.stat().st_size) for path in (server.apps / APP).iterdir() if path.is_file())
    return server.do("db.query", {"appName": APP, "sql": rows})["rows"], note_of(APP), files


def test_a_recovery_whose_disks_fill_says_so_and_goes_on_once_there_is_room(ashes: Ashes) -> None:
    for disk in ("backups", "state"):
        cut = ashes.recover(disk)
        assert_told(cut)
        assert "code:  disk_full" in cut.stderr
        assert not (ashes.state / "recovery.json").exists(), "nothing was begun"
        assert not (ashes.state / "recovering").exists()
        assert_nothing_half_written(ashes)
        assert not ashes.server.backups.exists() or not list(ashes.server.backups.glob("*.backup"))
    for step in ("state aside", "state placed"):
        cut = ashes.recover("state", step)
        assert_told(cut)
        assert (ashes.state / "recovery.json").exists()
    for disk, step in (("backups", ""), ("apps", ""), ("state", "entry filled"), ("state", "volume")):
        cut = ashes.recover(disk, step)
        assert f"✗ {APP} is not back. " in cut.stdout, (disk, step, cut.stdout, cut.stderr)
        assert_told(cut)
        assert_nothing_half_written(ashes)
    done = ashes.recover()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"✓ {APP} is back" in done.stdout
    ashes.server.start()
    assert look(ashes.server) == ashes.before
    assert ashes.server.do("audit.verify")["valid"]
    assert_nothing_half_written(ashes)
    assert ashes.server.do("trash.list")["entries"] == []


def assert_told(cut: subprocess.CompletedProcess[str]) -> None:
    """Require an end by itself, with a reason and what to do."""
    assert cut.returncode == 1, (cut.stdout, cut.stderr)
    assert "Traceback" not in cut.stderr, cut.stderr
    said = cut.stdout + cut.stderr
    assert re.search("no space left|disk (of the databases )?is full|MiB (of disk )?are free", said), said
    assert re.search("Remove old backups|Make room", said), said


def assert_nothing_half_written(ashes: Ashes) -> None:
    roots = (ashes.server.apps, ashes.server.backups)
    left = [path for root in roots if root.exists() for path in root.rglob(".ikoma-w*")]
    left += [path for root in roots if root.exists() for path in root.glob(".ikoma-making*")]
    assert left == []
