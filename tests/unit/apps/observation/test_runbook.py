"""The runbook names commands that do what it says."""

from __future__ import annotations

from pathlib import Path

from ikoma.apps.observation.runbook import render_restore
from ikoma.model import AppName


def test_a_packed_dump_is_unpacked_on_its_way_to_psql() -> None:
    shop = AppName("shop")
    assert render_restore(shop, Path("/b/shop-1.sql")) == "ikoma psql --admin shop < /b/shop-1.sql"
    assert render_restore(shop, Path("/b/shop-1.sql.zst")) == "zstd -dc /b/shop-1.sql.zst | ikoma psql --admin shop"
