"""How the files of tests run side by side, and which of them need the machine for themselves."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.githost import GitHost, git_host

ROOT = Path(__file__).parent

ALONE = ("contract/test_one_off.py", "demo", "docs", "hostile/test_key_timing.py", "runbook")
"""Tests on real paths and ports, with names of apps that all use, that see what is in all of Docker, or measure."""

LONG = (
    "rollouts",
    "cli/test_golden.py",
    "hostile/test_live.py",
    "hostile/test_canaries.py",
    "mcp/evaluation",
    "mcp/test_story.py",
)
"""What takes minutes begins first, so that no worker is left with it at the end."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    """A git host of the file's own."""
    with git_host(tmp_path_factory.mktemp("githost") / "host") as started:
        yield started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (_is_of(item, ALONE), not _is_of(item, LONG)))


def _is_of(item: pytest.Item, places: Sequence[str]) -> bool:
    return any(item.path.is_relative_to(ROOT / place) for place in places)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Outside of the test's timeout: waiting for the machine does not count."""
    with _machine(alone=_is_of(item, ALONE)):
        return (yield)


@contextmanager
def _machine(*, alone: bool) -> Iterator[None]:
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(folder)
