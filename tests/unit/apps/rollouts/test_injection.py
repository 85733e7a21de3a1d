from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikoma.app_folder import App
from ikoma.apps.rollouts import injection
from ikoma.compose.model import parse_model
from ikoma.model import AppName


def limits(**said: Any) -> dict[str, Any]:
    return {"deploy": {"resources": {"limits": said}}}


@pytest.mark.parametrize("args", [None, {"BUILDKIT_CACHE_MOUNT_NS": "bank", "GREETING": "hello"}])
def test_what_a_build_keeps_for_the_next_is_the_apps_own(args: dict[str, str] | None, tmp_path: Path) -> None:
    app = App(AppName("shop"), tmp_path)
    build = {"context": str(tmp_path), "dockerfile_inline": "FROM scratch", **({"args": args} if args else {})}
    model = {"services": {"web": {"build": build}}}
    made = injection.freeze(app, parse_model(model), env={}, memory=1 << 20)
    assert made.services["web"].raw["build"]["args"] == {**(args or {}), "BUILDKIT_CACHE_MOUNT_NS": "shop"}


@pytest.mark.parametrize(
    ("service", "limited"),
    [
        ({}, {"mem_limit": "1048576", "pids_limit": 1024}),
        ({"mem_limit": "64"}, {"mem_limit": "64", "pids_limit": 1024}),
        (limits(memory="64"), limits(memory="64", pids=1024)),
        (limits(pids=9), limits(memory="1048576", pids=9)),
        (limits(), limits(memory="1048576", pids=1024)),
        ({"mem_limit": "64", **limits(memory="64")}, {"mem_limit": "64", **limits(memory="64", pids=1024)}),
    ],
)
def test_limits_that_are_missing_are_filled_in_where_compose_reads_them(
    service: dict[str, Any], limited: dict[str, Any], tmp_path: Path
) -> None:
    model = {"services": {"web": {"image": "busybox", **service}}}
    made = (
        injection.freeze(App(AppName("shop"), tmp_path), parse_model(model), env={}, memory=1 << 20).services["web"].raw
    )
    assert {key: made[key] for key in ("mem_limit", "pids_limit", "deploy") if key in made} == limited
