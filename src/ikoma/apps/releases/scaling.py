"""The numbers of containers that a model can have, of what was chosen for its app."""

from __future__ import annotations

from collections.abc import Mapping

from ikoma.app_folder import App
from ikoma.apps.releases.scale import read_scale
from ikoma.compose import web_service
from ikoma.compose.model import ComposeModel
from ikoma.compose.mounts import find_sources
from ikoma.compose.single import explain_one


def fit_scale(app: App, model: ComposeModel) -> dict[str, int]:
    """The number of containers of each service that a model can have; what answers its requests has one at least."""
    chosen = read_scale(app)
    scale = chosen | dict.fromkeys(_explain_too_many(app, model, chosen), 1)
    web = web_service.find_web(model)
    return scale if web is None or scale.get(web.service) != 0 else {**scale, web.service: 1}


def explain_too_many(app: App, model: ComposeModel) -> dict[str, str]:
    """Services of a model that were given more containers than the one that they can have, and why."""
    return _explain_too_many(app, model, read_scale(app))


def _explain_too_many(app: App, model: ComposeModel, scale: Mapping[str, int]) -> dict[str, str]:
    chosen = [name for name, number in scale.items() if number > 1 and name in model.services]
    if not chosen:  # which is nearly always: folders need not be looked at
        return {}
    found = find_sources(app, model)
    reasons = {name: explain_one(app, model, name, found, model.x_ikoma.find_strategy(name)) for name in chosen}
    return {name: reason for name, reason in reasons.items() if reason}
