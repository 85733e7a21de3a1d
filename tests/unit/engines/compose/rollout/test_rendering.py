from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.rollouts.builds import render_builds
from ikoma.compose.model import parse_model
from ikoma.compose.mounts import Sources
from ikoma.compose.release_folder import ReleaseFolder
from ikoma.engines.compose.rollout.rendering import render
from ikoma.engines.docker.containers import AnonymousVolume
from ikoma.model import AppName
from ikoma.ports.rollout import ReleaseParts

ROOT, TREE = Path("/srv/apps/shop"), Path("/srv/apps/shop/.ikoma/releases/r1/tree")
FOLDER = ReleaseFolder(AppName("shop"), "r1", ROOT, TREE, Sources((ROOT / "src", ROOT / "config"), ()))
PARTS = ReleaseParts(FOLDER.sources, {"web": "c", "back": "c"}, given={"TOKEN": "hunter2"})


def placed_model(model: dict[str, Any], **anonymous: list[AnonymousVolume]) -> dict[str, Any]:
    whole = parse_model({"name": "shop", **model})
    return render(whole, FOLDER, PARTS, rollout="42", anonymous=anonymous).model.copy_raw()


def bind(path: Path) -> dict[str, Any]:
    return {"type": "bind", "source": str(path), "target": "/there"}


def test_source_is_mounted_from_the_release_and_data_from_where_it_is() -> None:
    model = {"services": {"web": {"volumes": [bind(ROOT / "src" / "www"), bind(ROOT / "data")]}}}
    mounts = placed_model(model)["services"]["web"]["volumes"]
    assert [mount["source"] for mount in mounts] == [str(TREE / "src" / "www"), str(ROOT / "data")]
    assert model["services"]["web"]["volumes"][0]["source"] == str(ROOT / "src" / "www")  # it is a copy that changed


def test_containers_run_the_images_of_the_release_and_say_what_made_them() -> None:
    service = {"image": "busybox", "build": {}, "pull_policy": "always", "profiles": ["tools"]}
    web = placed_model({"services": {"web": service}})["services"]["web"]
    assert web["image"] == "ikoma-app/shop/web:r1"
    assert not {"build", "pull_policy", "profiles"} & set(web)
    assert web["labels"] == {"ikoma.configuration": "c", "ikoma.rollout": "42", "ikoma.release": "r1"}


@pytest.mark.parametrize(
    ("network", "renamed"),
    [
        (None, True),
        ({}, True),
        ({"name": "shop_inner"}, True),
        ({"name": "chosen"}, False),
        ({"external": True}, False),
        ({"ipam": {"config": [{"subnet": "10.1.0.0/24"}]}}, False),
    ],
)
def test_networks_of_the_apps_own_are_made_anew_for_each_rollout(network: Any, renamed: bool) -> None:
    service = {"networks": {"inner": {"aliases": ["door"]}}}
    model = {"name": "shop", "services": {"web": service}, "networks": {"inner": network}}
    found = render(parse_model(model), FOLDER, PARTS, rollout="42", anonymous={})
    [key] = found.model.networks
    assert list(found.model.services["web"].networks) == [key]
    assert (key == "inner-42") is renamed
    assert found.networks == (frozenset({"shop_inner-42"}) if renamed else frozenset())
    assert list(found.joined["web"].values()) == [["web", "door"]]


def test_a_container_is_found_under_its_name_before_it_has_it() -> None:
    service = {"container_name": "door", "networks": {"default": None}}
    web = placed_model({"services": {"web": service}, "networks": {"default": None}})["services"]["web"]
    assert "container_name" not in web
    assert web["networks"] == {"default-42": {"aliases": ["door"]}}


def test_a_service_is_found_under_the_names_that_others_link_it_by() -> None:
    web = {"links": ["back:database", "back", "back:store"], "networks": {"default": None, "outer": None}}
    back = {"networks": {"default": {"aliases": ["db"]}, "inner": None}}
    networks = {"default": None, "outer": None, "inner": None}
    found = placed_model({"services": {"web": web, "back": back}, "networks": networks})["services"]
    assert "links" not in found["web"]
    assert found["back"]["networks"] == {"default-42": {"aliases": ["db", "database", "store"]}, "inner-42": None}


def test_data_of_a_volume_without_a_name_goes_on_unless_something_else_is_mounted_there() -> None:
    volume = AnonymousVolume("0" * 64, "/store")
    model = placed_model({"services": {"web": {}}}, web=[volume])
    assert model["volumes"] == {volume.name: {"name": volume.name, "external": True}}
    assert [mount["target"] for mount in model["services"]["web"]["volumes"]] == ["/store"]
    mounted = {"volumes": [{"type": "volume", "source": "named", "target": "/store"}]}
    assert len(placed_model({"services": {"web": mounted}}, web=[volume])["services"]["web"]["volumes"]) == 1
    unnamed = {"volumes": [{"type": "volume", "target": "/store/", "read_only": True}]}
    model = placed_model({"services": {"web": unnamed}}, web=[volume])
    [mount] = model["services"]["web"]["volumes"]
    assert (mount["source"], mount["read_only"]) == (volume.name, True)
    assert list(model["volumes"]) == [volume.name]
    in_memory = {"tmpfs": ["/store/:size=1m"]}
    assert placed_model({"services": {"web": in_memory}}, web=[volume])["services"]["web"]["volumes"] == []


def test_secrets_from_variables_become_files_that_one_service_mounts() -> None:
    secrets = [{"source": "token", "target": "key", "mode": "0400", "uid": "7"}]
    model = {"name": "shop", "services": {"web": {"secrets": secrets}}, "secrets": {"token": {"environment": "TOKEN"}}}
    found = render(parse_model(model), FOLDER, PARTS, rollout="42", anonymous={})
    path, given = next(iter(found.files.items()))
    assert (given.content, given.mode, given.owner) == ("hunter2", 0o400, (7, 0))
    assert list(found.model.services["web"].secrets) == [{"source": path.name, "target": "/run/secrets/key"}]
    assert found.model.secrets[path.name]["file"] == str(path)


def test_an_image_of_the_whole_folder_is_built_from_the_copy_and_data_in_it_mounted_from_where_it_is() -> None:
    folder = replace(FOLDER, sources=Sources((ROOT,), (), (ROOT / "data",), (ROOT / "data",)))
    build = {"context": str(ROOT), "additional_contexts": {"all": str(ROOT)}}
    service = {"build": build, "volumes": [bind(ROOT / "data"), bind(ROOT / "www")]}
    model = {"name": "shop", "services": {"web": service}}
    copied = {"context": str(TREE), "additional_contexts": {"all": str(TREE)}}
    assert render_builds(parse_model(model), folder)["services"]["web"]["build"] == copied
    found = render(parse_model(model), folder, PARTS, rollout="42", anonymous={}).model
    assert [mount.source for mount in found.services["web"].mounts] == [str(ROOT / "data"), str(TREE / "www")]


def test_images_are_built_from_the_copy_of_the_source() -> None:
    build = {
        "context": str(ROOT / "src"),
        "additional_contexts": {"more": str(ROOT / "config"), "b": "docker-image://b"},
    }
    found = render_builds(
        parse_model({"name": "shop", "services": {"web": {"build": build}, "db": {"image": "x"}}}), FOLDER
    )
    assert found["services"] == {
        "web": {
            "build": {
                "context": str(TREE / "src"),
                "additional_contexts": {"more": str(TREE / "config"), "b": "docker-image://b"},
            },
            "image": "ikoma-app/shop/web:r1",
        }
    }
