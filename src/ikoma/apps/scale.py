"""How many containers each service of an app is to have, where that was chosen apart from its compose file."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from ikoma.apps.folder import App
from ikoma.durable import write_file

_FILE = "scale.json"


def scale_of_app(app: App) -> dict[str, int]:
    """service → number of containers."""
    try:
        return dict(orjson.loads((app.state / _FILE).read_bytes()))
    except FileNotFoundError:
        return {}


def keep_scale(app: App, scale: Mapping[str, int]) -> None:
    write_file(app.make_state() / _FILE, orjson.dumps(dict(scale)), mode=0o600)
