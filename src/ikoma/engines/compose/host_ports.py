"""Finds the ports and names of this machine that an app wants for itself and another already has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import psutil

from ikoma.compose.model import ComposeModel, parse_published
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.docker.containers import Container
from ikoma.model import AppName
from ikoma.ports.conflicts import TakenName, TakenPort

_MOST = 10_000
"""Ports that are looked for: the policy says where a range has too many."""


class HostPort(NamedTuple):
    """A port of this machine: TCP and UDP have each their own."""

    protocol: str
    number: int

    def __str__(self) -> str:
        return f"{self.number}" if self.protocol == "tcp" else f"{self.number}/{self.protocol}"


async def find_taken_ports(
    engine: ComposeEngine, app: AppName, model: ComposeModel, is_platform: Callable[[int], bool]
) -> list[TakenPort]:
    """The host ports of a resolved model that are not free.

    Args:
        is_platform: whether IKOMA itself has a port, which the policy refuses.
    """
    wanted = list(islice(_published(model), _MOST))
    if not wanted:
        return []
    own: set[HostPort] = set()
    others: dict[HostPort, str] = {}
    for project, containers in (await engine.list_all_containers()).items():
        found = {port for container in containers for port in _of_container(container)}
        if project == app.project:
            own = found
        else:
            others |= dict.fromkeys(found, f"the app {project}")
    listening = await asyncio.to_thread(_listening)
    taken = []
    seen: dict[HostPort, str] = {}
    for service, index, port in wanted:
        same = others.get(port) is None and port in seen
        holder = others.get(port) or seen.get(port)
        if holder is None and port not in own and not is_platform(port.number):
            holder = listening.get(port)
        seen[port] = f"the service {service} of this app"
        if holder:
            taken.append(TakenPort(service, index, str(port), holder, same))
    return taken


async def find_taken_names(engine: ComposeEngine, app: AppName, model: ComposeModel) -> list[TakenName]:
    """The names of containers that a resolved model wants, and another has."""
    owners = await engine.map_container_owners()
    others = {name: project for name, project in owners.items() if project != app.project}
    return list(_list_taken_names(app, model, others))


def _list_taken_names(app: AppName, model: ComposeModel, others: Mapping[str, str]) -> Iterator[TakenName]:
    for service, described in model.services.items():
        if (chosen := described.container_name) in others:
            yield TakenName(service, "container_name", chosen, others[chosen])
        numbered = re.compile(f"{re.escape(f'{app.project}-{service}')}-[0-9]+")
        if met := next(filter(numbered.fullmatch, others), None):
            yield TakenName(service, None, met, others[met])


def _published(model: ComposeModel) -> Iterator[tuple[str, int, HostPort]]:
    """(service, index, host port) of each port the model publishes."""
    for name, service in model.services.items():
        for index, port in enumerate(service.ports):
            for number in parse_published(port.published) or ():
                yield name, index, HostPort(port.protocol, number)


def _of_container(container: Container) -> Iterator[HostPort]:
    return (HostPort("tcp", host_port) for _, host_port, _ in container.published)


def _listening() -> dict[HostPort, str]:
    """TCP ports that processes of this machine listen on → which process."""
    found = {}
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr:
            try:
                name = psutil.Process(connection.pid).name() if connection.pid else "another process"
            except psutil.Error:
                name = "another process"
            found[HostPort("tcp", connection.laddr.port)] = f"{name} (pid {connection.pid})" if connection.pid else name
    return found
