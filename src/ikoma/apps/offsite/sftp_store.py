"""A folder of an SFTP server as a place off this machine. Loaded in a child process.

The server is known by its key in known_hosts, and this one by its private key; nothing is asked of anybody. An object
is written under another name, flushed where the server can, and gets its own by a rename.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

import asyncssh

from ikoma.apps.offsite.store import StoredObject
from ikoma.errors import OffsiteMissing, OffsiteRefused, OffsiteUnreachable
from ikoma.offsite_place import OffsitePlace

T = TypeVar("T")

_PIECE = 1 << 20
_SECONDS = 120.0
_WRITING = ".ikoma-writing-"
_NO_FOLDER_YET = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)


class SftpStore:
    """Objects as files below one folder of an SFTP server, by one connection that is made when it is first needed."""

    def __init__(self, place: OffsitePlace) -> None:
        self._place = place
        self._where = f"The SFTP server {place.host}"
        self._loop = asyncio.new_event_loop()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self._connecting = asyncio.Lock()
        threading.Thread(target=self._loop.run_forever, name="sftp", daemon=True).start()

    def put(self, name: str, content: bytes, digest: bytes) -> None:
        self._do(self._put(name, content))

    def read(self, name: str) -> Iterator[bytes]:
        file = self._do(self._open(name))
        try:
            while piece := self._do(self._read(file)):
                yield piece
        finally:
            with suppress(OffsiteUnreachable):
                self._do(file.close())

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        yield from self._do(self._list(prefix.rstrip("/")))

    def delete(self, name: str) -> None:
        self._do(self._delete(name))

    def close(self) -> None:
        with suppress(OffsiteUnreachable):
            self._do(self._disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)

    # --- in the loop ---

    async def _put(self, name: str, content: bytes) -> None:
        path = self._locate(name)
        folder, _, last = path.rpartition("/")
        written = f"{folder}/{_WRITING}{last}"  # what a killed sender left is written over by the next
        async with self._session() as sftp:
            try:
                await self._write(sftp, written, content)
            except _NO_FOLDER_YET:
                await self._require_root(sftp)
                await sftp.makedirs(folder, asyncssh.SFTPAttrs(permissions=0o700), exist_ok=True)
                await self._write(sftp, written, content)
            await sftp.posix_rename(written, path)

    async def _write(self, sftp: asyncssh.SFTPClient, path: str, content: bytes) -> None:
        try:
            await self._fill(sftp, path, content)
        except asyncssh.SFTPFailure:
            free = await self._measure_room(sftp)
            with suppress(asyncssh.SFTPError):
                await sftp.remove(path)  # a half one takes room that may be wanted
            if free is not None and free < len(content):
                raise OffsiteUnreachable(f"{self._where} has no room left: {free} bytes are free.") from None
            raise

    async def _measure_room(self, sftp: asyncssh.SFTPClient) -> int | None:
        """Bytes that are free there; None where the server cannot tell. Of a full disk OpenSSH says `Failure` only."""
        try:
            found = await sftp.statvfs(self._place.path)
        except asyncssh.SFTPError:
            return None
        return found.bavail * found.frsize

    async def _fill(self, sftp: asyncssh.SFTPClient, path: str, content: bytes) -> None:
        async with sftp.open(path, "wb", asyncssh.SFTPAttrs(permissions=0o600)) as file:
            for offset in range(0, len(content), _PIECE):  # it copies all that it is given
                await file.write(content[offset : offset + _PIECE])
            with suppress(asyncssh.SFTPOpUnsupported):
                await file.fsync()

    async def _open(self, name: str) -> asyncssh.SFTPClientFile:
        async with self._session() as sftp:
            try:
                return await sftp.open(self._locate(name), "rb")
            except _NO_FOLDER_YET:
                raise OffsiteMissing(f"There is no {name} off this machine.") from None

    async def _read(self, file: asyncssh.SFTPClientFile) -> bytes:
        async with self._session():
            return await file.read(_PIECE)

    async def _list(self, folder: str) -> list[StoredObject]:
        found: list[StoredObject] = []
        async with self._session() as sftp:
            await self._require_root(sftp)
            await self._walk(sftp, folder, found)
        return sorted(found, key=lambda item: item.name)

    async def _walk(self, sftp: asyncssh.SFTPClient, folder: str, found: list[StoredObject]) -> None:
        try:
            entries = [entry async for entry in sftp.scandir(self._locate(folder))]
        except _NO_FOLDER_YET:
            return
        for entry in entries:
            name = str(entry.filename)
            below = f"{folder}/{name}".lstrip("/")
            if name.startswith("."):
                continue
            if entry.attrs.type == asyncssh.FILEXFER_TYPE_DIRECTORY:
                await self._walk(sftp, below, found)
            else:
                found.append(StoredObject(below, entry.attrs.size or 0))

    async def _delete(self, name: str) -> None:
        async with self._session() as sftp:
            with suppress(*_NO_FOLDER_YET):
                await sftp.remove(self._locate(name))
            folder = name.rpartition("/")[0]
            while folder:
                try:
                    for entry in await sftp.listdir(self._locate(folder)):
                        if str(entry).startswith(_WRITING):
                            await sftp.remove(f"{self._locate(folder)}/{entry}")
                    await sftp.rmdir(self._locate(folder))
                except asyncssh.SFTPError:
                    break  # something else is in it, or it is gone
                folder = folder.rpartition("/")[0]

    async def _require_root(self, sftp: asyncssh.SFTPClient) -> None:
        if not await sftp.isdir(self._place.path):
            raise OffsiteUnreachable(f"{self._where} has no folder {self._place.path}.")

    def _locate(self, name: str) -> str:
        return f"{self._place.path}/{name}".rstrip("/")

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncssh.SFTPClient]:
        """The client, connected; a connection that fails is let go of, so that the next attempt makes another."""
        try:
            async with self._connecting:
                sftp = self._sftp or await self._connect()
            yield sftp
        except (asyncssh.ConnectionLost, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, OSError):
            await self._disconnect()
            raise

    async def _connect(self) -> asyncssh.SFTPClient:
        place, known = self._place, self._place.known_hosts
        assert known is not None
        self._connection = await asyncssh.connect(
            place.host,
            place.port,
            username=place.user,
            client_keys=[str(place.ssh_key)],
            known_hosts=str(known) if known.is_file() else asyncssh.import_known_hosts(""),
            agent_path=None,
            config=None,
            connect_timeout=15,
            login_timeout=30,
            keepalive_interval=15,
        )
        self._sftp = await self._connection.start_sftp_client()
        return self._sftp

    async def _disconnect(self) -> None:
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.abort()

    # --- from other threads ---

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(_SECONDS):
                return await work

        with self._translated():
            return asyncio.run_coroutine_threadsafe(bounded(), self._loop).result()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (asyncssh.SFTPPermissionDenied, asyncssh.PermissionDenied) as error:
            raise OffsiteRefused(f"{self._where} refuses: {error.reason}.") from None
        except asyncssh.HostKeyNotVerifiable:
            known = self._place.known_hosts
            scan = f"ssh-keyscan -p {self._place.port} {self._place.host} >> {known}"
            raise OffsiteRefused(
                f"{self._where} is not the one that {known} knows.", hint=f"`{scan}`, once you compared its key."
            ) from None
        except asyncssh.Error as error:
            raise OffsiteUnreachable(f"{self._where} fails: {error.reason or type(error).__name__}.") from None
        except (ValueError, asyncssh.KeyImportError):
            raise OffsiteRefused(f"The private key {self._place.ssh_key} cannot be used.") from None
        except TimeoutError:
            raise OffsiteUnreachable(f"{self._where} does not answer.") from None
        except OSError as error:
            raise OffsiteUnreachable(f"{self._where} cannot be reached: {error.strerror or error}.") from None
