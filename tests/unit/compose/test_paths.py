"""Ways on this machine, followed link by link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ikoma.compose.paths import locate

LINKS = {
    "plain/folder": None,
    "plain/up": "..",
    "absolute": "{root}/plain/folder",
    "relative": "plain/../plain/./folder",
    "through": "relative",
    "outside": "/usr",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path.resolve()
    (root / "plain/folder").mkdir(parents=True)
    for name, target in LINKS.items():
        if target is not None:
            (root / name).symlink_to(target.format(root=root))
    return root


@pytest.mark.parametrize("way", [*LINKS, "plain/up/absolute/below", "plain/folder/../up", "missing/../plain", "."])
def test_a_way_leads_where_the_kernel_follows_it(root: Path, way: str) -> None:
    assert str(locate(f"{root}/{way}").path) == os.path.realpath(f"{root}/{way}")


@pytest.mark.parametrize("way", ["/", "//", "/..", "/../.."])
def test_above_the_root_there_is_the_root(way: str) -> None:
    assert locate(way).path == Path("/")
    assert locate(way).passed <= {Path("/")}


def test_who_may_write_a_folder_of_the_way_is_told(root: Path) -> None:
    assert locate(f"{root}/through/below").passed == {*root.parents, root, root / "plain", root / "plain/folder"}


def test_a_way_without_end_leads_to_the_root(root: Path) -> None:
    (root / "circle").symlink_to("circle")
    assert locate(f"{root}/circle/below").path == Path("/")
