"""Names, paths and archives that were made to lead elsewhere: each is refused, and nothing on the disk is another."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.git_host import GitHost
from tests.support import Server, paths_below

APP = "names"
REFUSED = {"invalid_arguments", "malformed_request", "path_outside", "not_a_file", "file_missing"}
UNPACKED = {"source_unsafe", "source_unavailable", "source_too_large"}

APPS = (
    *("..", ".", "../names", "names/..", "/etc", "names/", "na/mes", "na\\mes", "-names", "--help", "_names", "names-"),
    *("Names", "nämes", "nаmes", "names\u200b", "\u202esemaN", "names\n", "names\0", " names", "names ", "na mes"),
    *("n" * 64, "postgres", "template1", "public", "ikoma", "ikoma-x", "pg_toast", "$(id)", "names;id", "*", "~", ""),
)
BACKUPS = (
    *("../x.sql", "/etc/x.sql", "a/b.sql", ".x.sql", "-x.sql", "x.sql/", "x.sql\n", "x.sql\0", "x", "x.SQL", ".sql"),
    *("x.sql.gz", "..sql", "x .sql", "ä.sql", "x" * 200 + ".sql", "x.sql;id", "$(id).sql", "x\\y.sql", "~.sql"),
)
PATHS = (
    *("..", ".", "/etc/passwd", "../other/x", "src/../../x", "src/./x", "src//x", "src/", "", "/", "a\0b", "a\nb"),
    *(".env", ".ikoma", ".ikoma/database.json", ".ikoma-writing-x", "src/.ikoma-x", "a" * 256, "a/" * 600 + "a"),
    *("src/\ud83d", "src/a\u202eb", "src/\x7f", "src/out/passwd", "src/self/x", "src/loop/x", "src/pipe/x"),
)
VARIABLES = ("", "A B", "A=B", "A\nB", "1A", "A-B", "Ä", "A\0", "$A", "-A", "A" * 300, "LD PRELOAD")
SERVICES = ("../web", "-web", "--all", "web/..", "web\n", "we b", "$(id)", "web\0")


def attacks() -> Iterator[tuple[str, dict[str, Any]]]:
    """(capability, arguments): for each name, calls that read, change and destroy."""
    for name in APPS:
        for capability in ("apps.init", "apps.status", "apps.remove", "db.create", "deploy.up"):
            yield capability, {"appName": name}
    own = {"appName": APP}
    for name in BACKUPS:
        yield "db.backup", {**own, "backupName": name}
        yield "db.migrate", {**own, "file": name}
        yield "db.seed", {**own, "file": name}
    for path in PATHS:
        yield "files.read", {**own, "path": path}
        yield "files.write", {**own, "path": path, "content": "written"}
        yield "files.delete", {**own, "path": path, "recursive": True}
        yield "source.clone", {**own, "url": "https://localhost/x.git", "path": path}
    for name in VARIABLES:
        yield "env.set", {**own, "name": name, "value": "x"}
        yield "env.unset", {**own, "name": name}
        yield "env.generate", {**own, "name": name}
    for name in SERVICES:
        yield "apps.logs", {**own, "service": name}


@pytest.fixture(scope="module")
def server(host: GitHost) -> Iterator[Server]:
    with support.server(SOURCE_HOSTS="localhost", SOURCE_CA_FILE=str(host.ca_file)) as started:
        yield started


@pytest.fixture(scope="module")
def source(server: Server) -> Path:
    """An app whose folder has ways that lead out of it."""
    server.do("apps.init", {"appName": APP})
    (server.folder / "outside").mkdir()
    (server.folder / "outside" / "passwd").write_text("root")
    src = server.apps / APP / "src"
    (src / "out").symlink_to(server.folder / "outside")
    (src / "self").symlink_to(".")
    (src / "loop").symlink_to("loop")
    os.mkfifo(src / "pipe")
    return src


def world(server: Server) -> dict[str, tuple[int, int, int]]:
    """Everything that attacks could change, IKOMA's own records aside: name → mode, size and time of change."""
    roots = (server.apps, server.backups, server.folder / "outside")
    found = [path for path in paths_below(*roots) if ".ikoma" not in path.parts]
    return {str(path): ((state := path.lstat()).st_mode, state.st_size, state.st_mtime_ns) for path in found}


def test_no_hostile_name_or_path_is_taken(server: Server, source: Path) -> None:
    before, tried = world(server), 0
    for capability, arguments in attacks():
        answer = server.call(capability, arguments)
        # A way that ends where it began is no attack on anybody: it is only not there.
        assert answer.code in REFUSED | _missing(capability, arguments), (capability, arguments, answer.body)
        assert answer.body["hint"], (capability, arguments)
        assert world(server) == before, (capability, arguments)
        tried += 1
    names = len({*APPS, *BACKUPS, *PATHS, *VARIABLES, *SERVICES})
    print(f"{names} hostile names and paths in {tried} calls")
    assert names >= 60


