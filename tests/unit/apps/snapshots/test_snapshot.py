"""Snapshots: what is taken comes back the same, costs what has changed, and nothing that happens meanwhile harms it."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikoma.app_folder import App
from ikoma.apps.snapshots import store
from ikoma.apps.snapshots.snapshot import MANIFEST, Snapshot, Snapshots
from ikoma.apps.snapshots.store import IncomingObjects
from ikoma.apps.source.changes import SourceChanges, compute_marks, find_changes
from ikoma.compose.mounts import Sources
from ikoma.compose.release_folder import TREE
from ikoma.errors import FileMissing, OperationCancelled, PathOutside, SourceTooLarge
from ikoma.model import AppName

LONG_AGO = 1_600_000_000


class Shop:
    """An app in a folder of its own, with numbered releases."""

    def __init__(self, folder: Path) -> None:
        self.app = App(AppName("shop"), folder / "shop")
        self.app.source.mkdir(parents=True)
        self.snapshots = Snapshots(self.app)

    def release(self, number: int) -> Path:
        folder = self.app.make_state() / "releases" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def manifest(self, number: int) -> Path:
        return self.release(number) / MANIFEST

    def take(self, number: int, *paths: str, earlier: int | None = None, **more: Any) -> Snapshot:
        wanted = [self.app.path / path for path in paths or ("src",)]
        before = self.manifest(earlier) if earlier is not None else None
        return self.snapshots.take(wanted, self.manifest(number), before, **more)

    def tree(self, number: int, snapshot: Snapshot, *writable: str) -> Path:
        target = self.release(number) / TREE
        self.snapshots.materialise(snapshot, target, writable=[self.app.path / path for path in writable])
        return target

    def write(self, path: str, content: str | bytes = "content") -> Path:
        place = self.app.path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        return place

    def objects(self) -> list[Path]:
        return sorted(path for path in (self.app.state / "objects").rglob("*") if path.is_file())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that tests need not wait for a tick of the clock."""
    monkeypatch.setattr("ikoma.apps.snapshots.taking._is_settled", lambda status, started: True)


