"""Volumes and networks that are there already: a rollout uses them as they are.

Compose makes a volume or network anew whose configuration is not what the file says: what was in the volume is gone,
and what serves is stopped. So it is told of all that is there as if somebody else had made it: it makes what is
missing, and can neither change nor remove anything.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ikoma.compose.model import ComposeModel
from ikoma.engines.docker.containers import NetworkInfo, ResourceInventory
from ikoma.errors import DeployFailed
from ikoma.model import AppName
from ikoma.ports.volumes import Difference, ResourceInfo, SubnetOverlap

_AT = re.compile(r"-at-[0-9a-f]{12}$")
_WAY_OUT = {
    "volume": "Give the changed volume another key, and copy the data there; or write it as it was.",
    "network": "Give the changed network another name, or write it as it was; after deploy.down it is made anew.",
}


def name_lasting(app: AppName, key: str, network: Mapping[str, Any]) -> str | None:
    """The name of a network that outlives rollouts; None for one that each of them makes anew.

    One with subnets of its own is named after them: with others it is another network, beside the one that serves.
    """
    chosen, default = network.get("name"), f"{app.project}_{key}"
    if network.get("external") or chosen not in (None, default):
        return str(chosen or key)
    subnets = (network.get("ipam") or {}).get("config")
    if not subnets:
        return None
    return f"{default}-at-{_compute_digest(orjson.dumps(subnets, option=orjson.OPT_SORT_KEYS))}"


def make_lasting_key(key: str, name: str) -> str:
    """The key for Compose of a network with a name that lasts: under one key it knows but one, and removes another."""
    return f"{key}-{_compute_digest(name.encode())}"


def is_of_subnets(network: str) -> bool:
    """Whether a network has its name from its subnets."""
    return _AT.search(network) is not None


def add_existing(model: Mapping[str, Any], existing: ResourceInventory) -> dict[str, Any]:
    """The file for Compose: what is there of its volumes and networks is not its own to make."""
    return {
        **model,
        "volumes": {
            key: _mark_external(item or {}, existing.volumes) for key, item in (model.get("volumes") or {}).items()
        },
        "networks": {
            key: _mark_external(item or {}, existing.networks) for key, item in (model.get("networks") or {}).items()
        },
    }


def find_differences(app: AppName, model: ComposeModel, existing: ResourceInventory) -> Iterator[Difference]:
    """Find volumes and networks of an app that are not as its model says."""
    for key, wanted in model.volumes.items():
        made = existing.volumes.get(str(wanted.get("name") or f"{app.project}_{key}"))
        if made is not None and made.project == app.project and not wanted.get("external"):
            if (made.driver, dict(made.options)) != (
                wanted.get("driver") or "local",
                _read_texts(wanted, "driver_opts"),
            ):
                yield _make_difference("volume", key, "driver options")
            if not _has_labels(wanted, made):
                yield _make_difference("volume", key, "labels", matters=False)
    for key, wanted in model.networks.items():
        name = name_lasting(app, key, wanted)
        made = existing.networks.get(name) if name else None
        if made is not None and made.project == app.project and not wanted.get("external"):
            yield from (_make_difference("network", key, what) for what in _find_differences(wanted, made))
            if not _has_labels(wanted, made):
                yield _make_difference("network", key, "labels", matters=False)


def _make_difference(kind: str, key: str, what: str, *, matters: bool = True) -> Difference:
    return Difference(kind, key, what, matters, _WAY_OUT[kind])


def find_overlaps(app: AppName, model: ComposeModel, existing: ResourceInventory) -> Iterator[SubnetOverlap]:
    """Find the subnets that networks of a model choose, and another network has."""
    for key, wanted in model.networks.items():
        name = name_lasting(app, key, wanted)
        if name is None or name in existing.networks or wanted.get("external"):
            continue
        for subnet in sorted(_list_subnets(wanted)):
            for other, made in sorted(existing.networks.items()):
                if other != _AT.sub("", name) and any(_do_overlap(subnet, taken) for taken in made.subnets):
                    yield SubnetOverlap(key, subnet, other, is_own=made.project == app.project)


def require_alike(app: AppName, model: ComposeModel, existing: ResourceInventory) -> None:
    """Raises DeployFailed where something is there that would not do what the model says."""
    for found in find_differences(app, model, existing):
        if found.matters:
            raise DeployFailed(found.problem, hint=found.fix)


def _compute_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _mark_external(item: Mapping[str, Any], there: Mapping[str, ResourceInfo]) -> Mapping[str, Any]:
    name = str(item.get("name"))
    if name in there:
        return {"name": name, "external": True}
    # Networks were not always named after their subnets.
    former = _AT.sub("", name)
    made = there.get(former) if former != name else None
    if isinstance(made, NetworkInfo) and set(made.subnets) == _list_subnets(item):
        return {"name": former, "external": True}
    return item


def _do_overlap(subnet: str, taken: str) -> bool:
    try:
        one, other = (ipaddress.ip_network(text, strict=False) for text in (subnet, taken))
    except ValueError:  # Compose or the engine says so
        return False
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.overlaps(other)
    return isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network) and one.overlaps(other)


def _find_differences(network: Mapping[str, Any], made: NetworkInfo) -> Iterator[str]:
    if made.internal != bool(network.get("internal")):
        yield "internal"
    if network.get("driver") not in (None, "default", made.driver):
        yield "driver"
    if not _read_texts(network, "driver_opts").items() <= made.options.items():
        yield "driver options"
    if (subnets := _list_subnets(network)) and subnets != set(made.subnets):
        yield "subnets"


def _list_subnets(network: Mapping[str, Any]) -> set[str]:
    given = (network.get("ipam") or {}).get("config") or []
    return {str(item["subnet"]) for item in given if item.get("subnet")}


def _has_labels(item: Mapping[str, Any], made: ResourceInfo) -> bool:
    """Whether labels are the same, less those that Compose adds."""
    return _read_texts(item, "labels") == {
        key: value for key, value in made.labels.items() if not key.startswith("com.docker.compose.")
    }


def _read_texts(item: Mapping[str, Any], key: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in (item.get(key) or {}).items()}
