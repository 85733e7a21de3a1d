"""Runs a command once, in a container of its own that is made as another one is.

It gets that one's image, variables, mounts, networks and limits, so all that was checked of it holds. It publishes no
port, is found under no name of its service, belongs to no service as far as others look, and is removed at the end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiodocker

from ikoma.engines.docker import control, log_lines, log_stream
from ikoma.engines.docker.answers import PROJECT
from ikoma.engines.docker.containers import CommandResult, ContainerNotStarted
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.engines.docker.engine_socket import COULD_NOT_CONNECT
from ikoma.engines.docker.readable import make_sentence

_MAKE_SECONDS, _END_SECONDS = 60.0, 10
_PAUSE = 0.2
_KEPT = ("Entrypoint", "Env", "Image", "StopSignal", "User", "WorkingDir")
_NOT_SHARED = ("Binds", "ContainerIDFile", "Links", "PortBindings", "PublishAllPorts")
_LOG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}

OnLine = Callable[[str], Awaitable[None]]


async def run_once(
    api: DockerApi, project: str, like: str, command: Sequence[str], *, name: str, on_line: OnLine, timeout: float
) -> CommandResult:
    """Run a command to its end, or to the end of its time; how it ended.

    Args:
        like: the id of the container that its own is made as.
        name: of its own container; whoever is killed meanwhile removes that.

    Raises:
        NotStarted: the engine cannot start it.
        TimeoutError: it took longer, and was ended.
    """
    try:
        identity = await _make(api, project, like, command, name)
        async with asyncio.timeout(timeout):
            await control.start(api, identity)
            return await _follow(api, identity, on_line)
    except TimeoutError:
        await control.stop(api, name, seconds=_END_SECONDS)
        raise
    finally:
        await asyncio.shield(control.remove(api, name, volumes=False))


async def _follow(api: DockerApi, identity: str, on_line: OnLine) -> CommandResult:
    """Hand each line over until the container has ended; a stream that breaks before is taken up after its last line.

    Docker ends the stream when the program ends, and may write its last words down only then.
    """
    since = "0"
    while True:
        state = (await _inspect(api, identity))["State"]
        async for line in log_stream.follow(api, identity, since=since):
            since = log_lines.format_after(line)
            await on_line(line.text)
        if state["Status"] in ("exited", "dead"):
            return CommandResult(int(state["ExitCode"]), out_of_memory=bool(state.get("OOMKilled")))
        await asyncio.sleep(_PAUSE)


async def _make(api: DockerApi, project: str, like: str, command: Sequence[str], name: str) -> str:
    shown = await _inspect(api, like)
    networks = list((shown.get("NetworkSettings") or {}).get("Networks") or {})
    body = {
        **{key: shown["Config"].get(key) for key in _KEPT},
        "Cmd": list(command),
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": _make_labels(shown["Config"].get("Labels") or {}, project),
        "HostConfig": _make_host_config(shown, networks),
    }
    async with api.connect(_MAKE_SECONDS) as docker:
        try:
            made = await docker._query_json("containers/create", "POST", params={"name": name}, data=json.dumps(body))
        except aiodocker.DockerError as error:
            if error.status == COULD_NOT_CONNECT:
                raise
            raise ContainerNotStarted(make_sentence(error.message)) from error
    for network in networks[1:]:
        await control.connect(api, network, made["Id"], [])
    return str(made["Id"])


def _make_labels(labels: Mapping[str, str], project: str) -> dict[str, str]:
    """Labels that say whose the container is: as what Compose itself runs once, it is none of the service's."""
    kept = ("com.docker.compose.project.working_dir", "com.docker.compose.service")
    return {
        PROJECT: project,
        "com.docker.compose.oneoff": "True",
        **{key: labels[key] for key in kept if key in labels},
    }


def _make_host_config(shown: Mapping[str, Any], networks: Sequence[str]) -> dict[str, Any]:
    """The limits and the place of a container, with all its mounts and without what only one can have."""
    own = {key: value for key, value in shown["HostConfig"].items() if key not in _NOT_SHARED}
    mode = str(own.get("NetworkMode") or "")
    return {
        **own,
        "AutoRemove": False,
        "LogConfig": _LOG,
        "Mounts": [mount for mount in own.get("Mounts") or [] if mount.get("Type") == "tmpfs"],
        # It may have left the network that it was made in.
        "NetworkMode": networks[0] if networks else mode,
        "RestartPolicy": {"Name": "no"},
        "VolumesFrom": [shown["Id"]],
    }


async def _inspect(api: DockerApi, identity: str) -> Mapping[str, Any]:
    async with api.connect() as docker:
        found: Mapping[str, Any] = await docker.containers.container(identity).show()
    return found
