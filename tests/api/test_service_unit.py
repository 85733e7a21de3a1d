"""deploy/ikoma.service: the room it gives is enough for everything the server does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ikoma.settings import load_settings
from tests.apps import make_app
from tests.support import IKOMA, Server
from tests.support import server as started_server

UNIT = Path(__file__).parents[2] / "deploy" / "ikoma.service"
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
CLOSED = f"""
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl({PR_SET_MDWE}, {REFUSE_EXEC_GAIN}, 0, 0, 0):
    print("this kernel cannot refuse memory that is written and run", file=sys.stderr)
os.execv(sys.argv[1], sys.argv[1:])
"""


def setting(name: str) -> list[str]:
    """The words of a setting, of all the lines that set it."""
    given = [line.partition("=") for line in UNIT.read_text().splitlines()]
    return [word for key, _, value in given if key == name for word in value.split()]


@pytest.fixture(scope="module")
def confined() -> Iterator[Server]:
    """A server with the capabilities that the unit leaves, no way to new ones, and no memory written and run."""
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in setting("CapabilityBoundingSet"))
    room = ["setpriv", "--no-new-privs", f"--bounding-set=-all,{kept}", "--inh-caps=-all", "--"]
    with started_server(command=[*room, sys.executable, "-c", CLOSED, str(IKOMA), "up"]) as started:
        yield started


def test_an_app_lives_through_everything_in_the_room(confined: Server) -> None:
    assert confined.process is not None
    status = Path(f"/proc/{confined.process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    folder = make_app(confined, "roomy")
    (folder / ".env").write_text("PORT=3000\n")
    confined.do("db.create", {"appName": "roomy"})
    confined.do("db.migrate", {"appName": "roomy", "sql": "CREATE TABLE t (n int); INSERT INTO t VALUES (1)"})
    confined.do("deploy.up", {"appName": "roomy"})
    confined.do("files.write", {"appName": "roomy", "path": "src/ok", "content": "still\n"})
    assert confined.do("apps.health", {"appName": "roomy"})["health"] == "healthy"
    assert 1 in confined.do("db.backup", {"appName": "roomy"})["tables"].values()
    confined.do("deploy.restart", {"appName": "roomy"})
    confined.do("apps.remove", {"appName": "roomy"})


def test_postgresql_is_stopped_and_taken_over_in_the_room(confined: Server) -> None:
    confined.kill()  # PostgreSQL stays
    confined.start()
    assert confined.do("platform.check")["checks"]["postgres"] is True
    assert confined.stop() == 0
    confined.start()
    assert confined.do("platform.check")["checks"]["postgres"] is True


def test_all_that_the_server_writes_by_default_is_named(tmp_path: Path) -> None:
    settings = load_settings({"IKOMA_HOME": str(tmp_path)})
    named = [Path(path.removeprefix("-")) for path in setting("ReadWritePaths")]
    written = [settings.apps_root, settings.ikoma_state, settings.audit_log, settings.backups_root, Path("/opt/ikoma")]
    for path in written:
        assert any(path.is_relative_to(folder) for folder in named), path


def test_every_line_of_the_room_is_explained() -> None:
    lines = UNIT.read_text().split("# --- what it may write ---")[1].split("[Install]")[0].splitlines()
    for before, line in pairwise(lines):
        if line and not line.startswith("#"):
            assert before.startswith("#"), line


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_it(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/ikoma/current/.venv/bin/ikoma", "/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
