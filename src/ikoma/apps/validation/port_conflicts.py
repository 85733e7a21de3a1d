"""Find what an app wants of this machine and another has: host ports, and names of containers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from ikoma.apps.host_ports import find_taken_ports
from ikoma.apps.resolution.unsupported_features import Obstacle
from ikoma.compose.model import ComposeModel, Service
from ikoma.model import AppName
from ikoma.ports.engine import Engine

_ANOTHER_PORT = "Publish another host port, or none: IKOMA reaches the app on its own network."


async def find_conflicts(
    app: AppName, model: ComposeModel, engine: Engine, is_platform: Callable[[int], bool]
) -> list[Obstacle]:
    """All of it that a resolved model wants.

    Args:
        is_platform: whether IKOMA itself has a port, which the policy refuses.
    """
    ports = [
        Obstacle(
            ("services", taken.service, "ports", taken.index),
            f"Host port {taken.port} is used by {taken.holder}.",
            _ANOTHER_PORT,
        )
        for taken in await find_taken_ports(app, model, engine, is_platform)
    ]
    owners = await engine.map_container_owners()
    others = {name: project for name, project in owners.items() if project != app.project}
    return [*ports, *_names(app, model.services, others)]


def _names(app: AppName, services: Mapping[str, Service], others: Mapping[str, str]) -> Iterator[Obstacle]:
    for service, described in services.items():
        chosen = described.container_name
        if chosen in others:
            fix = "Choose another, or leave it out: services find each other by the names of services."
            problem = f"The container name {chosen} is taken by {_name_owner(others[chosen])}."
            yield Obstacle(("services", service, "container_name"), problem, fix)
        numbered = re.compile(f"{re.escape(f'{app.project}-{service}')}-[0-9]+")
        if met := next(filter(numbered.fullmatch, others), None):
            problem = (
                f"The containers of {service} get names such as {met}, which is taken by {_name_owner(others[met])}."
            )
            yield Obstacle(("services", service), problem, "Give the service another name.")


def _name_owner(project: str) -> str:
    return f"the app {project}" if project else "a container that IKOMA has not made"
