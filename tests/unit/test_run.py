from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ikoma.errors import ToolMissing
from ikoma.run import OutputTooLong, fill, follow, run


def test_a_child_sees_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY_HASH", "secret")
    monkeypatch.setenv("LD_PRELOAD", "")
    finished = asyncio.run(run(["env"], env={"DOCKER_HOST": "unix:///x"}))
    names = {line.split("=", 1)[0] for line in finished.stdout.decode().splitlines()}
    assert names == {"PATH", "HOME", "LANG", "DOCKER_HOST"}


def test_arguments_reach_the_child_as_they_are() -> None:
    hostile = ["$(id)", "; rm -rf /", "a b", "'", "-n"]
    finished = asyncio.run(run([sys.executable, "-c", "import sys; print(sys.argv[1:])", *hostile]))
    assert finished.stdout.decode().strip() == str(hostile)


def test_a_missing_program_is_an_answer() -> None:
    with pytest.raises(ToolMissing, match="no-such-program"):
        asyncio.run(run(["no-such-program"]))


def make_nap() -> str:
    """A command that lasts for hours, and that nobody else on this machine runs."""
    return f"sleep {random.randrange(10**4, 10**5)}.{os.getpid()}"


def runs(command: str) -> bool:
    return command in subprocess.check_output(["ps", "-eo", "args"], text=True)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_child_that_takes_too_long_is_ended_with_all_it_started() -> None:
    nap = make_nap()
    with pytest.raises(TimeoutError):
        asyncio.run(run(["sh", "-c", f"{nap} & {nap}"], timeout=0.3))
    until(lambda: not runs(nap))


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_a_child_that_says_too_much_is_ended(stream: str) -> None:
    nap = make_nap()
    with pytest.raises(OutputTooLong):
        asyncio.run(run(["sh", "-c", f"{nap} & yes 0815 {stream}"], most=1 << 20))
    until(lambda: not runs(nap))
    assert asyncio.run(run(["sh", "-c", f"echo one {stream}"], most=4)) != asyncio.run(run(["true"], most=0))


def test_a_child_takes_no_more_memory_than_it_may() -> None:
    program = [sys.executable, "-c", "x = bytearray(200 << 20); print(len(x))"]
    assert asyncio.run(run(program, memory=400 << 20)).code == 0
    assert b"MemoryError" in asyncio.run(run(program, memory=100 << 20)).stderr


def test_lines_come_as_they_are_written() -> None:
    lines: list[str] = []
    code = asyncio.run(follow(["sh", "-c", "echo one; echo two >&2; exit 3"], on_line=lines.append, timeout=60))
    assert sorted(lines) == ["one", "two"]
    assert code == 3


def test_follow_lets_the_child_read_an_open_file_and_moves_its_offset(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("one\ntwo\nthree\n")
    lines: list[str] = []
    with (tmp_path / "x").open("rb", buffering=0) as file:
        file.seek(4)
        code = asyncio.run(follow(["cat"], on_line=lines.append, stdin=file.fileno(), timeout=60))
        assert file.tell() == 14
    assert (code, lines) == (0, ["two", "three"])


def test_a_file_is_filled_while_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "filled"
    seen: list[bool] = []

    def alongside(ended: threading.Event) -> None:
        seen.append(ended.is_set())
        ended.wait(60)
        seen.append(file.stat().st_size > 1_000_000)

    with file.open("wb") as stream:
        argv = ["sh", "-c", "seq 200000; echo oops >&2; exit 1"]
        finished = asyncio.run(fill(argv, output=stream.fileno(), alongside=alongside, timeout=60))
    assert file.read_bytes() == b"".join(b"%d\n" % n for n in range(1, 200001))
    assert (finished.code, finished.stderr, seen) == (1, b"oops\n", [False, True])


def test_a_child_does_not_outlive_a_killed_server(tmp_path: Path) -> None:
    nap = make_nap()
    program = "import asyncio; from ikoma.run import run; asyncio.run(run(input().split()))"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        with parent.stdin as told:
            told.write(f"{nap}\n")
        until(lambda: runs(nap))
        parent.kill()
    until(lambda: not runs(nap))


def test_a_child_starts_where_nothing_depends_on_the_working_folder() -> None:
    assert asyncio.run(run(["pwd"])).stdout == b"/\n"
    assert os.getcwd() != "/"
