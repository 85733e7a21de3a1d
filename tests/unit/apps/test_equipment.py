from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.apps import equipment
from ikoma.apps.folder import App
from ikoma.model import AppName


@pytest.mark.parametrize("args", [None, {"BUILDKIT_CACHE_MOUNT_NS": "bank", "GREETING": "hello"}])
def test_what_a_build_keeps_for_the_next_is_the_apps_own(args: dict[str, str] | None, tmp_path: Path) -> None:
    app = App(AppName("shop"), tmp_path)
    build = {"context": str(tmp_path), "dockerfile_inline": "FROM scratch", **({"args": args} if args else {})}
    model = {"services": {"web": {"build": build}}}
    made = equipment.frozen(app, model, env={}, memory=1 << 20)
    assert made["services"]["web"]["build"]["args"] == {**(args or {}), "BUILDKIT_CACHE_MOUNT_NS": "shop"}
