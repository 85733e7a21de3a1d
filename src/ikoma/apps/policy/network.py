"""Names, networks and ports: what a service is called and where it is reached."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ikoma.apps.host_facts import HostFacts, IpNetwork
from ikoma.apps.policy.containers import check_labels
from ikoma.apps.yaml.violation import Place, Violation, quote
from ikoma.compose.model import parse_published

_NETWORK = frozenset(
    (
        "name",
        "driver",
        "driver_opts",
        "ipam",
        "external",
        "internal",
        "attachable",
        "enable_ipv4",
        "enable_ipv6",
        "labels",
    )
)
_JOINED = frozenset(
    ("aliases", "ipv4_address", "ipv6_address", "mac_address", "priority", "gw_priority", "interface_name")
)
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_LARGEST = {4: 16, 6: 48}
_MOST_NETWORKS = 8
_MOST_PORTS = 200
_FIRST_FREE = 1024
_ANY_PORT = range(1)
"""Port 0: the engine takes a free one."""


def check_project_name(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    if value != facts.app.name.project:
        yield Violation("foreign-name", place, f"The project is named {value!r}, not after the app.")


def _check_container_name(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    if facts.is_taken(str(value)):
        yield Violation("foreign-name", place, f"The container's name {value!r} belongs to another.")


def check_networks(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    """Top-level networks: the engine has about thirty for all apps together."""
    if len(value) > _MOST_NETWORKS:
        yield Violation("limits", place, f"{len(value)} networks are more than {_MOST_NETWORKS}.")
    for key, network in value.items():
        if not network:
            continue
        inside = (*place, key)
        for option in network:
            if option not in _NETWORK and not option.startswith("x-"):
                yield Violation("unknown-key", (*inside, option), f"{option} is not allowed.")
        if network.get("driver") and network["driver"] not in facts.engine.network_drivers:
            yield Violation("network-driver", (*inside, "driver"), f"The driver is {network['driver']}.")
        for option in network.get("driver_opts") or {}:
            if option not in facts.engine.network_options:
                yield Violation("network-driver", (*inside, "driver_opts", option), f"{option} is set.")
        name = str(network.get("name") or key)
        if network.get("external") and name == "host":
            yield Violation("host-namespace", inside, "The container joins the server's network.")
        elif not facts.may_be_named(name):
            yield Violation("foreign-network", inside, f"The network {name} is not this app's.")
        yield from _check_addresses(inside, network.get("ipam") or {}, facts.find_neighbours)
        yield from check_labels(facts, (*inside, "labels"), network.get("labels") or {})


def _check_addresses(
    place: Place, ipam: Mapping[str, Any], find_neighbours: Callable[[], Iterable[IpNetwork]]
) -> Iterator[Violation]:
    if (ipam.get("driver") or "default") != "default" or ipam.get("options"):
        yield Violation("network-driver", (*place, "ipam"), "Addresses come from a driver of its own.")
    for index, config in enumerate(ipam.get("config") or []):
        problem = _explain_unfit(config, find_neighbours)
        if problem is not None:
            yield Violation("network-driver", (*place, "ipam", "config", index), problem)


def _explain_unfit(config: Mapping[str, Any], find_neighbours: Callable[[], Iterable[IpNetwork]]) -> str | None:
    """The reason why an app's network may not have these addresses; None where it may."""
    try:
        subnet, *parts = [
            ipaddress.ip_network(str(config[key]), strict=False)
            for key in ("subnet", "gateway", "ip_range")
            if key == "subnet" or config.get(key)
        ]
    except KeyError:
        return "It has no subnet." if any(config.values()) else None
    except ValueError:
        return "The subnet, its gateway or its range cannot be read."
    if not any(_is_in(subnet, net) for net in _PRIVATE) or subnet.prefixlen < _LARGEST[subnet.version]:
        return f"The subnet {subnet} is not a small private one."
    if config.get("aux_addresses") or not all(_is_in(part, subnet) for part in parts):
        return f"Addresses outside the subnet {subnet}, or names for some, are chosen."
    if any(subnet.version == net.version and subnet.overlaps(net) for net in find_neighbours()):
        return f"The subnet {subnet} is one that the server itself is in, or uses."
    return None


def _is_in(part: IpNetwork, whole: IpNetwork) -> bool:
    return part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]


def _check_joined(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    """A service's networks."""
    for key, options in value.items() if isinstance(value, Mapping) else ():
        for option, chosen in (options or {}).items():
            if option not in _JOINED and chosen and not option.startswith("x-"):
                yield Violation("network-driver", (*place, key, option), f"{option} is set.")


def _check_ports(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    if len(value) > _MOST_PORTS:
        yield Violation("limits", place, f"{len(value)} ports are more than {_MOST_PORTS}.")
        return
    for index, port in enumerate(value):
        yield from _check_port(facts, (*place, index), port)


def _check_port(facts: HostFacts, place: Place, port: Mapping[str, Any]) -> Iterator[Violation]:
    address = str(port.get("host_ip") or "")
    if address and not _is_plain(address):
        yield Violation("host-interface", place, f"It is published on {address}.")
    published = str(port.get("published") or "0")
    wanted = parse_published(published)
    if wanted is None:
        yield Violation("platform-port", place, f"Which host port is meant by {quote(published)} cannot be told.")
        return
    if len(wanted) > _MOST_PORTS:
        yield Violation("limits", place, f"{len(wanted)} ports are more than {_MOST_PORTS}.")
    elif wanted.start < _FIRST_FREE and wanted != _ANY_PORT and wanted.start not in facts.platform_ports:
        yield Violation("low-port", place, f"Host port {wanted.start} is published.")
    for number, owner in facts.platform_ports.items():
        if number in wanted:
            yield Violation("platform-port", place, f"Host port {number} is used by {owner}.")


def _is_plain(address: str) -> bool:
    """Loopback, or every address."""
    try:
        parsed = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    return parsed.is_loopback or parsed.is_unspecified


CHECKS: Mapping[str, Any] = {"container_name": _check_container_name, "networks": _check_joined, "ports": _check_ports}
