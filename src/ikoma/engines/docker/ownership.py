"""Users that containers' processes run as, and empty volumes that belong to nobody who could write them.

Docker gives files of containers that were never started, as tar files: so a name of a user is looked up in the image's
own /etc/passwd, and a volume is handed over without a process that would do it. What has content stays as it is.
"""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections.abc import Iterator

import aiodocker

from ikoma.engines.docker.answers import PROJECT
from ikoma.engines.docker.archive import hold_volume
from ikoma.engines.docker.containers import Owner
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.engines.docker.engine_socket import COULD_NOT_CONNECT

_SECONDS = 60.0
_MOST_BYTES = 1 << 20
_MOST_LINKS = 3
_LARGEST_ID = (1 << 31) - 1
_NUMBER = re.compile(r"[0-9]{1,10}")
_TAR = {"Content-Type": "application/x-tar"}
_FEW = 64 << 10
"""Enough of a folder's tar file to tell whose it is, and whether something is in it."""


async def find_writer(api: DockerApi, identity: str) -> Owner | None:
    """The user that a container's processes run as; None where they write no mount, or its image does not say who."""
    async with api.connect(_SECONDS) as docker:
        shown = await docker.containers.container(identity).show()
        if not any(mount.get("RW") for mount in shown.get("Mounts") or []):
            return None
        name, _, group = str((shown["Config"] or {}).get("User") or "0").partition(":")
        people = list(_list_entries(await _read_file(docker, identity, "/etc/passwd")))
        groups = list(_list_entries(await _read_file(docker, identity, "/etc/group"))) if group else []
    found = next((entry for entry in people if name in (entry[0], entry[2])), None)
    uid = name if _NUMBER.fullmatch(name) else found[2] if found else ""
    if group and not _NUMBER.fullmatch(group):
        gid = next((entry[2] for entry in groups if entry[0] == group), "")
    else:
        gid = group or (found[3] if found else "0")
    if not all(_NUMBER.fullmatch(number) and int(number) <= _LARGEST_ID for number in (uid, gid)):
        return None
    return Owner(int(uid), int(gid))


async def give_volumes(api: DockerApi, identity: str, owner: Owner) -> None:
    """Give a container's volumes that are empty and root's to an owner; the container was not started yet."""
    async with api.connect(_SECONDS) as docker:
        shown = await docker.containers.container(identity).show()
        for mount in shown.get("Mounts") or []:
            if mount.get("Type") == "volume" and mount.get("RW"):
                place = str(mount["Destination"])
                folder = await _find_empty_of_root(docker, identity, place)
                if folder is not None and (shown.get("HostConfig") or {}).get("ReadonlyRootfs"):
                    project = str(shown["Config"]["Labels"].get(PROJECT))
                    async with hold_volume(docker, project, str(mount["Name"])) as (other, inside):
                        await _give_folder(docker, other, inside, folder, owner)
                elif folder is not None:
                    await _give_folder(docker, identity, place, folder, owner)


async def _find_empty_of_root(docker: aiodocker.Docker, identity: str, place: str) -> tarfile.TarInfo | None:
    """A folder in a container that is empty and only root's to write."""
    headers = _read_headers(await _read(docker, identity, place, _FEW))
    if len(headers) != 1:  # it is not there, or something is in it
        return None
    [folder] = headers
    return folder if folder.isdir() and (folder.uid, folder.gid) == (0, 0) and not folder.mode & 0o002 else None


async def _give_folder(
    docker: aiodocker.Docker, identity: str, place: str, folder: tarfile.TarInfo, owner: Owner
) -> None:
    """Write the folder anew, from the one above it, as somebody else's: what is in it would stay."""
    above, name = posixpath.split(posixpath.normpath(place))
    entry = tarfile.TarInfo(f"{name}/")
    entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, folder.mode & 0o7777, folder.mtime
    entry.uid, entry.gid = owner.uid, owner.gid
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(entry)
    async with docker._query(
        f"containers/{identity}/archive",
        method="PUT",
        params={"path": above},
        data=content.getvalue(),
        headers=_TAR,
    ):
        return


async def _read_file(docker: aiodocker.Docker, identity: str, path: str) -> str:
    """The text of a file in a container; empty where there is none."""
    for _ in range(_MOST_LINKS):
        content = await _read(docker, identity, path, _MOST_BYTES)
        headers = _read_headers(content)
        if not headers:
            return ""
        if not headers[0].issym():
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                try:
                    file = archive.extractfile(headers[0])
                    return file.read().decode(errors="replace") if file else ""
                except tarfile.TarError:  # it is larger than any such file
                    return ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), headers[0].linkname))
    return ""


async def _read(docker: aiodocker.Docker, identity: str, path: str, limit: int) -> bytes:
    """The beginning of the tar file of a path in a container; empty where there is nothing."""
    try:
        async with docker._query(f"containers/{identity}/archive", params={"path": path}) as response:
            content = b""
            while len(content) < limit and (piece := await response.content.read(limit - len(content))):
                content += piece
            response.close()  # the engine would wait for a reader of the rest, and hold the container meanwhile
            return content
    except aiodocker.DockerError as error:
        if error.status == COULD_NOT_CONNECT:
            raise
        return b""


def _read_headers(content: bytes) -> list[tarfile.TarInfo]:
    """The first two entries of a tar file that may be cut off."""
    found: list[tarfile.TarInfo] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            while len(found) < 2 and (entry := archive.next()) is not None:
                found.append(entry)
    except tarfile.TarError:
        return found
    return found


def _list_entries(text: str) -> Iterator[tuple[str, str, str, str]]:
    """(name, password, number, number of the group) of each line of /etc/passwd; /etc/group has no fourth."""
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) >= 4:
            yield parts[0], parts[1], parts[2], parts[3]
