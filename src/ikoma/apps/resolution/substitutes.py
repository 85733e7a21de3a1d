"""Substitutes for what a compose file names and no app gets here.

A network that is shared with others, or named as only one on the machine can be, becomes one of the app's own, and so
does a volume with such a name where there is none yet. A build that would be fetched becomes the image beside it.
Nothing here lets an app reach more: what is put in place is what it would have got without the name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ikoma.apps.policy.images import REMOTE
from ikoma.apps.yaml.notice import Notice
from ikoma.compose.model import ComposeModel, Service, parse_model
from ikoma.model import AppName
from ikoma.ports.runtime import Engine

_NO_NETWORKS = ("host", "none")
"""Names that stand for something else than a network: the policy says what."""
_ADDRESSES = ("ipv4_address", "ipv6_address")


async def substitute(
    engine: Engine, app: AppName, model: ComposeModel, waived: Collection[str]
) -> tuple[ComposeModel, list[Notice]]:
    """The model as it is to be judged and run, and what is otherwise in it than in the file.

    Args:
        waived: rules that are waived for the app: what they forbid is then meant as it is written.
    """
    if not (_find_named(app, model, "networks") or _find_named(app, model, "volumes") or any(_find_fetched(model))):
        return model, []
    result = model.copy_raw()
    there = await engine.volumes.map_owners()
    notices: list[Notice] = []
    if "foreign-network" not in waived:
        notices += _replace_networks(app, model, result, there)
    if "foreign-volume" not in waived:
        notices += _replace_volumes(app, model, result, there)
    for service in _find_fetched(model):
        name, image = service.name, service.image
        if await engine.images.has(image) or await engine.images.check_obtainable(image) is None:
            described = result["services"][name]
            del described["build"]
            if described.get("pull_policy") == "build":
                del described["pull_policy"]
            problem = f"{name} is not built: its source would be fetched. The image {image} is used."
            fix = "Nothing has to change; to build it, bring the source in with source.clone and name its folder."
            notices.append(Notice(None, ("services", name, "build"), problem, fix))
    return parse_model(result), notices


def _find_named(app: AppName, model: ComposeModel, kind: str) -> dict[str, Mapping[str, Any]]:
    """Networks or volumes that are others', or are called otherwise than the app's own are by themselves."""
    items = model.networks if kind == "networks" else model.volumes
    return {
        key: item
        for key, item in items.items()
        if item and (item.get("external") or item.get("name") not in (None, name_own(app, key)))
    }


def name_own(app: AppName, key: str) -> str:
    """The name on the machine of an app's own network or volume of this key."""
    return f"{app.project}_{key}"


def _begins_as_own(app: AppName, name: str) -> bool:
    return re.match(f"{re.escape(app.project)}([-_.]|$)", name) is not None


def _replace_networks(
    app: AppName, model: ComposeModel, result: dict[str, Any], there: Mapping[str, str]
) -> Iterator[Notice]:
    for key, network in _find_named(app, model, "networks").items():
        name, external = str(network.get("name") or key), bool(network.get("external"))
        if name in _NO_NETWORKS or (_begins_as_own(app, name) and (name in there or not external)):
            continue
        if external:
            result["networks"][key] = {"name": name_own(app, key), "ipam": {}}
            _remove_addresses(result, key)
            problem = f"The network {name} is shared with others: the app gets one of its own, for its services alone."
        else:
            result["networks"][key]["name"] = name_own(app, key)
            problem = f"The network is not called {name} here but {name_own(app, key)}, and only this app is on it."
        fix = "Nothing has to change where only its own services need it; another app is reached by its domain."
        yield Notice(None, ("networks", key), problem, fix)


def _remove_addresses(result: dict[str, Any], network: str) -> None:
    for service in result["services"].values():
        joined = service.get("networks")
        options = (joined.get(network) if isinstance(joined, Mapping) else None) or {}
        for address in _ADDRESSES:
            options.pop(address, None)


def _replace_volumes(
    app: AppName, model: ComposeModel, result: dict[str, Any], there: Mapping[str, str]
) -> Iterator[Notice]:
    """One that is there may hold what the app is to have: then the person says what becomes of it."""
    for key, volume in _find_named(app, model, "volumes").items():
        name, own = str(volume.get("name") or key), name_own(app, key)
        if volume.get("external") or _begins_as_own(app, name) or (name in there and own not in there):
            continue
        result["volumes"][key]["name"] = own
        problem = f"The volume is not called {name} here but {own}, and only this app has it."
        yield Notice(None, ("volumes", key), problem, "Nothing has to change.")


def _find_fetched(model: ComposeModel) -> Iterator[Service]:
    """Services whose build would be fetched, and that name an image too."""
    for service in model.services.values():
        if service.image and service.build is not None and REMOTE.match(service.build.context):
            yield service
