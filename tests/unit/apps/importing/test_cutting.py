"""Entries that no app may have here are left out of compose files, one by one, and nothing besides."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.importing.cutting import CutFiles, Cutter, list_overlaps, list_policy_cuts
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.policy.waivers import Waivers
from ikoma.apps.resolution.resolver import Resolutions
from ikoma.apps.yaml.violation import Violation
from ikoma.compose.model import parse_model
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.runtime import assemble
from ikoma.kernel.redaction.redaction import find_nothing
from ikoma.kernel.state.store import Store
from ikoma.model import AppName
from tests.support import DOCKER_HOST

NAME = "docker-compose.yml"


def test_what_the_policy_refuses_is_left_out_where_no_data_goes_with_it() -> None:
    given = (
        Violation("privileged", ("services", "web", "privileged"), "web is privileged."),
        Violation("foreign-volume", ("volumes", "rows"), "rows is another's."),
        Violation("bind-outside", ("services", "web", "volumes", 0), "web has /etc."),
        Violation("hooks", (), "somewhere"),
    )
    cuts = list(list_policy_cuts(given))
    assert [item.place for item in cuts] == [
        ("services", "web", "privileged"),
        ("volumes", "rows", "external"),
        ("volumes", "rows", "name"),
    ]
    assert all(item.why.startswith(("web is privileged.", "rows is another's.")) for item in cuts)


def test_networks_that_choose_their_addresses_lose_them() -> None:
    networks = {"a": {"ipam": {"config": [{"subnet": "10.9.0.0/24"}]}}, "b": {}, "c": {"ipam": {"driver": "default"}}}
    assert [item.place for item in list_overlaps(parse_model({"networks": networks}))] == [("networks", "a", "ipam")]


def cut(folder: Path, text: str, held: frozenset[int] | None = None) -> tuple[CutFiles, list[str]]:
    """The files as they are cut, and the ports that were."""
    place = App(AppName("shop"), folder / "project")
    place.path.mkdir()
    (folder / "apps").mkdir()
    (place.path / NAME).write_text(text)
    files = CutFiles({NAME: text})

    async def run() -> list[str]:
        engine = ComposeEngine(DOCKER_HOST, find_nothing)
        try:
            parts = assemble(engine)
            policy = Policy(Apps(folder / "apps"), Waivers(Store(folder / "state.db")), platform_ports={3000: "IKOMA"})
            cutter = Cutter(parts, policy, Resolutions(parts))
            if held is not None:
                return await cutter.cut_ports(place, files, held)
            await cutter.cut(place, files)
            return []
        finally:
            await engine.close()

    return files, asyncio.run(run())


WRITTEN = """# what a person wrote
services:
  web:
    image: busybox   # small
    privileged: true
    cap_add: [SYS_ADMIN, NET_ADMIN]
    ports:
      - "3000:80"
      - "18471:81"   # stays
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
      - rows:/rows
      - /var/run/docker.sock:/again.sock
volumes:
  rows:
    external: true
    name: of-others
"""
LEFT = """# what a person wrote
services:
  web:
    image: busybox   # small
    ports:
      - "18471:81"   # stays
    volumes:
      - rows:/rows
volumes:
  rows:
    name: of-others
"""


@pytest.mark.engine
def test_entries_are_left_out_one_by_one_and_the_rest_stays_as_it_was_written(tmp_path: Path) -> None:
    files, _ = cut(tmp_path, WRITTEN)
    assert files.texts[NAME] == LEFT
    assert any("privileged" in line for line in files.changes)


@pytest.mark.engine
def test_a_file_with_nothing_to_leave_out_is_the_same(tmp_path: Path) -> None:
    files, _ = cut(tmp_path, LEFT)
    assert (files.texts[NAME], files.changes) == (LEFT, [])
