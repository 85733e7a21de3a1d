from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ikoma.durable import open_file, open_whole_file, remove_tree, sweep, write_file

WRITER = """
import sys, time
from pathlib import Path
from ikoma.durable import open_whole_file
with open_whole_file(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def writer(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "old")
    write_file(path, "new", mode=0o600)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "old")
    with pytest.raises(RuntimeError), open_whole_file(path) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_without_replace_an_existing_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "first")
    with pytest.raises(FileExistsError), open_whole_file(path, replace=False) as stream:
        stream.write(b"second")
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("safe")
    (tmp_path / "file").symlink_to(elsewhere)
    write_file(tmp_path / "file", "new")
    assert elsewhere.read_text() == "safe"
    assert not (tmp_path / "file").is_symlink()


def test_the_sweep_takes_what_a_killed_writer_left_and_spares_a_living_one(tmp_path: Path) -> None:
    killed, living = writer(tmp_path / "a"), writer(tmp_path / "b")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    time.sleep(0.05)
    try:
        assert len(sweep(tmp_path)) == 1
        assert len(os.listdir(tmp_path)) == 1
        assert not (tmp_path / "a").exists()
    finally:
        living.kill()
        living.wait()


def test_what_is_no_file_neither_holds_up_nor_ends_the_sweep(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".ikoma-writing-pipe")
    (tmp_path / ".ikoma-writing-folder").mkdir()
    (tmp_path / ".ikoma-writing-link").symlink_to("/dev/zero")
    (tmp_path / ".ikoma-writing-left").write_text("half")
    assert sorted(path.name for path in sweep(tmp_path)) == [".ikoma-writing-left"]
    assert sorted(os.listdir(tmp_path)) == [f".ikoma-writing-{name}" for name in ("folder", "link", "pipe")]


def test_a_folder_is_removed_however_deep_it_is(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    deep(tmp_path / "doomed", 3000)
    (tmp_path / "doomed" / "link").symlink_to(outside)
    remove_tree(tmp_path / "doomed")
    assert os.listdir(tmp_path) == ["outside"]
    assert (outside / "kept").read_text() == "kept"


def deep(folder: Path, count: int) -> None:
    """Folders in one another, deeper than a path can say."""
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(count):
        os.mkdir("in", dir_fd=descriptor)
        inside = os.open("in", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inside
    os.close(descriptor)


def test_only_files_are_opened_not_what_a_container_put_in_their_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    os.mknod(tmp_path / "device", 0o600 | stat.S_IFCHR, os.makedev(10, 250))  # there is none: opened, it would say so
    with os.fdopen(open_file(tmp_path / "file")) as file:
        assert file.read() == "text"
    for name, number in (("link", errno.ELOOP), *((name, errno.ENXIO) for name in ("folder", "pipe", "device"))):
        with pytest.raises(OSError) as raised:
            open_file(tmp_path / name)
        assert raised.value.errno == number
