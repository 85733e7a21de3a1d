"""One server for the apps of all frameworks, and the images that the templates name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from scripts.images import ensure
from tests.support import Server
from tests.support import server as started_server

IMAGES = ("python:3.13-slim", "node:22-alpine", "caddy:2-alpine")


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    asyncio.run(ensure(IMAGES))
    with started_server() as started:
        yield started
