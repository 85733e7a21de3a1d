"""The audit log shows what was done to it; and shows nothing where nothing was done."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from ikoma.kernel.audit.anchors import Anchors, append_to_file
from ikoma.kernel.audit.chain import ChainVerdict
from ikoma.kernel.audit.chain import verify as verify_chain
from ikoma.kernel.audit.entry import AuditEntry
from ikoma.kernel.audit.files import hash_line, list_rotated
from ikoma.kernel.audit.head import HeadFile
from ikoma.kernel.audit.log import AuditLog

TAMPERINGS = 1000
WRITER = """
import sys
from pathlib import Path
from ikoma.kernel.audit.entry import AuditEntry
from ikoma.kernel.audit.log import AuditLog
folder = Path(sys.argv[1])
log = AuditLog(folder / "audit.jsonl", folder / "head", max_bytes=int(sys.argv[3]))
for number in range(int(sys.argv[2])):
    log.append(*[AuditEntry(f"{number}", "test.write", arguments={"text": "x" * 200})] * int(sys.argv[4]))
"""


def opened(folder: Path, **more: int) -> AuditLog:
    return AuditLog(folder / "audit.jsonl", folder / "head", **more)


def written(folder: Path, count: int, **more: int) -> AuditLog:
    log = opened(folder, **more)
    for number in range(count):
        app = {"appName": f"app-{number % 5}", "file": "ü" * (number % 3)}
        caller = f"caller {number % 7}"
        log.append(AuditEntry(f"request-{number}", "files.write", "builder", caller, arguments=app, result="success"))
    return log


def verify(folder: Path) -> ChainVerdict:
    return verify_chain(folder / "audit.jsonl", folder / "head", [folder / "anchors"])


def whole(folder: Path) -> int:
    verdict = verify(folder)
    assert verdict.first_bad is None, verdict.first_bad
    assert verdict.valid
    return verdict.entries


# --- what was done to it ---


def files(folder: Path) -> list[Path]:
    return [*list_rotated(folder / "audit.jsonl"), folder / "audit.jsonl"]


def flip(folder: Path, chance: random.Random) -> str:
    path = chance.choice(files(folder))
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return f"a bit of byte {place} of {path.name}"


def of_a_kind(kind: bytes) -> Callable[[Path, random.Random], str]:
    """Replace one byte of one class: of a key, a number, a brace, a hash, the line's end."""

    def tamper(folder: Path, chance: random.Random) -> str:
        path = chance.choice(files(folder))
        content = bytearray(path.read_bytes())
        places = [place for place, byte in enumerate(content) if byte in kind]
        place = chance.choice(places)
        content[place] = chance.choice([byte for byte in b'{}",:0159afzZ \n' if byte != content[place]])
        path.write_bytes(content)
        return f"byte {place} of {path.name}"

    return tamper


def of_lines(change: Callable[[list[bytes], int, random.Random], None]) -> Callable[[Path, random.Random], str]:
    def tamper(folder: Path, chance: random.Random) -> str:
        path = chance.choice(files(folder))
        lines = path.read_bytes().splitlines(keepends=True)
        place = chance.randrange(len(lines))
        before = list(lines)
        while lines == before:
            change(lines, place, chance)
        path.write_bytes(b"".join(lines))
        return f"line {place + 1} of {path.name}"

    return tamper


def remove(lines: list[bytes], place: int, chance: random.Random) -> None:
    del lines[place]


def duplicate(lines: list[bytes], place: int, chance: random.Random) -> None:
    lines.insert(chance.randrange(len(lines) + 1), lines[place])


def swap(lines: list[bytes], place: int, chance: random.Random) -> None:
    other = chance.randrange(len(lines))
    lines[place], lines[other] = lines[other], lines[place]


def insert(lines: list[bytes], place: int, chance: random.Random) -> None:
    entry = orjson.loads(lines[place])
    entry["requestId"] = "forged"
    lines.insert(place, orjson.dumps(entry) + b"\n")


def blank(lines: list[bytes], place: int, chance: random.Random) -> None:
    lines.insert(place, b"\n")


