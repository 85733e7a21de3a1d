"""Names of backups: an app's own never clash, and no other app can take them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ikoma.apps.database.backups import Backups
from ikoma.errors import BackupExists, BackupForeign
from ikoma.model import AppName, BackupName

SHOP, SHOP_EU = AppName("shop"), AppName("shop-eu")


def test_many_backups_in_a_second_have_names_of_their_own(tmp_path: Path) -> None:
    backups = Backups(tmp_path)
    names = []
    for _ in range(30):
        path = backups.reserve(SHOP, None)
        path.touch()
        names.append(path.name)
    assert len(set(names)) == 30
    assert all(re.fullmatch(r"shop-\d{8}-\d{6}(-\d+)?\.sql", BackupName.parse(name)) for name in names)


@pytest.mark.parametrize("name", ["shop-20260101.sql", "before-20260101-101010.sql", "shop-eu-20260101.sql"])
def test_a_name_of_ones_choice_is_taken_as_it_is_and_once(tmp_path: Path, name: str) -> None:
    backups = Backups(tmp_path)
    path = backups.reserve(SHOP, BackupName.parse(name), others=[SHOP, SHOP_EU])
    assert path == tmp_path / name
    path.touch()
    with pytest.raises(BackupExists):
        backups.reserve(SHOP, BackupName.parse(name), others=[SHOP, SHOP_EU])


@pytest.mark.parametrize(("app", "other"), [(SHOP, SHOP_EU), (SHOP_EU, SHOP)])
def test_the_names_that_another_apps_backups_get_are_that_apps(tmp_path: Path, app: AppName, other: AppName) -> None:
    backups = Backups(tmp_path)
    for end in ("", "-2"):
        name = BackupName.parse(f"{other}-20260101-101010{end}.sql")
        assert backups.reserve(other, name, others=[app, other]).name == name
        with pytest.raises(BackupForeign):
            backups.reserve(app, name, others=[app, other])
