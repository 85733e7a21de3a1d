from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from ikoma.errors import AppBusy
from ikoma.kernel.locks import PATIENCE, Holder, Locks
from ikoma.model import AppName

HOLDER = """
import asyncio, sys
from pathlib import Path
from ikoma.kernel.locks import Holder, Locks
from ikoma.model import AppName
async def hold():
    async with Locks(Path(sys.argv[1])).hold(AppName("shop"), Holder("deploy.up", "r1")):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(hold())
"""


async def take(root: Path, name: str = "shop") -> str:
    async with Locks(root).hold(AppName(name), Holder("db.migrate", "r2")):
        return "taken"


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_busy_app_is_refused_and_the_holder_is_named(holder, tmp_path: Path) -> None:
    with pytest.raises(AppBusy, match=r"deploy\.up \(operation r1\)") as refused:
        asyncio.run(take(tmp_path))
    assert refused.value.details["operationId"] == "r1"
    assert refused.value.details["capability"] == "deploy.up"
    assert '(operations.wait {"operationId": "r1"})' in refused.value.hint


def test_other_apps_are_free_meanwhile(holder, tmp_path: Path) -> None:
    assert asyncio.run(take(tmp_path, "blog")) == "taken"


def test_a_killed_holder_leaves_no_lock(holder, tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    assert asyncio.run(take(tmp_path)) == "taken"


def test_a_call_waits_for_a_short_one(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        order: list[str] = []

        async def work(name: str) -> None:
            async with Locks(tmp_path).hold(AppName("shop"), Holder(name, name)):
                order.append(f"{name} in")
                await asyncio.sleep(0.1)
                order.append(f"{name} out")

        await asyncio.gather(work("a"), work("b"))
        return order

    order = asyncio.run(scenario())
    assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])


OWN = Holder("ikoma.settle", "own-1", own=True)


def test_a_call_waits_for_what_ikoma_does_by_itself_and_says_for_what(tmp_path: Path) -> None:
    said: list[str] = []

    async def scenario() -> None:
        locks = Locks(tmp_path)
        async with locks.hold(AppName("shop"), OWN):
            call = asyncio.ensure_future(wait(locks))
            await asyncio.sleep(PATIENCE + 0.5)
        await call

    def hear(text: str, fraction: float | None = None) -> None:
        said.append(text)

    async def wait(locks: Locks) -> None:
        async with locks.hold(AppName("shop"), Holder("db.backup", "b1"), progress=hear):
            said.append("taken")

    asyncio.run(scenario())
    assert said == ["waiting for ikoma.settle to end (operation own-1), which IKOMA does by itself", "taken"]


def test_behind_what_ikoma_does_another_callers_call_is_waited_for_as_long_as_ever(tmp_path: Path) -> None:
    async def scenario() -> None:
        locks = Locks(tmp_path)
        async with locks.hold(AppName("shop"), OWN):
            call = asyncio.ensure_future(take(tmp_path))
            await asyncio.sleep(0.2)
        async with locks.hold(AppName("shop"), Holder("deploy.up", "r1")):
            with pytest.raises(AppBusy, match="operation r1"):
                await call

    asyncio.run(scenario())


def test_what_ikoma_does_by_itself_waits_for_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        locks = Locks(tmp_path)
        async with locks.hold(AppName("shop"), OWN):
            with pytest.raises(AppBusy):
                async with locks.hold(AppName("shop"), Holder("deploy.rollback", "own-2", own=True), patience=0):
                    pass

    asyncio.run(scenario())