def edit(lines: list[bytes], place: int, chance: random.Random) -> None:
    entry = orjson.loads(lines[place])
    entry[chance.choice(["caller", "capability", "result", "error", "timestamp"])] = "someone else"
    lines[place] = orjson.dumps(entry) + b"\n"


def rewrite(lines: list[bytes], place: int, chance: random.Random) -> None:
    """Edit one, and mend every hash after it."""
    edit(lines, place, chance)
    for number in range(place + 1, len(lines)):
        entry = orjson.loads(lines[number])
        entry["prev"] = hash_line(lines[number - 1][:-1])
        lines[number] = orjson.dumps(entry) + b"\n"


def append(folder: Path, chance: random.Random) -> str:
    path = folder / "audit.jsonl"
    last = path.read_bytes().splitlines()[-1]
    entry = orjson.loads(last)
    entry |= {"seq": entry["seq"] + 1, "prev": hash_line(last), "caller": "forger"}
    with path.open("ab") as file:
        file.write(orjson.dumps(entry) + b"\n")
    return "a well-chained line at the end"


def truncate(folder: Path, chance: random.Random) -> str:
    path = folder / "audit.jsonl"
    size = chance.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"cut at {size}"


def cut_lines(folder: Path, chance: random.Random) -> str:
    path = folder / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    kept = chance.randrange(len(lines))
    path.write_bytes(b"".join(lines[:kept]))
    return f"{kept} lines are left"


def remove_file(folder: Path, chance: random.Random) -> str:
    path = chance.choice(files(folder))
    path.unlink()
    return f"{path.name} removed"


def exchange_files(folder: Path, chance: random.Random) -> str:
    one, other = chance.sample(files(folder), 2)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return f"{one.name} and {other.name} exchanged"


def turn_back_head(folder: Path, chance: random.Random) -> str:
    seq, line_hash_, following, first_seq, first_prev = orjson.loads((folder / "head").read_bytes())
    values = [seq - chance.randint(1, 5), line_hash_, following, first_seq, first_prev]
    (folder / "head").write_bytes(orjson.dumps(values).ljust(511) + b"\n")
    return "the head turned back"


def remove_head(folder: Path, chance: random.Random) -> str:
    (folder / "head").unlink()
    return "the head removed"


KINDS = (
    *(flip, append, truncate, cut_lines, remove_file, exchange_files, turn_back_head, remove_head),
    *map(of_a_kind, (b"{}", b'"', b":,", b"0123456789", b"abcdef", b"\n", b"rqtsIdcapbilty")),
    *map(of_lines, (remove, duplicate, swap, insert, blank, edit, rewrite)),
)


@pytest.mark.timeout(600)
def test_every_one_of_a_thousand_tamperings_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = tmp_path / "original"
    original.mkdir()
    written(original, 120, max_bytes=12_000).close()
    assert len(files(original)) >= 3
    assert whole(original) == 120
    chance = random.Random(20261123)
    found = 0
    for number in range(TAMPERINGS):
        folder = tmp_path / "tampered"
        shutil.copytree(original, folder)
        what = KINDS[number % len(KINDS)](folder, chance)
        verdict = verify(folder)
        assert not verdict.valid, what
        assert verdict.first_bad is not None
        assert verdict.first_bad.problem.endswith(".")
        found += 1
        shutil.rmtree(folder)
    with capsys.disabled():
        print(f"\n{found} of {TAMPERINGS} tamperings of {len(KINDS)} kinds found")


@pytest.mark.parametrize("place", [0, 1, 57, 98, 99])
def test_the_verdict_says_where(tmp_path: Path, place: int) -> None:
    written(tmp_path, 100).close()
    path = tmp_path / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[place] = lines[place].replace(b'"success"', b'"refused"')
    path.write_bytes(b"".join(lines))
    bad = verify(tmp_path).first_bad
    assert bad is not None
    assert (bad.file, bad.line, bad.seq) == ("audit.jsonl", place + 1, place + 1)
    assert "changed" in bad.problem


