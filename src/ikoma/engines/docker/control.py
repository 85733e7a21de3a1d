"""Changes single containers and networks through Docker's API: what Compose only does to whole projects.

Each act is done when it returns, and doing it again changes nothing: a container that already runs is started, one
that is gone is removed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import aiodocker

from ikoma.engines.docker.answers import HIDES, PASSES, is_step
from ikoma.engines.docker.containers import AnonymousVolume, ContainerNotStarted
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.engines.docker.engine_socket import COULD_NOT_CONNECT
from ikoma.engines.docker.readable import make_sentence
from ikoma.ports.images import Image

_START_SECONDS = 120.0
_STOP_SECONDS = 3700.0
_REMOVE_SECONDS = 60.0
_PAUSE, _LOOKS = 0.2, 25
_GONE, _UNCHANGED, _CONFLICT = 404, 304, 409
_JSON = {"Content-Type": "application/json"}


async def start(api: DockerApi, identity: str) -> None:
    """Start a container; NotStarted, with the engine's own reason, where it cannot be."""
    async with api.connect(_START_SECONDS) as docker:
        try:
            await docker.containers.container(identity).start()
            return
        except aiodocker.DockerError as error:
            if error.status == _UNCHANGED:
                return
            if error.status == COULD_NOT_CONNECT:
                raise
            raise ContainerNotStarted(make_sentence(error.message)) from error


async def stop(api: DockerApi, identity: str, *, seconds: int | None = None) -> None:
    """Ask a container to end, and end it when its time to stop is over: its own where none is given."""
    query = "" if seconds is None else f"?t={seconds}"
    await _post(api, f"containers/{identity}/stop{query}", _STOP_SECONDS, (_UNCHANGED, _GONE))


async def unpause(api: DockerApi, identity: str) -> None:
    """Let a paused container go on; one that is not paused stays as it is."""
    await _post(api, f"containers/{identity}/unpause", _REMOVE_SECONDS, (_CONFLICT, _GONE))


async def pause(api: DockerApi, identity: str) -> None:
    """Hold a container's processes still; one that is paused already or does not run stays as it is."""
    shown = await api.inspect(identity)
    if shown is not None and shown["State"]["Running"] and not shown["State"]["Paused"]:
        await _post(api, f"containers/{identity}/pause", _REMOVE_SECONDS, (_CONFLICT, _GONE))


async def kill(api: DockerApi, identity: str) -> None:
    """End a container at once."""
    await _post(api, f"containers/{identity}/kill", _REMOVE_SECONDS, (_CONFLICT, _GONE))


async def rename(api: DockerApi, identity: str, name: str) -> None:
    """Give a container a name; one that has it keeps it."""
    async with api.connect() as docker:
        await docker.containers.container(identity).rename(name)


async def remove(api: DockerApi, identity: str, *, volumes: bool) -> None:
    """Remove a container, running or not, and the volumes without a name that are its alone when asked."""
    params = {"force": "1", "v": "1" if volumes else "0"}
    async with api.connect(_REMOVE_SECONDS) as docker:
        try:
            async with docker._query(f"containers/{identity}", method="DELETE", params=params):
                return
        except aiodocker.DockerError as error:
            if error.status not in (_GONE, _CONFLICT):  # 409: its removal is under way
                raise


async def connect(api: DockerApi, network: str, identity: str, aliases: Sequence[str]) -> None:
    """Join a container to a network under these names; one that is in it already stays as it is."""
    body = {"Container": identity, "EndpointConfig": {"Aliases": list(aliases)}}
    async with api.connect() as docker:
        try:
            async with docker._query(
                f"networks/{network}/connect", method="POST", data=json.dumps(body), headers=_JSON
            ):
                return
        except aiodocker.DockerError as error:
            if "already exists in network" not in error.message:
                raise


async def disconnect(api: DockerApi, network: str, identity: str) -> None:
    """Take a container out of a network."""
    body = {"Container": identity, "Force": True}
    async with api.connect() as docker:
        try:
            async with docker._query(
                f"networks/{network}/disconnect", method="POST", data=json.dumps(body), headers=_JSON
            ):
                return
        except aiodocker.DockerError as error:
            if error.status != _GONE and "is not connected" not in error.message:
                raise


