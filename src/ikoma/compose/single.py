"""Reasons why a service has one replica at a time, or one only, as far as its compose file tells."""

from __future__ import annotations

from ikoma.app_folder import App
from ikoma.compose.exclusive_resources import find_conflicts
from ikoma.compose.model import EMPTY, ComposeModel
from ikoma.compose.mounts import Sources
from ikoma.compose.x_ikoma import RECREATE, ROLLING


def explain_alone(
    app: App,
    model: ComposeModel,
    service: str,
    source: Sources,
    strategy: str | None,
    before: ComposeModel = EMPTY,
) -> str | None:
    """The reason why two containers of a service cannot run at once, as far as its model tells; None: they can.

    Args:
        before: the model that the other one is of; the same one when omitted.
    """
    if strategy == RECREATE:
        return "x-ikoma says recreate"
    found = find_conflicts(app, model, service, source, before)
    return next((resource.reason for resource in found if strategy != ROLLING or not resource.is_data), None)


def explain_single(model: ComposeModel, service: str) -> str | None:
    """The reason why a service has one container only, besides what keeps releases apart; None: it may have more."""
    services = model.services
    if service in model.one_shot:
        return "it runs once for each release"
    if named := services[service].container_name:
        return f"it has the container name {named}"
    if shared := services[service].shares_with:
        return f"it runs inside {shared}"
    inside = [name for name, other in services.items() if other.shares_with == service]
    return f"{inside[0]} runs inside it" if inside else None


def explain_one(app: App, model: ComposeModel, service: str, source: Sources, strategy: str | None) -> str | None:
    """The reason why a service has one container only; None where it may have more."""
    return explain_alone(app, model, service, source, strategy) or explain_single(model, service)