def test_what_was_done_to_the_end_shows_also_after_more_was_written(tmp_path: Path) -> None:
    for tamper in (cut_lines, append, truncate, turn_back_head, remove_head):
        folder = tmp_path / tamper.__name__
        folder.mkdir()
        written(folder, 20).close()
        tamper(folder, random.Random(7))
        written(folder, 20).close()
        assert not verify(folder).valid, tamper.__name__


def test_a_bad_place_hides_no_later_one(tmp_path: Path) -> None:
    written(tmp_path, 20).close()
    remove_head(tmp_path, random.Random(7))
    written(tmp_path, 20).close()
    known = verify(tmp_path)
    assert known.first_bad is not None
    assert (known.bad, known.first_bad.seq, known.entries) == (1, 21, 41)
    path = tmp_path / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[30] = lines[30].replace(b'"success"', b'"refused"')
    lines[35] = b"garbage\n"
    del lines[37]
    path.write_bytes(b"".join(lines))
    verdict = verify(tmp_path)
    assert (verdict.bad, verdict.first_bad) == (4, known.first_bad)
    assert [(bad.line, bad.seq) for bad in verdict.found] == [(21, 21), (31, 31), (36, None), (38, 39)]


def test_a_log_whose_head_was_gone_knows_where_it_began(tmp_path: Path) -> None:
    written(tmp_path, 20).close()
    remove_head(tmp_path, random.Random(7))
    written(tmp_path, 20).close()
    path = tmp_path / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[21:]))
    bad = verify(tmp_path).first_bad
    assert bad is not None
    assert (bad.seq, "1 to 21 are missing" in bad.problem) == (22, True)


def test_a_log_that_was_written_anew_as_a_whole_is_found_by_its_anchors(tmp_path: Path) -> None:
    log = written(tmp_path, 30)
    asyncio.run(Anchors(log, [append_to_file(tmp_path / "anchors")], 60).anchor_last())
    log.close()
    assert verify(tmp_path).anchors == 1
    for name in ("audit.jsonl", "head"):
        (tmp_path / name).unlink()
    written(tmp_path, 40).close()
    bad = verify(tmp_path).first_bad
    assert bad is not None
    assert (bad.seq, "anchor" in bad.problem) == (30, True)
    shutil.rmtree(tmp_path / "audit.jsonl", ignore_errors=True)
    for name in ("audit.jsonl", "head"):
        (tmp_path / name).unlink()
    written(tmp_path, 10).close()
    assert "anchor" in str(verify(tmp_path).first_bad)


def test_anchors_of_another_history_do_not_outdo_the_first_ones(tmp_path: Path) -> None:
    for kind in ("files.write", "files.delete"):  # the second history has an anchor of its own, at the same number
        log = opened(tmp_path)
        log.append(*(AuditEntry(f"{number}", kind) for number in range(10)))
        asyncio.run(Anchors(log, [append_to_file(tmp_path / "anchors")], 60).anchor_last())
        log.close()
        assert verify(tmp_path).valid == (kind == "files.write")
        for name in ("audit.jsonl", "head"):
            (tmp_path / name).rename(tmp_path / f"{kind}.{name}")
    for name in ("audit.jsonl", "head"):
        (tmp_path / f"files.delete.{name}").rename(tmp_path / name)
    bad = verify(tmp_path).first_bad
    assert bad is not None
    assert (bad.file, bad.line, bad.seq) == ("anchors", 2, 10)


# --- what was not ---


def test_a_log_that_several_processes_write_and_rotate_is_whole(tmp_path: Path) -> None:
    arguments = [str(tmp_path), "300", "40000", "1"]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, *arguments]) for _ in range(4)]
    while any(writer.poll() is None for writer in writers):
        assert verify(tmp_path).valid
    assert {writer.wait() for writer in writers} == {0}
    assert whole(tmp_path) == 1200
    assert len(files(tmp_path)) > 3


