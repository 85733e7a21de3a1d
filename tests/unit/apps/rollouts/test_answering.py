"""How long the containers of a release are waited for, on a clock that does not make anybody wait."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from ikoma.app_folder import App
from ikoma.apps.rollouts.answering import Answering
from ikoma.apps.routing.probe import Probe, ProbeResult
from ikoma.compose.compose_file import Web
from ikoma.errors import DeployFailed
from ikoma.model import AppName
from ikoma.ports.replicas import AppState, Replica
from ikoma.ports.runtime import ListeningPort, RestartHistory, Runtime
from tests.unit.replicas import app_state, replica

NOTHING = ProbeResult(False, "/health does not answer: nothing takes connections at port 3000.")
WELL = ProbeResult(True, "/health answers 200.")
NO = ProbeResult(False, "/health answers 500.", status=500)
LATE = ProbeResult(False, "/health has not answered within 3 s.")
OWN, OTHER, LOCAL = (
    ListeningPort("0.0.0.0", 3000, False),
    ListeningPort("0.0.0.0", 8080, False),
    ListeningPort("::1", 3000, True),
)


class Hurried(asyncio.SelectorEventLoop):
    """A loop that does not wait, and says that the time is over."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Skipping(self))

    def time(self) -> float:
        return self.now


class _Skipping(selectors.SelectSelector):
    def __init__(self, loop: Hurried) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.now += timeout or 0.0
        return super().select(0)


class Machine:
    """An engine with one container, and what asks it, as they are so many seconds after the start."""

    def __init__(self, answers: Callable[[float], ProbeResult], heard: Sequence[ListeningPort], **more: Any) -> None:
        self._answers, self._heard = answers, heard
        self._restarts, self._is_there = more.pop("restarts", 0), more.pop("is_there", True)
        self._replica = replica("web1", host="10.0.0.2", **more)
        self._began = asyncio.get_running_loop().time()

    async def ask_each(self, web: Web, containers: Sequence[Replica]) -> ProbeResult:
        return self._answers(asyncio.get_running_loop().time() - self._began)

    async def explain_first(self, app: App, web: Web, containers: Sequence[Replica]) -> ProbeResult:
        return await self.ask_each(web, containers)

    async def observe(self, app: App) -> AppState:
        return app_state(*([self._replica] if self._is_there else []))

    async def read_restarts(self, identity: str) -> RestartHistory:
        return RestartHistory(self._restarts, 0.0, 0.0)

    async def list_listening_ports(self, item: Replica) -> Sequence[ListeningPort]:
        return self._heard

    async def read_last_lines(self, app: AppName, item: Replica, lines: int) -> Sequence[str]:
        return ["its last line"]


def waited(
    answers: Callable[[float], ProbeResult],
    heard: Sequence[ListeningPort] = (),
    *,
    path: str | None = "/health",
    **more: Any,
) -> tuple[float, DeployFailed | None]:
    """For how many of 120 seconds it was waited, and the failure, where it came to one."""

    async def scenario() -> tuple[float, DeployFailed | None]:
        clock = asyncio.get_running_loop().time
        began, machine = clock(), Machine(answers, heard, **more)
        answering = Answering(cast(Runtime, machine), cast(Probe, machine))
        app = App(AppName("shop"), Path("/srv/apps/shop"))
        try:
            await answering.wait(app, Web("web", 3000, path), 120, [replica("web1")])
        except DeployFailed as error:
            return int(clock() - began), error
        return int(clock() - began), None

    with asyncio.Runner(loop_factory=Hurried) as runner:
        return runner.run(scenario())


def test_what_listens_late_is_waited_for() -> None:
    assert waited(lambda after: WELL if after > 100 else NOTHING) == (100, None)
    assert waited(lambda after: WELL if after > 100 else LATE, [OWN]) == (100, None)


def test_what_never_listens_has_the_whole_timeout_and_is_told_of_it() -> None:
    seconds, failed = waited(lambda after: NOTHING)
    assert seconds == 120
    assert failed is not None
    assert (
        failed.hint == "It has not answered within 120 s: `timeout` gives it longer. Its last log lines may say more."
    )
    assert failed.details["logs"] == ["its last line"]


@pytest.mark.parametrize(
    ("answers", "more"),
    [
        (NO, {}),
        (NOTHING, {"heard": [OTHER]}),
        (NOTHING, {"heard": [LOCAL]}),
        (NOTHING, {"state": "restarting"}),
        (NOTHING, {"restarts": 3}),
        (NOTHING, {"is_there": False}),
    ],
)
def test_what_is_wrong_for_long_is_not_waited_for(answers: ProbeResult, more: dict[str, Any]) -> None:
    seconds, failed = waited(lambda after: answers, **more)
    assert seconds == 15
    assert failed is not None
    assert "`timeout`" not in failed.hint


def test_what_is_wrong_for_a_while_only_is_waited_for() -> None:
    assert waited(lambda after: WELL if after > 60 else NO if after % 20 < 14 else LATE) == (60, None)
    assert waited(lambda after: WELL if after > 50 else NO if after > 40 else NOTHING) == (50, None)


def test_what_has_ended_is_not_waited_for() -> None:
    seconds, failed = waited(lambda after: NOTHING, state="exited", exit_code=3)
    assert (seconds, failed is not None and failed.message) == (
        0,
        "The service web exited with code 3, and is to answer requests.",
    )


def test_a_port_that_is_a_guess_is_waited_for_whatever_else_listens() -> None:
    seconds, failed = waited(lambda after: NOTHING, [OTHER], path=None)
    assert seconds == 120
    assert failed is not None
    assert "x-ikoma" in failed.hint


def test_what_says_that_it_is_not_ready_is_told_what_waits_for_that() -> None:
    seconds, failed = waited(lambda after: ProbeResult(False, "/health answers 503.", "warming up", 503))
    assert seconds == 15
    assert failed is not None
    assert "`start_period`" in failed.hint
    assert (failed.details["answer"], failed.details["answerStatus"]) == ("warming up", 503)
