from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ikoma.model import AppName
from ikoma.ports.proxy import Side
from ikoma.proxy.sides import Sides

APP = AppName("shop")


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides(tmp_path)


def kept(tmp_path: Path, name: str) -> str:
    return (tmp_path / "apps" / APP / name).read_text()


def test_what_was_never_switched_is_down(sides: Sides, tmp_path: Path) -> None:
    assert sides.find_side(APP) is Side.DOWN
    sides.prepare(APP, 1)
    assert (sides.find_side(APP), kept(tmp_path, "side")) == (Side.DOWN, "down")


def test_fewer_addresses_than_upstreams_are_repeated_and_more_are_not_all_used(sides: Sides, tmp_path: Path) -> None:
    sides.prepare(APP, 3)
    sides.set_upstreams(APP, Side.BLUE, ["10.0.0.1:80", "10.0.0.2:80"])
    assert [kept(tmp_path, f"blue.{slot}") for slot in range(3)] == ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80"]
    sides.prepare(APP, 1)
    assert kept(tmp_path, "blue.0") == "10.0.0.1:80"


def test_no_address_is_a_place_that_refuses(sides: Sides, tmp_path: Path) -> None:
    sides.set_upstreams(APP, Side.BLUE, [])
    assert kept(tmp_path, "blue.0") == "127.0.0.1:0"


def test_the_side_that_does_not_serve_leads_to_the_one_that_does(sides: Sides, tmp_path: Path) -> None:
    sides.set_upstreams(APP, Side.BLUE, ["10.0.0.1:80"])
    sides.switch(APP, Side.BLUE)
    sides.set_upstreams(APP, Side.GREEN, ["10.0.0.2:80"])
    assert (kept(tmp_path, "blue.0"), kept(tmp_path, "green.0")) == ("10.0.0.1:80", "10.0.0.1:80")
    sides.switch(APP, Side.GREEN)
    assert (kept(tmp_path, "blue.0"), kept(tmp_path, "green.0")) == ("10.0.0.2:80", "10.0.0.2:80")
    sides.switch(APP, Side.MAINTENANCE)
    assert (kept(tmp_path, "blue.0"), kept(tmp_path, "green.0")) == ("10.0.0.1:80", "10.0.0.2:80")


def test_upstreams_that_are_added_lead_somewhere(sides: Sides, tmp_path: Path) -> None:
    sides.set_upstreams(APP, Side.BLUE, ["10.0.0.1:80", "10.0.0.2:80"])
    sides.prepare(APP, 2)
    assert kept(tmp_path, "blue.1") == "10.0.0.2:80"


def test_a_preparation_that_was_cut_short_is_done_again(sides: Sides, tmp_path: Path) -> None:
    sides.prepare(APP, 2)
    (tmp_path / "apps" / APP / "slots").unlink()
    (tmp_path / "apps" / APP / "green.1").unlink()
    sides.prepare(APP, 2)
    assert kept(tmp_path, "green.1") == "127.0.0.1:0"


def test_others_may_read_and_nobody_else_write(sides: Sides, tmp_path: Path) -> None:
    sides.set_upstreams(APP, Side.BLUE, ["10.0.0.1:80"])
    folder = tmp_path / "apps" / APP
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o711


def test_what_is_forgotten_is_gone(sides: Sides, tmp_path: Path) -> None:
    sides.set_upstreams(APP, Side.BLUE, ["10.0.0.1:80"])
    sides.forget(APP)
    sides.forget(APP)
    assert list((tmp_path / "apps").iterdir()) == []


def test_a_side_file_that_holds_something_else_is_down(sides: Sides, tmp_path: Path) -> None:
    sides.prepare(APP, 1)
    (tmp_path / "apps" / APP / "side").write_text("purple")
    assert sides.find_side(APP) is Side.DOWN
