"""Writes a volume's content to a tar file, and back: streamed, whole or not at all, whether its app runs or not.

Docker gives and takes files only of containers, so one that mounts the volume is asked; where there is none, one is
made, never started, and removed.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import aiodocker
import aiohttp

from ikoma.durable import open_whole_file
from ikoma.engines.docker.answers import PROJECT
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.errors import AppNameTaken, BackupFailed
from ikoma.ports.volumes import ResourceInfo

_LABEL = "ikoma.reads-volume"
_PLACE = "/ikoma-volume"
_SILENCE = 60.0
_LONGEST_FLUSH = 600.0
"""Seconds that Docker may take to write the last of a volume."""
_PIECE = 1 << 20
_END = 1024
"""A tar file ends with two blocks of zeros."""


async def save_volume(api: DockerApi, project: str, volume: str, target: Path) -> int:
    """Write the volume to `target`, its own folder being `./`; the size in bytes."""
    async with api.connect() as docker:
        await _remove_leftovers(docker, project)
        mounted = await _find_mounted(docker, volume)
        identity, place = mounted or (await _make_holder(docker, project, volume), _PLACE)
    try:
        return await _stream(api, volume, identity, place, target)
    finally:
        if mounted is None:
            async with api.connect() as docker:
                await _remove(docker, identity)


async def load_volume(api: DockerApi, project: str, volume: str, made: ResourceInfo, source: Path) -> None:
    """Make the volume as it was made before, and fill it from the tar file; what is half filled is removed again."""
    async with api.connect() as docker:
        if volume in await _list_volumes(docker):
            raise AppNameTaken(f"There is a volume {volume} already, and it stays as it is.")
        wanted = {"Name": volume, "Driver": made.driver, "DriverOpts": {**made.options}, "Labels": {**made.labels}}
        await docker._query_json("volumes/create", "POST", data=wanted)
    try:
        async with api.connect(None) as docker, hold_volume(docker, project, volume) as (identity, place):
            with source.open("rb") as content:
                await _put(docker, identity, place, content)
            # Docker passes over what an archive says of the place itself.
            top = await asyncio.to_thread(_describe_top, source, place)
            await _put(docker, identity, "/", top)
    except BaseException:
        await asyncio.shield(_remove_volume(api, volume))
        raise


async def release_volume(api: DockerApi, volume: str) -> None:
    """Remove the containers of a killed process that were made to reach a volume, and keep it from being removed."""
    async with api.connect() as docker:
        filters = json.dumps({"label": [_LABEL], "volume": [volume]})
        for item in await docker._query_json("containers/json", params={"all": "1", "filters": filters}):
            await _remove(docker, item["Id"])


async def list_holders(api: DockerApi, project: str, volume: str) -> list[str]:
    """Names of containers of other projects that have a volume, whatever their state; not those made here."""
    query = {"all": "1", "filters": json.dumps({"volume": [volume]})}
    async with api.connect() as docker:
        listed = await docker._query_json("containers/json", params=query)
    return [
        str(item["Names"][0]).removeprefix("/")
        for item in listed
        if item["Labels"].get(PROJECT) != project and _LABEL not in item["Labels"]
    ]


async def _put(docker: aiodocker.Docker, identity: str, place: str, content: BinaryIO | bytes) -> None:
    query = docker._query(
        f"containers/{identity}/archive",
        "PUT",
        params={"path": place},
        data=content,
        headers={"Content-Type": "application/x-tar"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=4, sock_read=_LONGEST_FLUSH),
    )
    async with query:
        pass


def _describe_top(source: Path, place: str) -> bytes:
    """Make an archive of the volume's own folder alone: its owner, mode and time."""
    made = io.BytesIO()
    with tarfile.open(source) as saved, tarfile.open(fileobj=made, mode="w") as archive:
        first = saved.next()
        if first is not None and first.isdir() and first.name in (".", "./"):
            first.name = place.lstrip("/")
            archive.addfile(first)
    return made.getvalue()


async def _remove_volume(api: DockerApi, volume: str) -> None:
    async with api.connect() as docker, docker._query(f"volumes/{volume}", "DELETE", params={"force": "1"}):
        pass


