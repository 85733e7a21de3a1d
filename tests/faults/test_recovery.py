"""A server that burned down comes back from its backups on a new machine: rows, routes, keys, history; or says why not.

The new machine is this one, after all that the server had here was removed: folders, containers, networks, volumes.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest

from ikoma.apps.backups.folder import read_manifest
from ikoma.apps.offsite.sealing import Seal
from ikoma.apps.offsite.sending import Shipment, send
from ikoma.apps.offsite.store import open_store
from ikoma.apps.signing import BackupKey
from ikoma.offsite_place import OffsitePlace
from ikoma.ports.progress import ignore_progress
from tests.apps import make_app
from tests.docs.page import ROOT, Page
from tests.faults.server_observations import named
from tests.faults.test_bringing_back import KEEPS, TABLES, WITH_DATA
from tests.images import busybox_image
from tests.leftovers import remove_projects
from tests.offsite.places import SECRET, s3_server, sftp_server
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, free_port, make_server, remove

DATA, PLAIN, SHOWN, GONE = named("rows"), named("plain"), named("shown"), named("gone")
APPS = (DATA, PLAIN, SHOWN)
PAGE = Page.read(ROOT / "docs" / "recovery.md").steps
FIRE = next(number for number, step in enumerate(PAGE) if "install.sh" in step.command)
"""Commands of the page from here on are for the new machine."""
BUILT = """services:
  web:
    build: ./src
    command: {command}
    healthcheck: {{test: [CMD, wget, -q, --spider, "http://127.0.0.1:3000/ok"], interval: 1s, retries: 3}}
    init: true
