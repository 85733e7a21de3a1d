from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from ikoma.errors import AppBusy
from ikoma.kernel.locks import Locks
from ikoma.model import AppName

HOLDER = """
import asyncio, sys
from pathlib import Path
from ikoma.kernel.locks import Locks
from ikoma.model import AppName
async def hold():
    async with Locks(Path(sys.argv[1])).hold(AppName("shop"), capability="deploy.up", request_id="r1"):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(hold())
"""


async def take(root: Path, name: str = "shop") -> str:
    async with Locks(root).hold(AppName(name), capability="db.migrate", request_id="r2"):
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
    with pytest.raises(AppBusy, match=r"deploy\.up \(request r1\)") as refused:
        asyncio.run(take(tmp_path))
    assert refused.value.details["holder"]["pid"] == holder.pid


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
            async with Locks(tmp_path).hold(AppName("shop"), capability=name, request_id=name):
                order.append(f"{name} in")
                await asyncio.sleep(0.1)
                order.append(f"{name} out")

        await asyncio.gather(work("a"), work("b"))
        return order

    order = asyncio.run(scenario())
    assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])
