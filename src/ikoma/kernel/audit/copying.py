"""A copy of the audit log that ends where its head says, while servers go on writing.

Head, anchors and the size of each file are read at one moment, under the lock of all writers. What is appended later
is not in the copy; a file that is rotated away meanwhile is still open, and read under the name that it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ikoma.kernel.audit.files import list_rotated
from ikoma.kernel.audit.head import HeadFile

_PIECE = 1 << 20


def copy_log(path: Path, head_file: Path, anchors: Sequence[Path], folder: Path) -> None:
    """Copy a log with its head and anchors.

    Args:
        path: the log; files that were rotated away are copied with it.
        anchors: files of anchors; those that are not there are passed over.
        folder: an empty folder, which gets `log/`, `head` and `anchors.jsonl`.
    """
    (folder / "log").mkdir(mode=0o700)
    kept = HeadFile(head_file)
    with ExitStack() as stack:
        stack.callback(kept.close)
        with kept.lock():
            opened = [
                (item.name, stack.enter_context(item.open("rb")), item.stat().st_size)
                for item in (*list_rotated(path), path)
                if item.is_file()
            ]
            (folder / "head").write_bytes(head_file.read_bytes())
            found = [item.read_bytes() for item in anchors if item.is_file()]
        (folder / "anchors.jsonl").write_bytes(b"".join(found))
        for name, stream, size in opened:
            with (folder / "log" / name).open("wb") as target:
                left = size
                while left and (piece := stream.read(min(left, _PIECE))):
                    target.write(piece)
                    left -= len(piece)
