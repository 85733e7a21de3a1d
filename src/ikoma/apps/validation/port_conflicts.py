"""Find what an app wants of this machine and another has: host ports, and names of containers."""

from __future__ import annotations

from collections.abc import Callable

from ikoma.apps.resolution.unsupported_features import Obstacle
from ikoma.compose.model import ComposeModel
from ikoma.model import AppName
from ikoma.ports.conflicts import TakenName
from ikoma.ports.runtime import Runtime

_ANOTHER_PORT = "Publish another host port, or none: IKOMA reaches the app on its own network."


async def find_conflicts(
    app: AppName, model: ComposeModel, runtime: Runtime, is_platform: Callable[[int], bool]
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
        for taken in await runtime.find_taken_ports(app, model, is_platform)
    ]
    return [*ports, *map(_describe_name, await runtime.find_taken_names(app, model))]


def _describe_name(taken: TakenName) -> Obstacle:
    holder = f"the app {taken.holder}" if taken.holder else "a container that IKOMA has not made"
    if taken.key is not None:
        fix = "Choose another, or leave it out: services find each other by the names of services."
        problem = f"The container name {taken.name} is taken by {holder}."
        return Obstacle(("services", taken.service, taken.key), problem, fix)
    problem = f"The containers of {taken.service} get names such as {taken.name}, which is taken by {holder}."
    return Obstacle(("services", taken.service), problem, "Give the service another name.")