x-ikoma: {{service: web, port: 3000, health: {health}}}
"""
STATE_STEPS = ("recovery begun", "state aside", "audit placed", "trash placed")
APP_STEPS = ("state placed", "fetched", "entry filled", "volume", "database", "prepared", "moved", "settled")


@dataclass
class Burned:
    """A server whose machine is gone, and what was true of it."""

    server: Server
    store: Path
    sealed: Path
    """Backups as encrypted copies off the machine."""
    identity: Path
    """The file with the secret key that opens them."""
    recipient: str = ""
    """The public key that belongs to it."""
    signer: Path = Path()
    """A copy of the key by which the server signed its backups."""
    key: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    entries: int = 0

    def copy_to(self, place: OffsitePlace) -> None:
        """Send each backup to a place off the machine."""
        with closing(open_store(place)) as store:
            for path in self.store.glob("*.backup"):
                backup = read_manifest(path).backup
                files = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file()}
                shipment = Shipment(backup.app, backup.name, backup.created_at, files, backup.proven_at)
                journal = self.server.folder / "journal"
                send(store, Seal([self.recipient]), BackupKey(self.signer), shipment, journal, ignore_progress)

    def recover(self, *arguments: str, at: str = "", **given: str) -> subprocess.CompletedProcess[str]:
        """`ikoma recover`, which ends by SIGKILL at a step where one is named."""
        state = Path(self.server.env["IKOMA_STATE"])
        state.mkdir(mode=0o711, exist_ok=True)
        if at:
            (state / "kill-at").write_text(at)
        argv = [*COMMAND[:-1], "recover", "--yes", *arguments]
        done = subprocess.run(
            argv, env={**self.server.env, **given}, capture_output=True, text=True, timeout=300, check=False
        )
        (state / "kill-at").unlink(missing_ok=True)
        return done

    def type(self, command: str) -> str:
        """Do what a command of the page says, on this machine; what it prints."""
        server, words = self.server, shlex.split(command.removeprefix("sudo ").replace("/mnt/backups", str(self.store)))
        match words:
            case ["./install.sh", *_] | ["systemctl", "start", "ikoma"]:  # it leaves a server that runs, without apps
                server.start()
                return ""
            case ["systemctl", "stop", "ikoma"]:
                server.stop()
                return ""
            case ["ikoma", *arguments]:
                done = server.cli(*arguments, timeout=300)
                assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
                return done.stdout
        raise AssertionError(f"the page says what nobody can do here: {command}")

    def burn(self) -> None:
        """Leave the new machine as empty as it was."""
        server = self.server
        if server.process is None and (Path(server.env["IKOMA_STATE"]) / "postgres").exists():
            (Path(server.env["IKOMA_STATE"]) / "recovery.json").unlink(missing_ok=True)
            server.start()  # to end what runs
        if server.process is not None:
            server.stop(signal.SIGINT)
        remove_projects({*APPS, GONE})
        for folder in (server.apps, server.home, server.backups, Path(server.env["IKOMA_STATE"])):
            shutil.rmtree(folder, ignore_errors=True)
        for path in server.folder.glob("audit*.jsonl"):
            path.unlink()


@pytest.fixture(scope="module")
def burned() -> Iterator[Burned]:
    """Three apps and a removed one, backed up into a folder that outlives their machine."""
    server = make_server(PROXY_HTTPS_PORT=str(free_port()), PROXY_TLS="internal")
    found = Burned(server, server.folder / "store", server.folder / "sealed", server.folder / "age.txt")
    try:
        server.start()
        _make_apps(server)
        found.key = server.do("keys.create", {"name": "of old", "role": "observer"})["key"]
        for app in (PLAIN, *APPS):
            server.do("backup.create", {"appName": app})
        for step in PAGE[:FIRE]:
            found.type(step.bare)
        found.entries = len(server.audit())
        found.facts = look(server)
        shutil.copytree(server.backups, found.store)
        found.signer = Path(shutil.copy(Path(server.env["IKOMA_STATE"]) / "backups.key", server.folder / "signer.key"))
        _seal(found)
        found.burn()
        yield found
    finally:
        (Path(server.env["IKOMA_STATE"]) / "recovery.json").unlink(missing_ok=True)
        remove(server)


def _make_apps(server: Server) -> None:
    folder = make_app(server, DATA, compose=WITH_DATA, command=KEEPS)
    server.do("db.create", {"appName": DATA})
    (folder / "migrations" / "001_t.sql").write_text(TABLES)
    server.do("deploy.up", {"appName": DATA})
    server.do("domain.add", {"appName": DATA, "domain": "rows.internal.example"})
    server.do("schedules.set", {"appName": DATA, "name": "often", "cron": "5 4 * * *"})
    server.do("source.key", {"appName": DATA, "host": "github.com"})
    until = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    server.do("policy.waive", {"appName": DATA, "rule": "capabilities", "reason": "tried", "expires": until})
    folder = make_app(server, PLAIN, compose=BUILT, command='["httpd", "-f", "-p", "3000", "-h", "/www"]')
    (folder / "src" / "Dockerfile").write_text(f"FROM {busybox_image()}\nCOPY ok /www/ok\n")
    server.do("deploy.up", {"appName": PLAIN})
    make_app(server, SHOWN)
    server.do("deploy.up", {"appName": SHOWN})
    server.do("apps.maintenance", {"appName": SHOWN, "on": True})
    make_app(server, GONE)
    server.do("deploy.up", {"appName": GONE})
    server.do("apps.remove", {"appName": GONE})


def _seal(found: Burned) -> None:
    """Send the backups to a folder, as a server with OFFSITE_URL does."""
    identity = pyrage.x25519.Identity.generate()
    found.identity.write_text(f"{identity}\n")
    found.recipient = str(identity.to_public())
    found.sealed.mkdir()
    found.copy_to(OffsitePlace(kind="file", path=str(found.sealed), recipients=(found.recipient,)))


def look(server: Server) -> dict[str, Any]:
    """Look at all that has to be true again."""
    rows = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM t"
    apps = {item["name"]: item for item in server.do("apps.list")["apps"]}
    schedules = server.do("schedules.list", {"appName": DATA})["schedules"]
    return {
        "rows": server.do("db.query", {"appName": DATA, "sql": rows})["rows"],
        "volume": _read_note(),
        "releases": {name: apps[name]["release"] for name in APPS},
        "maintenance": [name for name in APPS if apps[name]["maintenance"]],
        "domains": [item["name"] for item in server.do("domain.list", {"appName": DATA})["domains"]],
        "schedules": [(item["name"], item["cron"]) for item in schedules],
        "key": server.do("source.key", {"appName": DATA, "host": "github.com"})["publicKey"],
        "waivers": _read_waivers(server),
        "trash": [item["app"] for item in server.do("trash.list")["entries"]],
        "authority": (Path(server.env["IKOMA_STATE"]) / _ROOT).read_text(),
        "answers": [ask(server, DATA), ask(server, PLAIN), ask(server, SHOWN)],
    }


def _read_waivers(server: Server) -> list[Any]:
    with closing(sqlite3.connect(Path(server.env["IKOMA_STATE"]) / "state.db")) as state:
        return state.execute("SELECT app, rule, expires_at FROM waivers").fetchall()


_ROOT = "proxy/data/pki/authorities/local/root.crt"


def _read_note() -> str:
    argv = ["docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.project={DATA}"]
    container = subprocess.check_output(argv, text=True).split()[0]
    return subprocess.check_output(["docker", "exec", container, "cat", "/data/note"], text=True)


def ask(server: Server, app: str) -> tuple[int, str]:
    """Ask the proxy for an app; its answer."""
    url = f"http://127.0.0.1:{server.env['PROXY_HTTP_PORT']}/ok"
    request = urllib.request.Request(url, headers={"Host": f"{app}.localhost"})
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def put_back(found: Burned) -> None:
    """Start the recovered server, and see that all of it is as it was."""
    server = found.server
    if server.process is None:
        server.start()
    assert look(server) == found.facts
    assert server.call("apps.list", key=found.key).status == 200
    verdict = server.do("audit.verify")
    assert verdict["valid"], verdict
    audit = server.audit()
    marks = [number for number, entry in enumerate(audit) if entry["capability"] == "platform.recover"]
    assert len(marks) == 1
    assert audit[marks[0]]["result"] == "success"
    assert found.entries - 2 <= marks[0] <= found.entries
    backups = server.do("backup.list", {"appName": DATA})["backups"]
    assert [item["proven"] for item in backups] == [True]


def test_a_new_server_becomes_the_one_that_was(burned: Burned) -> None:
    """Each command of docs/recovery.md, in its order."""
    printed, stray = {}, ""
    for step in PAGE[FIRE:]:
        printed[step.bare] = burned.type(step.bare)
        stray = stray or burned.server.key
    told = list(printed.values())
    assert next(iter(printed)).startswith("sudo ./install.sh")
    for app in APPS:
        assert re.search(rf"{app}: {app}-.* ago", told[2])
        assert f"✓ {app} is back" in told[3]
        assert app in told[5]
    assert "rows: t 500" in told[3]
    put_back(burned)
    assert burned.server.call("apps.list", key=stray).status == 401
    restored = burned.server.do("apps.restore", {"appName": GONE})
    assert "serves" in restored["message"]
    burned.server.do("apps.remove", {"appName": GONE})
    again = burned.recover("--from", str(burned.store))
    assert "IKOMA runs here" in again.stderr
    burned.server.stop()
    assert "This server has apps: " in burned.recover("--from", str(burned.store)).stderr
    burned.burn()


@pytest.mark.timeout(900)  # each of a dozen kills costs a start
def test_a_recovery_that_is_killed_at_each_step_goes_on(burned: Burned) -> None:
    place = ("--from", f"file://{burned.sealed}", "--identity", str(burned.identity))
    for step in (*STATE_STEPS, *APP_STEPS):
        cut = burned.recover(*place, at=step)
        assert cut.returncode == -signal.SIGKILL, (step, cut.stdout, cut.stderr)
        if step == "audit placed":
            started = subprocess.run(
                [*COMMAND], env=burned.server.env, capture_output=True, text=True, timeout=120, check=False
            )
            assert "A recovery was cut off" in started.stderr
    done = burned.recover("--identity", str(burned.identity))
    assert done.returncode == 0, done.stdout + done.stderr
    put_back(burned)
    burned.burn()


@pytest.mark.parametrize("kind", ["s3", "sftp"])
@pytest.mark.timeout(900)
def test_a_server_comes_back_from_a_real_store_elsewhere_also_where_it_is_killed(
    burned: Burned, kind: str, tmp_path: Path
) -> None:
    """The store is named by the arguments and variables that docs/recovery.md tells of."""
    with ExitStack() as running:
        if kind == "s3":
            bucket = running.enter_context(s3_server(tmp_path / "s3"))
            place = bucket.place("ready", burned.recipient)
            given = {"OFFSITE_S3_ENDPOINT": bucket.endpoint, "OFFSITE_S3_KEY_ID": "writer", "OFFSITE_S3_SECRET": SECRET}
            address = f"s3://ready/{place.path}"
        else:
            host = running.enter_context(sftp_server(tmp_path / "sftp"))
            place = host.place(burned.recipient)
            given = {"OFFSITE_SSH_KEY": str(host.folder / "id"), "OFFSITE_KNOWN_HOSTS": str(place.known_hosts)}
            address = f"sftp://root@127.0.0.1:{host.port}{host.root}"
        burned.copy_to(place)
        arguments = ("--from", address, "--identity", str(burned.identity))
        plan = burned.recover(*arguments, "--plan", **given)
        assert plan.returncode == 0, plan.stdout + plan.stderr
        assert all(f"app     {app}: {app}-" in plan.stdout for app in APPS)
        for step in ("audit placed", "fetched", "database"):
            cut = burned.recover(*arguments, at=step, **given)
            assert cut.returncode == -signal.SIGKILL, (step, cut.stdout, cut.stderr)
        away = ("OFFSITE_S3_ENDPOINT", "http://127.0.0.1:1") if kind == "s3" else ("OFFSITE_SSH_KEY", "/not/there")
        lost = burned.recover("--identity", str(burned.identity), **given | dict([away]))
        assert lost.returncode == 1
        assert f"✗ {SHOWN} is not back. " in lost.stdout
        assert "cannot be reached" in lost.stdout or "/not/there" in lost.stdout, lost.stdout
        done = burned.recover("--identity", str(burned.identity), **given)
        assert done.returncode == 0, done.stdout + done.stderr
        assert SECRET not in plan.stdout + plan.stderr + done.stdout + done.stderr
    put_back(burned)
    burned.burn()


def test_what_is_not_whole_or_not_of_this_server_is_refused_and_nothing_is_done(burned: Burned, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(burned.store, store)
    (state,) = store.glob("ikoma-*.backup")

    def refused(*arguments: str) -> str:
        done = burned.recover("--from", str(store), *arguments)  # the last --from counts
        assert done.returncode == 1, done.stdout
        assert not (Path(burned.server.env["IKOMA_STATE"]) / "recovery.json").exists()
        assert not any(path.name.startswith("ikoma-") for path in burned.server.backups.iterdir())
        return done.stderr

    whole = (state / "folder.tar").read_bytes()
    (state / "folder.tar").write_bytes(whole[:-512])
    assert f"has {len(whole) - 512} bytes and not {len(whole)}" in refused()
    (state / "folder.tar").write_bytes(whole.replace(b"observer", b"adminadm"))
    assert "is another than was signed" in refused()
    (state / "folder.tar").unlink()
    assert "folder.tar is not there" in refused()
    (state / "folder.tar").write_bytes(whole)
    assert "holds no backup x.backup of a server's state" in refused("--state", "x.backup")
    manifest = json.loads((state / "manifest.json").read_text())
    (state / "manifest.json").write_text(json.dumps({**manifest, "signature": "00" * 64}))
    assert "holds no backup of a server's state" in refused()
    shutil.copytree(burned.sealed, tmp_path / "sealed")
    place = ("--from", f"file://{tmp_path}/sealed")
    wrong = tmp_path / "wrong.txt"
    wrong.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    assert "this server holds no key that opens it" in refused(*place)
    assert "--identity names the file" in refused(*place)
    assert f"no key in {wrong} opens it" in refused(*place, "--identity", str(wrong))
    (part,) = (tmp_path / "sealed" / "ikoma").glob("*/00001.age")
    whole = part.read_bytes()
    part.write_bytes(whole[:-100])
    assert "is not what was sent" in refused(*place, "--identity", str(burned.identity))
    part.unlink()
    assert "There is no" in refused(*place, "--identity", str(burned.identity))
    store = tmp_path / "nowhere"
    assert "There is no folder" in refused()
    burned.burn()


def test_an_app_whose_backup_is_damaged_is_told_and_the_others_come_back(burned: Burned, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(burned.store, store)
    (backup,) = store.glob(f"{DATA}-*.backup")
    dump = (backup / "database.sql").read_bytes()
    (backup / "database.sql").write_bytes(dump[: len(dump) // 2])
    newest = max(store.glob(f"{PLAIN}-*.backup"), key=lambda path: read_manifest(path).backup.created_at)
    (newest / "folder.tar").unlink()
    done = burned.recover("--from", str(store))
    assert done.returncode == 1
    assert "folder.tar is not there. An earlier backup was taken." in done.stdout
    assert f"✗ {DATA} is not back." in done.stdout
    assert "database.sql has" in done.stdout
    assert f"✓ {PLAIN} is back" in done.stdout
    assert not (burned.server.apps / DATA).exists()
    (backup / "database.sql").write_bytes(dump)
    done = burned.recover()
    assert done.returncode == 0, done.stdout + done.stderr
    put_back(burned)
    burned.burn()
