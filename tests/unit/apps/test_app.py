from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.errors import AppNotFound, PathOutside
from ikoma.model import AppName


def test_only_folders_with_an_apps_name_are_apps(tmp_path: Path) -> None:
    for name in ("shop", "my-app", ".ikoma", "UPPER", "a b"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "shop")
    assert Apps(tmp_path).list_names() == ["my-app", "shop"]


def test_a_link_is_no_app(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "shop").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AppNotFound):
        Apps(tmp_path / "apps").find(AppName("shop"))


def test_the_nearest_name_is_only_one_the_caller_may_know(tmp_path: Path) -> None:
    (tmp_path / "bakery").mkdir()
    with pytest.raises(AppNotFound) as found:
        Apps(tmp_path).find(AppName("bakerie"))
    assert "bakery" in found.value.hint
    with pytest.raises(AppNotFound) as hidden:
        Apps(tmp_path).find(AppName("bakerie"), visible=lambda _: False)
    assert "bakery" not in hidden.value.hint


@pytest.mark.parametrize("path", ["..", "../other", "link", "link/x", "inside/../.."])
def test_paths_that_leave_the_folder_are_refused(path: str, tmp_path: Path) -> None:
    app = App(AppName("shop"), tmp_path / "shop")
    (app.path / "inside").mkdir(parents=True)
    (app.path / "link").symlink_to("/etc")
    with pytest.raises(PathOutside):
        app.check_inside(app.path / path)
    assert app.check_inside(app.path / "inside" / "new.txt")
