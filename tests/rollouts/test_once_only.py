"""Work that is done once in a deploy, and once in a look: counted in a server that runs in this process.

Functions are watched and not replaced. What is counted is what costs: files that are read, YAML and models that are
parsed, judgements, questions to Docker and PostgreSQL, child processes.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ikoma.apps.database import migration_files
from ikoma.apps.policy import model as policy
from ikoma.apps.yaml import form
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.engines.docker.engine_socket import EngineSocket
from ikoma.kernel.call import Attempt
from ikoma.platform.composition import RunningPlatform, run_platform
from ikoma.platform.preparation import prepare
from ikoma.settings import Settings, load_settings
from tests.apps import COMPOSE, SERVE
from tests.images import busybox_image
from tests.support import DOCKER_HOST, free_port

APP = "once-only"

_opened: Counter[str] = Counter()
_counting = False


def _note_open(event: str, arguments: tuple[Any, ...]) -> None:
    if _counting and event == "open" and isinstance(arguments[0], str) and f"/{APP}/" in arguments[0]:
        _opened[arguments[0].partition(f"/{APP}/")[2]] += 1


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each thing was done since this was cleared."""
    seen: Counter[str] = Counter()

    def watch(owner: Any, name: str, word: Callable[..., str]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def watched(*arguments: Any, **more: Any) -> Any:
            seen[word(*arguments)] += 1
            return original(*arguments, **more)

        monkeypatch.setattr(owner, name, staticmethod(watched) if owner is psycopg.AsyncConnection else watched)

    watch(form, "read", lambda content, path, *_: f"YAML {path}")
    watch(policy, "check", lambda *_: "judgement")
    watch(DockerApi, "list_resources", lambda *_: "list of volumes and networks")
    watch(migration_files, "_read", lambda app, path: f"migration {path.name}")
    watch(asyncio, "create_subprocess_exec", lambda *argv: f"spawn {_name(argv)}")
    watch(EngineSocket, "read", lambda _, path, *more: f"GET {path.partition('/')[2]}")
    connect = psycopg.AsyncConnection.connect

    async def connected(*arguments: Any, **more: Any) -> Any:
        seen[f"session of {more['user']}"] += 1
        return await connect(*arguments, **more)

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", connected)
    return seen


def _name(argv: tuple[Any, ...]) -> str:
    """A child process by the program that it is about."""
    return next((Path(str(part)).name for part in argv if Path(str(part)).name in ("docker-compose", "pg_dump")), "?")


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = Path(tmp_path_factory.mktemp("once"))
    for above in (folder, *list(folder.parents)[:-2]):
        above.chmod(0o711)  # PostgreSQL's own user must pass through
    places = {"APPS_ROOT": "apps", "IKOMA_HOME": "home", "IKOMA_STATE": "state", "BACKUPS_ROOT": "backups"}
    ports = ("HTTP_PORT", "PROXY_HTTP_PORT", "PROXY_HTTPS_PORT")
    return load_settings(
        {
            **{name: str(folder / place) for name, place in places.items()},
            "AUDIT_LOG": str(folder / "audit.jsonl"),
            **{name: str(free_port()) for name in ports},
            "DOCKER_HOST": DOCKER_HOST,
        }
    )


@pytest.fixture(scope="module", autouse=True)
def opens() -> Iterator[None]:
    sys.addaudithook(_note_open)  # there is no way to take one away again
    yield


async def count(counts: Counter[str], work: Callable[[], Any]) -> tuple[Counter[str], Counter[str]]:
    """Count the work that was done meanwhile, and the files of the app that were opened by their path."""
    global _counting
    counts.clear()
    _opened.clear()
    _counting = True
    try:
        await work()
    finally:
        _counting = False
    return Counter(counts), Counter(_opened)


def test_a_deploy_and_a_look_do_nothing_twice(settings: Settings, counts: Counter[str]) -> None:
    prepare(settings)
    deploy, status = asyncio.run(_count_both(settings, counts))
    done, _ = deploy
    assert done["YAML docker-compose.yml"] == 1
    assert done["spawn docker-compose"] == 2, "one resolves the files, one makes the containers"
    assert done["judgement"] == 2, "of what was validated, and of what will run"
    assert done["list of volumes and networks"] <= 3, "one for each decision: validation, judgement, making"
    assert {name: times for name, times in done.items() if name.startswith("migration")} == {
        "migration 001_a.sql": 1,
        "migration 002_b.sql": 1,
    }
    assert done[f"session of {APP}"] <= 4, "examined, migrated, recorded, looked at"
    _, opened = status
    assert opened, "a look reads the app's state"
    assert {name: times for name, times in opened.items() if times > 1} == {}


async def _count_both(settings: Settings, counts: Counter[str]) -> tuple[Any, Any]:
    numbers = iter(range(1_000))
    async with run_platform(settings) as house:
        key = settings.api_key_file.read_text().strip()

        async def do(capability: str, **arguments: Any) -> None:
            async def read(limit: int) -> Mapping[str, Any]:
                return arguments

            await _execute(house, Attempt(capability, key, None, f"once-{next(numbers)}", read))

        await do("apps.init", appName=APP)
        folder = settings.apps_root / APP
        compose = COMPOSE.format(image=busybox_image(), command=SERVE, health="/ok")
        (folder / "docker-compose.yml").write_text(compose)
        (folder / "src" / "ok").write_text("ok\n")
        (folder / "migrations" / "001_a.sql").write_text("CREATE TABLE a (id int);\n")
        try:
            await do("db.create", appName=APP)
            await do("deploy.up", appName=APP)
            changed = compose.replace("    restart:", "    environment: {VERSION: '2'}\n    restart:")
            (folder / "docker-compose.yml").write_text(changed)
            (folder / "migrations" / "002_b.sql").write_text("CREATE TABLE b (id int);\n")
            deploy = await count(counts, functools.partial(do, "deploy.up", appName=APP))
            return deploy, await count(counts, functools.partial(do, "apps.status", appName=APP))
        finally:
            await do("deploy.down", appName=APP)
            await house.proxy.stop()


async def _execute(house: RunningPlatform, attempt: Attempt) -> None:
    async with asyncio.timeout(300):
        await house.pipeline.execute(attempt)