@pytest.mark.parametrize("together", ["1", "50"])
def test_a_writer_that_is_killed_leaves_a_whole_log(tmp_path: Path, together: str) -> None:
    chance = random.Random(3)
    size = 0
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), "1000000", "100000000", together])
        while not (tmp_path / "audit.jsonl").exists() or (tmp_path / "audit.jsonl").stat().st_size == size:
            time.sleep(0.005)
        time.sleep(chance.random() / 10)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        written(tmp_path, 1).close()  # a line that was cut is taken back by whoever writes next
        assert verify(tmp_path).valid
        size = (tmp_path / "audit.jsonl").stat().st_size
    written(tmp_path, 3).close()
    assert whole(tmp_path) > 12


def test_entries_of_the_same_moment_are_written_in_order_and_before_anybody_goes_on(tmp_path: Path) -> None:
    log, gone = opened(tmp_path), []

    async def call(number: int) -> None:
        await log.append_with_others(AuditEntry(f"{number}", "apps.list"))
        assert f'"requestId":"{number}"' in (tmp_path / "audit.jsonl").read_text()

    async def together() -> None:
        calls = [asyncio.ensure_future(call(number)) for number in range(50)]
        await asyncio.sleep(0)
        calls[7].cancel()  # a client that goes away takes nobody's entry with it, nor its own
        gone.extend(await asyncio.gather(*calls, return_exceptions=True))

    asyncio.run(together())
    assert [type(item) for item in gone if item is not None] == [asyncio.CancelledError]
    assert whole(tmp_path) == 50
    entries = [orjson.loads(line)["requestId"] for line in (tmp_path / "audit.jsonl").read_bytes().splitlines()]
    assert entries == [str(number) for number in range(50)]


@pytest.mark.parametrize("wrote", ["nothing", "half", "all"])
def test_a_crash_at_any_line_of_a_write_is_no_tampering(tmp_path: Path, wrote: str) -> None:
    log = written(tmp_path, 5)
    head = HeadFile(tmp_path / "head")
    known = head.read()
    assert known is not None
    line = AuditEntry("cut", "test.write").encode_line(known.seq + 1, known.hash)
    head.write(known.announce(hash_line(line[:-1])))
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write({"nothing": b"", "half": line[:40], "all": line}[wrote])
    assert verify(tmp_path).valid or wrote == "half"
    log.append(AuditEntry("next", "test.write"))
    assert whole(tmp_path) == (7 if wrote == "all" else 6)


def test_a_log_that_logrotate_took_away_verifies_where_it_lies(tmp_path: Path) -> None:
    log = written(tmp_path, 5)
    (tmp_path / "audit.jsonl").rename(tmp_path / "audit.jsonl.1")
    log.append(AuditEntry("next", "test.write"))
    assert whole(tmp_path) == 6
    (tmp_path / "audit.jsonl.1").unlink()
    assert "1 to 5 are missing" in str(verify(tmp_path).first_bad)


def test_the_oldest_files_go_and_the_rest_verifies(tmp_path: Path) -> None:
    written(tmp_path, 200, max_bytes=6000, keep=3).close()
    assert len(list_rotated(tmp_path / "audit.jsonl")) == 3
    assert 0 < whole(tmp_path) < 200
    found, _ = opened(tmp_path).read_last(60, lambda entry: entry["caller"] == "caller 1")
    assert [entry["seq"] for entry in found] == sorted(entry["seq"] for entry in found)
    assert len(found) > 3
    list_rotated(tmp_path / "audit.jsonl")[0].unlink()
    assert "missing" in str(verify(tmp_path).first_bad)


def test_entries_of_a_version_without_a_chain_are_counted_and_the_chain_begins_after_them(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_bytes(b'{"requestId":"1"}\n{"requestId":"2"}\n')
    written(tmp_path, 3).close()
    verdict = verify(tmp_path)
    assert (verdict.valid, verdict.entries, verdict.unchained) == (True, 3, 2)
    content = (tmp_path / "audit.jsonl").read_bytes()
    (tmp_path / "audit.jsonl").write_bytes(content.replace(b'{"requestId":"2"}', b'{"requestId":"9"}'))
    assert not verify(tmp_path).valid


def test_nothing_was_ever_written(tmp_path: Path) -> None:
    assert whole(tmp_path) == 0
