"""Findings of an x-ikoma block: each fault of it, once, at its line."""

from __future__ import annotations

from typing import Any

import pytest

from ikoma.apps.validation.web import find_web
from ikoma.apps.yaml.lines import Source
from ikoma.compose.model import parse_model


def found(**block: Any) -> list[str]:
    model = {"services": {"web": {"image": "x"}, "db": {"image": "y"}}, "x-ikoma": block}
    return [finding.problem for finding in find_web(Source("docker-compose.yml", b"services:\n"), parse_model(model))]


def test_every_fault_is_told_at_once_and_once() -> None:
    problems = found(
        service="wbe", prot=1, watch="soon", strategy={"web": "fast", "api": "rolling"}, database=["db", "rows"]
    )
    assert len(problems) == 6
    for part in ("'wbe'", "prot is unknown", "watch is 'soon'", "strategy of web is 'fast'", "'api'", "'rows'"):
        assert sum(part in problem for problem in problems) == 1, (part, problems)


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        ({"port": "http", "health": "ok"}, ["port is 'http'"]),  # without a port, nothing is said of the path
        ({"port": 3000, "health": "ok"}, ["health is 'ok'"]),
        ({"domains": ["a b", "shop.example.com", "c d"]}, ["'a b'", "'c d'"]),
        ({"redirects": {"a.example.com": "b.example.com", "b.example.com": "a.example.com"}}, ["in a circle"]),
        ({"data": ["src/up"], "source": ["src/up"], "drain": "x"}, ["is named in data too", "drain is 'x'"]),
        ({"release": {"service": "web", "command": "x"}, "hold": 1}, ["command takes a list"]),
    ],
)
def test_what_comes_of_a_fault_alone_is_not_told(block: dict[str, Any], parts: list[str]) -> None:
    problems = found(**block)
    assert len(problems) == len(parts), problems
    assert all(part in problem for part, problem in zip(sorted(parts), sorted(problems), strict=True)) or all(
        any(part in problem for problem in problems) for part in parts
    )


def test_a_block_that_is_none_and_a_right_one() -> None:
    assert found(service="web", port=3000, watch="0s") == []
    model = {"services": {"web": {}}, "x-ikoma": ["text"]}
    assert len(list(find_web(Source("docker-compose.yml", b""), parse_model(model)))) == 1
