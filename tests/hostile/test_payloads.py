"""Every string of every request, with text made to be taken for something else.

Every child process that is started meanwhile is recorded where all of them are started. What a caller sends may be an
argument; it never becomes an option, and never makes one more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from ikoma import capabilities
from ikoma.errors import IkomaError
from ikoma.kernel.call import Attempt
from ikoma.kernel.registry import Capability
from ikoma.model import Effect
from ikoma.platform.composition import RunningPlatform, run_platform
from ikoma.platform.preparation import prepare
from ikoma.settings import load_settings
from tests.hostile.fitting_arguments import arguments_of
from tests.hostile.payloads import PAYLOADS
from tests.support import DOCKER_HOST, free_port

APP = "payload"
COMPOSE = "services: {web: {image: 'nowhere.invalid/none:1', env_file: [{path: .env, required: false}]}}\n"
OF_EVERY_CALL = ("idempotencyKey", "confirmation")

Shape = tuple[str, ...]


def shape(argv: Sequence[object]) -> Shape:
    """An argument list by its form: options by their names, all else as one place."""
    return tuple(_form(index, str(argument)) for index, argument in enumerate(argv))


def _form(index: int, argument: str) -> str:
    if argument.startswith("-"):
        return argument.partition("=")[0]
    return Path(argument).name if index == 0 else "·"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Shape]:
    """The shape of every child process from now on."""
    seen: list[Shape] = []
    start = asyncio.create_subprocess_exec

    async def recorded(*argv: Any, **more: Any) -> Any:
        seen.append(shape(argv))
        return await start(*argv, **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", recorded)
    return seen


def strings(item: Capability) -> Iterator[tuple[str, Any]]:
    """(argument, how a text is put into it) of each that takes text."""
    properties = item.request.model_json_schema(by_alias=True).get("properties", {})
    for name, described in properties.items():
        kinds = [part for part in described.get("anyOf", [described]) if part.get("type") != "null"]
        for kind in kinds:
            if kind.get("type") == "string" or "$ref" in kind or "enum" in kind:
                yield name, lambda text: text
            elif kind.get("type") == "array":
                yield name, lambda text: [text]
            elif kind.get("type") == "object":
                yield name, lambda text: {text: "value"}
                yield name, lambda text: {"NAME": text}
    if item.effect is not Effect.READS:
        yield from ((name, lambda text: text) for name in OF_EVERY_CALL)


async def call(house: RunningPlatform, key: str, capability: str, arguments: Mapping[str, Any], number: int) -> str:
    """Make a call; its code, "" for success."""

    async def read(limit: int) -> Mapping[str, Any]:
        return arguments

    try:
        async with asyncio.timeout(240):
            await house.pipeline.execute(Attempt(capability, key, None, f"payload-{number}", read))
    except IkomaError as error:
        assert error.status != 500, (capability, arguments, error.message)
        orjson.dumps([error.message, error.hint, error.details], default=str)
        return error.code
    return ""


async def attack(settings: Any, started: list[Shape]) -> tuple[set[Shape], dict[Shape, Any], int]:
    """The shapes of ordinary calls, those that only attacks brought about, and how many attacks there were."""
    numbers = iter(range(1_000_000))
    async with run_platform(settings) as house:
        key = settings.api_key_file.read_text().strip()

        async def do(capability: str, /, **arguments: Any) -> str:
            return await call(house, key, capability, arguments, next(numbers))

        await do("apps.init", appName=APP)
        await do("db.create", appName=APP)
        (settings.apps_root / APP / "docker-compose.yml").write_text(COMPOSE)
        for item in capabilities.load():
            if item.name != "apps.remove":
                await do(item.name, **arguments_of(item, APP))
        await do("db.backup", appName=APP)
        ordinary = set(started)
        unheard: dict[Shape, Any] = {}
        attacks = 0
        for item in capabilities.load():
            for name, put in strings(item):
                for payload in PAYLOADS:
                    started.clear()
                    arguments = {**arguments_of(item, APP), name: put(payload)}
                    with contextlib.suppress(UnicodeEncodeError):
                        await do(item.name, **arguments)
                    attacks += 1
                    unheard |= {form: (item.name, arguments) for form in started if form not in ordinary}
        await house.proxy.stop()
        return ordinary, unheard, attacks


@pytest.mark.timeout(1800)
def test_what_callers_send_never_changes_the_shape_of_a_command(
    tmp_path_factory: pytest.TempPathFactory, started: list[Shape], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(tmp_path_factory.mktemp("payloads"))
    for above in (folder, *list(folder.parents)[:-2]):
        above.chmod(0o711)  # PostgreSQL's own user must pass through
    settings = load_settings(
        {
            "APPS_ROOT": str(folder / "apps"),
            "IKOMA_HOME": str(folder / "home"),
            "IKOMA_STATE": str(folder / "state"),
            "AUDIT_LOG": str(folder / "audit.jsonl"),
            "BACKUPS_ROOT": str(folder / "backups"),
            "HTTP_PORT": str(free_port()),
            "DOCKER_HOST": DOCKER_HOST,
            "RATE_LIMIT_MAX_REQUESTS": "1000000",
            "PROXY_HTTP_PORT": "0",
            "PROXY_HTTPS_PORT": "0",
        }
    )
    mask = os.umask(0o022)
    try:
        prepare(settings)
    finally:
        os.umask(mask)  # a server sets its own; tests that follow start theirs as a person would
    ordinary, unheard, attacks = asyncio.run(attack(settings, started))
    with capsys.disabled():
        print(f"\n{attacks} attacks, {len(ordinary)} shapes of commands, {len(unheard)} unheard of")
    assert len(PAYLOADS) >= 40
    assert ordinary
    assert unheard == {}
    assert {path.name for path in (folder / "apps").iterdir()} <= {APP, "myapp", ".ikoma"}
