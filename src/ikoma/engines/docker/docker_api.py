"""Reads Docker through its API: one cheap request for what is asked, no child process.

The engine may be away, come back or hang: every read answers or raises EngineUnavailable within four seconds. It may
also be busy: while it says on another connection that it is there, an answer is waited for, and may be late.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiodocker
import aiohttp
import orjson

from ikoma.engines.docker.answers import (
    BY_ID,
    NO_SERVICE,
    PROJECT,
    find_gateway,
    is_step,
    make_container,
    make_network,
    make_resource,
    parse_unix_time,
)
from ikoma.engines.docker.containers import Container, ResourceInventory
from ikoma.engines.docker.engine_socket import COULD_NOT_CONNECT, EngineSocket
from ikoma.engines.docker.readable import make_sentence
from ikoma.errors import EngineBusy, EngineUnavailable, IkomaError
from ikoma.kernel.coalesce import Coalesced
from ikoma.ports.runtime import EngineVersion, RestartHistory
from ikoma.ports.volumes import VolumeWriter
from ikoma.readable import make_readable

_SECONDS = 4.0
_PATIENCE = 120.0
"""How long an engine that is there may take for an answer, unless it was given longer."""
_ASKED_AFTER, _SAID_WITHIN = 0.25, 0.7
"""Parts of the time for an answer: when the engine is asked whether it is there, and how long it may take to say so."""
_LOOKUPS = 4
"""Questions to registries at once: more of them hold up the engine itself."""
_VERSION_KEPT = 5.0
_BRIDGE = {"type": ["builtin"], "driver": ["bridge"], "name": ["bridge"]}
_EVENTS = ("start", "die", "stop", "oom", "health_status", "destroy")
_GONE = 404
_SOCKET = "unix://"


@dataclass(slots=True)
class _Patience:
    """Facts that were found out while an answer was waited for."""

    there: bool = False


class DockerApi:
    """Docker's API on one host. Nothing is connected before the first question."""

    def __init__(self, docker_host: str) -> None:
        self._host = docker_host
        self._docker: aiodocker.Docker | None = None
        self._socket = EngineSocket(docker_host.removeprefix(_SOCKET)) if docker_host.startswith(_SOCKET) else None
        self._version: EngineVersion | None = None
        self._version_at = 0.0
        self._root: str | None = None
        self._pings = Coalesced(self._ping)
        self.lookups = asyncio.Semaphore(_LOOKUPS)

    async def close(self) -> None:
        docker, self._docker = self._docker, None
        if docker is not None:
            await docker.close()
        if self._socket is not None:
            self._socket.close()

    @asynccontextmanager
    async def connect(self, seconds: float | None = _SECONDS) -> AsyncIterator[aiodocker.Docker]:
        """The client; a connection that fails inside the block is EngineUnavailable, a refusal an IkomaError.

        Args:
            seconds: how long the block may take; an engine that is there and busy gets more.
        """
        if self._docker is None:
            self._docker = aiodocker.Docker(url=self._host)
        docker, patience = self._docker, _Patience()
        try:
            async with asyncio.timeout(seconds) as limit:
                with self._wait_patiently(patience, limit, seconds):
                    yield docker
        except TimeoutError as error:
            if await self._is_busy(patience, seconds):
                most = max(seconds or 0.0, _PATIENCE)
                raise EngineBusy(f"The Docker Engine is there, but has not done this in {most:g} s.") from error
            raise self._report_away(docker) from error
        except aiohttp.ClientError as error:
            raise self._report_away(docker) from error
        except aiodocker.DockerError as error:
            if error.status == COULD_NOT_CONNECT:
                raise self._report_away(docker) from error
            said = f"The Docker Engine refused: {make_sentence(error.message)}"
            raise IkomaError(said, audit_message="The Docker Engine refused this.") from error

    async def is_there(self) -> bool:
        """Whether the engine says anything at all, whatever it is busy with."""
        return await self._pings.get()

    def _report_away(self, docker: aiodocker.Docker) -> EngineUnavailable:
        docker.api_version = "auto"  # it may come back as another version: then ask it anew
        self._root = None
        return EngineUnavailable(f"The Docker Engine does not answer at {self._host}.")

    async def _is_busy(self, patience: _Patience, seconds: float | None) -> bool:
        """Whether an engine that has not answered in time is there nevertheless."""
        return seconds is not None and (patience.there or (seconds >= _PATIENCE and await self.is_there()))

    @contextmanager
    def _wait_patiently(self, patience: _Patience, limit: asyncio.Timeout, seconds: float | None) -> Iterator[None]:
        """Put the block's limit off for as long as the engine is there, up to a bound."""
        if seconds is None or seconds >= _PATIENCE:
            yield
            return
        putting_off: list[asyncio.Task[None]] = []

        def begin() -> None:  # nearly every answer comes before: then no task is made
            putting_off.append(asyncio.ensure_future(self._put_off(patience, limit, seconds)))

        timer = asyncio.get_running_loop().call_later(seconds * _ASKED_AFTER, begin)
        try:
            yield
        finally:
            timer.cancel()
            for task in putting_off:
                task.cancel()

    async def _put_off(self, patience: _Patience, limit: asyncio.Timeout, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() + _PATIENCE
        while True:
            patience.there = await self.is_there()
            if not patience.there or limit.expired() or loop.time() >= latest:
                return
            limit.reschedule(min(loop.time() + seconds, latest))
            await asyncio.sleep(seconds * _ASKED_AFTER)

    async def _ping(self) -> bool:
        """Ask on a connection of its own: the others may all be waiting."""
        try:
            async with (
                asyncio.timeout(_SECONDS * _SAID_WITHIN),
                aiodocker.Docker(url=self._host) as docker,
                docker._query("_ping", versioned_api=False),
            ):
                return True
        except (aiohttp.ClientError, aiodocker.DockerError, TimeoutError, OSError):
            return False

    async def read_version(self) -> EngineVersion:
        """The engine's version; an answer is kept for a few seconds, a failure is not."""
        if self._version is None or time.monotonic() - self._version_at > _VERSION_KEPT:
            self._version = None
            self._version = await self._ask_version()
            self._version_at = time.monotonic()
        return self._version

    async def find_root(self) -> str:
        """The folder of the engine's images and volumes: asked for once, since the answer takes it long."""
        if self._root is None:
            async with self.connect() as docker:
                self._root = str((await docker.system.info())["DockerRootDir"])
        return self._root

    async def list_containers(self, project: str | None) -> Mapping[str, Sequence[Container]]:
        """Containers by Compose project, of one project or of all."""
        label = PROJECT if project is None else f"{PROJECT}={project}"
        async with self.connect() as docker:
            params = {"all": "1", "filters": json.dumps({"label": [label]})}
            listed = await self._read(docker, "containers/json", params)
            unnamed = [item["Id"] for item in listed if item["Image"].startswith(BY_ID)]
            steps = {identity for identity in unnamed if await self._is_step(docker, identity)}
        found: dict[str, list[Container]] = defaultdict(list)
        for item in listed:
            if item["Id"] not in steps and all(item["Labels"].get(name, "False") == "False" for name in NO_SERVICE):
                found[item["Labels"][PROJECT]].append(make_container(item))
        for group in found.values():
            group.sort(key=lambda container: container.name)
        return found

    async def map_container_owners(self) -> Mapping[str, str]:
        """Names of all containers → their Compose project."""
        async with self.connect() as docker:
            listed = await self._read(docker, "containers/json", {"all": "1"})
        return {
            name.lstrip("/"): (item["Labels"] or {}).get(PROJECT, "") for item in listed for name in item["Names"] or ()
        }

    async def read_last_check(self, identity: str) -> str | None:
        """The output of the last run of a container's healthcheck."""
        checks = ((await self._read_state(identity)).get("Health") or {}).get("Log") or []
        said = str(checks[-1].get("Output", "")).strip() if checks else ""
        return " ".join(make_readable(line) for line in said.splitlines()) or None

    async def has_run_out_of_memory(self, identity: str) -> bool:
        """Whether the kernel has ended a container for want of memory."""
        return bool((await self._read_state(identity)).get("OOMKilled"))

    async def _read_state(self, identity: str) -> Mapping[str, Any]:
        """The engine's account of a container's state; nothing where it is gone."""
        async with self.connect() as docker:
            try:
                shown = await self._read(docker, f"containers/{identity}/json")
            except aiodocker.DockerError as error:
                if error.status == COULD_NOT_CONNECT:
                    raise
                return {}
        return shown["State"] or {}

    async def inspect(self, identity: str) -> Mapping[str, Any] | None:
        """All that the engine says of a container; None where it is gone."""
        async with self.connect() as docker:
            try:
                shown: Mapping[str, Any] = await self._read(docker, f"containers/{identity}/json")
            except aiodocker.DockerError as error:
                if error.status != _GONE:
                    raise
                return None
        return shown

    async def read_restarts(self, identity: str) -> RestartHistory | None:
        """The number of times that the engine started a container again by itself; None where it is gone."""
        shown = await self.inspect(identity)
        if shown is None:
            return None
        made, began = parse_unix_time(shown["Created"]), parse_unix_time(shown["State"]["StartedAt"])
        return RestartHistory(int(shown["RestartCount"]), made, began)

    async def find_pid(self, identity: str) -> int | None:
        """The first process of a container, as this machine numbers it; None where it is gone or does not run."""
        shown = await self.inspect(identity)
        if shown is None:
            return None
        return int(shown["State"]["Pid"]) or None

    async def list_volumes(self, project: str) -> list[str]:
        async with self.connect() as docker:
            filters = json.dumps({"label": [f"{PROJECT}={project}"]})
            listed = await self._read(docker, "volumes", {"filters": filters})
        return sorted(volume["Name"] for volume in listed["Volumes"] or [])

    async def list_writers(self, volume: str) -> list[VolumeWriter]:
        """Containers that have this volume other than read-only, and run or are paused."""
        async with self.connect() as docker:
            listed = await self._read(docker, "containers/json", {"filters": json.dumps({"volume": [volume]})})
        return [
            VolumeWriter(item["Id"], item["Labels"].get(PROJECT, ""), item["State"])
            for item in listed
            if any(mount.get("Name") == volume and mount["RW"] for mount in item["Mounts"])
        ]

    async def map_owners(self) -> Mapping[str, str]:
        return (await self.list_resources()).owners

    async def list_resources(self) -> ResourceInventory:
        """All volumes and networks, by name."""
        async with self.connect() as docker:
            listed, networks = await asyncio.gather(self._read(docker, "volumes"), self._read(docker, "networks"))
        return ResourceInventory(
            {item["Name"]: make_resource(item) for item in listed["Volumes"] or []},
            {item["Name"]: make_network(item) for item in networks},
        )

    @asynccontextmanager
    async def follow_events(self, project: str | None) -> AsyncIterator[AsyncIterator[Any]]:
        """Containers' events of one Compose project or of all; in the block, none is missed until the engine goes."""
        label = PROJECT if project is None else f"{PROJECT}={project}"
        filters = json.dumps({"type": ["container"], "event": _EVENTS, "label": [label]})
        endless = aiohttp.ClientTimeout(total=None, sock_connect=_SECONDS)
        async with self.connect() as docker:
            response = await docker._do_query("events", "GET", params={"filters": filters}, timeout=endless)
        try:
            yield _read_json_lines(response)
        finally:
            response.close()

    async def _read(self, docker: aiodocker.Docker, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Read the answer of the engine there: at every look at an app, so with as little work as it takes."""
        if self._socket is not None:
            await docker._check_version()
            return await self._socket.read(f"{docker.api_version}/{path}", params)
        async with docker._query(path, params=params) as response:
            return orjson.loads(await response.read())

    async def _is_step(self, docker: aiodocker.Docker, identity: str) -> bool:
        try:
            return is_step(await self._read(docker, f"containers/{identity}/json"))
        except aiodocker.DockerError as error:
            if error.status == COULD_NOT_CONNECT:
                raise
            return True  # it is gone

    async def _ask_version(self) -> EngineVersion:
        async with self.connect() as docker:
            version, bridge = await asyncio.gather(docker.version(), docker.networks.list(filters=_BRIDGE))
        return EngineVersion(
            version=version["Version"],
            api=version["ApiVersion"],
            server_address=find_gateway(bridge[0] if bridge else {}),
        )


async def _read_json_lines(response: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    """Each line as it comes, to the end of the connection."""
    pending = b""
    with suppress(aiohttp.ClientError):
        async for piece in response.content.iter_any():
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)
