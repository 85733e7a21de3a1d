"""Stdin is read whole, and a Ctrl-C ends the reading whenever it comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

ROUNDS = 150
INTERRUPTED = f"""
import os, pty, random, signal, time
from ikoma.cli import stdin

for _ in range({ROUNDS}):
    reading, writing = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.write(writing, b"x")
            stdin.read_input()
        except KeyboardInterrupt:
            os._exit(130)
        os._exit(3)
    os.read(reading, 1)
    wait = time.perf_counter() + random.random() * 1e-4
    while time.perf_counter() < wait:
        pass
    os.kill(child, signal.SIGINT)
    status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) == 130, status
    for descriptor in (terminal, reading, writing):
        os.close(descriptor)
"""
READ = "import sys; from ikoma.cli import stdin; sys.stdout.buffer.write(stdin.{}{})"
TEXT = READ.format("read_text()", ".encode()")
BYTES = READ.format("read_input()", "")


def test_a_ctrl_c_just_before_reading_begins_is_not_lost() -> None:
    # Python's own read loses one of twenty of these: it would go on here for ever.
    subprocess.run([sys.executable, "-c", INTERRUPTED], check=True, timeout=120)


@pytest.mark.parametrize("content", [b"", b"one", b"\xff\x00\r\n" * 100_000], ids=["nothing", "short", "many pieces"])
def test_each_byte_is_read(content: bytes) -> None:
    assert subprocess.run([sys.executable, "-c", BYTES], input=content, stdout=PIPE, check=True).stdout == content


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(b"kept")
    with (tmp_path / "given").open() as given:
        assert subprocess.run([sys.executable, "-c", BYTES], stdin=given, stdout=PIPE, check=True).stdout == b"kept"


def test_lines_of_text_end_as_they_do_here() -> None:
    read = subprocess.run([sys.executable, "-c", TEXT], input="é\r\nb".encode(), stdout=PIPE, check=True)
    assert read.stdout == "é\nb".encode()


@pytest.mark.parametrize(
    ("given", "said"),
    [("b'\\xff'", "something else than text in UTF-8"), ("b'a' * (stdin.MOST + 1)", "more than 33,554,432 bytes")],
    ids=["no text", "too much"],
)
def test_what_is_no_text_or_too_much_is_told(given: str, said: str) -> None:
    program = f"from ikoma.cli import stdin; import sys; sys.stdout.buffer.write({given})"
    written = subprocess.run([sys.executable, "-c", program], stdout=PIPE, check=True).stdout
    ended = subprocess.run([sys.executable, "-c", TEXT], input=written, capture_output=True, check=False)
    assert said in ended.stderr.decode()


def test_a_folder_is_told(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        program = f"import os, sys; os.dup2(os.open({str(tmp_path)!r}, os.O_RDONLY), 0); {TEXT}"
        ended = subprocess.run([sys.executable, "-c", program], stdout=out, stderr=PIPE, check=False)
    assert "stdin cannot be read: Is a directory." in ended.stderr.decode()