def _missing(capability: str, arguments: Mapping[str, Any]) -> set[str]:
    if capability == "apps.logs":
        return {"service_not_found"}
    if capability == "source.clone":
        return {"source_changed", "source_unavailable"}  # that path is of the repository, which is asked first
    return set()


Entries = list[tuple[str, bytes, str]]
"""(mode, name, object) of a tree, in the order in which git wants them."""


def blob(bare: Path, content: bytes) -> str:
    return stored(bare, "blob", content)


def tree(bare: Path, *entries: tuple[str, bytes, str]) -> str:
    """A tree with any names at all: what git itself would not write."""
    return stored(bare, "tree", b"".join(b"%s %s\0%s" % (m.encode(), n, bytes.fromhex(o)) for m, n, o in entries))


def stored(bare: Path, kind: str, content: bytes) -> str:
    command = ["git", "hash-object", "-w", "--literally", "-t", kind, "--stdin"]
    env = {"PATH": os.environ["PATH"], "GIT_DIR": str(bare)}
    return subprocess.run(command, input=content, env=env, check=True, capture_output=True).stdout.decode().strip()


def file(name: bytes, content: bytes = b"planted") -> Callable[[Path], str]:
    return lambda bare: tree(bare, ("100644", name, blob(bare, content)))


def link(name: bytes, target: bytes) -> Callable[[Path], str]:
    return lambda bare: tree(bare, ("120000", name, blob(bare, target)))


def link_and_file_behind_it(bare: Path) -> str:
    below = tree(bare, ("100644", b"passwd", blob(bare, b"planted")))
    return tree(bare, ("120000", b"d", blob(bare, b"../../../../outside")), ("40000", b"d", below))


def many_names_of_one_file(bare: Path) -> str:
    """Ten billion files in eleven objects."""
    inner = blob(bare, b"x")
    mode = "100644"
    for _ in range(10):
        inner = tree(bare, *((mode, f"{number}".encode(), inner) for number in range(10)))
        mode = "40000"
    return inner


def many_names_of_zeros(bare: Path) -> str:
    """Four gigabytes in a few kilobytes."""
    zeros = blob(bare, bytes(32 << 20))
    return tree(bare, *(("100644", b"%03d" % number, zeros) for number in range(128)))


ARCHIVES: Mapping[str, Callable[[Path], str]] = {
    "a folder above": file(b".."),
    "a path above": file(b"../planted"),
    "an absolute path": file(b"/tmp/planted"),
    "a path in a name": file(b"a/../../planted"),
    "no name": file(b""),
    "this folder": file(b"."),
    "git's own folder": file(b".git"),
    "git's own folder in capitals": file(b".GIT"),
    "git's own folder as Windows calls it": file(b"git~1"),
    "git's own folder with what is not seen": file(".g\u200cit".encode()),
    "a link to the root": link(b"a", b"/"),
    "a link to a file of the server": link(b"a", b"/etc/passwd"),
    "a link to a process": link(b"a", b"/proc/self/environ"),
    "a link above": link(b"a", b"../.ikoma/database.json"),
    "a link above by a way through": link(b"a", b"b/../../../.env"),
    "a link to what is not there": link(b"a", b"../../nowhere"),
    "a link with a very long way": link(b"a", b"../" * 1300 + b"etc/passwd"),
    "a link that is a folder too": link_and_file_behind_it,
    "a link for git's list of modules": link(b".gitmodules", b"/etc/passwd"),
    "very many files": many_names_of_one_file,
    "very much in few bytes": many_names_of_zeros,
    "a name that is too long": file(b"n" * 300),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_no_hostile_archive_is_unpacked(server: Server, source: Path, host: GitHost, name: str) -> None:
    slug = name.replace(" ", "-").replace("'", "")
    host.make(slug, {"ok": "ok"})
    bare = host.folder / "repositories" / f"{slug}.git"
    person = b"t <t@example.org> 0 +0000"
    planted = stored(
        bare,
        "commit",
        b"tree %s\nauthor %s\ncommitter %s\n\nplanted\n" % (ARCHIVES[name](bare).encode(), person, person),
    )
    (bare / "refs" / "heads" / "planted").write_text(f"{planted}\n")
    before = world(server)
    asked = {"appName": APP, "url": host.url(slug), "ref": "planted", "overwrite": True}
    answer = server.call("source.clone", asked)
    assert answer.code in UNPACKED, answer.body
    assert world(server) == before
    left = [path.name for path in (server.apps / APP / ".ikoma").glob("staged-*")]
    assert left == []
