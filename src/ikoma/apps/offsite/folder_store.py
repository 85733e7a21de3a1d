"""A mounted folder as a place off this machine. The folder itself is never made: an empty mount point is no place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ikoma.apps.offsite.store import StoredObject
from ikoma.durable import open_file, open_whole_file, sweep
from ikoma.errors import OffsiteMissing, OffsiteRefused, OffsiteUnreachable
from ikoma.offsite_place import OffsitePlace

_PIECE = 1 << 20


class FolderStore:
    """Objects as files below one folder."""

    def __init__(self, place: OffsitePlace) -> None:
        self._root = Path(place.path)

    def put(self, name: str, content: bytes, digest: bytes) -> None:
        with self._translated():
            self._require_root()
            path = self._root / name
            if not path.parent.is_dir():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open_whole_file(path, mode=0o600) as stream:
                stream.write(content)

    def read(self, name: str) -> Iterator[bytes]:
        with self._translated():
            self._require_root()
            try:
                descriptor = open_file(self._root / name)
            except (FileNotFoundError, NotADirectoryError):
                raise OffsiteMissing(f"There is no {name} off this machine.") from None
            with os.fdopen(descriptor, "rb") as stream:
                while piece := stream.read(_PIECE):
                    yield piece

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        with self._translated():
            self._require_root()
            for folder, _, names in os.walk(self._root / prefix):
                sweep(Path(folder))  # what killed senders left
                for name in sorted(names):
                    path = Path(folder, name)
                    with suppress(FileNotFoundError):
                        if not name.startswith("."):
                            yield StoredObject(str(path.relative_to(self._root)), path.lstat().st_size)

    def delete(self, name: str) -> None:
        with self._translated():
            self._require_root()
            path = self._root / name
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self._root or not folder.is_dir():
                    break
                sweep(folder)
                try:
                    folder.rmdir()
                except OSError:
                    break  # something else is in it

    def close(self) -> None:
        """Nothing is open between calls."""

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise OffsiteUnreachable(f"The folder {self._root} is not there: is it mounted?")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise OffsiteRefused(f"{self._root} refuses: {error.strerror}.") from error
        except OSError as error:
            raise OffsiteUnreachable(f"{self._root} fails: {error.strerror}.") from error
