"""One app's folder: where its parts are, and the ways into it that cannot lead out of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from ikoma.durable import open_file
from ikoma.errors import FileMissing, NotAFile, PathOutside, StateUnreadable
from ikoma.model import AppName, quote_name

T = TypeVar("T")

_LONGEST_NAME = 255
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

COMPOSE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = tuple(
    f"{name}.override.{ending}" for name in ("compose", "docker-compose") for ending in ("yml", "yaml")
)
"""Both in the order of Compose's choice."""


@dataclass(frozen=True, slots=True)
class App:
    """One app's folder. IKOMA's own state about it is under `.ikoma`, readable by its owner only."""

    name: AppName
    path: Path

    @property
    def exists(self) -> bool:
        """Whether the folder is there; a link is no app, and none is called like a preview without being one."""
        try:
            is_folder = stat.S_ISDIR(os.lstat(self.path).st_mode)
        except FileNotFoundError:
            return False
        return is_folder and (self.name.previewed is None or self.preview_record.is_file())

    @property
    def preview_record(self) -> Path:
        """The record of a preview; only deploy.preview makes one."""
        return self.state / "preview.json"

    @property
    def env_file(self) -> Path:
        return self.path / ".env"

    @property
    def source(self) -> Path:
        return self.path / "src"

    @property
    def migrations(self) -> Path:
        return self.path / "migrations"

    @property
    def seeds(self) -> Path:
        return self.path / "seeds"

    @property
    def state(self) -> Path:
        return self.path / ".ikoma"

    @property
    def runbook(self) -> Path:
        return self.path / "RUNBOOK.md"

    @property
    def compose_file(self) -> Path:
        """The compose file of a usual name that is there, or the one that should be."""
        there = (self.path / name for name in COMPOSE_NAMES if (self.path / name).is_file())
        return next(there, self.path / "docker-compose.yml")

    def make_state(self) -> Path:
        """The `.ikoma` folder, made when absent."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        return self.state

    def read_state(self, name: str, parse: Callable[[Any], T] = lambda stored: stored) -> T | None:
        """Read a JSON file under `.ikoma`; None where there is no such file.

        Args:
            parse: makes a value of what the file holds; where that has another form, the file cannot be read.

        Raises:
            StateUnreadable: of this app alone.
        """
        try:
            # Without a Path for each name: every look at an app reads several of these, and most are not there.
            with open(f"{self.path}/.ikoma/{name}", "rb", buffering=0) as file:
                return parse(orjson.loads(file.readall()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise self.make_unreadable(name, error) from error

    def make_unreadable(self, name: str, error: Exception) -> StateUnreadable:
        """The answer where one of these files is not what was written there."""
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        return StateUnreadable(f".ikoma/{name} of {self.name} cannot be read: {why}.")

    def check_inside(self, path: Path) -> Path:
        """The path with its links resolved; PathOutside when that is not inside the app's folder."""
        try:
            resolved, root = Path(os.path.realpath(path)), Path(os.path.realpath(self.path))
        except (OSError, ValueError):
            raise PathOutside(f"{_shorten_path(path, self.path)} is no path.") from None
        if resolved != root and root not in resolved.parents:
            raise PathOutside(f"{_shorten_path(path, self.path)} leads outside the folder of {self.name}.")
        return resolved

    def make_folder(self, path: Path) -> None:
        """Make a folder inside the app's, and those above it, where nothing is there yet."""
        root = Path(os.path.realpath(self.path))
        resolved = self.check_inside(path)
        folder = os.open(root, _DIRECTORY)
        try:
            for part in resolved.relative_to(root).parts:
                is_new = True
                try:
                    os.mkdir(part, 0o755, dir_fd=folder)
                except FileExistsError:
                    is_new = False
                    if not stat.S_ISDIR(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
                        return  # a file is mounted
                inside = os.open(part, _DIRECTORY, dir_fd=folder)
                if is_new:
                    os.fchmod(inside, 0o755)  # whatever the umask: containers run as any user
                os.close(folder)
                folder = inside
        except (NotADirectoryError, FileNotFoundError) as error:
            raise PathOutside(f"{_shorten_path(path, self.path)} is not what it was a moment ago.") from error
        finally:
            os.close(folder)

    def read_inside(self, path: Path, limit: int) -> bytes:
        """Read at most `limit` bytes of a file in the app's folder. Links may lead to it, but not out of the folder.

        Raises:
            FileMissing: it is not there.
            NotAFile: it is a folder or something else.
            PathOutside: it is not inside the app's folder.
        """
        try:
            descriptor = self._open_plain(path)
        except FileNotFoundError:
            raise FileMissing(f"There is no file {_shorten_path(path, self.path)}.") from None
        except (OSError, ValueError):  # there may be a link on the way, or it is no file
            descriptor = self._open_resolved(path)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit)

    def _open_plain(self, path: Path) -> int:
        """Open a file that no link leads to, which is nearly every one; OSError where it cannot be told so."""
        root, name = f"{self.path}/", str(path)
        parts = name.removeprefix(root).split("/")
        if not name.startswith(root) or not {"", ".", ".."}.isdisjoint(parts):
            raise OSError(errno.ELOOP, "not written out")
        return _open_beneath(self.path, parts)

    def _open_resolved(self, path: Path) -> int:
        resolved = self.check_inside(path)
        root = Path(os.path.realpath(self.path))
        name = _shorten_path(path, self.path)
        try:
            return _open_beneath(root, resolved.relative_to(root).parts or (".",))
        except FileNotFoundError:
            raise FileMissing(f"There is no file {name}.") from None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise FileMissing(f"There is no file {name[:80]}…: the name is too long.") from None
            if error.errno == errno.ENXIO:
                raise NotAFile(f"{name} is no file.") from None
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise PathOutside(f"{name} is not what it was a moment ago.") from None


def _open_beneath(root: Path, parts: Sequence[str]) -> int:
    """A file inside a folder, open for reading: each step from the one before it, none through a link."""
    folder = os.open(root, _DIRECTORY)
    try:
        for part in parts[:-1]:
            inside = os.open(part, _DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inside
        return open_file(parts[-1], dir_fd=folder)
    finally:
        os.close(folder)


def _shorten_path(path: Path, root: Path) -> str:
    return quote_name(path.relative_to(root) if path.is_relative_to(root) else path)


def list_folder(folder: Path) -> list[Path]:
    """List what stands in a folder, in no order; nothing where there is none, or none any more.

    Between a look whether a folder is there and the next one the app may be removed.
    """
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_empty_folder(path: Path) -> bool:
    """Whether this is a folder that is there, and nothing stands in it."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except (FileNotFoundError, NotADirectoryError):
        return False


def can_be_a_path(path: str) -> bool:
    """Whether a file or folder can have this path."""
    return all(len(part) <= _LONGEST_NAME and b"\0" not in part for part in os.fsencode(path).split(b"/"))