def described(folder: Path, *, hidden: tuple[str, ...] = (".ikoma", ".env")) -> dict[bytes, tuple[object, ...]]:
    """All that stands in a folder: kind and mode, owner, and content or target."""
    found: dict[bytes, tuple[object, ...]] = {}
    root = os.fsencode(folder)
    for place, folders, names in os.walk(root):
        if place == root:
            folders[:] = [name for name in folders if os.fsdecode(name) not in hidden]
        for name in (*folders, *names):
            path = os.path.join(place, name)
            if place == root and os.fsdecode(name) in hidden:
                continue
            status = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, root)] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def disk_usage(*folders: Path) -> int:
    """Bytes on the disk; what has several names counts once."""
    used = {}
    for folder in folders:
        for place, names, files in os.walk(folder):
            for name in (".", *names, *files):
                status = os.lstat(os.path.join(place, name))
                used[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(used.values())


# --- the same comes back -----------------------------------------------------------------------------------


def test_a_tree_comes_back_as_it_was(shop: Shop) -> None:
    shop.write("src/index.js", "hello")
    shop.write("src/run.sh", "#!/bin/sh\n").chmod(0o755)
    shop.write("src/private", "secret").chmod(0o600)
    shop.write("src/empty", "")
    shop.write("src/deep/er/er/file", b"\0\xff")
    shop.write("src/.git/HEAD", "ref: x")
    os.mkdir(shop.app.source / "no-files", 0o700)
    os.mkdir(shop.app.source / "tmp")
    os.chmod(shop.app.source / "tmp", 0o1777)
    os.chmod(shop.app.source / "deep" / "er", 0o555)
    (shop.app.source / "there").symlink_to("deep/er")
    (shop.app.source / "away").symlink_to("/etc/passwd")
    (shop.app.source / "nowhere").symlink_to("gone")
    tree = shop.tree(1, shop.take(1))
    assert described(tree) == described(shop.app.path)


@pytest.mark.usefixtures("settled")
def test_names_of_any_bytes_survive(shop: Shop) -> None:
    source = os.fsencode(shop.app.source)
    for name in (b"\xff\xfe", b"line\nfeed", b'quo"te', b"-rf", b" ", "ö".encode(), "ö".encode("latin-1"), b"x" * 255):
        with open(os.path.join(source, name), "wb") as file:
            file.write(name)
    os.mkdir(os.path.join(source, b"folder\xff"))
    os.symlink(b"target\xff", os.path.join(source, b"link\xff"))
    tree = shop.tree(1, shop.take(1))
    assert described(tree) == described(shop.app.path)
    assert Snapshot.read(shop.manifest(1), shop.app.path) == shop.take(2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_owners_are_kept_and_are_part_of_what_an_object_is(shop: Shop) -> None:
    for name, owner in {"a": 0, "b": 1234}.items():
        os.chown(shop.write(f"src/{name}", "same"), owner, owner)
    os.chown(shop.app.source, 1234, 4321)
    tree = shop.tree(1, shop.take(1))
    assert described(tree) == described(shop.app.path)
    assert len(shop.objects()) == 2


def test_files_lose_setuid_and_setgid(shop: Shop) -> None:
    shop.write("src/tool").chmod(0o6755)
    assert (shop.tree(1, shop.take(1)) / "src" / "tool").stat().st_mode & 0o7777 == 0o755


def test_sparse_files_stay_sparse(shop: Shop) -> None:
    with open(shop.app.source / "image", "wb") as file:
        file.truncate(64 << 20)
        file.seek(30 << 20)
        file.write(b"in the middle")
    snapshot = shop.take(1)
    tree = shop.tree(1, snapshot, "src")
    assert described(tree) == described(shop.app.path)
    assert disk_usage(shop.app.state) < 8 << 20


def test_only_what_was_asked_for_is_taken_with_the_folders_that_lead_to_it(shop: Shop) -> None:
    for path in ("src/a/b/wanted", "src/a/other", "config/x", "data/big"):
        shop.write(path)
    snapshot = shop.take(1, "src/a/b", "config/x")
    assert list(snapshot.entries) == [".", "config", "config/x", "src", "src/a", "src/a/b", "src/a/b/wanted"]


def test_paths_within_one_another_are_taken_once(shop: Shop) -> None:
    shop.write("src/a/file")
    several, one = shop.take(1, "src", "src/a", "src/a/file", "src").entries, shop.take(2, "src").entries
    assert {path: item.content for path, item in several.items()} == {path: item.content for path, item in one.items()}


def test_the_whole_folder_goes_without_its_secrets_and_its_state(shop: Shop) -> None:
    for path in (".env", "src/.env", "src/.ikoma/x", "docker-compose.yml"):
        shop.write(path)
    snapshot = shop.take(1, ".")
    assert {"src/.env", "src/.ikoma/x", "docker-compose.yml"} < set(snapshot.entries)
    assert not {".env", ".ikoma"} & set(snapshot.entries)
    assert shop.take(2, ".env", ".ikoma/releases").entries.keys() == set()
    assert described(shop.tree(1, snapshot), hidden=()) == described(shop.app.path)


def test_the_runbook_that_each_deploy_writes_is_taken_where_it_is_asked_for_alone(shop: Shop) -> None:
    for path in ("RUNBOOK.md", "docs/RUNBOOK.md"):
        shop.write(path)
    assert list(shop.take(1, ".").entries) == [".", "docs", "docs/RUNBOOK.md", "src"]
    assert "RUNBOOK.md" in shop.take(2, "RUNBOOK.md").entries


def test_of_data_nothing_is_taken_but_that_it_is_there(shop: Shop) -> None:
    for path in ("data/a/b", "src/up/x", "src/upper", "docker-compose.yml"):
        shop.write(path)
    snapshot = shop.take(1, ".", data=[shop.app.path / "data", shop.app.path / "src" / "up"])
    assert list(snapshot.entries) == [".", "data", "docker-compose.yml", "src", "src/up", "src/upper"]


def test_a_look_at_the_whole_folder_sees_what_a_snapshot_takes(shop: Shop) -> None:
    for path in (".env", "data/a", "src/file", ".ikoma/x"):
        shop.write(path)
    root, data = shop.app.path, (shop.app.path / "data",)
    snapshot = shop.take(1, ".", data=data)
    marked = compute_marks(root, [root], data)
    for path in (".env", "data/a", "data/b", ".ikoma/x", "RUNBOOK.md"):
        shop.write(path, "another")
    assert find_changes(root, Sources((root,), (), data, data), snapshot) == SourceChanges()
    assert compute_marks(root, [root], data) == marked
    shop.write("src/file", "another")
    assert find_changes(root, Sources((root,), (), data, data), snapshot).changed == ("src/file",)
    assert compute_marks(root, [root], data) != marked


def test_what_is_no_file_is_left_out_and_said(shop: Shop) -> None:
    os.mkfifo(shop.app.source / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(shop.app.source / "socket"))
    shop.write("src/file")
    snapshot = shop.take(1)
    assert list(snapshot.entries) == [".", "src", "src/file"]
    assert sorted(snapshot.left_out) == [
        "src/pipe: neither a file nor a folder nor a link",
        "src/socket: neither a file nor a folder nor a link",
    ]
    assert Snapshot.read(shop.manifest(1), shop.app.path) == snapshot


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "src/../../outside"])
def test_paths_outside_are_refused(shop: Shop, path: str) -> None:
    with pytest.raises(PathOutside):
        shop.take(1, path)
    assert not shop.manifest(1).exists()


