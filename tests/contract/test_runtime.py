"""The promises of a Runtime, whichever engine it is: services, replicas, endpoints, rollouts, recovery and removal.

Nothing here knows containers: a replica's id is compared, and never looked into. Each group of cases has one app.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest

from ikoma.app_folder import App
from ikoma.errors import CommandTimedOut, DeployFailed
from ikoma.model import AppName
from ikoma.ports.progress import ignore_progress
from ikoma.ports.replicas import ReplicaPart
from ikoma.ports.rollout import CommandOutput, RolloutStep
from ikoma.rollout_state import RolloutState
from tests.contract.rolled_app import Rolling, engine_of, web_service
from tests.leftovers import OWNER

pytestmark = pytest.mark.engine
T = TypeVar("T")
Do = Callable[[Coroutine[Any, Any, T]], T]
RELEASE = "20260202-000000-bbbb"
MOMENTS = ["check", "wait for answers", "set route", "serve", "switch", "drain"]
STORE = {"volumes": [{"type": "volume", "source": "store", "target": "/store", "volume": {}}]}


@pytest.fixture(scope="module", params=["compose"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def house(engine: str) -> Iterator[tuple[asyncio.Runner, Rolling]]:
    folder = Path(tempfile.mkdtemp(prefix="ikoma-runtime-"))
    (folder / OWNER).write_text(str(os.getpid()))
    app = App(AppName.parse(f"t-run-{secrets.token_hex(3)}"), folder / "app")
    app.path.mkdir()
    with asyncio.Runner() as runner:
        rolling = Rolling(engine_of(engine), app)
        try:
            yield runner, rolling
        finally:
            runner.run(_remove(rolling))
            shutil.rmtree(folder)


async def _remove(rolling: Rolling) -> None:
    app, engine = rolling.app, rolling.engine
    await engine.runtime.recover(app, rolling.hooks(""), ignore_progress)
    await engine.runtime.remove(app, ignore_progress)
    for name in await engine.images.list_names(f"ikoma-app/{app.name}/"):
        await engine.images.forget(name)
    await engine.runtime.close()


@pytest.fixture
def rolling(house: tuple[asyncio.Runner, Rolling]) -> Rolling:
    return house[1]


@pytest.fixture
def do(house: tuple[asyncio.Runner, Rolling]) -> Do[Any]:
    return house[0].run


@pytest.fixture
def serving(do: Do[Any], rolling: Rolling) -> str:
    """The id of the replica that serves the word `one`, of the release RELEASE."""

    async def serve() -> str:
        await rolling.engine.runtime.recover(rolling.app, rolling.hooks(""), ignore_progress)
        await rolling.engine.runtime.end_standby(rolling.app, rolling.hooks(""))
        await rolling.roll(await rolling.target({"web": web_service("one")}, RELEASE))
        await rolling.engine.runtime.recover(rolling.app, rolling.hooks(""), ignore_progress)
        [web] = (await rolling.observe()).services["web"]
        return web.id

    found: str = do(serve())
    return found


def test_a_plan_is_data_and_is_carried_out_as_it_says(do: Do[Any], rolling: Rolling, serving: str) -> None:
    same = do(rolling.plan(do(rolling.target({"web": web_service("one")}, RELEASE))))
    assert [(item.service, item.step, item.start) for item in same.services] == [("web", RolloutStep.KEEP, 0)]
    job = web_service("job", command=["true"], healthcheck={"disable": True})
    waits = {"job": {"condition": "service_completed_successfully"}}
    target = do(rolling.target({"job": job, "web": web_service("two", depends_on=waits)}, again=False))
    plan = do(rolling.plan(target))
    assert {item.service: item.step for item in plan.services} == {
        "job": RolloutStep.RUN_ONCE,
        "web": RolloutStep.REPLACE,
    }
    assert [item.id for part in plan.services for item in part.replace] == [serving]
    assert not plan.reactivates
    orjson.dumps(asdict(plan))  # it is plain data: whoever prints it needs no engine
    hooks = rolling.hooks(target.release)
    result = do(rolling.roll(target, hooks))
    assert hooks.moments == MOMENTS
    assert (set(result.services), result.replaced, result.downtime_ms) == ({"job", "web"}, ("web",), 0)
    assert do(rolling.ask()) == "two"
    state = do(rolling.observe())
    assert [item.id for item in hooks.switched] == [item.id for item in state.services["web"]]
    assert serving not in [item.id for item in state.serving]
    [web] = state.services["web"]
    assert (web.state, web.health, web.release, web.part) == ("running", "healthy", target.release, ReplicaPart.SERVES)
    [ended] = state.services["job"]
    assert (ended.state, ended.exit_code, ended.one_shot) == ("exited", 0, True)


def test_what_cannot_run_twice_is_stopped_first_and_requests_wait(do: Do[Any], rolling: Rolling, serving: str) -> None:
    keeper = do(rolling.target({"web": web_service("one", **STORE)}))
    do(rolling.roll(keeper))
    [before] = do(rolling.observe()).services["web"]
    target = do(rolling.target({"web": web_service("two", **STORE)}))
    [part] = do(rolling.plan(target)).services
    assert (part.step, [item.id for item in part.stop_first]) == (RolloutStep.STOP_FIRST, [before.id])
    assert part.alone == "two of it must not write the volume store at once"
    hooks = rolling.hooks(target.release)
    do(rolling.roll(target, hooks))
    assert hooks.moments.index("pause") < hooks.moments.index("wait for answers")
    assert do(rolling.ask()) == "two"


def test_replicas_are_started_and_go_as_the_scale_says(do: Do[Any], rolling: Rolling, serving: str) -> None:
    three = do(rolling.target({"web": web_service("one")}, RELEASE, scale={"web": 2}))
    [part] = do(rolling.plan(three)).services
    assert (part.step, [item.id for item in part.keep], part.start) == (RolloutStep.START, [serving], 1)
    do(rolling.roll(three))
    assert len(do(rolling.observe()).services["web"]) == 2
    assert do(rolling.ask_each()) == ["one", "one"]
    do(rolling.roll(do(rolling.target({"web": web_service("one")}, RELEASE))))
    assert len(do(rolling.observe()).services["web"]) == 1


@pytest.mark.parametrize("how", ["fail", "cancel"])
@pytest.mark.parametrize("moment", ["check", "wait for answers", "set route", "serve"])
def test_what_fails_or_is_cancelled_before_it_serves_is_undone(
    do: Do[Any], rolling: Rolling, serving: str, moment: str, how: str
) -> None:
    target = do(rolling.target({"web": web_service("two")}))
    hooks = rolling.hooks(target.release, fails_at=moment, how=how)
    with pytest.raises(DeployFailed if how == "fail" else asyncio.CancelledError):
        do(rolling.roll(target, hooks))
    state = do(rolling.observe())
    assert [item.id for item in state.replicas] == [serving]
    assert (state.record.underway, state.record.serving and state.record.serving.release) == (None, RELEASE)
    begun = moment != "check"  # before that, nothing is written down that would have to be undone
    assert (hooks.moments[-2:] == ["refresh route", "restore route"]) is begun
    assert do(rolling.ask()) == "one"


def test_what_does_not_come_up_is_undone_and_told(do: Do[Any], rolling: Rolling, serving: str) -> None:
    broken = web_service("two", command=["sh", "-c", "echo no such thing; exit 3"])
    with pytest.raises(DeployFailed) as failed:
        do(rolling.roll(do(rolling.target({"web": broken}))))
    assert (failed.value.details["service"], failed.value.details["exitCode"]) == ("web", 3)
    assert "no such thing" in failed.value.details["logs"]
    assert [item.id for item in do(rolling.observe()).replicas] == [serving]


@pytest.mark.parametrize(("moment", "serves"), [("wait for answers", "one"), ("after serve", "two")])
def test_what_a_kill_cuts_off_is_undone_before_it_serves_and_finished_after(
    do: Do[Any], rolling: Rolling, engine: str, serving: str, moment: str, serves: str
) -> None:
    release = f"20260303-000000-{secrets.token_hex(2)}"
    program = [sys.executable, "-m", "tests.contract.rolled_app", engine, str(rolling.app.path), str(rolling.app.name)]
    assert subprocess.run([*program, release, "two", moment], check=False).returncode == -signal.SIGKILL
    state = do(rolling.observe())
    assert state.record.underway is not None
    assert bool(state.select(ReplicaPart.STARTING)) is (serves == "one")
    hooks = rolling.hooks(release)
    done = do(rolling.engine.runtime.recover(rolling.app, hooks, ignore_progress))
    assert done is not None
    assert done.endswith("and undone." if serves == "one" else "and finished.")
    assert do(rolling.engine.runtime.recover(rolling.app, hooks, ignore_progress)) is None  # it waits for what ends
    assert do(rolling.ask()) == serves
    state = do(rolling.observe())
    assert (len(state.replicas), state.record.underway) == (1, None)


def test_what_is_in_standby_serves_again_as_it_is(do: Do[Any], rolling: Rolling, serving: str) -> None:
    do(rolling.roll(do(rolling.target({"web": web_service("two")}, watch=60.0))))
    state = do(rolling.observe())
    assert [item.id for item in state.select(ReplicaPart.STANDBY)] == [serving]
    assert (state.record.standby and state.record.standby.release) == RELEASE
    target = do(rolling.target({"web": web_service("one")}, RELEASE))
    assert do(rolling.plan(target)).reactivates
    hooks = rolling.hooks(RELEASE)
    do(rolling.roll(target, hooks))
    assert [item.id for item in do(rolling.observe()).services["web"]] == [serving]
    assert [moment for moment in hooks.moments if moment in MOMENTS] == MOMENTS[1:]
    assert do(rolling.ask()) == "one"


def test_what_a_replica_said_is_read_and_followed(do: Do[Any], rolling: Rolling, serving: str) -> None:
    [web] = do(rolling.observe()).services["web"]
    lines = do(rolling.engine.runtime.read_log(web, tail=10, since=None))
    assert {line.text for line in lines} == {"says one"}

    async def follow() -> str:
        async for line in rolling.engine.runtime.follow_log(web, since=0.0):
            return line.text
        return ""

    assert do(asyncio.wait_for(follow(), 20)) == "says one"


def test_a_command_runs_once_like_a_replica_and_leaves_nothing(do: Do[Any], rolling: Rolling, serving: str) -> None:
    [web] = do(rolling.observe()).services["web"]

    def run(script: str, seconds: float) -> tuple[int, list[str]]:
        output = CommandOutput()
        once = rolling.engine.runtime.run_once(
            rolling.app,
            web,
            ["sh", "-c", script],
            timeout=seconds,
            progress=ignore_progress,
            output=output,
        )
        return do(once), output.lines

    assert run("echo here; exit 4", 30) == (4, ["here"])
    with pytest.raises(CommandTimedOut):
        run("sleep 60", 1)
    assert not rolling.engine.runtime.has_left_command(rolling.app)
    assert [item.id for item in do(rolling.observe()).replicas] == [serving]


def test_what_is_down_has_its_data_still_and_what_is_removed_has_none(
    do: Do[Any], rolling: Rolling, serving: str
) -> None:
    engine, app = rolling.engine, rolling.app
    do(rolling.roll(do(rolling.target({"web": web_service("one", **STORE)}))))
    do(engine.runtime.take_down(app, ignore_progress))
    RolloutState(app).take_down()
    assert do(rolling.observe()).replicas == ()
    assert do(engine.volumes.list_of(app)) == [f"{app.name}_store"]
    do(rolling.roll(do(rolling.target({"web": web_service("two", **STORE)}))))
    assert do(rolling.ask()) == "two"
    do(engine.runtime.remove(app, ignore_progress))
    RolloutState(app).take_down()
    assert (do(rolling.observe()).replicas, do(engine.volumes.list_of(app))) == ((), [])
