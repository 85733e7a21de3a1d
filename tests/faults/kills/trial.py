"""The trial: one server, two apps, and one kill after another at moments that a seed chooses."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

import orjson
import psutil
import pyrage

from ikoma.durable import remove_tree, write_file
from ikoma.moments import format_moment
from tests.apps import make_app
from tests.faults.kills import sights
from tests.faults.kills.sights import Ledger, Parts
from tests.faults.server_observations import Background, named, postmaster
from tests.faults.test_bringing_back import KEEPS, WITH_DATA
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server

APP, BESIDE, GONE = named("killed"), named("ledger"), named("gone")
DUMP, WHOLE = f"{APP}-first.sql", f"{APP}-first.backup"
PATIENCE = 240.0
_TABLE = """CREATE TABLE t (id int PRIMARY KEY, word text);
INSERT INTO t SELECT n, repeat(md5(n::text), 4) FROM generate_series(1, 20000) n;"""


@dataclass(frozen=True)
class Deed:
    """A call that is cut off, and the states of the app that it may leave."""

    capability: str
    arguments: dict[str, Any]
    allowed: tuple[Parts, ...]
    step: str | None = None
    """The step after which it is killed; None: at any moment."""


@dataclass
class World:
    """The server under trial, and what is known of it."""

    server: Server
    place: Path
    chance: random.Random
    ledger: Ledger
    first: Parts
    contents: dict[str, tuple[int, str]]
    """The rows that a backup must hold, by its name."""
    seconds: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    number: int = 0

    def call(self, capability: str, **arguments: Any) -> Any:
        return self.server.do(capability, {"appName": APP, **arguments})

    def spoil(self) -> Parts:
        """Give the app another state in all three parts; that state."""
        self.number += 1
        word = f"{self.number}"
        with sights.connect(self.server, APP) as session:
            session.execute("DELETE FROM t WHERE mod(id, 11) = %s", [self.number % 11])
            session.execute("INSERT INTO t VALUES (%s, %s)", [100_000 + self.number, word])
        (sights.read_volume(f"{APP}_data") / "note").write_text(word)
        (self.server.apps / APP / "uploads" / "note").write_text(word)
        return sights.look(self.server, APP)

    def name(self, ending: str) -> str:
        """A name for a backup of the rows that are there now."""
        name = f"{APP}-{self.number}.{ending}"
        self.contents[name] = sights.read_rows(self.server, APP)
        return name


@contextmanager
def made_world(seed: int) -> Iterator[World]:
    """A server with an archive and a place off the machine, an app with all three parts, and one beside it."""
    identity = pyrage.x25519.Identity.generate()
    made: dict[str, str] = {"OFFSITE_AGE_RECIPIENTS": str(identity.to_public()), "POINT_IN_TIME": "true"}
    with _folder() as place, started_server(command=COMMAND, OFFSITE_URL=f"file://{place}", **made) as server:
        folder = make_app(server, APP, compose=WITH_DATA, command=KEEPS)
        for name, table in ((APP, _TABLE), (BESIDE, "CREATE TABLE ledger (n bigint PRIMARY KEY)")):
            if name != APP:
                make_app(server, name)
            server.do("db.create", {"appName": name})
            server.do("db.seed", {"appName": name, "sql": table})
        (folder / "uploads").mkdir()
        (folder / "uploads" / "note").write_text("first")
        server.do("deploy.up", {"appName": APP})
        first = sights.look(server, APP)
        server.do("db.backup", {"appName": APP, "backupName": DUMP})
        server.do("backup.create", {"appName": APP, "backupName": WHOLE})
        ledger = Ledger(server, BESIDE)
        with ledger.writing():
            yield World(server, place, random.Random(seed), ledger, first, {DUMP: first.rows, WHOLE: first.rows})


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# --- what is cut off -----------------------------------------------------------------------------------------


def back_up(world: World) -> Deed:
    before = world.spoil()
    return Deed("db.backup", {"backupName": world.name("sql")}, (before,))


def back_up_all(world: World) -> Deed:
    before = world.spoil()
    return Deed("backup.create", {"backupName": world.name("backup")}, (before,))


def prove(world: World) -> Deed:
    return Deed("backup.verify", {"backupName": world.chance.choice((DUMP, WHOLE))}, (world.spoil(),))


def restore(world: World) -> Deed:
    before = world.spoil()
    return Deed("db.restore", {"backupName": DUMP}, (before, replace(before, rows=world.first.rows)))


def restore_table(world: World) -> Deed:
    return replace(restore(world), arguments={"backupName": DUMP, "tables": ["t"]})


def swap(world: World) -> Deed:
    return replace(restore(world), step="filled")


def undo(world: World) -> Deed:
    then = world.spoil().rows
    world.call("db.restore", backupName=DUMP)
    before = world.spoil()
    return Deed("db.restore", {"undo": True}, (before, replace(before, rows=then)))


def go_back(world: World) -> Deed:
    eventually(lambda: _is_open(world), "one can go back to now", PATIENCE)
    then, time_of_then = sights.read_rows(world.server, APP), datetime.now(UTC).isoformat()
    before = world.spoil()
    return Deed("db.restore", {"time": time_of_then}, (before, replace(before, rows=then)))


def restore_all(world: World) -> Deed:
    return Deed("apps.restore", {"backupName": WHOLE}, (world.spoil(), world.first))


def copy_server(world: World) -> Deed:
    """A base backup: it is due where there is none."""
    before = world.spoil()
    for base in _list_bases(world):
        remove_tree(base)
    return Deed("", {}, (before,))


def copy_changes(world: World) -> Deed:
    """An incremental base backup: it is due where the last one is a day old."""
    eventually(lambda: _is_open(world), "there is a base backup", PATIENCE)
    before, newest = world.spoil(), _list_bases(world)[-1]
    record = newest / "base.json"
    of_yesterday = format_moment(datetime.now(UTC) - timedelta(hours=25), "microseconds")
    write_file(record, orjson.dumps(orjson.loads(record.read_bytes()) | {"finished": of_yesterday}), mode=0o600)
    return Deed("", {"after": newest.name}, (before,))


def remove(world: World) -> Deed:
    _have_gone(world)
    return Deed("apps.remove", {"appName": GONE}, (world.spoil(),))


def bring_back(world: World) -> Deed:
    _have_gone(world)
    world.server.do("apps.remove", {"appName": GONE})
    return Deed("apps.restore", {"appName": GONE}, (world.spoil(),))


KINDS: dict[str, tuple[Callable[[World], Deed], tuple[str, ...]]] = {
    "backup": (back_up, ("server", "postgres", "tool")),
    "proof": (prove, ("server", "postgres", "tool")),
    "restore": (restore, ("server", "postgres", "tool")),
    "swap": (swap, ("server", "postgres")),
    "undo": (undo, ("server", "postgres")),
    "whole backup": (back_up_all, ("server", "postgres", "tool")),
    "upload": (back_up, ("sender", "server")),
    "apps.restore": (restore_all, ("server", "postgres", "tool")),
    "remove": (remove, ("server", "postgres", "tool")),
    "bring back": (bring_back, ("server", "postgres", "tool")),
    "one table": (restore_table, ("server", "postgres", "tool")),
    "point-in-time": (go_back, ("server", "postgres", "tool")),
    "base backup": (copy_server, ("server", "postgres", "tool")),
    "incremental base backup": (copy_changes, ("server", "postgres", "tool")),
}


# --- a round -------------------------------------------------------------------------------------------------


def kill_once(world: World, kind: str, victim: str) -> str:
    """Begin a deed, kill at a random moment, start again, and look at everything."""
    server = world.server
    deed = KINDS[kind][0](world)
    steps = Path(server.env["IKOMA_STATE"]) / "steps"
    read = steps.stat().st_size if steps.exists() else 0
    whole, began = world.seconds.get(kind, 1.0), time.monotonic()
    after = world.chance.uniform(0, whole)
    call = Background(server, deed.capability, {"appName": APP, **deed.arguments}) if deed.capability else None
    if deed.step is not None:
        while call is not None and call.is_under_way() and deed.step not in _since(steps, read):
            time.sleep(0.005)
        after = time.monotonic() - began + world.chance.uniform(0, 0.1)
    target = _wait_for_victim(world, victim, call, began, after)
    hit = target is not None and (call is None or call.is_under_way())
    if hit:
        with suppress(psutil.NoSuchProcess):
            target.kill()  # type: ignore[union-attr]
        world.seconds[kind] = max(whole, (time.monotonic() - began) * 1.3)
    if victim == "server" and hit:
        assert server.process is not None
        server.process.wait(timeout=60)
        server.process = None
    answer = call.wait(300) if call is not None else None
    if not hit:
        world.seconds[kind] = time.monotonic() - began
    if answer is not None:
        assert answer.status == 200 or answer.code != "internal_error", f"{kind}, {victim} killed: {answer.body}"
        assert answer.status == 200 or answer.body["hint"], answer.body
    if server.process is not None and victim != "tool":  # the next start
        assert server.process.poll() is None, "IKOMA lives on when another is killed"
        server.kill()
    if server.process is None:
        server.start()
    outcome = settle(world, deed)
    told = f"{kind}: {f'{victim} killed' if hit else 'ended before the kill'}, {outcome}"
    world.counts[told] += 1
    return told


def _wait_for_victim(
    world: World, victim: str, call: Background | None, began: float, after: float
) -> psutil.Process | None:
    """The process to kill, when its moment has come; None where the call ended before."""
    server = world.server
    assert server.process is not None
    while call is None or call.is_under_way():
        if victim in ("server", "postgres"):
            if time.monotonic() - began >= after:
                return psutil.Process(server.process.pid) if victim == "server" else postmaster(server)
        elif (found := _find(server, victim)) is not None:
            time.sleep(world.chance.uniform(0, 0.1))
            return found
        if time.monotonic() - began > 60:
            return None
        time.sleep(0.005)
    return None


def _find(server: Server, victim: str) -> psutil.Process | None:
    return sights.find_sender(server) if victim == "sender" else sights.find_program(server, sights.TOOLS)


def _since(steps: Path, read: int) -> list[str]:
    return steps.read_text()[read:].split("\n") if steps.exists() else []


def _is_open(world: World) -> bool:
    window = world.call("db.status")["pointInTime"]
    return window["problem"] is None and window["since"] <= datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list_bases(world: World) -> list[Path]:
    """Folders of all base backups that are listed, oldest first."""
    found = world.server.backups.glob("point-in-time/*/base/*")
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.name)


# --- what must hold ------------------------------------------------------------------------------------------


def settle(world: World, deed: Deed) -> str:
    """Wait until all is as it should be; which of the allowed states it is."""
    server = world.server
    eventually(lambda: server.do("platform.check")["checks"]["postgres"], "PostgreSQL is there", PATIENCE)
    eventually(lambda: _health(server) == "healthy", "the app is healthy", PATIENCE)
    _eventually_none(lambda: sights.find_leftovers(server, _owned(world), (APP, BESIDE, GONE)))
    found = sights.look(server, APP)
    assert found in deed.allowed, f"{found} is none of {deed.allowed}"
    assert {APP, BESIDE} <= sights.list_databases(server)
    assert world.ledger.find_lost() == set()
    here = [item for item in world.call("backup.list")["backups"] if "here" in item["places"]]
    listed = [item["name"] for item in here]
    assert {DUMP, WHOLE} <= set(listed)
    assert sights.find_faulty_backups(server, listed) == []
    asked = [item["name"] for item in here if item["proven"] and item["name"] in world.contents]
    _eventually_none(lambda: sights.find_faulty_copies(server, world.place, asked))
    if deed.arguments.get("appName") == GONE:
        _require_gone_or_there(world)
    if not deed.capability:
        eventually(lambda: _is_open(world), "the base backup is made", PATIENCE)
        after = deed.arguments.get("after", "")
        eventually(lambda: _list_bases(world)[-1].name > after, "the next base backup is made", PATIENCE)
    return ("as before", "done")[deed.allowed.index(found)]


def end(world: World) -> None:
    """Let all that is left to do be done by one more start, and load each backup by psql to compare its rows."""
    server = world.server
    server.kill()
    server.start()
    here = [item for item in world.call("backup.list")["backups"] if "here" in item["places"]]
    proven = [item["name"] for item in here if item["proven"]]  # no others leave the machine
    _eventually_none(lambda: sights.find_faulty_copies(server, world.place, proven))
    for name, rows in world.contents.items():
        path = server.backups / name
        if path.exists():
            assert sights.load_dump(server, path / "database.sql" if path.is_dir() else path) == rows, name
            world.counts["backups loaded by psql, equal"] += 1
    world.counts["rows acknowledged, none lost"] = len(world.ledger.acknowledged)


def _health(server: Server) -> str:
    answer = server.call("apps.health", {"appName": APP})
    return str(answer.body.get("result", {}).get("health"))


def _owned(world: World) -> set[str]:
    return {path.name for path in world.server.apps.iterdir() if path.is_dir()}


def _eventually_none(find: Callable[[], list[str]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while found := find():
        assert time.monotonic() < deadline, found
        time.sleep(0.3)


def _have_gone(world: World) -> None:
    """An app that may be removed, with rows of its own."""
    server = world.server
    if (server.apps / GONE).exists():
        return
    make_app(server, GONE)
    server.do("db.create", {"appName": GONE})
    server.do("db.seed", {"appName": GONE, "sql": _TABLE})


def _require_gone_or_there(world: World) -> None:
    """Removed for as long as it takes to bring it back; its rows are those of before."""
    server = world.server
    if not (server.apps / GONE).exists() or GONE not in sights.list_databases(server):
        server.call("apps.remove", {"appName": GONE})  # ends a removal that was cut off
        server.do("apps.restore", {"appName": GONE})
    assert sights.read_rows(server, GONE) == world.first.rows


def choose(kills: int, kinds: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Choose so many kinds and victims: each kind in turn, and each time its next victim."""
    chosen = list(kinds or KINDS)
    rounds = ((kind, turn) for turn in count() for kind in chosen)
    return [(kind, KINDS[kind][1][turn % len(KINDS[kind][1])]) for kind, turn in islice(rounds, kills)]


def run(kills: Sequence[tuple[str, str]], seed: int) -> Counter[str]:
    """Cut off each of these kinds by the death of its victim; the counts."""
    with made_world(seed) as world:
        for number, (kind, victim) in enumerate(kills, 1):
            began = time.monotonic()
            print(f"{number}: {kind}, {victim}", end=", ", flush=True)
            print(kill_once(world, kind, victim), f"({time.monotonic() - began:.1f} s)", flush=True)
        end(world)
        return world.counts
