"""Answers of Docker's API as typed values: containers, volumes and networks, and the labels that they are told by."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import psutil

from ikoma.engines.docker.containers import Container, NetworkInfo
from ikoma.ports.volumes import ResourceInfo

PROJECT = "com.docker.compose.project"
VOLUME = "com.docker.compose.volume"
HIDES = "com.docker.compose.hook"
"""Compose looks past containers with this label, whatever it says; only an image could bring it."""
PASSES = "com.docker.compose.config-hash"
"""By this label Compose takes a container for its own; those of a build have the labels of their first image."""
NO_SERVICE = ("com.docker.compose.oneoff", HIDES)
KIND, ONE_SHOT, TASK = "ikoma.one-shot", "true", "task"
"""The label that tells how a service ends. Of a task only the exit code counts, whatever its healthcheck says."""
JOBS = ("job", TASK)
BY_ID = "sha256:"
"""The beginning of an image that has no name."""
_UP = re.compile(
    r"Up (?:Less than a second|(?P<minute>About a minute)|(?P<seconds>\d+) seconds?|(?P<minutes>\d+) minutes)"
)
_SLACK = 2.0
"""Seconds between making a container and starting it that mean nothing."""


def is_step(shown: Mapping[str, Any]) -> bool:
    """Whether a container, as it is inspected, is a step of the classic builder.

    It has all labels that its Dockerfile has given so far, those of another project too. But it is made from the id of
    an image, and what Compose makes is made from a name.
    """
    return str(shown["Config"]["Image"]).startswith(BY_ID)


def make_container(item: Mapping[str, Any]) -> Container:
    labels, state, status = item["Labels"], item["State"], item["Status"]
    networks = (item.get("NetworkSettings") or {}).get("Networks") or {}
    exited = re.match(r"(?:Exited|Restarting) \((-?\d+)\)", status)
    health = re.search(r"\((?:health: )?(healthy|unhealthy|starting)\)", status)
    return Container(
        id=item["Id"],
        name=item["Names"][0].lstrip("/") if item["Names"] else item["Id"][:12],
        service=labels.get("com.docker.compose.service", ""),
        state=state,
        health=health[1] if health and labels.get(KIND) != TASK else None,
        exit_code=int(exited[1]) if exited else None,
        image=item["Image"],
        created_at=datetime.fromtimestamp(item["Created"], UTC).isoformat().replace("+00:00", "Z"),
        working_dir=labels.get("com.docker.compose.project.working_dir"),
        addresses=_sort_addresses(networks, labels.get("ikoma.rollout")),
        published=tuple(
            dict.fromkeys(
                (port.get("IP", ""), port["PublicPort"], port["PrivatePort"])
                for port in item["Ports"] or []
                if port.get("PublicPort") and port.get("Type") == "tcp"
            )
        ),
        one_shot=labels.get(KIND) == ONE_SHOT,
        is_job=labels.get(KIND) in JOBS,
        configuration=labels.get("ikoma.configuration"),
        rollout=labels.get("ikoma.rollout"),
        release=labels.get("ikoma.release"),
        networks=tuple(sorted(networks)),
        started_again=state == "running" and _has_started_again(status, time.time() - item["Created"]),
    )


def _has_started_again(status: str, age: float) -> bool:
    """Whether a container that was made `age` seconds ago has been running for a part of that only, of minutes."""
    found = _UP.match(status)
    if found is None:
        return False
    if found["minutes"] or found["minute"]:
        return age - 60 * (int(found["minutes"] or 1) + 1) > _SLACK
    return age - int(found["seconds"] or 0) - 1 > _SLACK


def parse_unix_time(moment: str) -> float:
    """Docker's time, which has nanoseconds, as Unix time."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", moment).replace("Z", "+00:00")).timestamp()


def make_resource(item: Mapping[str, Any]) -> ResourceInfo:
    labels = item.get("Labels") or {}
    return ResourceInfo(labels.get(PROJECT, ""), item["Driver"], item.get("Options") or {}, labels)


def make_network(item: Mapping[str, Any]) -> NetworkInfo:
    made = make_resource(item)
    subnets = (part.get("Subnet") for part in (item.get("IPAM") or {}).get("Config") or [])
    known = tuple(subnet for subnet in subnets if subnet)
    return NetworkInfo(made.project, made.driver, made.options, made.labels, known, bool(item.get("Internal")))


def _sort_addresses(networks: Mapping[str, Any], rollout: str | None) -> tuple[str, ...]:
    """Addresses on all networks; first on those that were made with the container, for those it never leaves."""
    ordered = sorted(networks.items(), key=lambda network: not (rollout and network[0].endswith(rollout)))
    return tuple(network["IPAddress"] for _, network in ordered if network.get("IPAddress"))


def find_gateway(bridge: Mapping[str, Any]) -> str | None:
    """This machine's IPv4 address on the bridge; older engines do not say it, its interface does."""
    said = [item.get("Gateway") for item in (bridge.get("IPAM") or {}).get("Config") or []]
    interface = (bridge.get("Options") or {}).get("com.docker.network.bridge.name", "docker0")
    has = [item.address for item in psutil.net_if_addrs().get(interface, []) if item.family == socket.AF_INET]
    return next((address for address in (*said, *has) if address and ":" not in address), None)
