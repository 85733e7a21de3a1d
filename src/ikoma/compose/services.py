"""Finds services of a resolved model by name, and puts them in the order of their needs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from ikoma.compose.model import ComposeModel, Service
from ikoma.errors import ServiceIsBuilt, ServiceNotFound
from ikoma.model import AppName


def find_service(app: AppName, model: ComposeModel, name: str) -> Service:
    """The service of that name; ServiceNotFound, with the nearest name, where there is none."""
    if name not in model.services:
        raise make_service_not_found(f"{app} has no service {name[:80]!r}.", name, model.services)
    return model.services[name]


def make_service_not_found(problem: str, name: str, services: Iterable[str]) -> ServiceNotFound:
    """The refusal of a service that is not among these, with the nearest name."""
    names = sorted(services)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Its services are: {', '.join(names) or 'none'}."
    return ServiceNotFound(problem, hint=hint, guess=near[0] if near else None)


def replace_image(app: AppName, model: ComposeModel, service: str, image: str) -> ComposeModel:
    """The model with another image for one service; ServiceIsBuilt where that is built."""
    described = find_service(app, model, service)
    if described.build is not None:
        raise ServiceIsBuilt(f"The image of {service} is built from the source of {app}.")
    return model.replace_services({service: {**described.raw, "image": image}})


def sort_by_need(services: Mapping[str, Service]) -> list[str]:
    """Names of services, each after those that it needs."""
    ordered: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in ordered or name in above or name not in services:
            return
        shared = services[name].shares_with
        for needed in sorted({*services[name].depends_on, *([shared] if shared else [])}):
            visit(needed, (*above, name))
        ordered.append(name)

    for name in services:
        visit(name, ())
    return ordered
