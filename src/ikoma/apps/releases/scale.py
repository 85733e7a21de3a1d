"""The number of containers of each service of an app, where it was chosen apart from its compose file.

The number is kept beside the releases, and one of them may not be able to have it: what cannot run twice has one
container whatever was chosen. A number counts once the rollout that brings it serves; a kill before leaves the former.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import orjson

from ikoma.app_folder import App
from ikoma.durable import write_file
from ikoma.rollout_state import RolloutState

_FILE, _FORMER = "scale.json", "scale-former.json"


def read_scale(app: App) -> dict[str, int]:
    """service → number of containers."""
    return dict(app.read_state(_FILE) or {})


@contextmanager
def apply_scale(app: App, service: str, replicas: int) -> Iterator[None]:
    """While the block rolls a number out: it stays if the rollout has taken over by the end."""
    former, serving = read_scale(app), RolloutState(app).read_serving()
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
    serving = RolloutState(app).read_serving()
    if note["rollout"] == (serving.rollout if serving else None):
        _keep(app, note["scale"])
    (app.state / _FORMER).unlink()


def _keep(app: App, scale: Mapping[str, int]) -> None:
    write_file(app.make_state() / _FILE, orjson.dumps(dict(scale)), mode=0o600)
