from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ikoma.compose.model import EMPTY, ComposeModel, parse_model
from ikoma.compose.x_ikoma import KEYS, Extension
from ikoma.compose.x_ikoma_check import check
from ikoma.errors import InvalidCompose


def model(**block: Any) -> ComposeModel:
    return parse_model({"services": {"web": {}, "db": {}}, "x-ikoma": block})


def test_without_a_block_all_is_as_by_default() -> None:
    assert EMPTY.x_ikoma == model().x_ikoma == model(watch=None).x_ikoma == Extension()


@pytest.mark.parametrize(
    ("key", "given", "read_as"),
    [
        ("watch", "0s", 0.0),
        ("watch", 90, 90.0),
        ("drain", "1.5m", 90.0),
        ("hold", "250ms", 0.25),
        ("timeout", "24h", 86400.0),
        ("max_body", "10m", 10 << 20),
        ("max_body", "1GB", 1 << 30),
        ("max_body", "1024g", 1 << 40),
        ("max_body", 512, 512),
        ("domains", ["Shop.example.com"], ("shop.example.com",)),
        ("redirects", {"www.example.com": "example.com"}, {"www.example.com": "example.com"}),
        ("data", "./src/uploads", ("src/uploads",)),
        ("data", ["src/a", "config/b"], ("src/a", "config/b")),
        ("source", ["./src", "html"], ("src", "html")),
        ("strategy", "recreate", "recreate"),
    ],
)
def test_each_key_has_its_form(key: str, given: Any, read_as: Any) -> None:
    assert getattr(model(**{key: given}).x_ikoma, key) == read_as


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("text", "must be a mapping"),
        ({"wacth": "1s"}, "wacth is unknown; it takes service"),
        *(({"watch": wrong}, "it takes a time") for wrong in ("", "soon", "-1s", "1d", True, "25h", "1e9", ["1s"])),
        *(
            ({"max_body": wrong}, "it takes a size")
            for wrong in ("", "much", "-1", "1.5m", True, "10x", "1025g", "9" * 12 + "g")
        ),
        *(({"strategy": wrong}, "it takes rolling or recreate") for wrong in ("fast", 1, {"web": "fast"})),
        ({"strategy": {"api": "rolling"}}, "there is no service 'api'"),
        ({"domains": "a.example.com"}, "takes a list"),
        ({"domains": ["a b"]}, "'a b' is not"),
        ({"redirects": ["a.example.com"]}, "takes a mapping"),
        *(({"data": wrong}, "is no folder inside") for wrong in ("/etc", "..", "src/../..", "src//a", "", 5, ["a\0b"])),
    ],
)
def test_what_is_not_of_that_form_is_refused_with_what_it_takes(block: Any, says: str) -> None:
    found = parse_model({"services": {"web": {}}, "x-ikoma": block})
    with pytest.raises(InvalidCompose, match=says):
        _ = found.x_ikoma


def test_the_keys_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "releases.md").read_text()
    block = page[page.index("## x-ikoma") :]
    assert set(re.findall(r"^  ([a-z_]+):", block, re.MULTILINE)) == set(KEYS)


@pytest.mark.parametrize(
    "block",
    [
        {},
        {"database": ["web", "db"]},
        {"database": []},
        {"database": False},
        {"database": True},
        {"database": {"web": {"DBUSER": "user", "URL": "url"}, "db": {"_p": "port"}}},
        {"data": ["src/uploads", "./config/state"]},
        {"data": "config"},
        {"source": ["src", "html"], "data": ["src/uploads"]},
    ],
)
def test_a_new_release_may_say_what_is_there(block: dict[str, Any]) -> None:
    check(model(**block))


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"watch": "soon"}, "it takes a time"),
        ({"source": ["src"], "data": ["src"]}, "source: 'src' is named in data too"),
        ({"service": ["web"]}, r"service: there is no service \"\['web'\]\""),
        ({"service": {"web": 3000}}, "service: there is no service"),
        ({"service": True}, "service: there is no service 'True'"),
        ({"database": ["nope"]}, "database: there is no service 'nope'"),
        ({"database": ["web", 5]}, "database: there is no service '5'"),
        ({"database": "web"}, "database takes a list of services"),
        ({"database": {"web": True}}, "database takes a list of services"),
        ({"database": {"web": {}}}, "web: {DB_USER: user}; web has"),
        ({"database": {"nope": {"DBUSER": "user"}}}, "database: there is no service 'nope'"),
        ({"database": {"web": {"DB-USER": "user"}}}, "web: 'DB-USER' is no name of a variable"),
        ({"database": {"web": {5: "user"}}}, "web: '5' is no name of a variable"),
        (
            {"database": {"web": {"DBUSER": "username"}}},
            "DBUSER is 'username'; it takes user, password, host",
        ),
        ({"database": {"web": {"DBUSER": ["user"]}}}, "DBUSER is .*; it takes user, password, host, port, name, url"),
        *(
            ({"data": wrong}, f"data: '{wrong}' is not inside src/ or config/")
            for wrong in ("uploads", "srcs/up", "a/src")
        ),
    ],
)
def test_a_new_release_must_not_say_what_is_not_there(block: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidCompose, match=says):
        check(model(**block))


def test_a_release_that_says_so_since_earlier_is_still_read() -> None:
    assert model(database=["gone"], data=["uploads"]).x_ikoma.data == ("uploads",)


def test_a_strategy_is_for_all_services_or_for_those_that_are_named() -> None:
    assert model(strategy="recreate").x_ikoma.find_strategy("db") == "recreate"
    named = model(strategy={"db": "recreate"}).x_ikoma
    assert (named.find_strategy("db"), named.find_strategy("web")) == ("recreate", None)


@pytest.mark.parametrize(
    "redirects",
    [
        {"a.example.com": "a.example.com"},
        {"a.example.com": "B.example.com", "b.example.com": "a.example.com"},
        {"a.example.com": "b.example.com", "b.example.com": "c.example.com", "c.example.com": "b.example.com"},
    ],
)
def test_redirects_that_go_round_in_a_circle_are_refused(redirects: dict[str, str]) -> None:
    with pytest.raises(InvalidCompose, match="goes round in a circle"):
        check(model(redirects=redirects))


def test_redirects_may_follow_one_another() -> None:
    check(model(redirects={"a.example.com": "b.example.com", "b.example.com": "c.example.com"}))
