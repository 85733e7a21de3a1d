"""The services of a resolved model: found by name, in the order of their needs, and what each asks for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ikoma.errors import ServiceIsBuilt, ServiceNotFound
from ikoma.model import AppName

SHARED = ("network_mode", "ipc", "pid")
"""Keys by which a service runs in the namespace of another."""


def service_of(app: AppName, model: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What a model says of a service; ServiceNotFound, with the nearest name, where it has none such."""
    services: Mapping[str, Any] = model["services"]
    if name not in services:
        raise no_service(f"{app} has no service {name[:80]!r}.", name, services)
    found: Mapping[str, Any] = services[name]
    return found


def no_service(problem: str, name: str, services: Iterable[str]) -> ServiceNotFound:
    """The refusal of a service that is not among these, with the nearest name."""
    names = sorted(services)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Its services are: {', '.join(names) or 'none'}."
    return ServiceNotFound(problem, hint=hint, guess=near[0] if near else None)


def with_image(app: AppName, model: Mapping[str, Any], service: str, image: str) -> dict[str, Any]:
    """The model with another image for one service; ServiceIsBuilt where that is built."""
    described = service_of(app, model, service)
    if "build" in described:
        raise ServiceIsBuilt(f"The image of {service} is built from the source of {app}.")
    return {**model, "services": {**model["services"], service: {**described, "image": image}}}


def scale_of(service: Mapping[str, Any]) -> int:
    """How many containers a service is to have."""
    given = service.get("scale")
    if given is None:
        given = (service.get("deploy") or {}).get("replicas")
    return 1 if given is None else int(given)


def waits_for(service: Mapping[str, Any]) -> dict[str, str]:
    """What a service waits for before it starts: service → condition."""
    needs: Mapping[str, Any] = service.get("depends_on") or {}
    return {name: str(need.get("condition") or "service_started") for name, need in needs.items()}


def shares_with(service: Mapping[str, Any]) -> str | None:
    """The service in whose namespace this one runs."""
    for key in SHARED:
        kind, _, name = str(service.get(key) or "").partition(":")
        if kind == "service":
            return name
    return None


def in_order(services: Mapping[str, Any]) -> list[str]:
    """Names of services, each after those that it needs."""
    ordered: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in ordered or name in above or name not in services:
            return
        shared = shares_with(services[name])
        for needed in sorted({*waits_for(services[name]), *([shared] if shared else [])}):
            visit(needed, (*above, name))
        ordered.append(name)

    for name in services:
        visit(name, ())
    return ordered
