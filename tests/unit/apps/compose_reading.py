"""Compose as a reader of variables, for tests that are not async themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ikoma.app_folder import App
from ikoma.apps.environment.editor import EnvFile, ImportedVariables
from ikoma.apps.environment.variables import VariableReader, Variables
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.runtime import assemble
from ikoma.kernel.redaction.redaction import find_nothing
from tests.support import DOCKER_HOST

T = TypeVar("T")


def with_reader(ask: Callable[[VariableReader], Awaitable[T]]) -> T:
    async def run() -> T:
        engine = ComposeEngine(DOCKER_HOST, find_nothing)
        try:
            return await ask(VariableReader(assemble(engine).runtime))
        finally:
            await engine.close()

    return asyncio.run(run())


def read(app: App, content: str | bytes | None = None, **options: object) -> Variables:
    """Return what Compose reads in a file of this content, or in the app's own."""
    if content is None:
        return with_reader(lambda reader: reader.read_env(app))
    given = content.encode() if isinstance(content, str) else content
    return with_reader(lambda reader: reader.read(app, given, **options))  # type: ignore[arg-type]


def put(app: App, name: str, value: str) -> list[str]:
    return with_reader(lambda reader: EnvFile(app, reader).put(name, value))


def put_all(app: App, values: dict[str, str]) -> list[str]:
    return with_reader(lambda reader: EnvFile(app, reader).put_all(values))


def remove(app: App, name: str) -> list[str]:
    return with_reader(lambda reader: EnvFile(app, reader).remove(name))


def replace(app: App, content: str) -> ImportedVariables:
    return with_reader(lambda reader: EnvFile(app, reader).replace(content))


def restore(app: App, name: str | None, version: str | None = None) -> list[str]:
    return with_reader(lambda reader: EnvFile(app, reader).restore(name, version))
