"""Looks at Compose projects that somebody else runs on this machine, and stops, starts and asks their containers."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import aiodocker
import aiohttp

from ikoma.durable import open_whole_file
from ikoma.engines.docker import control
from ikoma.engines.docker.answers import PROJECT
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.ports.projects import ComposeProject, ProjectContainer, ProjectMount

_ONE_OFF = "com.docker.compose.oneoff"
_OWN = frozenset(("ikoma.configuration", "ikoma.rollout", "ikoma.release"))
"""Labels of containers that IKOMA made."""
_SECONDS = 60.0
_SILENCE = 3600.0
_GONE = 404
_FRAME = 8
_MOST_SAID = 2000
_NEVER = "0001-"


class DockerProjects:
    """The Compose projects of one Docker Engine."""

    def __init__(self, api: DockerApi) -> None:
        self._api = api

    async def list_all(self) -> Sequence[ComposeProject]:
        filters = json.dumps({"label": [PROJECT]})
        found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        async with self._api.connect(_SECONDS) as docker:
            listed = await docker._query_json("containers/json", params={"all": "1", "filters": filters})
            for item in listed:
                if item["Labels"].get(_ONE_OFF, "False") == "False":
                    try:
                        shown = await docker.containers.container(item["Id"]).show()
                    except aiodocker.DockerError as error:
                        if error.status != _GONE:
                            raise
                        continue
                    found[item["Labels"][PROJECT]].append(shown)
        return [_make_project(name, found[name]) for name in sorted(found)]

    async def stop(self, container: str) -> None:
        await control.stop(self._api, container)

    async def start(self, container: str) -> None:
        await control.start(self._api, container)

    async def set_restart(self, container: str, policy: str) -> None:
        name, _, times = policy.partition(":")
        body = {"RestartPolicy": {"Name": name, "MaximumRetryCount": int(times or 0)}}
        await self._post(f"containers/{container}/update", (_GONE,), body)

    async def read_variables(self, container: str) -> Mapping[str, str]:
        shown = await self._api.inspect(container) or {}
        given = (shown.get("Config") or {}).get("Env") or []
        return dict(item.split("=", 1) for item in given if "=" in item)

    async def run_inside(
        self, container: str, command: Sequence[str], variables: Mapping[str, str], output: Path, *, timeout: float
    ) -> tuple[int, str]:
        body = {
            "AttachStdout": True,
            "AttachStderr": True,
            "Cmd": list(command),
            "Env": [f"{name}={value}" for name, value in variables.items()],
        }
        endless = aiohttp.ClientTimeout(total=None, sock_connect=4, sock_read=_SILENCE)
        async with asyncio.timeout(timeout), self._api.connect(None) as docker:
            made = await docker._query_json(f"containers/{container}/exec", "POST", data=body)
            begin = {"Detach": False, "Tty": False}
            query = docker._query(
                f"exec/{made['Id']}/start", "POST", data=json.dumps(begin), headers=_JSON, timeout=endless
            )
            with open_whole_file(output, mode=0o600) as stream:
                async with query as response:
                    said = await _take_apart(response, stream)
            ended = await docker._query_json(f"exec/{made['Id']}/json")
        return int(ended["ExitCode"] if ended["ExitCode"] is not None else -1), said

    async def _post(self, path: str, accepted: tuple[int, ...], body: Mapping[str, Any] | None = None) -> None:
        async with self._api.connect(_SECONDS) as docker:
            try:
                async with docker._query(path, "POST", data=json.dumps(body or {}), headers=_JSON):
                    return
            except aiodocker.DockerError as error:
                if error.status not in accepted:
                    raise


_JSON = {"Content-Type": "application/json"}


async def _take_apart(response: aiohttp.ClientResponse, stream: BinaryIO) -> str:
    """Write standard output to the file, and return the end of standard error."""
    said = b""
    while True:
        try:
            head = await response.content.readexactly(_FRAME)
        except asyncio.IncompleteReadError:
            return said.decode(errors="replace").strip()
        left = int.from_bytes(head[4:])
        while left and (piece := await response.content.read(left)):
            left -= len(piece)
            if head[0] == 1:
                await asyncio.to_thread(stream.write, piece)
            else:
                said = (said + piece)[-_MOST_SAID:]


def _make_project(name: str, shown: Sequence[Mapping[str, Any]]) -> ComposeProject:
    containers = sorted((_make_container(item) for item in shown), key=lambda item: (item.started_at, item.name))
    labels = max(shown, key=lambda item: str(item["Created"]))["Config"]["Labels"]

    def split(key: str) -> tuple[str, ...]:
        return tuple(part for part in str(labels.get(f"{PROJECT}.{key}", "")).split(",") if part)

    folder = str(labels.get(f"{PROJECT}.working_dir", ""))
    return ComposeProject(name, folder, split("config_files"), split("environment_file"), tuple(containers))


def _make_container(shown: Mapping[str, Any]) -> ProjectContainer:
    labels = shown["Config"].get("Labels") or {}
    host = shown.get("HostConfig") or {}
    policy = host.get("RestartPolicy") or {}
    name, times = policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0
    started = str(shown["State"].get("StartedAt") or "")
    bound = (item for items in (host.get("PortBindings") or {}).values() for item in items or ())
    wanted = [str(item.get("HostPort") or "") for item in bound]
    return ProjectContainer(
        id=shown["Id"],
        name=shown["Name"].lstrip("/"),
        service=labels.get("com.docker.compose.service", ""),
        state=shown["State"]["Status"],
        restart=f"{name}:{times}" if name == "on-failure" and times else name,
        started_at="" if started.startswith(_NEVER) else started,
        ports=tuple(sorted({int(port) for port in wanted if port.isdigit()})),
        mounts=tuple(
            ProjectMount(
                str(mount.get("Type")),
                str(mount.get("Name") or mount.get("Source") or ""),
                str(mount.get("Destination")),
                bool(mount.get("RW")),
            )
            for mount in shown.get("Mounts") or ()
        ),
        is_platforms=not _OWN.isdisjoint(labels),
    )
