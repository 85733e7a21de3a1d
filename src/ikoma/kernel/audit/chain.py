"""Is the audit log as it was written? Finds what was changed, removed, added, moved or cut off, and says where.

Every line quotes the hash of the one before; the head, kept elsewhere, knows the last one; anchors, kept by whoever
wants to be sure, know one of every minute. Reading goes line by line, so a log of any size is looked at, and goes on
after a bad place: one that is old and known must not hide another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ikoma.kernel.audit.entry import GAP, LOST
from ikoma.kernel.audit.files import hash_line, list_rotated, parse_entry, read_named_seq, read_seq
from ikoma.kernel.audit.head import Head, HeadFile
from ikoma.kernel.redaction.redaction import withhold_if_long

_MOST_SHOWN = 20
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class BrokenEntry:
    """A place where the log is not as it was written. `line` counts from 1."""

    file: str
    line: int
    seq: int | None
    problem: str


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """`bad` counts the places that are not as they were written, and `found` shows the first of them.

    `lost` counts the entries that could not be written, as the log says itself: a full disk is no tampering.
    `unchained` counts the entries of versions that wrote no chain; they cannot be checked.
    """

    valid: bool
    entries: int
    first_bad: BrokenEntry | None
    bad: int
    found: tuple[BrokenEntry, ...]
    lost: int
    unchained: int
    anchors: int
    files: tuple[str, ...]


class _Bad(Exception):
    def __init__(self, bad: BrokenEntry) -> None:
        self.bad = bad


@dataclass(slots=True)
class _ChainLine:
    file: str
    number: int
    content: bytes
    entry: dict[str, Any] | None

    def make_bad(self, problem: str, seq: int | None = None) -> _Bad:
        return _Bad(BrokenEntry(self.file, self.number, seq, problem))


def verify(path: Path, head_file: Path, anchors: Sequence[Path] = ()) -> ChainVerdict:
    """Check a whole log. Servers may go on writing: what is there now is checked.

    Args:
        path: the log; files that were rotated away are looked for beside it.
        head_file: the file that says which entry is the last.
        anchors: files of anchors to compare with; those that are not there are passed over.
    """
    with ExitStack() as stack:
        head, opened = _take_snapshot(path, head_file, stack)
        findings = _Findings()
        walk = _Walk(head, _read_anchors(anchors, findings))
        for line in _read_lines(opened):
            try:
                walk.take(line)
            except _Bad as found:
                findings.add(found.bad)
                walk.resume(line)
        try:
            walk.end(path)
        except _Bad as found:
            findings.add(found.bad)
        names = tuple(item.name for item, _, _ in opened)
    return ChainVerdict(
        valid=findings.count == 0,
        entries=walk.entries,
        first_bad=findings.shown[0] if findings.shown else None,
        bad=findings.count,
        found=tuple(findings.shown),
        lost=walk.lost,
        unchained=walk.unchained,
        anchors=walk.met,
        files=names,
    )


@dataclass(slots=True)
class _Findings:
    """The bad places, each counted once, and the first of them."""

    count: int = 0
    shown: list[BrokenEntry] = field(default_factory=list)
    _last: tuple[str, int] | None = None

    def add(self, bad: BrokenEntry) -> None:
        place = (bad.file, bad.line)
        if place == self._last:  # what is wrong with a line is often wrong in two ways
            return
        self._last = place
        self.count += 1
        if len(self.shown) < _MOST_SHOWN:
            self.shown.append(bad)


class _Walk:
    """The state of a walk along the chain."""

    def __init__(self, head: Head | str | None, anchors: Mapping[int, tuple[str, str]]) -> None:
        self.entries = self.lost = self.unchained = self.met = 0
        self._head = head
        self._anchors = anchors
        self._seq: int | None = None
        self._hash: str | None = None
        self._before: _ChainLine | None = None

    def take(self, line: _ChainLine) -> None:
        """Check one line against what came before it."""
        entry = line.entry
        if entry is None:
            raise line.make_bad("This is no entry.")
        chained = "seq" in entry or "prev" in entry
        if not chained and self._seq is not None:
            raise line.make_bad("This entry has no place in the chain.")
        if chained:
            self.entries += 1
            self._link(line, entry)
        else:
            self.unchained += 1
        self._hash, self._before = hash_line(line.content), line
        if chained:
            self._compare(line)

    def resume(self, line: _ChainLine) -> None:
        """Go on after a bad line: from the number that it gives itself, or else the one that it should have."""
        seq = read_seq(line.entry or {})
        if seq is not None:
            self._seq = seq
        elif self._seq is not None:
            self._seq += 1
        self._hash, self._before = hash_line(line.content), line

    def end(self, path: Path) -> None:
        """Check that the log ends where it was left."""
        head, last = self._head, self._before
        where = last or _ChainLine(path.name, 0, b"", None)
        if isinstance(head, str):
            raise where.make_bad(head, self._seq)
        if head is None:
            if self._seq is not None:
                raise where.make_bad("The head of the log is gone.", self._seq)
        elif self._seq is None:
            if head.seq > 0:
                raise where.make_bad(f"All entries up to {head.seq} are gone.")
        elif self._seq < head.seq:
            raise where.make_bad(f"The entries {self._seq + 1} to {head.seq} are gone from the end.", self._seq)
        elif self._seq == head.seq + 1 and head.next == self._hash:
            pass  # its writer was killed before it could say that it was done
        elif self._seq > head.seq:
            raise where.make_bad(f"IKOMA wrote nothing after entry {head.seq}.", self._seq)
        elif self._hash != head.hash:
            raise where.make_bad("The entry was changed after it was written.", self._seq)
        if late := [seq for seq in self._anchors if seq > (self._seq or 0)]:
            raise where.make_bad(f"The entries up to {max(late)}, which an anchor knows, are gone.", self._seq)

    def _link(self, line: _ChainLine, entry: Mapping[str, Any]) -> None:
        seq, prev = read_seq(entry), entry.get("prev")
        named = read_named_seq(line.file)
        if line.number == 1 and named not in (None, seq):
            raise line.make_bad(f"The file is named after entry {named}, and begins with another.", named)
        if seq is None or not isinstance(prev, str):
            raise line.make_bad("This entry has no place in the chain.")
        if self._seq is None:
            self._begin(line, seq, prev)
        elif seq != self._seq + 1:
            missing = f"The entries {self._seq + 1} to {seq - 1} are missing before this one."
            raise line.make_bad(missing if seq > self._seq + 1 else f"Entry {seq} is not in its place.", seq)
        elif prev != self._hash:
            assert self._before is not None
            raise self._before.make_bad("The entry was changed after it was written.", self._seq)
        if entry.get("code") == GAP:
            raise line.make_bad(withhold_if_long(str(entry.get("error")), _LONGEST), seq)
        if entry.get("code") == LOST:
            self.lost += _count(entry.get("arguments"))
        self._seq = seq

    def _begin(self, line: _ChainLine, seq: int, prev: str) -> None:
        head = self._head
        if not isinstance(head, Head) or head.first_seq == 0:
            return  # that it is gone is said at the end
        if seq > head.first_seq:
            raise line.make_bad(f"The entries {head.first_seq} to {seq - 1} are missing before this one.", seq)
        if seq < head.first_seq:
            return  # a file that was to be removed is still there
        if prev != head.first_prev or (self._before is not None and prev != self._hash):
            raise line.make_bad("What came before this entry is not what it was.", seq)

    def _compare(self, line: _ChainLine) -> None:
        assert self._seq is not None
        anchor = self._anchors.get(self._seq)
        if anchor is not None:
            self.met += 1
            if anchor[0] != self._hash:
                raise line.make_bad(f"An anchor of {anchor[1]} knows another entry {self._seq}.", self._seq)


def _count(lost: Any) -> int:
    count = lost.get("count") if isinstance(lost, dict) else None
    return count if isinstance(count, int) else 1


_Opened = tuple[Path, IO[bytes], int]


def _take_snapshot(path: Path, head_file: Path, stack: ExitStack) -> tuple[Head | str | None, list[_Opened]]:
    """The head, and each file with the size it has at that very moment."""
    if not head_file.is_file():
        found = _open_files(path, stack)
        if not head_file.is_file():  # no writer has begun meanwhile
            return None, found
    kept = HeadFile(head_file)
    stack.callback(kept.close)
    with kept.lock():
        try:
            head: Head | str | None = kept.read()
        except (ValueError, TypeError):
            head = "The head of the log cannot be read."
        return head, _open_files(path, stack)


def _open_files(path: Path, stack: ExitStack) -> list[_Opened]:
    found: list[_Opened] = []
    for item in (*list_rotated(path), path):
        try:
            stream = stack.enter_context(item.open("rb"))
        except FileNotFoundError:
            continue
        found.append((item, stream, item.stat().st_size))
    return found


def _read_lines(opened: Sequence[_Opened]) -> Iterator[_ChainLine]:
    for path, stream, size in opened:
        left = size
        for number, line in enumerate(stream, 1):
            if left <= 0:
                break
            left -= len(line)
            content = line.removesuffix(b"\n")
            whole = line.endswith(b"\n") and left >= 0
            yield _ChainLine(path.name, number, content, parse_entry(content) if whole else None)


def _read_anchors(paths: Sequence[Path], findings: _Findings) -> dict[int, tuple[str, str]]:
    """Entry number → (hash, time), of all anchors. Two that contradict each other are a finding; the first counts."""
    found: dict[int, tuple[str, str]] = {}
    for path in paths:
        if path.is_file():
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                anchor = parse_entry(line) or {}
                seq, known = anchor.get("seq"), anchor.get("hash")
                if not isinstance(seq, int) or not isinstance(known, str):
                    continue
                first, time = found.setdefault(seq, (known, str(anchor.get("time"))))
                if first != known:
                    what = f"This anchor knows another entry {seq} than the one of {time}."
                    findings.add(BrokenEntry(path.name, number, seq, what))
    return found
