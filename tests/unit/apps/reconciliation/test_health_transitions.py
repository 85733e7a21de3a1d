from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from ikoma.app_folder import App
from ikoma.apps.observation.health import HealthObserver
from ikoma.apps.reconciliation.health_transitions import HealthTransitions
from ikoma.kernel.events import Event, EventKind, Severity
from ikoma.model import AppName


@dataclass
class Seen:
    health: str
    exists: bool = True


class World:
    """An app as it is said to be, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.app = App(AppName("shop"), folder)
        self.now = 100.0
        self.told: list[Event] = []
        self.seen = Seen("healthy")
        self.transitions = HealthTransitions(cast(HealthObserver, self), self.told.append, clock=lambda: self.now)

    async def observe(self, app: App) -> Any:
        return self.seen

    def look(self, health: str, *, exists: bool = True) -> Event | None:
        """The event of a look that finds the app so."""
        self.seen, before = Seen(health, exists), len(self.told)
        asyncio.run(self.transitions.look(self.app))
        return self.told[-1] if len(self.told) > before else None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "shop")


def test_a_transition_is_told_once_and_the_first_look_is_none(world: World) -> None:
    assert world.look("healthy") is None
    assert world.look("healthy") is None
    event = world.look("unhealthy")
    assert event is not None
    assert (event.kind, event.severity, event.app) == (EventKind.HEALTH, Severity.ERROR, "shop")
    assert event.message == "shop was healthy and is unhealthy."
    assert world.look("unhealthy") is None
    back = world.look("healthy")
    assert back is not None
    assert (back.severity, back.message) == (Severity.INFO, "shop was unhealthy and is healthy.")


def test_an_app_that_is_gone_is_forgotten(world: World) -> None:
    world.look("healthy")
    assert world.look("unknown", exists=False) is None
    assert world.look("unhealthy") is None


@pytest.mark.parametrize(
    ("health", "due"), [("unhealthy", True), ("starting", True), ("healthy", False), ("stopped", False)]
)
def test_only_what_is_not_well_is_looked_at_again_by_itself(world: World, health: str, due: bool) -> None:
    assert not world.transitions.is_due("shop")
    world.look(health)
    assert not world.transitions.is_due("shop")
    world.now += 15
    assert world.transitions.is_due("shop") is due
