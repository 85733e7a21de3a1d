"""Names of previews, and what a preview makes of its app's compose file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.resolution.preview_files import adapt_for_preview, name_preview, read
from ikoma.compose.compose_file import Web
from ikoma.compose.model import parse_model
from ikoma.compose.web_service import find_web
from ikoma.errors import NameTooLong
from ikoma.model import AppName

APP = AppName("shop")
RECORD = """{"name": "shop--main", "of": "shop", "ref": "main", "caller": "admin",
"created_at": "2026-11-25T10:00:00Z", "expires_at": "2026-12-01T10:00:00Z"}"""


def test_a_name_says_the_ref_where_it_can() -> None:
    assert name_preview(APP, "main") == "shop--main"
    assert name_preview(APP, "main").host == "main.shop.localhost"
    assert name_preview(APP, "v1-2").previewed == "shop"
    assert re.fullmatch(r"shop--feature-new-look-[0-9a-f]{6}", name_preview(APP, "feature/New_look"))


def test_no_two_refs_have_one_name() -> None:
    refs = ["a-b", "a/b", "a_b", "A-b", "a--b", "a.b", "a+b", "x" * 39, "x" * 40, "x" * 41, "x" * 42, "é", "@", "a-"]
    names = {name_preview(APP, ref) for ref in refs}
    assert len(names) == len(refs)
    for name in names:
        assert AppName.parse(name).previewed == "shop"
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name.host.split(".")[0])


def test_names_are_never_too_long() -> None:
    longest = AppName("a" * 51)
    assert len(name_preview(longest, "feature/that-has-a-long-name")) <= 63
    with pytest.raises(NameTooLong):
        name_preview(AppName("a" * 52), "main")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": 1}', RECORD.replace("2026-12-01", "tomorrow")])
def test_a_record_that_says_nothing_is_of_no_preview(tmp_path: Path, text: str) -> None:
    app = App(AppName("shop--main"), tmp_path)
    app.make_state()
    app.preview_record.write_text(text)
    assert read(app) is None
    app.preview_record.write_text(RECORD)
    found = read(app)
    assert found is not None
    assert (found.of, found.ref, found.database) == ("shop", "main", False)


def test_what_only_one_can_have_is_left_out() -> None:
    theirs = {"name": "theirs", "external": True}
    joined = {"default": {"ipv4_address": "10.8.0.5", "ipv6_address": "fd00::5", "aliases": ["www"]}, "theirs": None}
    model = {
        "services": {
            "web": {
                "image": "web",
                "ports": [{"target": 80, "published": "80"}],
                "container_name": "web",
                "networks": joined,
            },
            "job": {"network_mode": "none"},
        },
        "volumes": {"data": {"name": "shop_data"}, "theirs": {"name": "theirs", "external": True}, "odd": None},
        "networks": {"default": {"name": "chosen", "ipam": {"config": [{"subnet": "10.8.0.0/24"}]}}, "theirs": theirs},
        "x-ikoma": {"service": "web", "port": 80, "domains": ["shop.example.com"], "redirects": {"a.de": "b.de"}},
    }
    name = name_preview(APP, "main")
    assert adapt_for_preview(name, parse_model(model)).raw == {
        "services": {
            "web": {"image": "web", "networks": {"default": {"aliases": ["www"]}, "theirs": None}},
            "job": {"network_mode": "none"},
        },
        "volumes": {"data": {"name": "shop--main_data"}, "theirs": {"name": "theirs", "external": True}, "odd": None},
        "networks": {"default": {"name": "shop--main_default"}, "theirs": theirs},
        "x-ikoma": {"service": "web", "port": 80},
    }
    own = parse_model(model)
    assert adapt_for_preview(APP, own) is own


def test_a_preview_is_routed_as_its_app_though_its_ports_are_left_out() -> None:
    ports = [{"target": 3000, "published": "3000", "protocol": "tcp"}]
    model = parse_model({"services": {"web": {"image": "a", "ports": ports}, "worker": {"image": "b"}}})
    assert find_web(adapt_for_preview(name_preview(APP, "main"), model)) == find_web(model) == Web("web", 3000, None)
    both = parse_model({"services": {"a": {"ports": ports}, "b": {"ports": ports}, "c": {"expose": ["80"]}}})
    assert find_web(adapt_for_preview(name_preview(APP, "main"), both)) is find_web(both) is None
