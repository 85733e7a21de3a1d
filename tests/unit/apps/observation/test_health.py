"""A look at an app, and the files that it opens."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.database.credentials import obtain
from ikoma.apps.observation.health import HEALTHY, HealthObserver, Observation
from ikoma.apps.observation.restarts import Restarts
from ikoma.apps.releases.release import Release, Releases, ServiceRecord
from ikoma.apps.routing.ports import choose_port, read_port
from ikoma.apps.routing.probe import Probe, ProbeResult
from ikoma.apps.routing.routes import Routes
from ikoma.compose.model import parse_model
from ikoma.model import AppName
from ikoma.ports.databases import Databases
from ikoma.ports.proxy import Proxy, Route, Side
from ikoma.ports.replicas import AppState
from ikoma.ports.runtime import Runtime
from ikoma.rollout_state import RolloutState, Serving, Standby
from tests.unit.replicas import app_state, replica

OLD, NEW = "20260101-000000-aaaa", "20260102-000000-bbbb"
_opened: list[str] = []
_counts = False


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _counts and event == "open" and isinstance(arguments[0], str):
        _opened.append(os.path.realpath(arguments[0]))


sys.addaudithook(_note)


@contextmanager
def opens_below(folder: Path) -> Iterator[Counter[str]]:
    """How often each file below a folder is opened meanwhile; filled at the end."""
    global _counts
    _opened.clear()
    found: Counter[str] = Counter()
    _counts = True
    try:
        yield found
    finally:
        _counts = False
        found.update(name for name in _opened if name.startswith(f"{folder}/"))


class Machine:
    """Docker, PostgreSQL, the proxy and a web service, all well."""

    async def observe(self, app: App) -> AppState:
        view = RolloutState(app).read_view()
        return app_state(*(replica(f"web{number}", release=NEW) for number in range(3)), view=view)

    async def check_login(self, owned: object, *, fresh: bool) -> None:
        pass

    async def explain(self, *asked: object) -> ProbeResult:
        return ProbeResult(True, "/ answers 200.")

    def find_side(self, app: AppName) -> Side:
        return Side.BLUE

    def list_urls(self, route: Route) -> tuple[str, ...]:
        return (f"http://127.0.0.1:{route.port}",)


class Leaving(Machine):
    """A machine on which the app's folder is removed meanwhile."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def explain(self, *asked: object) -> ProbeResult:
        self._app.path.rename(self._app.path.with_name(".gone"))
        return ProbeResult(False, "/ does not answer.")


def make_serving(apps: Apps) -> App:
    """Make an app with a database, a release that serves and one before it."""
    app = apps.locate(AppName("shop"))
    app.path.mkdir()
    obtain(app)
    for name in (OLD, NEW):
        web = {"service": "web", "port": 3000, "path": "/"}
        services = {"web": ServiceRecord(one_shot=False, scale=3)}
        release = Release(name, "a key", "2026-01-01T00:00:00Z", web=web, services=services)
        Releases(app).open(release, parse_model({"services": {"web": {"image": "busybox"}}}), {}, {})
        Releases(app).succeed(release)
    RolloutState(app).write(Serving(NEW, "2", 1.0))
    RolloutState(app).write(Standby(OLD, "1", ("gone",), 9.0))
    choose_port(app, apps)
    return app


def look(app: App, apps: Apps, machine: Machine) -> Observation:
    routes = Routes(cast(Runtime, machine), cast(Proxy, machine), apps)
    observer = HealthObserver(
        cast(Runtime, machine), cast(Databases, machine), routes, Restarts(), cast(Probe, machine)
    )
    return asyncio.run(observer.observe(app))


def test_a_look_opens_no_file_of_the_app_twice(tmp_path: Path) -> None:
    apps = Apps(tmp_path)
    app = make_serving(apps)
    with opens_below(tmp_path) as opened:
        seen = look(app, apps, Machine())
    assert (seen.health, len(seen.containers), seen.release and seen.release.id) == (HEALTHY, 3, NEW)
    assert seen.urls == (f"http://127.0.0.1:{read_port(app)}",)
    assert opened
    assert {name: often for name, often in opened.items() if often > 1} == {}


def test_a_look_at_an_app_that_is_removed_meanwhile_writes_nothing(tmp_path: Path) -> None:
    apps = Apps(tmp_path)
    app = make_serving(apps)
    before = {path.relative_to(app.path) for path in app.path.rglob("*")}
    seen = look(app, apps, Leaving(app))
    gone = app.path.with_name(".gone")
    assert (seen.exists, seen.urls) == (False, ())
    assert {path.relative_to(gone) for path in gone.rglob("*")} == before
    assert not app.path.exists()


def test_releases_that_are_removed_while_they_are_read_are_passed_over(tmp_path: Path) -> None:
    apps = Apps(tmp_path)
    releases = Releases(make_serving(apps))
    reading = releases._iterate()
    assert next(reading).id == NEW
    shutil.rmtree(releases.locate_folder(OLD))
    assert list(reading) == []
    shutil.rmtree(releases.locate_folder(NEW).parent)
    assert (releases.list_all(), releases.find_latest()) == ([], None)
