from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.app import Apps
from ikoma.apps.policy.waivers import Waivers
from ikoma.apps.source.webhook import Delivery, Webhooks
from ikoma.errors import ApprovalNeeded, DiskFull
from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.callers import Caller, Callers
from ikoma.kernel.journal import Journal, Record
from ikoma.kernel.state import connect
from ikoma.model import AppName, Role
from tests.unit.kernel.house import House

LONG = "x" * 3000
ANN = Caller("key_ann", "ann", Role.ADMIN)


def asking(folder: Path) -> tuple[Any, Callable[[str], object]]:
    approvals = Approvals(folder / "state.db")

    def ask(name: str) -> object:
        caller = Caller(name, name, Role.ADMIN)
        return approvals.ask(caller, "apps.remove", name, app=None, arguments={}, summary=LONG)

    return approvals, ask


def making_keys(folder: Path) -> tuple[Any, Callable[[str], object]]:
    callers = Callers(folder / "state.db", folder / ".env", None)
    return callers, lambda name: callers.create(name + LONG, Role.OBSERVER)


def beginning(folder: Path) -> tuple[Any, Callable[[str], object]]:
    journal = Journal(folder / "state.db")
    return journal, lambda name: journal.begin(Record(name, "test.write", None, "a", "ann", {"text": LONG}, "d", None))


def waiving(folder: Path) -> tuple[Any, Callable[[str], object]]:
    waivers = Waivers(folder / "state.db")
    return waivers, lambda name: waivers.grant(AppName("shop"), "cap-add", LONG, caller=name, expires_at="2099")


def noting(folder: Path) -> tuple[Any, Callable[[str], object]]:
    hooks = Webhooks(folder / "state.db", Apps(folder))
    return hooks, lambda name: hooks.note(AppName(name), Delivery("now", "github", LONG, name))


@pytest.mark.parametrize("part", [asking, making_keys, beginning, waiving, noting])
def test_a_full_disk_is_an_answer_whoever_writes(
    tmp_path: Path, part: Callable[[Path], tuple[Any, Callable[[str], object]]]
) -> None:
    kept, write = part(tmp_path)
    kept._connection.execute("PRAGMA max_page_count = 1")  # as large as it is, and no larger
    with pytest.raises(DiskFull, match="full"):
        for number in itertools.count():
            write(f"n{number}")
    kept._connection.execute("PRAGMA max_page_count = 100000")
    write("later")


def test_the_call_that_finds_no_room_to_ask_for_consent_says_so(tmp_path: Path) -> None:
    house = House(tmp_path)
    key = house.key(Role.ADMIN, needs_approval=True)
    house.approvals._connection.execute("PRAGMA max_page_count = 1")

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


def test_a_statement_that_is_wrong_is_no_full_disk(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        connect(tmp_path / "state.db", "").execute("SELECT nothing FROM nowhere")