@asynccontextmanager
async def hold_volume(docker: aiodocker.Docker, project: str, volume: str) -> AsyncIterator[tuple[str, str]]:
    """A container that is never started and mounts a volume, and where; it is gone after the block."""
    await _remove_leftovers(docker, project)
    identity = await _make_holder(docker, project, volume)
    try:
        yield identity, _PLACE
    finally:
        await _remove(docker, identity)


async def _find_mounted(docker: aiodocker.Docker, volume: str) -> tuple[str, str] | None:
    """A container that mounts the volume, and where; none that has another mount inside that place."""
    filters = json.dumps({"volume": [volume]})
    for item in await docker._query_json("containers/json", params={"all": "1", "filters": filters}):
        places = [mount["Destination"] for mount in item["Mounts"]]
        for mount in item["Mounts"]:
            place = str(mount["Destination"])
            inside = any(other.startswith(f"{place.rstrip('/')}/") for other in places)
            if mount.get("Name") == volume and not inside:
                return item["Id"], place
    return None


async def _make_holder(docker: aiodocker.Docker, project: str, volume: str) -> str:
    if volume not in await _list_volumes(docker):
        raise BackupFailed(f"There is no volume {volume}.")  # Docker would make one
    images = await docker.images.list()
    if not images:
        raise BackupFailed(
            f"The volume {volume} cannot be reached: no container mounts it, and there is no image to make one of.",
            hint="Pull or build any image on the server, then try again; the volume is untouched.",
        )
    mount = {"Type": "volume", "Source": volume, "Target": _PLACE, "VolumeOptions": {"NoCopy": True}}
    config = {
        "Image": images[0]["Id"],
        "Cmd": ["never-started"],
        "Labels": {_LABEL: project},
        "HostConfig": {"Mounts": [mount], "NetworkMode": "none"},
    }
    created: dict[str, Any] = await docker._query_json("containers/create", "POST", data=config)
    return str(created["Id"])


async def _list_volumes(docker: aiodocker.Docker) -> list[str]:
    known = await docker._query_json("volumes")
    return [str(item["Name"]) for item in known["Volumes"] or []]


async def _remove(docker: aiodocker.Docker, identity: str) -> None:
    """Remove a container with the anonymous volumes that its image asked for."""
    async with docker._query(f"containers/{identity}", "DELETE", params={"force": "1", "v": "1"}):
        pass


async def _remove_leftovers(docker: aiodocker.Docker, project: str) -> None:
    """Remove what a killed process could not: it would keep the volume in use."""
    filters = json.dumps({"label": [f"{_LABEL}={project}"]})
    for item in await docker._query_json("containers/json", params={"all": "1", "filters": filters}):
        await _remove(docker, item["Id"])


async def _stream(api: DockerApi, volume: str, identity: str, place: str, target: Path) -> int:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=4, sock_read=_SILENCE)
    with open_whole_file(target, mode=0o600) as stream:
        async with api.connect(None) as docker:
            query = docker._query(f"containers/{identity}/archive", params={"path": f"{place}/."}, timeout=timeout)
            async with query as response:
                size = await _copy(response, stream)
        if not _is_complete(stream, size):
            raise BackupFailed(f"The volume {volume} could not be read to its end.")
        await asyncio.to_thread(_flush, stream)
    return size


async def _copy(response: aiohttp.ClientResponse, stream: BinaryIO) -> int:
    """Pass pieces on through a thread, so that a slow disk holds up nobody else."""
    pending, size = bytearray(), 0
    async for piece in response.content.iter_any():
        pending += piece
        if len(pending) >= _PIECE:
            size += await asyncio.to_thread(stream.write, bytes(pending))
            pending.clear()
    return size + await asyncio.to_thread(stream.write, bytes(pending))


def _is_complete(stream: BinaryIO, size: int) -> bool:
    """Docker ends an answer properly even when reading the files failed half-way; the file then lacks its end."""
    stream.flush()
    with open(f"/proc/self/fd/{stream.fileno()}", "rb") as written:
        written.seek(max(0, size - _END))
        return size >= _END and written.read() == bytes(_END)


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
