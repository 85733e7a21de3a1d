from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import support
from tests.support import Server
from tests.web.browser import Browser, chromium


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    with support.server() as made:
        yield made


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made
