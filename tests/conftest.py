"""How the files of tests run side by side, and which of them need the machine for themselves."""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.docs.page import PAGES, groups, name_of
from tests.git_host import GitHost, git_host
from tests.in_memory import temporary_folder

ROOT = Path(__file__).parent

ALONE = ("hostile/test_key_timing.py",)
"""Tests that measure."""

APART = {"demo": ("docs",)}
"""Tests, and those that make apps of the same names: never both at once. They come late."""

LONG = (
    "install",
    "rollouts/test_serving.py",
    "docs",
    "rollouts",
    "cli/test_golden.py",
    "hostile/test_live.py",
    "hostile/test_canaries.py",
    "mcp/evaluation",
    "mcp/test_story.py",
)
"""Files that take minutes begin first, the longest before others, so that no worker is left with one at the end."""

SHORT = ("unit",)
"""Folders of many small files come last, and even out what the workers have left to do."""

INSTALLED = tuple(f"tests/install/test_{name}.py" for name in ("compose_flavour", "embedded_flavour", "runbook"))
PAGE_GROUPS = {name_of(path): group for path, group in groups(PAGES).items()}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    """A git host of the file's own."""
    with git_host(tmp_path_factory.mktemp("githost") / "host") as started:
        yield started


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a run in the background, whose children would ignore Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):  # workers are children of the process that has them
        config.add_cleanup(_entered(temporary_folder()))


def _entered(context: AbstractContextManager[None]) -> Callable[[], None]:
    with ExitStack() as stack:
        stack.enter_context(context)
        return stack.pop_all().close


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.path))


@cache
def _rank(file: Path) -> tuple[bool, ...]:
    """Where a file comes in the run, once for all its tests: of nine thousand it would take seconds in each worker."""
    last = (ALONE, SHORT, tuple(APART))
    return (*(_is_of(file, places) for places in last), *(not _is_of(file, (place,)) for place in LONG))


def _is_of(file: Path, places: tuple[str, ...]) -> bool:
    return any(file.is_relative_to(ROOT / place) for place in places)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say below the slowest tests what part of the time the slowest tenth of all takes."""
    if not terminalreporter.config.getoption("durations"):
        return
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid] += report.duration  # setup and teardown count, too
    slowest = sorted(seconds.values(), reverse=True)[: len(seconds) // 10]
    terminalreporter.write_line(
        f"the slowest tenth ({len(slowest)} tests) took {sum(slowest):.0f} s of {sum(seconds.values()):.0f} s"
    )


class FilesAndPages(LoadFileScheduling):  # type: ignore[misc]
    """Give a worker a whole file; of the pages, those that make the same apps; all that is tried on one machine."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if file in INSTALLED:
            return "tests/install"
        page = re.search(r"\[(.+)\]$", test) if file == "tests/docs/test_pages.py" else None
        return f"{file}::{PAGE_GROUPS[page[1]]}" if page else file


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FilesAndPages | None:
    return FilesAndPages(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Outside of the test's timeout: waiting for the machine does not count."""
    with ExitStack() as held:
        held.enter_context(_holding(ROOT, alone=_is_of(item.path, ALONE)))
        for place, others in APART.items():
            if _is_of(item.path, (place, *others)):
                held.enter_context(_holding(ROOT / place, alone=_is_of(item.path, (place,))))
        return (yield)


@contextmanager
def _holding(folder: Path, *, alone: bool) -> Iterator[None]:
    """The lock of a folder: one that is alone with it, or many."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
