from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.githost import GitHost, git_host
from tests.support import Server
from tests.support import server as started_server


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    with started_server() as started:
        yield started


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    with git_host(tmp_path_factory.mktemp("githost") / "host") as started:
        yield started