def test_what_is_not_there_is_refused(shop: Shop) -> None:
    with pytest.raises(FileMissing):
        shop.take(1, "src", "gone/away")
    assert not shop.manifest(1).exists()


def test_paths_longer_than_a_tree_can_have_are_refused(shop: Shop) -> None:
    shop.app.source.joinpath(*["d" * 220] * 14).mkdir(parents=True)
    with pytest.raises(SourceTooLarge):
        shop.take(1)


names = st.binary(min_size=1, max_size=12).filter(lambda name: not {b"/", b"\0"} & {bytes([c]) for c in name})
names = names.filter(lambda name: name not in (b".", b".."))
leaves = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=40), st.sampled_from([0o644, 0o755, 0o600, 0o444, 0o400])),
    st.tuples(st.just("link"), st.binary(min_size=1, max_size=40).filter(lambda target: b"\0" not in target)),
)
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=4),
    lambda inside: st.dictionaries(names, st.one_of(leaves, inside), max_size=4),
    max_leaves=12,
)


def grow(folder: bytes, tree: dict[bytes, Any]) -> None:
    os.makedirs(folder, exist_ok=True)
    for name, what in tree.items():
        path = os.path.join(folder, name)
        if isinstance(what, dict):
            grow(path, what)
        elif what[0] == "link":
            os.symlink(what[1], path)
        else:
            with open(path, "wb") as file:
                file.write(what[1])
            os.chmod(path, what[2])


@settings(max_examples=60, deadline=None)
@given(first=trees, second=trees)
def test_any_tree_comes_back_and_so_does_the_next_one(first: dict[bytes, Any], second: dict[bytes, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder))
        for number, tree in enumerate((first, second)):
            subprocess.run(["rm", "-rf", shop.app.source], check=True)
            grow(os.fsencode(shop.app.source), tree)
            snapshot = shop.take(number, earlier=number - 1 if number else None)
            assert described(shop.tree(number, snapshot)) == described(shop.app.path)
            assert Snapshot.read(shop.manifest(number), shop.app.path) == snapshot
            assert shop.snapshots.verify(snapshot) == []
        before, after = (Snapshot.read(shop.manifest(number), shop.app.path) for number in (0, 1))
        same = before.compute_digest(shop.app.source) == after.compute_digest(shop.app.source)
        assert same == (described(shop.release(0) / TREE) == described(shop.release(1) / TREE))


# --- it costs what has changed -----------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Inodes of the files whose content was read, as they are read."""
    found: list[int] = []
    read = IncomingObjects.store

    def noted(self: IncomingObjects, source: int, passed: Callable[[int], None]) -> store.StoredFile:
        found.append(os.fstat(source).st_ino)
        return read(self, source, passed)

    monkeypatch.setattr(IncomingObjects, "store", noted)
    return found


