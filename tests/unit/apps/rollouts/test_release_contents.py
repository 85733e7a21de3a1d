from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.rollouts.release_contents import ReleaseContents
from ikoma.compose.model import parse_model
from ikoma.compose.mounts import Sources
from ikoma.compose.release_folder import ReleaseFolder
from ikoma.model import AppName

ROOT, TREE = Path("/srv/apps/shop"), Path("/srv/apps/shop/.ikoma/releases/r1/tree")
FOLDER = ReleaseFolder(
    AppName("shop"), "r1", ROOT, TREE, Sources((ROOT / "src", ROOT / "config"), (), (ROOT / "data",))
)
CONTENTS = ReleaseContents(
    FOLDER,
    images={"web": "sha256:1", "worker": "sha256:2"},
    given={"TOKEN": "hunter2"},
    digest=lambda path: f"digest of {path}",
    dotenv=b"A=1\n",
    marks={"data": "7"},
)


def bind(path: Path) -> dict[str, Any]:
    return {"type": "bind", "source": str(path), "target": "/there"}


RECORDED: dict[str, Any] = {
    "name": "shop",
    "services": {
        "web": {
            "image": "busybox",
            "environment": {"A": "1"},
            "scale": 2,
            "deploy": {"replicas": 2, "resources": {"limits": {"memory": "64m"}}},
            "volumes": [
                {"type": "bind", "source": str(ROOT / name), "target": f"/{name}"}
                for name in ("src/www", "data", ".env")
            ],
            "secrets": [{"source": "token"}],
            "configs": [{"source": "settings"}, {"source": "words"}],
            "networks": {"default": None},
        },
        "worker": {"image": "busybox", "command": ["work"]},
    },
    "secrets": {"token": {"environment": "TOKEN"}},
    "configs": {"settings": {"file": str(ROOT / "config/app.ini")}, "words": {"content": "hello"}},
    "networks": {"default": {"internal": True}},
}


def test_a_configuration_stays_what_earlier_versions_have_written_on_containers() -> None:
    """Another value would have the containers of every app replaced at their next deploy."""
    assert CONTENTS.compute_configurations(parse_model(RECORDED)) == {
        "web": "b2e8ba0a10f3019f5b72072cc27927ae",
        "worker": "562334bfa290ed4d4e12a9de09b52533",
    }


BASE: dict[str, Any] = {
    "services": {
        "web": {
            "image": "busybox",
            "environment": {"A": "1"},
            "volumes": [bind(ROOT / "src"), bind(ROOT / "data"), bind(ROOT / ".env")],
            "secrets": [{"source": "token"}],
            "networks": {"default": None},
        }
    },
    "secrets": {"token": {"environment": "TOKEN"}},
    "networks": {"default": None},
}


def changed(**service: Any) -> dict[str, Any]:
    return {**BASE, "services": {"web": {**BASE["services"]["web"], **service}}}


@pytest.mark.parametrize(
    ("model", "contents", "same"),
    [
        (BASE, CONTENTS, True),
        (changed(image="other"), CONTENTS, True),  # what counts is the image that the name stands for
        (changed(depends_on={"db": {}}), CONTENTS, True),
        (changed(scale=3, deploy={"replicas": 3}), CONTENTS, True),
        (BASE, replace(CONTENTS, folder=replace(FOLDER, release="r2", tree=TREE.parents[1] / "r2" / "tree")), True),
        (changed(environment={"A": "2"}), CONTENTS, False),
        ({**BASE, "networks": {"default": {"internal": True}}}, CONTENTS, False),
        (BASE, replace(CONTENTS, images={"web": "sha256:2"}), False),
        (BASE, replace(CONTENTS, given={"TOKEN": "other"}), False),
        (BASE, replace(CONTENTS, digest=lambda path: "changed"), False),
        (BASE, replace(CONTENTS, marks={"data": "8"}), False),
        (BASE, replace(CONTENTS, dotenv=b"A=2\n"), False),
    ],
)
def test_a_configuration_is_all_that_a_container_is_made_of(
    model: dict[str, Any], contents: ReleaseContents, same: bool
) -> None:
    recorded = CONTENTS.compute_configurations(parse_model(BASE))
    assert (contents.compute_configurations(parse_model(model)) == recorded) is same
