"""An app's source from a git repository: its src/ folder alone, or its whole folder.

The repository itself stays in IKOMA's own state, so that no .git gets into a build. The folder is brought to a commit
file by file, each by one rename: whoever is killed in between leaves a record that says how to go on. What came from
the repository is the repository's; everything else is the server's. A file of the repository that was changed by hand
is never lost, but refused or moved aside; .env, and what containers made in their data, stays as it is.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import orjson

from ikoma.app_folder import COMPOSE_NAMES, OVERRIDE_NAMES, App
from ikoma.apps.environment import dotenv
from ikoma.apps.files import retention
from ikoma.apps.releases.release import Releases, format_now
from ikoma.apps.source import access as source_access
from ikoma.apps.source import template
from ikoma.apps.source.git import MOST_BYTES, Repository, measure_folder
from ikoma.apps.source.placing import (
    CheckoutDifferences,
    CheckoutFiles,
    compare,
    compute_digest,
    compute_digests,
    place,
)
from ikoma.apps.source.submodules import CheckoutWriter
from ikoma.apps.source.url import SourceReach, SourceUrl
from ikoma.apps.yaml import file_choice, watched
from ikoma.compose import mounts, watch_paths
from ikoma.durable import make_folder, remove_tree, sync_filesystem, write_file
from ikoma.errors import IkomaError, SourceChanged, SourceMissing, SourceTooLarge, SourceUnsafe
from ikoma.model import FilePath, Secret, make_printable, quote_name
from ikoma.ports.progress import Progress

SRC, APP = "src", "app"

_RECORD = "source.json"
_OF_PATHS = ("entries", "files", "clear")
_BYTES = "\0"
_LARGEST_COMPOSE = 1 << 20
_SERVERS = (".env", "RUNBOOK.md")
"""Files of an app's folder that are the server's, whatever a repository holds."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """The origin of an app's source.

    `into` is what it is of the app: its src/ or its whole folder. `files` are digests of what was checked out, by paths
    in there. An earlier version recorded `entries` of src/ instead. `staged` is set while the folder changes, and
    `clear` then says what has to go.
    """

    url: str
    ref: str
    path: str | None
    commit: str
    caller: str
    at: str
    entries: Mapping[str, str] = field(default_factory=dict)
    staged: str | None = None
    into: str = SRC
    files: Mapping[str, str] = field(default_factory=dict)
    clear: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckoutRequest:
    """A request for a checkout. `into` None: what it was before, else what the repository and the app's folder suggest.

    Args:
        watched: leave everything as it is where nothing has changed since a commit that the app's globs watch.
        of: the app whose repository this is, for a preview of it.
    """

    url: SourceUrl
    ref: str
    path: str | None = None
    token: Secret | None = None
    into: str | None = None
    depth: int = 1
    overwrite: bool = False
    watched: tuple[str, tuple[str, ...]] | None = None
    of: App | None = None


@dataclass(frozen=True, slots=True)
class CheckoutResult:
    """The result of a checkout. `left` are paths of the repository that did not come, since the server's stay."""

    recorded: SourceRecord
    left: tuple[str, ...]
    kept: str | None
    """The folder into which something was moved aside."""


class NothingWatched(Exception):
    """Nothing that is watched has changed: everything stays as it is. `changed` are the paths that have."""

    def __init__(self, commit: str, changed: Sequence[str], globs: Sequence[str]) -> None:
        self.commit, self.changed, self.globs = commit, tuple(changed), tuple(globs)
        super().__init__(commit)