@pytest.mark.usefixtures("settled")
def test_unchanged_files_are_not_read_again(shop: Shop, reads: list[int]) -> None:
    for name in "abc":
        shop.write(f"src/{name}", name)
    shop.take(1)
    changed = shop.write("src/b", "B")
    reads.clear()
    second = shop.take(2, earlier=1)
    assert reads == [changed.stat().st_ino]
    reads.clear()
    assert shop.take(3, earlier=2) == second
    assert reads == []
    assert shop.manifest(2).stat().st_ino == shop.manifest(3).stat().st_ino


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("trick", ["time set back", "replaced", "chmod"])
def test_changes_are_seen_however_they_hide(shop: Shop, trick: str) -> None:
    file = shop.write("src/file", "before")
    os.utime(file, (LONG_AGO, LONG_AGO))
    first = shop.take(1)
    if trick == "replaced":
        file.unlink()
    if trick == "chmod":
        file.chmod(0o600)
    else:
        file.write_text("after!")
    os.utime(file, (LONG_AGO, LONG_AGO))
    second = shop.take(2, earlier=1)
    assert first.compute_digest(file) != second.compute_digest(file)
    assert described(shop.tree(2, second)) == described(shop.app.path)


def test_a_change_right_after_reading_is_seen(shop: Shop) -> None:
    """Within one tick of the clock two contents have the same time: such files are read again."""
    file = shop.write("src/file", "0")
    for number in range(1, 30):
        shop.take(number, earlier=number - 1 if number > 1 else None)
        file.write_text(str(number % 10))
    last = shop.take(30, earlier=29)
    assert (shop.tree(30, last) / "src" / "file").read_text() == file.read_text()


@pytest.mark.usefixtures("settled")
def test_an_object_that_was_lost_is_taken_again(shop: Shop) -> None:
    shop.write("src/file", "content")
    shop.take(1)
    shop.objects()[0].unlink()
    assert shop.snapshots.verify(shop.take(2, earlier=1)) == []


def test_a_broken_earlier_manifest_costs_time_and_nothing_else(shop: Shop) -> None:
    shop.write("src/file", "content")
    shop.manifest(1).write_bytes(b"\x1f\x8b broken")
    assert shop.snapshots.verify(shop.take(2, earlier=1)) == []


def test_the_same_content_is_kept_once(shop: Shop) -> None:
    for name in "abc":
        shop.write(f"src/{name}", "same" * 1000)
    tree = shop.tree(1, shop.take(1))
    assert len({(tree / "src" / name).stat().st_ino for name in "abc"}) == 1 == len(shop.objects())


def test_twenty_releases_with_one_percent_changed_each_cost_half_of_one_more(shop: Shop) -> None:
    chance = random.Random(1)
    for number in range(1000):
        shop.write(f"src/{number % 20}/{number}", chance.randbytes(20_000))
    size = disk_usage(shop.app.source)
    for release in range(20):
        shop.tree(release, shop.take(release, earlier=release - 1 if release else None))
        for number in chance.sample(range(1000), 10):
            shop.write(f"src/{number % 20}/{number}", chance.randbytes(20_000))
    assert disk_usage(shop.app.state) <= 1.5 * size


# --- what happens meanwhile --------------------------------------------------------------------------------


