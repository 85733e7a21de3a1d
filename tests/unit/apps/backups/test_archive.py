"""A folder as a tar file, and its inventory."""

from __future__ import annotations

import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from ikoma.apps.backups.archive import Inventory, take_inventory, write_folder


def archive(folder: Path, to: Path) -> Inventory:
    with to.open("wb") as stream:
        write_folder(folder, stream, without=lambda path: path == ".ikoma")
    return take_inventory(to)


def make(folder: Path) -> Path:
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / ".ikoma").mkdir(parents=True)
    (folder / ".ikoma" / "secret").write_text("of IKOMA")
    (folder / ".env").write_text("A=1\n")
    (folder / ".env").chmod(0o600)
    (folder / "data" / "deep" / "ü 🎈").write_bytes(bytes(3_000_000))
    os.symlink("/etc/passwd", folder / "data" / "link")
    os.symlink("deep", folder / "data" / "to-folder")
    os.link(folder / ".env", folder / "data" / "same")
    os.mkfifo(folder / "data" / "pipe")
    (folder / os.fsdecode(b"no-text-\xff")).write_text("x")
    return folder


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = make(tmp_path / "app")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "data" / "socket"))
        made = archive(folder, tmp_path / "a.tar")
    assert (made.entries, made.size) == (10, 3_000_000 + 4 + 4 + 1)
    back = tmp_path / "back"
    back.mkdir()
    subprocess.run(["tar", "-xpf", str(tmp_path / "a.tar"), "-C", str(back)], check=True)
    assert not (back / ".ikoma").exists()
    assert os.readlink(back / "data" / "link") == "/etc/passwd"
    assert (back / ".env").stat().st_mode & 0o777 == 0o600
    assert archive(back, tmp_path / "b.tar") == made


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "b").write_text("2"),
        lambda root: (root / "a").chmod(0o600),
        lambda root: (root / "c").touch(),
        lambda root: (root / "b").rename(root / "d"),
        lambda root: ((root / "a").write_text("2"), (root / "b").write_text("1")),
        lambda root: ((root / "b").unlink(), os.symlink("a", root / "b")),
    ],
)
def test_any_difference_shows_and_times_and_order_do_not(tmp_path: Path, change: object) -> None:
    root = tmp_path / "app"
    root.mkdir()
    (root / "a").write_text("1")
    (root / "b").write_text("22")
    first = archive(root, tmp_path / "1.tar")
    os.utime(root / "a", (1, 1))
    assert archive(root, tmp_path / "2.tar") == first
    with tarfile.open(tmp_path / "3.tar", "w") as other:
        for name in ("b", "a", "."):
            other.add(root / name, arcname=f"./{name}", recursive=False)
    assert take_inventory(tmp_path / "3.tar") == first
    change(root)  # type: ignore[operator]
    assert archive(root, tmp_path / "4.tar").digest != first.digest


def test_what_is_no_tar_file_or_was_cut_off_is_said(tmp_path: Path) -> None:
    folder = make(tmp_path / "app")
    archive(folder, tmp_path / "a.tar")
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: len(content) // 2])
    (tmp_path / "none.tar").write_text("nothing of the kind")
    for name in ("cut.tar", "none.tar"):
        with pytest.raises(tarfile.TarError):
            take_inventory(tmp_path / name)


def test_a_file_that_is_replaced_by_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ikoma.apps.backups import archive as tested
    from ikoma.durable import open_file

    root = tmp_path / "app"
    root.mkdir()
    (root / "a").write_text("mine")
    secret = tmp_path / "secret"
    secret.write_text("of the server")

    def swapped(name: str, *, dir_fd: int) -> int:
        (root / "a").unlink()
        os.symlink(secret, root / "a")
        return open_file(name, dir_fd=dir_fd)

    monkeypatch.setattr(tested, "open_file", swapped)
    archive(root, tmp_path / "a.tar")
    assert b"of the server" not in (tmp_path / "a.tar").read_bytes()
