"""Deliveries are remembered, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.source import webhook
from ikoma.apps.source.webhook import DeliveryMark, Webhooks
from ikoma.errors import HookReplayed, HookWornOut
from ikoma.kernel.state.store import Store
from ikoma.model import AppName

YEAR = 366 * 24 * 3600


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "shop").mkdir()
    return Apps(tmp_path).locate(AppName("shop"))


@pytest.fixture
def house(tmp_path: Path, app: App) -> Iterator[Webhooks]:
    store = Store(tmp_path / "state.db")
    made = Webhooks(store, Apps(tmp_path))
    made.create(app, "main", caller="ann")
    yield made
    store.close()


def test_of_a_delivery_that_is_refused_nothing_is_remembered(house: Webhooks, app: App) -> None:
    body, one, two = (
        DeliveryMark("body x", lasts=True),
        DeliveryMark("delivery 1", lasts=False),
        DeliveryMark("delivery 2", lasts=False),
    )
    house.remember_delivery(app.name, [body, one])
    with pytest.raises(HookReplayed):
        house.remember_delivery(app.name, [two, body])
    house.remember_delivery(app.name, [DeliveryMark("body y", lasts=True), two])
    house.remember_delivery(AppName("bank"), [body, one])


def test_what_has_no_time_of_its_own_is_remembered_however_old(
    house: Webhooks, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting, passing = DeliveryMark("body x", lasts=True), DeliveryMark("signature y", lasts=False)
    house.remember_delivery(app.name, [lasting, passing])
    later = time.time() + YEAR
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(HookReplayed):
        house.remember_delivery(app.name, [lasting])
    house.remember_delivery(app.name, [passing])


def test_a_full_memory_refuses_rather_than_forgets(house: Webhooks, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "MOST_REMEMBERED", 2)
    house.remember_delivery(app.name, [DeliveryMark("body 1", lasts=True)])
    house.remember_delivery(app.name, [DeliveryMark("body 2", lasts=True)])
    with pytest.raises(HookWornOut):
        house.remember_delivery(app.name, [DeliveryMark("body 3", lasts=True)])
    former = house.find(app.name)
    house.create(app, "main", caller="ann")
    assert former != house.find(app.name)
    house.remember_delivery(app.name, [DeliveryMark("body 3", lasts=True)])


def test_a_delivery_that_began_nothing_may_come_again(house: Webhooks, app: App) -> None:
    marks = [DeliveryMark("body 1", lasts=True), DeliveryMark("delivery 1", lasts=False)]
    house.remember_delivery(app.name, marks)
    house.forget_delivery(app.name, marks)
    house.remember_delivery(app.name, marks)