def test_a_folder_swapped_for_a_link_leads_nowhere(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("SECRET")
    shop.write("src/folder/file", "harmless")
    folder, aside = shop.app.source / "folder", shop.app.source / "aside"
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    is_over = threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            os.rename(folder, aside)
            os.rename(tmp_path / "link", folder)
            os.rename(folder, tmp_path / "link")
            os.rename(aside, folder)

    swapper = threading.Thread(target=swap)
    swapper.start()
    ends = {"taken": 0, "refused": 0}
    try:
        for number in range(300):
            try:
                shop.take(number % 5)
                ends["taken"] += 1
            except (PathOutside, FileMissing):
                ends["refused"] += 1
    finally:
        is_over.set()
        swapper.join()
    assert ends["taken"]
    assert all(b"SECRET" not in kept.read_bytes() for kept in shop.objects())


def test_a_path_that_became_a_link_is_refused(shop: Shop, tmp_path: Path) -> None:
    (shop.app.path / "linked").symlink_to(tmp_path)
    for path in ("linked", "linked/shop"):
        with pytest.raises(PathOutside):
            shop.take(1, path)


def test_a_file_that_changes_while_it_is_read_is_read_again(shop: Shop, reads: list[int]) -> None:
    file = shop.write("src/file", b"a" * (3 << 20))
    seen: list[int] = []

    def change_once(files: int, size: int) -> None:
        if not seen:
            file.write_bytes(b"b" * (3 << 20))
        seen.append(size)

    snapshot = shop.take(1, progress=change_once)
    assert snapshot.left_out == []
    assert (shop.tree(1, snapshot) / "src" / "file").read_bytes() == b"b" * (3 << 20)
    assert shop.snapshots.verify(snapshot) == []
    assert len(shop.objects()) == 2  # what was read first is garbage
    assert shop.snapshots.collect_garbage() == 3 << 20


@pytest.mark.usefixtures("settled")
def test_a_file_that_never_stands_still_is_taken_as_read_last_and_said(shop: Shop, reads: list[int]) -> None:
    file = shop.write("src/log", b"a" * (2 << 20))

    def grow(files: int, size: int) -> None:
        with file.open("ab") as stream:
            stream.write(b"more")

    snapshot = shop.take(1, progress=grow)
    assert snapshot.left_out == ["src/log: changed whenever it was read; taken as it was read last"]
    assert (shop.tree(1, snapshot) / "src" / "log").read_bytes().startswith(b"a" * (2 << 20))
    assert shop.snapshots.verify(snapshot) == []
    reads.clear()
    shop.take(2, earlier=1)
    assert len(reads) == 1


def test_files_that_go_while_it_looks_are_not_there(shop: Shop) -> None:
    for number in range(50):
        shop.write(f"src/{number}/file")

    def remove(files: int, size: int) -> None:
        subprocess.run(["rm", "-rf", *(shop.app.source / str(number) for number in range(25))], check=True)

    snapshot = shop.take(1, progress=remove)
    assert {f"src/{number}/file" for number in range(25, 50)} <= set(snapshot.entries)
    assert described(shop.tree(1, snapshot)).keys() >= described(shop.app.path).keys()


def test_it_can_be_cancelled_and_leaves_nothing(shop: Shop) -> None:
    for number in range(10):
        shop.write(f"src/{number}", str(number))
    answers = iter([False] * 8 + [True] * 100)
    with pytest.raises(OperationCancelled):
        shop.take(1, cancelled=lambda: next(answers))
    assert not shop.manifest(1).exists()
    assert os.listdir(shop.app.state / "objects") == []


def test_progress_tells_files_and_bytes(shop: Shop) -> None:
    shop.write("src/a", b"x" * 10)
    shop.write("src/b", b"x" * (2 << 20))
    told: list[tuple[int, int]] = []
    shop.take(1, progress=lambda files, size: told.append((files, size)))
    assert told[-1] == (2, (2 << 20) + 10)


CHILD = """
import sys
from pathlib import Path
from ikoma.app_folder import App
from ikoma.apps.snapshots.snapshot import MANIFEST, Snapshots
from ikoma.compose.release_folder import TREE
from ikoma.model import AppName

app = App(AppName("shop"), Path(sys.argv[1]))
snapshots = Snapshots(app)
releases = app.state / "releases"
print("begins", flush=True)
for number in range(1000):
    release = releases / "killed"
    snapshot = snapshots.take([app.source], release / MANIFEST, releases / "0" / MANIFEST)
    snapshots.materialise(snapshot, release / TREE, writable=[app.source / "3"])
    (release / MANIFEST).unlink()
    snapshots.collect_garbage()
    (release / TREE).rename(release / f"old-{number}")
"""


def test_whoever_is_killed_at_any_moment_leaves_what_can_be_gone_on_with(shop: Shop) -> None:
    chance = random.Random(7)
    for number in range(300):
        shop.write(f"src/{number % 10}/{number}", chance.randbytes(3000))
    first = shop.take(0)
    expected = described(shop.app.path)
    shop.tree(0, first)
    for number in range(200, 300):
        shop.write(f"src/{number % 10}/{number}", chance.randbytes(3000))
    shop.release(9).rename(shop.release(9).with_name("killed"))
    for round_number in range(12):
        argv = [sys.executable, "-c", CHILD, str(shop.app.path)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "begins\n"
            time.sleep(chance.random() * 0.6)
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL, round_number
        assert shop.snapshots.verify(first) == []
        assert described(shop.release(0) / TREE) == expected
        subprocess.run(["rm", "-rf", *shop.release(0).parent.glob("killed/*")], check=True)
        again = shop.take(1, earlier=0)
        subprocess.run(["rm", "-rf", shop.release(1) / TREE], check=True)
        assert described(shop.tree(1, again, "src/3")) == described(shop.app.path)
        assert shop.snapshots.verify(again) == []
    shop.snapshots.collect_garbage()
    assert len(shop.objects()) == 400
    assert all(len(entry) == 2 for entry in os.listdir(shop.app.state / "objects"))


def test_a_half_made_tree_is_made_anew(shop: Shop) -> None:
    shop.write("src/file", "content")
    snapshot = shop.take(1)
    half = shop.release(1) / f"{TREE}.new" / "src"
    half.mkdir(parents=True)
    os.link(shop.objects()[0], half / "file")
    (half / "leftover").write_text("x")
    half.chmod(0o500)
    assert described(shop.tree(1, snapshot)) == described(shop.app.path)
    assert shop.snapshots.verify(snapshot) == []


def test_a_tree_that_is_made_is_left_alone(shop: Shop) -> None:
    shop.write("src/file", "content")
    snapshot = shop.take(1)
    written = shop.tree(1, snapshot, "src") / "src" / "file"
    written.write_text("the container's own")
    shop.tree(1, snapshot, "src")
    assert written.read_text() == "the container's own"


# --- objects stay what they are ----------------------------------------------------------------------------


def test_files_that_containers_may_write_are_copies_of_their_own(shop: Shop) -> None:
    for path in ("src/code.js", "src/uploads/a", "src/uploads-not/b", "settings"):
        shop.write(path, path)
    shop.app.path.joinpath("settings").chmod(0o640)
    snapshot = shop.take(1, "src", "settings")
    tree = shop.tree(1, snapshot, "src/uploads", "settings")
    assert described(tree) == described(shop.app.path)
    for path in ("src/uploads/a", "settings"):
        (tree / path).write_text("changed by a container")
        assert (tree / path).stat().st_nlink == 1
    assert (tree / "src/code.js").stat().st_nlink == 2 == (tree / "src/uploads-not/b").stat().st_nlink
    assert shop.snapshots.verify(snapshot) == []


def test_editing_the_folder_changes_no_release(shop: Shop) -> None:
    file = shop.write("src/file", "before")
    tree = shop.tree(1, shop.take(1))
    with file.open("r+") as stream:
        stream.write("AFTER!")
    file.chmod(0o600)
    assert (tree / "src" / "file").read_text() == "before"
    assert (tree / "src" / "file").stat().st_mode & 0o777 == 0o644


def test_a_file_that_has_all_the_links_it_can_have_is_copied(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("src/a", "same").chmod(0o640)
    snapshot = shop.take(1)

    def no_more_links(*arguments: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr("ikoma.apps.snapshots.store.os.link", no_more_links)
    assert described(shop.tree(1, snapshot)) == described(shop.app.path)


def test_garbage_is_what_no_release_names(shop: Shop) -> None:
    shop.write("src/kept", "kept")
    gone = shop.write("src/gone", "g" * 10_000)
    first = shop.take(1)
    tree = shop.tree(1, first)
    gone.unlink()
    second = shop.take(2, earlier=1)
    assert shop.snapshots.collect_garbage() == 0
    subprocess.run(["rm", "-rf", tree, shop.manifest(1)], check=True)
    (shop.release(1) / f"{TREE}.new").mkdir()
    assert shop.snapshots.collect_garbage() >= 10_000
    assert len(shop.objects()) == 1
    assert shop.snapshots.verify(second) == []
    assert not (shop.release(1) / f"{TREE}.new").exists()


def test_an_app_without_snapshots_has_no_garbage(shop: Shop) -> None:
    assert shop.snapshots.collect_garbage() == 0


@pytest.mark.parametrize("content", [b"", b"not gzip", b'{"format": 1}'])
def test_nothing_is_collected_while_a_manifest_cannot_be_read(shop: Shop, content: bytes) -> None:
    shop.write("src/file")
    shop.take(1)
    shop.manifest(1).write_bytes(content)
    with pytest.raises(ValueError, match="no manifest"):
        shop.snapshots.collect_garbage()
    assert len(shop.objects()) == 1


def test_a_manifest_has_one_name(shop: Shop) -> None:
    with pytest.raises(ValueError, match="named"):
        shop.snapshots.take([shop.app.source], shop.release(1) / "other.json")


def flip(kept: Path) -> None:
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (flip, "is not what it was"),
        (lambda kept: kept.write_bytes(b"short"), "has 5 bytes instead of 7"),
        (lambda kept: kept.chmod(0o666), "is not what it was"),
        (lambda kept: kept.unlink(), "is missing"),
    ],
)
def test_verify_finds_what_was_done_to_an_object(shop: Shop, harm: Callable[[Path], object], fault: str) -> None:
    shop.write("src/file", "content")
    snapshot = shop.take(1)
    harm(shop.objects()[0])
    assert shop.snapshots.verify(snapshot) == [f"The copy of src/file {fault}."]


def test_a_tree_cannot_be_made_of_what_is_lost(shop: Shop) -> None:
    shop.write("src/file", "content")
    snapshot = shop.take(1)
    shop.objects()[0].unlink()
    with pytest.raises(FileMissing):
        shop.tree(1, snapshot)
    assert not (shop.release(1) / TREE).exists()


# --- digests -----------------------------------------------------------------------------------------------


def altered(shop: Shop) -> Iterator[Callable[[], object]]:
    source = shop.app.source
    yield lambda: (source / "file").write_text("other")
    yield lambda: (source / "file").chmod(0o600)
    yield lambda: (source / "file").rename(source / "renamed")
    yield lambda: (source / "link").unlink()
    yield lambda: (source / "link").symlink_to("elsewhere")
    yield lambda: (source / "new").mkdir()
    yield lambda: (source / "new").rmdir()
    yield lambda: source.chmod(0o700)


def test_a_digest_changes_with_everything_but_times(shop: Shop) -> None:
    shop.write("src/file", "content")
    shop.write("srcs/file", "not a part of it")
    (shop.app.source / "link").symlink_to("file")
    seen = [shop.take(0, "src", "srcs").compute_digest(shop.app.source)]
    os.utime(shop.app.source / "file", (1, 1))
    shop.write("srcs/file", "still not a part of it")
    assert shop.take(1, "src", "srcs").compute_digest(shop.app.source) == seen[0]
    for number, alter in enumerate(altered(shop), 2):
        alter()
        seen.append(shop.take(number, "src", "srcs").compute_digest(Path("src")))
    assert len(set(seen)) == len(seen) - 1  # making and removing a folder ends where it began


def test_a_digest_is_the_same_wherever_the_tree_stands_and_empty_where_there_is_none(shop: Shop) -> None:
    for folder in ("a", "b"):
        shop.write(f"src/{folder}/file", "content")
    snapshot = shop.take(1)
    assert snapshot.compute_digest(Path("src/a")) == snapshot.compute_digest(shop.app.source / "b") != ""
    assert snapshot.compute_digest(Path("src/c")) == ""
    assert snapshot.compute_digest(shop.app.path) == shop.take(2).compute_digest(Path("."))


def test_a_manifest_can_be_read_by_people(shop: Shop) -> None:
    shop.write("src/file", "content")
    shop.take(1)
    text = subprocess.run(["gzip", "-dc", shop.manifest(1)], check=True, capture_output=True).stdout
    assert json.loads(text)["entries"]["src/file"][0] == "file"
    assert shop.manifest(1).stat().st_mode & 0o777 == 0o600
    assert (shop.app.state / "objects").stat().st_mode & 0o777 == 0o700


def test_what_is_asked_for_inside_closed_data_is_taken_alone(shop: Shop) -> None:
    for path in ("src/file", "data/big", "data/certs/key"):
        shop.write(path)
    data = (shop.app.path / "data",)
    snapshot = shop.take(1, ".", "data/certs", "src", data=data)
    assert {path for path, entry in snapshot.entries.items() if entry.kind == "file"} == {"src/file", "data/certs/key"}
    found = Sources((shop.app.path, shop.app.path / "data" / "certs"), (), data, data)
    assert find_changes(shop.app.path, found, snapshot) == SourceChanges()
