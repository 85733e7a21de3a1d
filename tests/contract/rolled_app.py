"""An app on an engine, rolled out through its seam: what the contract suite of `Runtime` works with.

Run as a program, it rolls one release out and kills itself with SIGKILL at a moment: FOLDER NAME RELEASE WORD MOMENT.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.rollouts import injection
from ikoma.apps.rollouts.release_contents import ReleaseContents
from ikoma.compose.compose_file import VARIABLES_FILE, Web
from ikoma.compose.image_names import name_release_image
from ikoma.compose.model import EMPTY, ComposeModel, parse_model
from ikoma.compose.mounts import Sources
from ikoma.compose.release_folder import ReleaseFolder
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.runtime import assemble
from ikoma.errors import DeployFailed, IkomaError
from ikoma.kernel.redaction.redaction import find_nothing
from ikoma.model import AppName
from ikoma.ports.progress import ignore_progress
from ikoma.ports.replicas import AppState, Replica
from ikoma.ports.rollout import DatabaseChange, RolloutPlan, RolloutResult, RolloutTarget
from ikoma.ports.runtime import Engine
from ikoma.rollout_state import RolloutState, Serving, Underway
from tests.images import busybox_image
from tests.support import DOCKER_HOST

PORT = 3000
_SECONDS = 60.0


def engine_of(name: str) -> Engine:
    """The engine of that name; each passes the same suite."""
    assert name == "compose"
    return assemble(ComposeEngine(DOCKER_HOST, find_nothing))


def web_service(word: str, **more: Any) -> dict[str, Any]:
    """A service that answers with a word at /word."""
    serve = (
        f"mkdir -p /tmp/www && echo {word} >/tmp/www/word && echo says {word} && exec httpd -f -p {PORT} -h /tmp/www"
    )
    check = {"test": ["CMD", "wget", "-q", "--spider", f"http://127.0.0.1:{PORT}/word"], "interval": "1s"}
    return {
        "image": busybox_image(),
        "command": ["sh", "-c", serve],
        "init": True,
        "stop_grace_period": "1s",
        "healthcheck": {**check, "start_period": "20s", "start_interval": "1s", "retries": 5},
        "networks": {"default": None},
        **more,
    }


class Killed(BaseException):
    """A roll was ended at a moment, as by its caller."""


@dataclass
class RecordedHooks:
    """The app's part in a rollout, written down; it may fail, be cancelled or be killed at one moment."""

    app: App
    release: str
    fails_at: str | None = None
    how: str = "fail"
    """fail, cancel or kill."""
    moments: list[str] = field(default_factory=list)
    switched: tuple[Replica, ...] = ()
    change: DatabaseChange | None = None

    def reach(self, moment: str, *, after: bool = False) -> None:
        if not after:
            self.moments.append(moment)
        if self.fails_at != (f"after {moment}" if after else moment):
            return
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise asyncio.CancelledError if self.how == "cancel" else DeployFailed(f"It is to fail at {moment}.")

    async def keep_logs(self, replicas: Sequence[Replica]) -> None:
        pass

    async def restore_database(self, backup: str) -> None:
        self.moments.append("restore database")

    def tell_unrestored(self, cause: IkomaError, underway: Underway, trouble: IkomaError) -> None:
        raise AssertionError("no database was changed")

    async def refresh_route(self) -> None:
        self.moments.append("refresh route")

    async def restore_route(self) -> None:
        self.moments.append("restore route")

    async def restore_switch(self) -> None:
        self.moments.append("restore switch")

    async def drain(self) -> int:
        self.moments.append("drain")
        return 0

    async def check(self, model: ComposeModel) -> None:
        self.reach("check")

    async def set_route(self, replicas: int) -> None:
        self.reach("set route")

    async def pause(self) -> None:
        self.moments.append("pause")

    async def wait_for_answers(self, replicas: Sequence[Replica]) -> None:
        assert replicas
        assert all(item.service == "web" for item in replicas)
        self.reach("wait for answers")

    async def explain_silence(self, replicas: Sequence[Replica]) -> str:
        return ""

    def serve(self, rollout: str) -> None:
        self.reach("serve")
        RolloutState(self.app).write(Serving(self.release, rollout, time.time()))
        self.reach("serve", after=True)

    def switch(self, replicas: Sequence[Replica]) -> None:
        self.moments.append("switch")
        self.switched = tuple(replicas)


@dataclass
class Rolling:
    """One app, and what a test does with it."""

    engine: Engine
    app: App
    number: int = 0
    models: dict[str, ComposeModel] = field(default_factory=dict)

    async def target(self, services: Mapping[str, Any], release: str | None = None, **more: Any) -> RolloutTarget:
        """A release of these services, its images named; later ones replace what serves."""
        self.number += 1
        release = release or f"20260101-00000{self.number}-aaaa"
        networks = {"default": {"name": f"{self.app.name.project}_default"}}
        written = {"name": self.app.name.project, "services": dict(services), "networks": networks}
        written["volumes"] = {
            mount["source"]: {"name": f"{self.app.name.project}_{mount['source']}"}
            for service in services.values()
            for mount in service.get("volumes", [])
        }
        model = injection.freeze(self.app, parse_model(written), env={}, memory=64 << 20, variables={})
        tree = self.app.state / "releases" / release / "tree"
        tree.mkdir(parents=True, exist_ok=True)
        (tree.parent / VARIABLES_FILE).write_text("")
        image = await self.engine.images.find(busybox_image())
        assert image is not None
        for name in services:
            await self.engine.images.tag(image.id, name_release_image(self.app.name, name, release))
        images = dict.fromkeys(services, image.id)
        folder = ReleaseFolder.locate(self.app, release, Sources((), ()))
        parts = ReleaseContents(folder, images, {}, lambda path: "").make_parts(model)
        serving = RolloutState(self.app).read_serving()
        self.models[release] = model
        before = self.models.get(serving.release, EMPTY) if serving and not serving.down else EMPTY
        web = Web("web", PORT, "/word")
        return RolloutTarget(release, model, parts, model.x_ikoma, web, before=before, **more)

    async def plan(self, target: RolloutTarget) -> RolloutPlan:
        return await self.engine.runtime.plan(self.app, target)

    async def roll(self, target: RolloutTarget, hooks: RecordedHooks | None = None) -> RolloutResult:
        hooks = hooks or self.hooks(target.release)
        await self.engine.runtime.recover(self.app, hooks, ignore_progress)
        plan = await self.plan(target)
        return await self.engine.runtime.roll(self.app, target, plan, hooks, timeout=_SECONDS, progress=ignore_progress)

    def hooks(self, release: str, **more: Any) -> RecordedHooks:
        return RecordedHooks(self.app, release, **more)

    async def observe(self) -> AppState:
        return await self.engine.runtime.observe(self.app)

    async def ask(self) -> str:
        """Return the answer of the web service's replica that serves, at its endpoint."""
        [answer] = await self.ask_each()
        return answer

    async def ask_each(self) -> list[str]:
        """Return the answer at the endpoint of each replica of the web service; they may share one."""
        endpoints = [web.find_endpoint(PORT) for web in (await self.observe()).services["web"]]
        assert None not in endpoints
        return [await asyncio.to_thread(_fetch, f"http://{endpoint}/word") for endpoint in endpoints]


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode().strip())


async def main(engine: str, folder: str, name: str, release: str, word: str, moment: str) -> None:
    rolling = Rolling(engine_of(engine), App(AppName.parse(name), Path(folder)))
    target = await rolling.target({"web": web_service(word)}, release)
    await rolling.roll(target, rolling.hooks(release, fails_at=moment, how="kill"))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
