from __future__ import annotations

import asyncio
import hashlib
import itertools
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.app import Apps
from ikoma.apps.policy.waivers import Waivers
from ikoma.apps.source.webhook import Delivery, DeliveryMark, Webhooks
from ikoma.errors import ApprovalNeeded, DiskFull, HookReplayed, StartRefused
from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.operations.journal import Journal, Record
from ikoma.kernel.state.migrations import MIGRATIONS
from ikoma.kernel.state.store import Store
from ikoma.model import AppName, Role
from tests.unit.kernel.small_pipeline import House

LONG = "x" * 3000
ANN = Caller("key_ann", "ann", Role.ADMIN)


def asking(store: Store) -> Callable[[str], object]:
    approvals = Approvals(store)

    def ask(name: str) -> object:
        caller = Caller(name, name, Role.ADMIN)
        return approvals.ask(caller, "apps.remove", name, app=None, arguments={}, summary=LONG)

    return ask


def making_keys(store: Store) -> Callable[[str], object]:
    callers = Callers(store, store.folder / ".env", None)
    return lambda name: callers.create(name + LONG, Role.OBSERVER)


def beginning(store: Store) -> Callable[[str], object]:
    journal = Journal(store)
    return lambda name: journal.begin(Record(name, "test.write", None, "a", "ann", {"text": LONG}, "d", None))


def waiving(store: Store) -> Callable[[str], object]:
    waivers = Waivers(store)
    return lambda name: waivers.grant(AppName("shop"), "cap-add", LONG, caller=name, expires_at="2099")


def noting(store: Store) -> Callable[[str], object]:
    hooks = Webhooks(store, Apps(store.folder))
    return lambda name: hooks.record_delivery(AppName(name), Delivery("now", "github", LONG, name))


WRITERS = [asking, making_keys, beginning, waiving, noting]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "state.db")) as made:
        yield made


@pytest.mark.parametrize("part", WRITERS)
def test_a_full_disk_is_an_answer_whoever_writes(
    store: Store, part: Callable[[Store], Callable[[str], object]]
) -> None:
    write = part(store)
    store.execute("PRAGMA max_page_count = 1")  # as large as it is, and no larger
    with pytest.raises(DiskFull, match="full"):
        for number in itertools.count():
            write(f"n{number}")
    store.execute("PRAGMA max_page_count = 100000")
    write("later")


def test_the_call_that_finds_no_room_to_ask_for_consent_says_so(tmp_path: Path) -> None:
    house = House(tmp_path)
    key = house.key(Role.ADMIN, needs_approval=True)
    house.store.execute("PRAGMA max_page_count = 1")

    async def scenario() -> None:
        for number in itertools.count():
            try:
                await house.call("test.destroy", {"appName": f"shop-{number}" + "x" * 50}, key=key)
            except DiskFull:
                return
            except ApprovalNeeded as asked:  # decided, as only so many may wait
                house.approvals.decide(asked.details["approval"], ANN, "denied")

    asyncio.run(scenario())
    assert house.entries()[-1]["code"] == "disk_full"


def test_a_statement_that_is_wrong_is_no_full_disk(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError):
        store.execute("SELECT nothing FROM nowhere")


def test_a_change_is_whole_or_not_at_all(store: Store) -> None:
    waivers = Waivers(store)

    def fail() -> None:
        waivers.grant(AppName("shop"), "cap-add", "a", caller="ann", expires_at="2099")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(store.change(fail))
    assert waivers.list_live(AppName("shop")) == []
    waivers.grant(AppName("shop"), "cap-add", "b", caller="ann", expires_at="2099")
    assert [item.reason for item in waivers.list_live(AppName("shop"))] == ["b"]


def test_what_a_power_cut_may_not_take_is_synced_and_the_rest_is_not(store: Store) -> None:
    def level() -> int:
        return int(store.execute("PRAGMA synchronous").fetchone()[0])

    normal, full = 1, 2
    assert asyncio.run(store.change(level)) == full
    assert asyncio.run(store.change(level, durable=False)) == normal
    assert level() == full


