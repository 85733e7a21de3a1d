"""How many containers each service of an app is to have, where that was chosen apart from its compose file.

The number is kept beside the releases, and one of them may not be able to have it: what cannot run twice has one
container whatever was chosen. A number counts once the rollout that brings it serves; a kill before leaves the former.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

from ikoma.apps import extension, web_service
from ikoma.apps.folder import App
from ikoma.apps.mounts import sources
from ikoma.apps.rollout_state import RolloutState
from ikoma.apps.strategy import why_one
from ikoma.durable import write_file

_FILE, _FORMER = "scale.json", "scale-former.json"


def scale_of_app(app: App) -> dict[str, int]:
    """service → number of containers."""
    return dict(app.read_state(_FILE) or {})


def fitting_scale(app: App, model: Mapping[str, Any]) -> dict[str, int]:
    """The same, as far as a model can have it: what answers its requests has one container at least."""
    scale = scale_of_app(app) | dict.fromkeys(too_many(app, model), 1)
    web = web_service.web(model)
    return scale if web is None or scale.get(web.service) != 0 else {**scale, web.service: 1}


def too_many(app: App, model: Mapping[str, Any]) -> dict[str, str]:
    """Services of a model that were given more containers than the one that they can have, and why."""
    chosen = [name for name, number in scale_of_app(app).items() if number > 1 and name in model["services"]]
    if not chosen:  # which is nearly always: folders need not be looked at
        return {}
    wishes = extension.read(model)
    found = sources(app, model)
    reasons = {name: why_one(app, model, name, found, wishes.strategy_of(name)) for name in chosen}
    return {name: reason for name, reason in reasons.items() if reason}


@contextmanager
def scaling(app: App, service: str, replicas: int) -> Iterator[None]:
    """While the block rolls a number out: it stays if the rollout has taken over by the end."""
    former, serving = scale_of_app(app), RolloutState(app).serving()
    note = {"scale": former, "rollout": serving.rollout if serving else None}
    write_file(app.make_state() / _FORMER, orjson.dumps(note), mode=0o600)
    _keep(app, {**former, service: replicas})
    try:
        yield
    finally:
        settle_scale(app)


def settle_scale(app: App) -> None:
    """Go back to the former numbers where the rollout of others did not come to serve."""
    note = app.read_state(_FORMER)
    if note is None:
        return
    serving = RolloutState(app).serving()
    if note["rollout"] == (serving.rollout if serving else None):
        _keep(app, note["scale"])
    (app.state / _FORMER).unlink()


def _keep(app: App, scale: Mapping[str, int]) -> None:
    write_file(app.make_state() / _FILE, orjson.dumps(dict(scale)), mode=0o600)
