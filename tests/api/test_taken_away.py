"""Looks at an app are answered at any time: also when it is removed in the middle of one."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from ikoma import capabilities
from ikoma.errors import IkomaError
from ikoma.kernel.call import Attempt
from ikoma.kernel.registry import AppRequest, Capability
from ikoma.model import Effect
from ikoma.platform.composition import RunningPlatform, run_platform
from ikoma.settings import load_settings
from tests import support
from tests.apps import make_app
from tests.support import Server

APP = "taken-away"
ROOT = str(Path(capabilities.__file__).parents[1])
LOOKS = {"stat", "lstat", "open", "listdir", "scandir", "readlink", "mkdir", "access", "rename", "replace", "unlink"}
GIVEN: Mapping[str, Mapping[str, object]] = {
    "db.query": {"sql": "SELECT 1"},
    "env.history": {"name": "GREETING"},
    "files.history": {"path": "src/ok"},
    "files.list": {"recursive": True},
    "files.read": {"path": "src/ok"},
}


@dataclass
class Interruption:
    """Does something once, right before a call of the operating system that asks for a file.

    One of those that IKOMA makes from the same line is as good as another.
    """

    act: Callable[[], None]
    tried: set[str] = field(default_factory=set)
    """The lines before which it was done."""
    done: bool = True

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        if self.done or event != "c_call" or called.__name__ not in LOOKS or called.__module__ not in ("posix", "io"):
            return
        line = _find_own_line(frame)
        if line is not None and f"{line} {called.__name__}" not in self.tried:
            self.done = True
            self.tried.add(f"{line} {called.__name__}")
            self.act()


def _find_own_line(frame: FrameType | None) -> str | None:
    while frame is not None and not frame.f_code.co_filename.startswith(ROOT):
        frame = frame.f_back
    return None if frame is None else f"{frame.f_code.co_filename.removeprefix(ROOT)}:{frame.f_lineno}"


@contextmanager
def watching(interruption: Interruption) -> Iterator[None]:
    """Have all that this thread and new ones call seen by it."""
    sys.setprofile(interruption)
    threading.setprofile(interruption)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.fixture(scope="module")
def stopped() -> Iterator[Server]:
    """A server that has stopped, with an app that has something of everything."""
    with support.server() as made:
        folder = make_app(made, APP)
        for name in ("001_a", "002_b"):
            (folder / "migrations" / f"{name}.sql").write_text(f"CREATE TABLE t{name} (x int);")
        (folder / "seeds" / "one.sql").write_text("INSERT INTO t001_a VALUES (1);")
        made.do("db.create", {"appName": APP})
        made.do("deploy.up", {"appName": APP})
        made.do("schedules.set", {"appName": APP, "name": "nightly", "cron": "0 3 * * *"})
        made.do("domain.add", {"appName": APP, "domain": "taken.example.com"})
        for text in ("once", "twice"):
            made.do("env.set", {"appName": APP, "name": "GREETING", "value": f"hello {text}"})
            made.do("files.write", {"appName": APP, "path": "src/ok", "content": text})
        made.do("deploy.up", {"appName": APP})
        (folder / "migrations" / "003_c.sql").write_text("CREATE TABLE t003_c (x int);")
        made.stop(signal.SIGTERM)
        yield made


@pytest.mark.timeout(900)  # a look for each of a hundred lines
def test_no_look_fails_and_none_writes_when_the_app_goes_in_the_middle_of_it(
    stopped: Server, caplog: pytest.LogCaptureFixture
) -> None:
    folder, kept, aside = stopped.apps / APP, stopped.folder / "kept", stopped.apps / f".{APP}"
    shutil.copytree(folder, kept, symlinks=True)
    interruption = Interruption(lambda: folder.rename(aside))
    wrong: list[str] = []

    async def look(running: RunningPlatform, item: Capability) -> None:
        """One look after another, until the app has gone once before each line that asks for a file."""
        while not interruption.done:
            caplog.clear()
            code = await ask(running, item)
            if interruption.done:
                if code == "internal_error" or folder.exists():
                    wrong.append(f"{item.name}: {code}, {caplog.text[-1000:]}, {[*folder.rglob('*')]}")
                shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(aside, ignore_errors=True)
                shutil.copytree(kept, folder, symlinks=True)
                interruption.done = False
            else:
                interruption.done = True

    async def ask(running: RunningPlatform, item: Capability) -> str:
        given = dict(GIVEN.get(item.name, {}))
        if issubclass(item.request, AppRequest):
            given["appName"] = APP

        async def read(limit: int) -> dict[str, Any]:
            return given

        try:
            await running.pipeline.execute(Attempt(item.name, stopped.key, None, secrets.token_hex(8), read, asks=True))
        except IkomaError as error:
            return error.code
        return "answered"

    async def look_at_all() -> None:
        async with run_platform(replace(load_settings(stopped.env), rehearsal=True)) as running:
            for item in capabilities.load():
                if item.effect is Effect.READS or item.name == "apps.remove":  # which asks a person first
                    interruption.done = False
                    await look(running, item)

    try:
        with watching(interruption), caplog.at_level(logging.ERROR, "ikoma"):
            asyncio.run(look_at_all())
    finally:
        if not folder.exists():
            kept.rename(folder)
        shutil.rmtree(kept, ignore_errors=True)
    assert len(interruption.tried) > 80
    assert wrong == []
