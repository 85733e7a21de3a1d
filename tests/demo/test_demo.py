"""The demo as a person runs it: it verifies its release, and leaves nothing behind, interrupted or not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import eventually

pytestmark = pytest.mark.timeout(900)  # a whole life of an app, with an image that is built

DEMO = Path(__file__).parents[2] / "scripts" / "demo.py"
STEPS = (
    *("platform.check", "apps.init", "apps.env.example", "db.create", "db.migrate", "db.seed", "db.status"),
    *("apps.validate", "deploy.up", "apps.status", "apps.health", "the app itself", "db.backup"),
    *("artifact.generate_runbook", "artifact.verify_release", "apps.remove", "apps.restore", "the same entries"),
    *("backup.create", "trash.delete"),
)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    before = traces()
    yield
    eventually(lambda: traces() <= before, "nothing is left")


def test_the_demo_goes_through_the_runbook_and_ends_verified() -> None:
    told = subprocess.run([sys.executable, DEMO], capture_output=True, text=True)

    assert told.returncode == 0, told.stdout + told.stderr
    positions = [told.stdout.index(f"✓ {step} ") for step in STEPS]
    assert positions == sorted(positions)
    assert "✓ verified: true" in told.stdout.rstrip().splitlines()[-1]


@pytest.mark.parametrize("moment", ["base image", "platform.check", "db.create", "apps.validate"])
def test_an_interrupted_demo_cleans_up_and_does_not_claim_success(moment: str) -> None:
    with subprocess.Popen([sys.executable, "-u", DEMO], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        told = ""
        for line in demo.stdout:
            told += line
            if moment in line:
                demo.send_signal(signal.SIGINT)
                break
        told += demo.stdout.read()

    assert demo.returncode == 1, told
    assert told.count("apps.remove") <= 1
    assert "verified: false" in told.rstrip().splitlines()[-1]


def traces() -> set[str]:
    """Everything of a demo that is on this machine now."""
    found = {str(folder) for folder in Path(tempfile.gettempdir()).glob("ikoma-demo-*") if folder.is_dir()}
    for kind in ("container", "network", "volume", "image"):
        listing = ["docker", kind, "ls", "--format", "{{json .}}", *(["--all"] if kind == "container" else [])]
        lines = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
        found |= {_name(kind, json.loads(line)) for line in lines if "guestbook-" in line}
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        if b"ikoma-demo-" in command:
            found.add(command.decode(errors="replace"))
    return found


def _name(kind: str, listed: dict[str, str]) -> str:
    """Name what a list shows, without what grows older meanwhile."""
    return " ".join([kind, *(listed[name] for name in ("ID", "Name", "Names", "Repository", "Tag") if name in listed)])