class Checkouts:
    """Brings apps' source to commits."""

    def __init__(self, reach: SourceReach) -> None:
        self.reach = reach

    async def bring(
        self, app: App, request: CheckoutRequest, *, caller: str, timeout: float, progress: Progress
    ) -> CheckoutResult:
        """Make an app's src/, or its folder, what a ref of a repository holds now.

        Raises:
            SourceChanged: there is something else where files of the repository belong, and `overwrite` was not said.
            NothingWatched: nothing that is watched has changed.
            SourceUnavailable, SourceTooLarge, SourceUnsafe, HostNotListed
        """
        recover(app)
        await asyncio.to_thread(retention.tidy, app)
        access = source_access.read(app if request.of is None else request.of, _pair_token(request))
        repository = Repository(app.make_state() / "source.git", self.reach, access)
        progress(f"fetch {request.ref}")
        commit = await repository.fetch(request.url, request.ref, depth=request.depth, timeout=timeout)
        if request.watched is not None:
            await _refuse_unwatched(app, repository, request, commit, *request.watched)
        staged = app.state / f"staged-{secrets.token_hex(6)}"
        staged.mkdir(mode=0o755)
        try:
            progress(f"check out {commit[:12]}")
            whole = CheckoutWriter(app.state / "source-modules", self.reach, access, timeout, progress)
            await whole.write(repository, request.url, commit, request.path, staged)
            return await asyncio.to_thread(_take_over, app, request, commit, caller, staged)
        finally:
            if staged.is_dir():
                remove_tree(staged)


def read_record(app: App) -> SourceRecord | None:
    """Read where the app's source came from; None where not from a repository."""
    stored = app.read_state(_RECORD)
    if not stored:
        return None
    known = {name: {_decode_path(path): mark for path, mark in stored.get(name, {}).items()} for name in _OF_PATHS}
    return SourceRecord(**stored | known)


def require(app: App) -> SourceRecord:
    found = read_record(app)
    if found is None:
        raise SourceMissing(f"The source of {app.name} did not come from a repository.")
    return found


def recover(app: App) -> None:
    """Go on with a change that was cut off, and clear away what was left."""
    found = read_record(app)
    if found is not None and found.staged is not None and (app.state / found.staged).is_dir():
        _finish(app, found)
    for leftover in app.state.glob("staged-*"):
        remove_tree(leftover) if leftover.is_dir() else leftover.unlink()


def _pair_token(request: CheckoutRequest) -> tuple[SourceUrl, Secret] | None:
    return (request.url, request.token) if request.token else None


async def _refuse_unwatched(
    app: App, repository: Repository, request: CheckoutRequest, commit: str, since: str, globs: tuple[str, ...]
) -> None:
    """NothingWatched where the difference touches no watched path; the repository's own compose file says which are."""
    if request.into == APP:
        found = await _read_globs(app, repository, commit, f"{request.path}/" if request.path else "")
        globs = globs if found is None else found
    changed = await repository.compare_commits(since, commit) if globs else None
    if changed is not None and not watch_paths.select_touched(globs, changed, request.path):
        raise NothingWatched(commit, changed, globs)


async def _read_globs(app: App, repository: Repository, commit: str, above: str) -> tuple[str, ...] | None:
    """Read the globs of the compose files that a commit holds."""
    named = file_choice.read_named(dotenv.read_written(app))
    choices: list[tuple[str, ...]] = [(name,) for name in named] or [COMPOSE_NAMES, OVERRIDE_NAMES]
    found = []
    for names in choices:
        for name in names:
            content = await repository.read(commit, f"{above}{posixpath.normpath(name)}", _LARGEST_COMPOSE)
            if content is not None:
                found.append(content)
                break
    return await asyncio.to_thread(watched.find_globs, found)


