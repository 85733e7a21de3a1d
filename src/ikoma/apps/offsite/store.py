"""The Protocol of a place off this machine: named objects of a few MiB, each written whole or not at all.

What is large comes in parts (sending.py), so that every kind of store needs four verbs only, a transfer that was cut
off goes on with the part that is missing, and none of them has to hold or remember more than one part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ikoma.offsite_place import OffsitePlace


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that a store has. Names are relative to the place, with `/` between their parts."""

    name: str
    size: int


class OffsiteStore(Protocol):
    """A place off this machine. Its methods block, and several threads may call them at once.

    Each raises OffsiteUnreachable where the place does not answer, and OffsiteRefused where it says no.
    """

    def put(self, name: str, content: bytes, digest: bytes) -> None:
        """Write an object, whole or not at all, in place of one of that name.

        Args:
            digest: the SHA-256 of the content, for a store that compares it.
        """

    def read(self, name: str) -> Iterator[bytes]:
        """The content of an object in pieces of a few MiB at most; OffsiteMissing where there is none."""

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """List the objects below a folder such as `shop/`; "" is all. None where there is no such folder."""

    def delete(self, name: str) -> None:
        """Delete an object; nothing happens where there is none."""

    def close(self) -> None:
        """End connections."""


def open_store(place: OffsitePlace) -> OffsiteStore:
    """Open a place. The libraries that S3 and SFTP need are loaded here: not for the server's own process."""
    if place.kind == "s3":
        from ikoma.apps.offsite.s3_store import S3Store

        return S3Store(place)
    if place.kind == "sftp":
        from ikoma.apps.offsite.sftp_store import SftpStore

        return SftpStore(place)
    from ikoma.apps.offsite.folder_store import FolderStore

    return FolderStore(place)