async def list_networks(api: DockerApi, project: str) -> list[str]:
    """Names of the networks of a Compose project."""
    async with api.connect() as docker:
        listed = await docker.networks.list(filters={"label": [f"com.docker.compose.project={project}"]})
    return sorted(network["Name"] for network in listed)


async def remove_network(api: DockerApi, name: str) -> bool:
    """Remove a network; False where containers are still in it."""
    async with api.connect(_REMOVE_SECONDS) as docker:
        try:
            async with docker._query(f"networks/{name}", method="DELETE"):
                return True
        except aiodocker.DockerError as error:
            if error.status == _GONE:
                return True
            if error.status == 403:
                return False
            raise


async def list_anonymous_volumes(api: DockerApi, identity: str) -> list[AnonymousVolume]:
    """The volumes without a name that a container has its data in, as its image declares them; none once it is gone."""
    shown = await api.inspect(identity) or {}
    return [
        AnonymousVolume(mount["Name"], mount["Destination"])
        for mount in shown.get("Mounts") or []
        if mount.get("Type") == "volume" and _is_anonymous(str(mount.get("Name")))
    ]


async def remove_volume(api: DockerApi, name: str) -> None:
    """Remove a volume; one that a container has stays."""
    await _delete_unused(api, f"volumes/{name}")


async def find_image(api: DockerApi, reference: str) -> Image | None:
    """The image that a name stands for now; None where it is not here."""
    async with api.connect() as docker:
        try:
            shown: Mapping[str, Any] = await docker.images.inspect(reference)
        except aiodocker.DockerError as error:
            if error.status not in (400, _GONE):
                raise
            return None
    config = shown.get("Config") or {}
    triggers = tuple(config.get("OnBuild") or ())
    labels = config.get("Labels") or {}
    hidden, passes = (label if label in labels else "" for label in (HIDES, PASSES))
    return Image(str(shown["Id"]), hidden, passes, triggers, str(config.get("User") or ""))


async def tag(api: DockerApi, image: str, name: str) -> None:
    """Give an image one more name, `repository:tag`."""
    repository, _, label = name.rpartition(":")
    async with api.connect() as docker:
        await docker.images.tag(image, repository, tag=label)


async def list_images(api: DockerApi, prefix: str) -> list[str]:
    """The names of images that begin with this."""
    filters = json.dumps({"reference": [f"{prefix}*"]})
    async with api.connect() as docker:
        listed = await docker._query_json("images/json", params={"filters": filters})
    return sorted(name for image in listed for name in image.get("RepoTags") or [] if name.startswith(prefix))


async def forget_image(api: DockerApi, name: str) -> None:
    """Take a name from an image, and remove the image where that was its last and nothing runs from it."""
    await _delete_unused(api, f"images/{name}")


async def _delete_unused(api: DockerApi, path: str) -> None:
    """Delete what may be gone already; what is in use stays."""
    async with api.connect(_REMOVE_SECONDS) as docker:
        try:
            async with docker._query(path, method="DELETE"):
                return
        except aiodocker.DockerError as error:
            if error.status not in (_GONE, _CONFLICT):
                raise


async def _post(api: DockerApi, path: str, seconds: float, fine: Sequence[int]) -> None:
    async with api.connect(seconds) as docker:
        try:
            async with docker._query(path, method="POST"):
                return
        except aiodocker.DockerError as error:
            if error.status not in fine:
                raise


def _is_anonymous(name: str) -> bool:
    return len(name) == 64 and all(character in "0123456789abcdef" for character in name)


async def remove_step_container(api: DockerApi, identity: str, *, since: float) -> None:
    """Remove what the classic builder leaves of a step that failed.

    Which container that is, the build's output says, and a step may say what it likes: one is only removed where it was
    made meanwhile, has ended and is a step.
    """
    async with api.connect(_REMOVE_SECONDS) as docker:
        try:
            shown = await docker.containers.container(identity).show()
            for _ in range(_LOOKS):  # that of another image, which ends because this one failed
                if shown["State"]["Status"] != "running":
                    break
                await asyncio.sleep(_PAUSE)
                shown = await docker.containers.container(identity).show()
        except aiodocker.DockerError as error:
            if error.status == COULD_NOT_CONNECT:
                raise
            return
    made = datetime.fromisoformat(shown["Created"][:19] + "+00:00").timestamp()
    if made >= int(since) and shown["State"]["Status"] == "exited" and is_step(shown):
        await remove(api, identity, volumes=True)
