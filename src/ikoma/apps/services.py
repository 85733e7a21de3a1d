"""One service of a resolved model: found by its name, and given another image."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ikoma.errors import ServiceIsBuilt, ServiceNotFound
from ikoma.model import AppName


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