OLDEST = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, role INTEGER NOT NULL,
    apps TEXT NOT NULL, capabilities TEXT NOT NULL, read_only INTEGER NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT, revoked_at TEXT
) STRICT;
INSERT INTO keys VALUES ('key_1', 'old', '{hash}', 2, '["shop"]', '[]', 0, '2026-01-01T00:00:00Z', NULL, NULL);
"""
EARLIER = """
CREATE TABLE operations (
    id TEXT PRIMARY KEY, capability TEXT NOT NULL, app TEXT, caller_id TEXT NOT NULL, caller TEXT NOT NULL,
    arguments TEXT NOT NULL, digest TEXT NOT NULL, idempotency_key TEXT, state TEXT NOT NULL, steps TEXT NOT NULL,
    result TEXT, failure TEXT, started_at TEXT NOT NULL, finished_at TEXT, process TEXT NOT NULL
) STRICT;
INSERT INTO operations VALUES (
    'o1', 'deploy.up', 'shop', 'key_1', 'old', '{{"appName":"shop"}}', 'd', 'again', 'succeeded',
    '[["build","2026-01-01T00:00:00Z",0.5]]', '{{"success":true}}', NULL, '2026-01-01', '2026-01-02', '1@1.00'
);
CREATE TABLE approvals (
    id TEXT PRIMARY KEY, capability TEXT NOT NULL, app TEXT, arguments TEXT NOT NULL, summary TEXT NOT NULL,
    digest TEXT NOT NULL, caller_id TEXT NOT NULL, caller TEXT NOT NULL, state TEXT NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL, decided_by TEXT, decided_at TEXT
) STRICT;
INSERT INTO approvals VALUES (
    'a', 'apps.remove', 'shop', '{{}}', 's', 'this', 'key_bot', 'bot', 'approved', '2026-01-01', '2999-01-01', 'ann',
    '2026-01-01'
);
CREATE TABLE hook_marks (
    app TEXT NOT NULL, mark TEXT NOT NULL, forget_at INTEGER, PRIMARY KEY (app, mark)
) STRICT, WITHOUT ROWID;
INSERT INTO hook_marks VALUES ('shop', 'body x', NULL);
CREATE TABLE hook_last (
    app TEXT PRIMARY KEY, at TEXT NOT NULL, event TEXT NOT NULL, delivery TEXT NOT NULL, reason TEXT, operation TEXT
) STRICT;
INSERT INTO hook_last VALUES ('shop', '2026-01-01', 'push', 'd1', 'not the branch', NULL);
"""
LATEST = """
ALTER TABLE keys ADD COLUMN needs_approval INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN rate INTEGER;
ALTER TABLE keys ADD COLUMN last_used_at TEXT;
ALTER TABLE keys ADD COLUMN previous_hash TEXT;
ALTER TABLE keys ADD COLUMN previous_until TEXT;
UPDATE keys SET needs_approval = 1, rate = 7;
ALTER TABLE approvals ADD COLUMN decided_by_id TEXT;
"""


def written_by_an_earlier_version(folder: Path, *statements: str) -> Path:
    digest = hashlib.sha256(b"first").hexdigest()
    with closing(sqlite3.connect(folder / "state.db")) as old:
        old.execute("PRAGMA journal_mode = WAL")
        for text in statements:
            old.executescript(text.format(hash=digest))
    return folder / "state.db"


def check_nothing_is_lost(store: Store, *, latest: bool) -> None:
    """Check that what the earlier version wrote is there, once."""
    [delivery] = Webhooks(store, Apps(store.folder)).list_deliveries(AppName("shop"))
    assert (delivery.delivery, delivery.host, delivery.reason) == ("d1", "", "not the branch")
    with pytest.raises(HookReplayed):
        Webhooks(store, Apps(store.folder)).remember_delivery(AppName("shop"), [DeliveryMark("body x", lasts=True)])
    record = Journal(store).find_by_key("key_1", "again")
    assert record is not None
    assert (record.result, record.steps[0].fraction, record.arguments) == (
        b'{"success":true}',
        0.5,
        {"appName": "shop"},
    )
    caller = Callers(store, store.folder / ".env", None).authenticate("first")
    assert (caller.name, caller.apps, caller.needs_approval, caller.rate) == (
        "old",
        ("shop",),
        latest,
        7 if latest else None,
    )
    request = Approvals(store).get("a")
    assert request is not None
    assert (request.state, request.decided_by_id) == ("approved", None)


@pytest.mark.parametrize("latest", [False, True])
def test_what_an_earlier_version_wrote_is_migrated_once(tmp_path: Path, latest: bool) -> None:
    path = written_by_an_earlier_version(tmp_path, OLDEST, EARLIER, *([LATEST] if latest else []))
    for _ in range(2):
        with closing(Store(path)) as store:
            assert store.version == max(MIGRATIONS)
            check_nothing_is_lost(store, latest=latest)


def test_a_file_of_the_very_first_version_gets_the_tables_that_came_later(tmp_path: Path) -> None:
    with closing(Store(written_by_an_earlier_version(tmp_path, OLDEST))) as store:
        for part in WRITERS:
            part(store)("shop")
        assert Callers(store, tmp_path / ".env", None).authenticate("first").name == "old"


def test_every_file_ends_with_the_same_columns(tmp_path: Path) -> None:
    def columns(store: Store) -> set[tuple[Any, ...]]:
        tables = store.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        return {
            (table, *column[1:])
            for (table,) in tables.fetchall()
            for column in store.execute(f"PRAGMA table_info({table})").fetchall()
        }

    found = []
    for number, statements in enumerate(([], [OLDEST], [OLDEST, EARLIER], [OLDEST, EARLIER, LATEST])):
        (tmp_path / f"{number}").mkdir()
        with closing(Store(written_by_an_earlier_version(tmp_path / f"{number}", *statements))) as store:
            found.append(columns(store))
    assert found[0] == found[1] == found[2] == found[3]


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    Store(tmp_path / "state.db").close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as newer:
        newer.execute(f"PRAGMA user_version = {max(MIGRATIONS) + 1}")
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(StartRefused, match="newer version of IKOMA") as refused:
        Store(tmp_path / "state.db")
    assert "later one" in refused.value.hint
    assert "before the upgrade" in refused.value.hint
    assert (tmp_path / "state.db").read_bytes() == before


KILLED = """
import os, signal, sys
from pathlib import Path
from ikoma.kernel.state.migrations import MIGRATIONS
from ikoma.kernel.state.store import Store
left = int(sys.argv[2])
class Mortal(Store):
    def _migrate(self):
        self._connection.set_trace_callback(count)
        super()._migrate()
