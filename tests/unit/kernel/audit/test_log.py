from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ikoma.errors import AuditUnavailable
from ikoma.kernel.audit.chain import verify
from ikoma.kernel.audit.entry import AuditEntry
from ikoma.kernel.audit.log import AuditLog

WRITER = """
import sys
from pathlib import Path
from ikoma.kernel.audit.entry import AuditEntry
from ikoma.kernel.audit.log import AuditLog
log = AuditLog(Path(sys.argv[1]), Path(sys.argv[1] + ".head"))
for number in range(300):
    log.append(AuditEntry(f"{sys.argv[2]}-{number}", "test.write", arguments={"text": "x" * 500}))
"""


def opened(path: Path) -> AuditLog:
    return AuditLog(path, path.with_name("head"))


def lines(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_entries_of_several_processes_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len({entry["requestId"] for entry in lines(path)}) == 900


def test_a_log_that_was_rotated_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = opened(path)
    log.append(AuditEntry("1", "test.read"))
    path.rename(tmp_path / "audit.jsonl.1")
    log.append(AuditEntry("2", "test.read"))
    assert [entry["requestId"] for entry in lines(path)] == ["2"]
    path.unlink()
    log.append(AuditEntry("3", "test.read"))
    assert [entry["requestId"] for entry in lines(path)] == ["3"]


def test_a_line_that_was_cut_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    opened(path).append(AuditEntry("1", "test.read"))
    with path.open("ab") as file:
        file.write(b'{"requestId":"2","capab')
    opened(path).append(AuditEntry("3", "test.read"))
    assert orjson.loads(path.read_bytes().splitlines()[-1])["requestId"] == "3"
    assert [entry["requestId"] for entry in opened(path).read_last(10, lambda _: True)[0]] == ["1", "audit.gap", "3"]


def test_the_last_entries_that_are_wanted_come_oldest_first(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit.jsonl")
    for number in range(5):
        log.append(AuditEntry(str(number), "test.read" if number % 2 else "test.write"))
    found, _ = log.read_last(2, lambda entry: entry["capability"] == "test.write")
    assert [entry["requestId"] for entry in found] == ["2", "4"]


def test_files_that_end_before_what_is_asked_for_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, tmp_path / "head", max_bytes=1)
    for number in range(6):
        log.append(AuditEntry(str(number), "test.read"))
        time.sleep(0.002)
    read: list[object] = []
    entries, _ = log.read_last(10, lambda entry: not read.append(entry["requestId"]))
    assert [entry["requestId"] for entry in entries] == list("012345")
    read.clear()
    log.read_last(10, lambda entry: not read.append(entry["requestId"]), since=entries[4]["timestamp"])
    assert read == list("543")  # the third begins too early; what came before it is not looked at


def test_whatever_an_entry_holds_it_is_one_ascii_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    opened(path).append(AuditEntry("1", "a\nb\u2028\x85\x1b[31m", arguments={"appName": "ü\u202e"}))
    content = path.read_bytes()
    assert content.isascii()
    assert content.count(b"\n") == 1
    assert lines(path)[0]["arguments"] == {"appName": "ü\u202e"}


TEXT = st.text(max_size=20) | st.sampled_from([1, 199, 5000, 50_000]).map("\U0001f600".__mul__)
ANYTHING = st.recursive(
    TEXT | st.integers(-1, 1) | st.none(), lambda part: st.lists(part) | st.dictionaries(TEXT, part)
)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(TEXT, TEXT | st.none(), TEXT | st.none(), st.dictionaries(TEXT, ANYTHING))
def test_whatever_an_entry_holds_its_line_is_short(
    capability: str, caller: str | None, error: str | None, arguments: dict[str, Any]
) -> None:
    entry = AuditEntry("1", capability, caller=caller, key=caller, arguments=arguments, error=error)
    line = entry.encode_line(1, "0" * 64)
    assert len(line) <= 24 << 10
    assert orjson.loads(line)["seq"] == 1


def test_an_entry_whose_arguments_are_too_long_is_found_by_its_app(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit.jsonl")
    log.append(AuditEntry("1", "test.write", arguments={"appName": "shop", "text": "x" * 100_000}))
    (entry,), _ = log.read_last(1, lambda entry: entry["arguments"].get("appName") == "shop")
    assert entry["arguments"].keys() == {"appName", "[arguments]"}


@pytest.mark.parametrize("path", ["/dev/full", "/proc/nowhere/audit.jsonl"])
def test_a_log_that_cannot_be_written_says_so(path: str, tmp_path: Path) -> None:
    log = AuditLog(Path(path), tmp_path / "head")
    with pytest.raises(AuditUnavailable):
        log.append(AuditEntry("1", "test.write"))
    with pytest.raises(AuditUnavailable):
        asyncio.run(log.append_durably(AuditEntry("1", "test.write")))
    log.append_if_possible(AuditEntry("1", "test.read"))


def test_durable_entries_of_many_calls_are_all_there(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit.jsonl")

    async def scenario() -> None:
        await asyncio.gather(*(log.append_durably(AuditEntry(str(number), "test.write")) for number in range(50)))

    asyncio.run(scenario())
    assert len(lines(tmp_path / "audit.jsonl")) == 50


def test_entries_that_could_not_be_written_are_told_of_first_thing(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.jsonl"
    log = opened(path)
    log.append(AuditEntry("1", "test.read"))
    path.parent.rename(tmp_path / "away")
    path.parent.symlink_to("/proc/nowhere")
    for number in range(3):
        log.append_if_possible(AuditEntry(f"lost {number}", "test.read", caller="ann", result="success"))
    with pytest.raises(AuditUnavailable):
        asyncio.run(log.append_durably(AuditEntry("lost 3", "test.write", caller="ann")))
    for number in range(50):
        log.append_if_possible(AuditEntry("lost", f"[unknown] {number}", result="error", code="unauthenticated"))
    path.parent.unlink()
    (tmp_path / "away").rename(path.parent)
    log.append(AuditEntry("5", "test.read"))
    assert [entry["requestId"] for entry in lines(path)] == ["1", "audit.lost", "5"]
    told = lines(path)[1]["arguments"]
    assert isinstance(told, dict)
    assert told["kinds"] == {"test.read success": 3, "test.write started": 1, "unauthenticated": 50}
    assert told["since"] <= told["until"]
    verdict = verify(path, path.with_name("head"))
    assert (verdict.valid, verdict.lost, verdict.entries) == (True, told["count"], 3)
    assert told["count"] == 54
