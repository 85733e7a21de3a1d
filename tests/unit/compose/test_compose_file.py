from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.yaml.lines import Source
from ikoma.compose.compose_file import uses_database
from ikoma.compose.model import ComposeModel, parse_model


def source(tmp_path: Path, text: str) -> Source:
    path = tmp_path / "docker-compose.yml"
    path.write_text(text)
    return Source(path.name, path.read_bytes())


def test_places_have_lines(tmp_path: Path) -> None:
    read = source(tmp_path, "services:\n  web:\n    ports:\n      - 1:1\n      - 2:2\n")
    assert read.find_line("services", "web", "ports", 1) == 5
    assert read.find_line("services", "web", "image") == 2
    assert read.find_line("nothing") is None


@pytest.mark.parametrize(
    "text", ["garbage: [", "", "\0", "a: &a [*a]", "a: " + "[" * 5000, "[" * 400_000, "- " * 400_000]
)
def test_what_cannot_be_read_has_no_lines(text: str, tmp_path: Path) -> None:
    assert source(tmp_path, text).find_line("services") is None


def test_an_alias_bomb_is_walked_once(tmp_path: Path) -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    assert source(tmp_path, text).find_line("a29") == 30


def model(block: Any) -> ComposeModel:
    return parse_model({"services": {"web": {}}, "x-ikoma": block})


def test_the_database_is_for_all_services_or_those_listed() -> None:
    assert uses_database(model(None), "web")
    assert not uses_database(model({"database": ["api"]}), "web")
    assert not uses_database(model({"database": False}), "web")
