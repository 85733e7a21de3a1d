"""An app's source from a git repository, kept in its src/ folder.

The repository itself stays in IKOMA's own state, so that no .git gets into a build. src/ is brought to a commit entry
by entry, each by one rename: whoever is killed in between leaves a record that says how to go on, and files that were
changed by hand are never lost, but refused or moved aside.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from ikoma.apps.folder import App
from ikoma.apps.git import DEEPEST, MOST_BYTES, Reach, Repository, SourceUrl, folder_size
from ikoma.apps.release import now
from ikoma.durable import make_folder, open_file, remove_tree, sync_folder, write_file
from ikoma.errors import SourceChanged, SourceMissing, SourceTooLarge, SourceUnsafe
from ikoma.model import Secret
from ikoma.ports import Progress

_RECORD = "source.json"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where src/ came from. `entries`: digests of what stands directly in it. `staged`: set while it changes."""

    url: str
    ref: str
    path: str | None
    commit: str
    caller: str
    at: str
    entries: Mapping[str, str]
    staged: str | None = None


class Sources:
    """Brings apps' source to commits."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def bring(
        self,
        app: App,
        url: SourceUrl,
        ref: str,
        *,
        path: str | None,
        token: Secret | None,
        depth: int,
        overwrite: bool,
        caller: str,
        timeout: float,
        progress: Progress,
    ) -> Recorded:
        """Make src/ what a ref of a repository holds now.

        Raises:
            SourceChanged: src/ holds what did not come from there, and `overwrite` was not said.
            SourceUnavailable, SourceTooLarge, SourceUnsafe, HostNotListed
        """
        recover(app)
        if not overwrite:
            await asyncio.to_thread(_refuse_changes, app)
        repository = Repository(app.make_state() / "source.git", self._reach)
        progress(f"fetch {ref}")
        commit = await repository.fetch(url, ref, depth=depth, token=token, timeout=timeout)
        staged = app.state / f"staged-{secrets.token_hex(6)}"
        staged.mkdir(mode=0o755)
        try:
            progress(f"check out {commit[:12]}")
            await repository.check_out(commit, path, staged, timeout=timeout)
            entries = await asyncio.to_thread(_examined, staged)
        except BaseException:
            remove_tree(staged)
            raise
        coming = Recorded(url.text, ref, path, commit, caller, now(), entries, staged.name)
        await asyncio.to_thread(_swap, app, coming)
        remove_tree(staged)
        return replace(coming, staged=None)


def recorded(app: App) -> Recorded | None:
    """Where the app's source came from; None where not from a repository."""
    stored = app.read_state(_RECORD)
    return Recorded(**stored) if stored else None


def require(app: App) -> Recorded:
    found = recorded(app)
    if found is None:
        raise SourceMissing(f"The source of {app.name} did not come from a repository.")
    return found


def recover(app: App) -> None:
    """Go on with a change that was cut off, and clear away what was left."""
    found = recorded(app)
    if found is not None and found.staged is not None and (app.state / found.staged).is_dir():
        _move(app, found)
    for leftover in app.state.glob("staged-*"):
        remove_tree(leftover) if leftover.is_dir() else leftover.unlink()


def _refuse_changes(app: App) -> None:
    found = recorded(app)
    known = found.entries if found else {}
    changed = [name for name in _names(app.source) if _digest(app.source / name) != known.get(name)]
    changed += [name for name in known if not (app.source / name).exists() and not (app.source / name).is_symlink()]
    if changed:
        raise SourceChanged(
            f"src/ of {app.name} holds what did not come from the repository: {', '.join(sorted(changed)[:10])}.",
            changed=sorted(changed),
        )


def _swap(app: App, coming: Recorded) -> None:
    """From the first line on it is on record how to go on."""
    write_file(app.state / _RECORD, orjson.dumps(asdict(coming), option=orjson.OPT_INDENT_2), mode=0o600)
    _move(app, coming)


def _move(app: App, coming: Recorded) -> None:
    assert coming.staged is not None
    staged, aside = app.state / coming.staged, app.state / "replaced" / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    make_folder(app.source, 0o755)
    for name in sorted({*_names(app.source), *coming.entries}):
        present, new = app.source / name, staged / name
        if _digest(present) == coming.entries.get(name):
            continue
        if os.path.lexists(present):
            aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            present.rename(aside / f"{name}-{secrets.token_hex(2)}")
        if os.path.lexists(new):
            new.rename(present)
    sync_folder(app.source)
    done = replace(coming, staged=None)
    write_file(app.state / _RECORD, orjson.dumps(asdict(done), option=orjson.OPT_INDENT_2), mode=0o600)
    _keep_last(app.state / "replaced")


def _keep_last(folder: Path, keep: int = 3) -> None:
    """What was moved aside is kept for the last few changes."""
    if folder.is_dir():
        for old in sorted(folder.iterdir())[:-keep]:
            remove_tree(old)


def _examined(tree: Path) -> dict[str, str]:
    """Digests of what was checked out; SourceUnsafe where a link leads out of it, SourceTooLarge."""
    if folder_size(tree) > MOST_BYTES:
        raise SourceTooLarge(f"The source is larger than {MOST_BYTES >> 20} MiB.")
    root = Path(os.path.realpath(tree))
    for place, folders, names in os.walk(tree):
        for name in (*folders, *names):
            entry = Path(place, name)
            if entry.is_symlink():
                target = Path(os.path.realpath(entry))
                if target != root and root not in target.parents:
                    raise SourceUnsafe(f"{entry.relative_to(tree)} is a link that leads out of the repository.")
            else:  # containers may run as any user
                entry.chmod(0o755 if entry.is_dir() or entry.stat().st_mode & 0o100 else 0o644)
    return {name: _digest(tree / name) or "" for name in _names(tree)}


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def _digest(entry: Path, depth: int = 0) -> str | None:
    """Tells whether a file, link or folder is the same, name by name and byte by byte; None where it is not there.

    What lies deeper than any source may is not looked at: that it is there makes the difference.
    """
    try:
        status = entry.lstat()
    except FileNotFoundError:
        return None
    digest = hashlib.sha256()
    if stat.S_ISLNK(status.st_mode):
        digest.update(b"link" + os.fsencode(entry.readlink()))
    elif stat.S_ISDIR(status.st_mode) and depth > DEEPEST:
        digest.update(b"deeper")
    elif stat.S_ISDIR(status.st_mode):
        for name in _names(entry):
            digest.update(f"{name}\0{_digest(entry / name, depth + 1)}\n".encode("utf-8", "surrogateescape"))
    elif stat.S_ISREG(status.st_mode):
        try:
            with os.fdopen(open_file(entry), "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest() + bytes([status.st_mode & 0o100 > 0]))
        except OSError:
            digest.update(b"not what it was a moment ago")
    return digest.hexdigest()