def count(statement):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
Mortal(Path(sys.argv[1]))
print("whole")
"""


def test_a_migration_that_was_killed_is_begun_again_at_the_next_start(tmp_path: Path) -> None:
    killed = 0
    for left in itertools.count(step=4):
        folder = tmp_path / f"{left}"
        folder.mkdir()
        path = written_by_an_earlier_version(folder, OLDEST, EARLIER)
        done = subprocess.run([sys.executable, "-c", KILLED, path, f"{left}"], capture_output=True, check=False)
        with closing(Store(path)) as store:
            check_nothing_is_lost(store, latest=False)
        if done.stdout:
            break
        assert done.returncode == -signal.SIGKILL
        killed += 1
    assert killed > 5


OPENS = """
import sys, time
from pathlib import Path
from ikoma.kernel.state.migrations import MIGRATIONS
from ikoma.kernel.state.store import Store
print(flush=True)
sys.stdin.readline()
print(Store(Path(sys.argv[1])).version)
"""


@pytest.mark.parametrize("earlier", [[], [OLDEST, EARLIER]])
def test_several_processes_that_start_at_once_migrate_it_once(tmp_path: Path, earlier: list[str]) -> None:
    path = written_by_an_earlier_version(tmp_path, *earlier) if earlier else tmp_path / "state.db"
    argv = [sys.executable, "-c", OPENS, path]
    processes = [subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    said = [process.communicate("go\n", timeout=60)[0] for process in processes]
    assert said == [f"{max(MIGRATIONS)}\n"] * 4
    if earlier:
        with closing(Store(path)) as store:
            check_nothing_is_lost(store, latest=False)
