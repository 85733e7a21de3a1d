from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.model import AppName
from ikoma.rollout_state import RolloutState, Serving, Standby, Underway, name_rollout, parse_rollout
from tests.unit.replicas import container

OLD, NEW = "25010100000000001", "25010100000000002"
SERVING = {"old": Serving("a", OLD, 1.0), "new": Serving("b", NEW, 2.0)}
UNDERWAY = Underway("b", NEW, kept=("kept",), stopped=("stopped",), returned=("back",), backup="b.sql")
CONTAINERS = {
    "kept": container("kept", rollout=OLD),
    "stopped": container("stopped", rollout=OLD),
    "back": container("back", rollout=OLD),
    "fresh": container("fresh", rollout=NEW),
    "waiting": container("waiting", rollout=OLD),
}


@pytest.fixture
def state(tmp_path: Path) -> RolloutState:
    return RolloutState(App(AppName("shop"), tmp_path))


def test_what_is_written_is_read(state: RolloutState) -> None:
    assert (state.read_serving(), state.read_underway(), state.read_standby()) == (None, None, None)
    standby = Standby("a", OLD, ("one", "two"), 3.0, kept=("three",))
    for written in (SERVING["old"], UNDERWAY, standby):
        state.write(written)
    assert (state.read_serving(), state.read_underway(), state.read_standby()) == (SERVING["old"], UNDERWAY, standby)
    state.finish()
    state.end_standby()
    assert (state.read_underway(), state.read_standby()) == (None, None)


def test_what_is_down_has_served(state: RolloutState) -> None:
    state.write(SERVING["old"])
    state.write(replace(UNDERWAY, backup=None))
    state.take_down()
    assert (state.read_serving(), state.read_underway()) == (Serving("a", OLD, 1.0, down=True), None)


def test_what_is_down_has_its_database_restored_unless_the_new_release_has_served(state: RolloutState) -> None:
    state.write(SERVING["old"])
    state.write(UNDERWAY)
    state.take_down()
    assert state.read_underway() == UNDERWAY
    state.write(SERVING["new"])
    state.take_down()
    assert state.read_underway() is None


@pytest.mark.parametrize(
    ("serving", "underway", "serves"),
    [
        ("old", False, {"kept", "stopped", "back", "fresh"}),
        ("old", True, {"kept", "stopped"}),
        ("new", True, {"kept", "back", "fresh"}),
        (None, True, {"kept", "stopped"}),
    ],
    ids=["nothing under way", "before it takes over", "after", "the first"],
)
def test_one_side_of_a_rollout_serves(
    state: RolloutState, serving: str | None, underway: bool, serves: set[str]
) -> None:
    if serving:
        state.write(SERVING[serving])
    if underway:
        state.write(UNDERWAY)
    state.write(Standby("z", "1", ("waiting",), 9.0))
    assert {name for name, item in CONTAINERS.items() if state.read_view().serves(item)} == serves


def test_what_returns_is_in_standby_until_it_takes_over(state: RolloutState) -> None:
    state.write(Standby("a", OLD, ("back",), 9.0))
    state.write(Underway("a", OLD, kept=("kept",), returned=("back",)))
    state.write(SERVING["new"])
    assert not state.read_view().serves(CONTAINERS["back"])
    state.write(SERVING["old"])
    assert state.read_view().serves(CONTAINERS["back"])


def test_rollouts_have_names_in_order_that_networks_carry() -> None:
    first, second = name_rollout(), name_rollout()
    assert first[:15] <= second[:15]
    assert parse_rollout(f"shop_default-{first}") == first
    assert parse_rollout("shop_default") is None
    assert parse_rollout(f"shop_default-{first}x") is None


def test_a_container_is_of_the_release_that_made_it_serves_with_it_or_could_again(state: RolloutState) -> None:
    made = {name: replace(item, release="a" if item.rollout == OLD else "b") for name, item in CONTAINERS.items()}
    state.write(SERVING["old"])
    state.write(UNDERWAY)
    assert {name: state.read_view().list_releases_of(item) for name, item in made.items()} == {
        "kept": {"a"},
        "stopped": {"a"},
        "back": {"a", "b"},  # it is started again for that one
        "fresh": {"b"},
        "waiting": {"a"},
    }
    assert (state.read_view().find_starting(made["fresh"]), state.read_view().find_starting(made["kept"])) == (
        "b",
        None,
    )
    state.write(SERVING["new"])
    state.finish()
    state.write(Standby("a", OLD, ("waiting",), 3.0, kept=("kept",)))
    assert state.read_view().list_releases_of(made["waiting"]) == {"a"}
    assert state.read_view().list_releases_of(made["kept"]) == {"a", "b"}
    assert state.read_view().find_starting(made["fresh"]) is None