def _take_over(app: App, request: CheckoutRequest, commit: str, caller: str, staged: Path) -> CheckoutResult:
    """Compare what was checked out with what is there, and bring it."""
    before = read_record(app)
    into = request.into or (before.into if before else _suggest_target(app, staged))
    coming = _examine(staged, into)
    left = _set_aside(app, staged, coming, before) if into == APP else []
    folder = app.path if into == APP else app.source
    make_folder(folder, 0o755)
    data = _list_data(app, folder)
    known = _list_known(app, before, into)
    if request.of is not None and (origin := read_record(request.of)) is not None and origin.into == into == APP:
        known = {**origin.files, **known}
    found = compare(folder, CheckoutFiles(known, coming, data, alone=into == SRC))
    if into == APP:
        _compare_compose_files(app, coming, found)
        found.changed = [path for path in found.changed if not template.is_from_template(path, folder / path)]
    if found.changed and not request.overwrite:
        raise _make_changed_error(app, into, found)
    for path in (*found.left, *found.present):
        (staged / path).unlink(missing_ok=True)
    files = {path: mark for path, mark in coming.items() if path not in found.left}
    record = SourceRecord(
        request.url.text,
        request.ref,
        request.path,
        commit,
        caller,
        format_now(),
        {},
        staged.name,
        into,
        files,
        found.clear,
    )
    sync_filesystem(staged)
    write_file(app.state / _RECORD, _encode(record), mode=0o600)  # from here on it is on record how to go on
    kept = _finish(app, record)
    return CheckoutResult(replace(record, staged=None, clear={}), tuple(sorted({*left, *found.left})), kept)


def _finish(app: App, coming: SourceRecord) -> str | None:
    """Carry out what is on record; the folder of what was moved aside."""
    assert coming.staged is not None
    folder = app.path if coming.into == APP else app.source
    make_folder(folder, 0o755)
    aside = app.state / "replaced" / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    clear = _list_still_to_clear(app, folder, coming)
    if coming.entries and not coming.files:  # an earlier version was cut off
        staged = [entry.name for entry in (app.state / coming.staged).iterdir()]
        others = [entry.name for entry in folder.iterdir() if entry.name not in coming.entries]
        clear = dict.fromkeys([*others, *staged])
    stay = (*_list_data(app, folder), *(template.FOLDERS if coming.into == APP else ()))
    has_kept = place(folder, app.state / coming.staged, clear, aside, stay)
    sync_filesystem(folder)
    write_file(app.state / _RECORD, _encode(replace(coming, staged=None, clear={})), mode=0o600)
    return str(aside) if has_kept else None


def _list_still_to_clear(app: App, folder: Path, coming: SourceRecord) -> dict[str, str | None]:
    """List what has to go, without what an earlier try has already put in its place."""
    assert coming.staged is not None
    put = {path for path in coming.files if not os.path.lexists(app.state / coming.staged / path)}
    folders = {path[:end] for path in coming.files for end in range(len(path)) if path[end] == "/"}

    def is_left(path: str) -> bool:
        is_folder = (folder / path).is_dir() and not (folder / path).is_symlink()
        return path not in put and not (path in folders and is_folder)

    return {path: known for path, known in coming.clear.items() if is_left(path)}


def _encode(record: SourceRecord) -> bytes:
    known = {name: {_encode_path(path): mark for path, mark in getattr(record, name).items()} for name in _OF_PATHS}
    return orjson.dumps(asdict(record) | known, option=orjson.OPT_INDENT_2)


def _encode_path(path: str) -> str:
    """Encode a path as JSON can hold it: the names of files may be bytes that are no UTF-8."""
    return path if make_printable(path) == path else _BYTES + os.fsencode(path).decode("latin-1")


def _decode_path(path: str) -> str:
    return os.fsdecode(path.removeprefix(_BYTES).encode("latin-1")) if path.startswith(_BYTES) else path


def _suggest_target(app: App, staged: Path) -> str:
    """The whole folder, where the repository holds a compose file and the app has none but what apps.init wrote."""
    names = file_choice.read_named(dotenv.read_written(app)) or COMPOSE_NAMES
    brings_one = any((staged / name).is_file() for name in names)
    own = [name for name in COMPOSE_NAMES if os.path.lexists(app.path / name)]
    return APP if brings_one and all(template.is_from_template(name, app.path / name) for name in own) else SRC


