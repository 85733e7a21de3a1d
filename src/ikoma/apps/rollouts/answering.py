"""Waits until the containers of a release answer requests, for as long as they may still come to.

An app may take long until it listens. One that answers with an error, listens where no request goes, or keeps
restarting seldom mends that by itself: once it has done so for a while without a break, it has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.routing.probe import ON_NO_PORT, Probe, ProbeResult, find_other_ports
from ikoma.compose.compose_file import Web
from ikoma.errors import DeployFailed
from ikoma.ports.replicas import Replica
from ikoma.ports.runtime import Runtime

_WRONG_SECONDS = 15.0
_RESTARTS = 3
_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_NOT_READY = 503
_MAY_GET_READY = (
    f"It has answered so for {_WRONG_SECONDS:g} s. Where it does until it is ready, give the service a `healthcheck` "
    "with a `start_period`: that is waited for, up to `timeout`. Its last log lines may say more."
)
_WHERE_IT_ANSWERS = "Name its `service:` and `port:` under `x-ikoma:` in the compose file; `service: false` for none."


class Answering:
    """Sees containers answer before they get requests."""

    def __init__(self, runtime: Runtime, probe: Probe) -> None:
        self._runtime = runtime
        self._probe = probe

    async def wait(self, app: App, web: Web | None, timeout: float, containers: Sequence[Replica]) -> None:
        """Return once each of these containers of the web service answers.

        Args:
            timeout: seconds until they must.

        Raises:
            DeployFailed: with what was answered, and the last log lines.
        """
        if web is None:
            return
        clock = asyncio.get_running_loop().time
        began, wrong_since = clock(), None
        ours = {item.id for item in containers}
        while not (check := await self._probe.ask_each(web, containers)).passed:
            there = [item for item in (await self._runtime.observe(app)).replicas if item.id in ours]
            ended = any(item.state in ("exited", "dead") for item in there)
            wrong_since = (wrong_since or clock()) if await self._is_wrong(web, check, there) else None
            given_up = wrong_since is not None and clock() >= wrong_since + _WRONG_SECONDS
            if ended or given_up or clock() >= began + timeout:
                containers = there or containers
                explained = await self._probe.explain_first(app, web, containers)
                check = check if explained.passed else explained
                hint = _choose_hint(web, check, None if ended or given_up else timeout)
                raise await self._explain_silence(app, web, check, containers, hint)
            await asyncio.sleep(min(_PAUSE + (clock() - began) / 50, _LONGEST_PAUSE))

    async def _is_wrong(self, web: Web, check: ProbeResult, containers: Sequence[Replica]) -> bool:
        """Whether it is more than late. Where no path is known, the port is a guess: others say nothing."""
        if web.path is None:
            return False
        if check.is_bad_answer or not containers or any(item.state != "running" for item in containers):
            return True
        for item in containers:
            lives = await self._runtime.read_restarts(item.id)
            if lives is not None and lives.restarts >= _RESTARTS:
                return True
            if await find_other_ports(self._runtime, web, [item]) not in ("", ON_NO_PORT):
                return True
        return False

    async def _explain_silence(
        self, app: App, web: Web, check: ProbeResult, containers: Sequence[Replica], hint: str | None
    ) -> DeployFailed:
        logs = await self._runtime.read_last_lines(app.name, containers[0], 20) if containers else []
        ended = [item for item in containers if item.state in ("exited", "dead")]
        said = (
            f"The service {web.service} exited with code {ended[0].exit_code}, and is to answer requests."
            if ended
            else None
        )
        answer: dict[str, Any] = {"answer": check.answer, "answerStatus": check.status}
        return DeployFailed(
            said or f"The containers run, but {web.service} is not healthy: {check.details}",
            hint=hint,
            service=web.service,
            exitCode=containers[0].exit_code if containers else None,
            state=containers[0].state if containers else None,
            **{name: value for name, value in answer.items() if value},
            logs=list(logs),
        )


def _choose_hint(web: Web, check: ProbeResult, timeout: float | None) -> str | None:
    """Tell what mends it, where that is known.

    Args:
        timeout: the seconds that were not enough; None where time was not what it lacked.
    """
    if web.path is None:
        return _WHERE_IT_ANSWERS
    if check.status == _NOT_READY:
        return _MAY_GET_READY
    if timeout is None:
        return None
    return f"It has not answered within {timeout:g} s: `timeout` gives it longer. Its last log lines may say more."
