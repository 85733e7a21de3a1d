"""Reads Docker through its API: one cheap request for what is asked, no child process.

The engine may be away, come back or hang: every read answers or raises EngineUnavailable within four seconds.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp
import psutil
from aiodocker.containers import DockerContainer

from ikoma.durable import whole_file
from ikoma.errors import EngineUnavailable, IkomaError
from ikoma.ports import Container, EngineVersion

_SECONDS = 4.0
_LONGEST_LINE = 2000
_PROJECT = "com.docker.compose.project"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class DockerApi:
    """Docker's API on one host."""

    def __init__(self, docker_host: str) -> None:
        self._host = docker_host
        self._client: aiodocker.Docker | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    @asynccontextmanager
    async def client(self, seconds: float | None = _SECONDS) -> AsyncIterator[aiodocker.Docker]:
        """The client; what goes wrong with the connection inside the block is EngineUnavailable."""
        if self._client is None:
            # A version in the path is refused by engines that are older or much newer; without one each takes its own.
            self._client = aiodocker.Docker(url=self._host)
        try:
            async with asyncio.timeout(seconds):
                yield self._client
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await self.close()
            raise EngineUnavailable(f"The Docker Engine does not answer at {self._host}.") from error
        except aiodocker.DockerError as error:
            if error.status == 900:  # aiodocker's own: it could not connect
                raise EngineUnavailable(f"The Docker Engine failed: {error.message}.") from error
            raise

    async def version(self) -> EngineVersion:
        async with self.client() as docker:
            version, system, network = await asyncio.gather(
                docker.version(), docker.system.info(), docker.networks.get("bridge")
            )
            shown = await network.show()
        return EngineVersion(
            version=version["Version"],
            api=version["ApiVersion"],
            root=system["DockerRootDir"],
            gateway=_gateway(shown),
        )

    async def containers(self, project: str | None) -> Mapping[str, Sequence[Container]]:
        """Containers by Compose project, of one project or of all."""
        label = _PROJECT if project is None else f"{_PROJECT}={project}"
        async with self.client() as docker:
            listed = await docker.containers.list(all=True, filters={"label": [label]})
        found: dict[str, list[Container]] = defaultdict(list)
        for item in listed:
            if item["Labels"].get("com.docker.compose.oneoff") != "True":
                found[item["Labels"][_PROJECT]].append(_container(item))
        for group in found.values():
            group.sort(key=lambda container: container.name)
        return found

    async def logs(self, identity: str, lines: int) -> list[str]:
        async with self.client() as docker:
            text = await docker.containers.container(identity).log(stdout=True, stderr=True, tail=lines)
        return [_CONTROL.sub("", line.rstrip("\n"))[:_LONGEST_LINE] for line in text][-lines:]

    async def image_present(self, reference: str) -> bool:
        try:
            async with self.client() as docker:
                await docker.images.inspect(reference)
        except aiodocker.DockerError:
            return False
        return True

    async def image_obtainable(self, reference: str) -> str | None:
        """None when the image's registry would give it, else why not. Takes at most five seconds."""
        try:
            async with self.client(5.0) as docker:
                await docker._query_json(f"distribution/{reference}/json")
        except aiodocker.DockerError as error:
            if error.status in (401, 403):
                return "its registry says there is no such image, or that it takes a login."
            return f"its registry does not have it ({error.message})." if error.status == 404 else f"{error.message}."
        except EngineUnavailable as error:
            await self.version()  # the engine itself is away: that is the answer
            return f"its registry cannot be reached ({error.message})"
        return None

    async def volumes(self, project: str) -> list[str]:
        async with self.client() as docker:
            filters = {"label": [f"{_PROJECT}={project}"]}
            listed = await docker.volumes.list(filters=filters)  # type: ignore[no-untyped-call]
        return sorted(volume["Name"] for volume in listed["Volumes"] or [])

    async def save_volume(self, project: str, volume: str, target: Path) -> int:
        """Write a volume's content to `target` as a tar file; its size in bytes."""
        async with self.client(None) as docker:
            holder, place, temporary = await self._holder(docker, project, volume)
            try:
                return await self._archive(holder, place, target)
            finally:
                if temporary:
                    await holder.delete(force=True)

    async def _holder(self, docker: aiodocker.Docker, project: str, volume: str) -> tuple[DockerContainer, str, bool]:
        """A container that mounts the volume, where, and whether it was made for that."""
        for item in await docker.containers.list(all=True, filters={"volume": [volume]}):
            for mount in item["Mounts"]:
                if mount.get("Name") == volume:
                    return item, mount["Destination"], False
        images = await docker.images.list()
        if not images:
            raise IkomaError(f"The volume {volume} cannot be read: there is no image to mount it with.")
        config = {
            "Image": images[0]["Id"],
            "Cmd": ["true"],
            "Labels": {"ikoma.reads-volume": project},
            "HostConfig": {"Mounts": [{"Type": "volume", "Source": volume, "Target": "/ikoma-volume"}]},
        }
        return await docker.containers.create(config=config), "/ikoma-volume", True

    async def _archive(self, holder: DockerContainer, place: str, target: Path) -> int:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        query = holder.docker._query(f"containers/{holder.id}/archive", params={"path": place}, timeout=timeout)
        with whole_file(target, mode=0o600) as stream:
            async with query as response:
                async for chunk in response.content.iter_chunked(1 << 20):
                    stream.write(chunk)
            return stream.tell()


def _gateway(bridge: Mapping[str, Any]) -> str | None:
    """This machine's IPv4 address on the bridge; older engines do not say it, its interface does."""
    said = [item.get("Gateway") for item in (bridge.get("IPAM") or {}).get("Config") or []]
    interface = (bridge.get("Options") or {}).get("com.docker.network.bridge.name", "docker0")
    has = [item.address for item in psutil.net_if_addrs().get(interface, []) if item.family == socket.AF_INET]
    return next((address for address in (*said, *has) if address and ":" not in address), None)


def _container(item: DockerContainer) -> Container:
    labels, state = item["Labels"], item["State"]
    networks = (item["NetworkSettings"] or {}).get("Networks") or {}
    exited = re.match(r"(?:Exited|Restarting) \((\d+)\)", item["Status"])
    health = re.search(r"\((?:health: )?(healthy|unhealthy|starting)\)", item["Status"])
    return Container(
        id=item["Id"],
        name=item["Names"][0].lstrip("/"),
        service=labels.get("com.docker.compose.service", ""),
        state=state,
        health=health[1] if health else None,
        exit_code=int(exited[1]) if exited else None,
        image=item["Image"],
        created_at=datetime.fromtimestamp(item["Created"], UTC).isoformat().replace("+00:00", "Z"),
        working_dir=labels.get("com.docker.compose.project.working_dir"),
        addresses=tuple(network["IPAddress"] for network in networks.values() if network.get("IPAddress")),
        published=tuple(
            dict.fromkeys(
                (port.get("IP", ""), port["PublicPort"], port["PrivatePort"])
                for port in item["Ports"]
                if port.get("PublicPort") and port.get("Type") == "tcp"
            )
        ),
        one_shot=labels.get("ikoma.one-shot") == "true",
        config_hash=labels.get("com.docker.compose.config-hash"),
    )