def _examine(tree: Path, into: str) -> dict[str, str]:
    """Digests of what was checked out; SourceTooLarge, or SourceUnsafe for what must not be in an app."""
    if measure_folder(tree) > MOST_BYTES:
        raise SourceTooLarge(f"The source is larger than {MOST_BYTES >> 20} MiB.")
    root = Path(os.path.realpath(tree))
    for where, folders, names in os.walk(tree):
        for name in (*folders, *names):
            entry = Path(where, name)
            path = entry.relative_to(tree)
            if into == APP and (path.parts[0] == ".ikoma" or name.startswith(".ikoma-")):
                raise SourceUnsafe(f"{quote_name(path)} has a name that is IKOMA's own.", hint="Call it otherwise.")
            if entry.is_symlink():
                target = Path(os.path.realpath(entry))
                if target != root and root not in target.parents:
                    raise SourceUnsafe(f"{quote_name(path)} is a link that leads out of the repository.")
                if into == APP and target != root and FilePath.is_hidden(target.relative_to(root).parts):
                    raise SourceUnsafe(f"{quote_name(path)} is a link to what is the server's own.")
            else:  # containers may run as any user
                entry.chmod(0o755 if entry.is_dir() or entry.stat().st_mode & 0o100 else 0o644)
    return compute_digests(tree)


def _set_aside(app: App, staged: Path, coming: dict[str, str], before: SourceRecord | None) -> list[str]:
    """Leave out what is the server's. Only where it never had an .env, the repository's is where it begins."""
    left = []
    for name in _SERVERS:
        found = [path for path in coming if path == name or path.startswith(f"{name}/")]
        for path in found:
            del coming[path]
        begins = name == ".env" and (before is None or before.into != APP) and not os.path.lexists(app.env_file)
        if found == [name] and begins and not (staged / name).is_symlink():
            (staged / name).chmod(0o600)
        elif found:
            left += found
            remove_tree(staged / name) if (staged / name).is_dir() else (staged / name).unlink()
    return left


def _list_known(app: App, before: SourceRecord | None, into: str) -> dict[str, str]:
    """List what was checked out before, by paths in the folder that it goes into now."""
    if before is None:
        return {}
    files = dict(before.files) or _list_known_to_earlier(app, before)
    if before.into == into:
        return files
    if into == APP:
        return {f"src/{path}": mark for path, mark in files.items()}
    return {path.removeprefix("src/"): mark for path, mark in files.items() if path.startswith("src/")}


def _list_known_to_earlier(app: App, before: SourceRecord) -> dict[str, str]:
    """An earlier version recorded what stands directly in src/: the files in it, where it is as it was."""
    known: dict[str, str] = {}
    for name, mark in before.entries.items():
        entry = app.source / name
        if compute_digest(entry) != mark or entry.is_symlink() or not entry.is_dir():
            known[name] = mark
        else:
            known |= {f"{name}/{path}": found for path, found in compute_digests(entry).items()}
    return known


def _list_data(app: App, folder: Path) -> list[str]:
    """List what containers of a kept release may have written, by paths in a folder of the app; "" for all of it."""
    root, found = Path(os.path.realpath(folder)), set[Path]()
    for release in (releases := Releases(app)).list_all():
        with suppress(IkomaError):  # one that never came to run
            found.update(mounts.find_sources(app, releases.read_model(release.id)).data)
    inside = [path.relative_to(root) for path in found if path == root or root in path.parents]
    return sorted("" if path == Path() else str(path) for path in inside)


def _compare_compose_files(app: App, coming: Mapping[str, str], found: CheckoutDifferences) -> None:
    """A compose file under another name must not stand beside the repository's: Compose would read only one."""
    if file_choice.read_named(dotenv.read_written(app)) or not any(name in coming for name in COMPOSE_NAMES):
        return
    for name in COMPOSE_NAMES:
        if name not in coming and name not in found.clear and os.path.lexists(app.path / name):
            found.clear[name] = None
            found.changed.append(name)


def _make_changed_error(app: App, into: str, found: CheckoutDifferences) -> SourceChanged:
    what = f"src/ of {app.name}" if into == SRC else f"The folder of {app.name}"
    changed = sorted(map(make_printable, found.changed))
    return SourceChanged(
        f"{what} holds what did not come from the repository: {', '.join(changed[:10])}.", changed=changed
    )
