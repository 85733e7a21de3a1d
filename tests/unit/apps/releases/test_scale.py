"""A model gets as many containers as fit of the number that was chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.releases.scaling import fit_scale
from ikoma.compose.model import parse_model
from ikoma.model import AppName

MODEL = {
    "services": {"web": {"image": "x"}, "worker": {"image": "x"}, "named": {"image": "x", "container_name": "door"}},
    "x-ikoma": {"service": "web", "port": 3000},
}


@pytest.mark.parametrize(
    ("chosen", "fitting"),
    [
        ({"worker": 0, "web": 2}, {"worker": 0, "web": 2}),
        ({"web": 0}, {"web": 1}),
        ({"named": 3}, {"named": 1}),
        ({"gone": 0}, {"gone": 0}),
    ],
)
def test_a_number_counts_as_far_as_a_model_can_have_it(
    chosen: dict[str, int], fitting: dict[str, int], tmp_path: Path
) -> None:
    app = App(AppName("shop"), tmp_path)
    (app.make_state() / "scale.json").write_text(json.dumps(chosen))
    assert fit_scale(app, parse_model(MODEL)) == fitting
