"""Editing `.env`: what is written is what both parsers read, and nothing else changes."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from ikoma.apps import env_file
from ikoma.apps.folder import App
from ikoma.engines.argv import compose_program
from ikoma.errors import UnrepresentableValue, VariableMissing
from ikoma.model import AppName

TRICKY = [
    *("plain", "with space", "a#b", "a #b", "$HOME", "${X}", "$$", "it's", 'say "hi"', "back\\slash", "\\n", ""),
    *("line1\nline2", "tab\there", "é☃", " lead", "trail ", "'quoted'", '"dq"', "a'b\"c", "a'$b", "a\\'b", "end\\"),
    *(
        "`x`",
        "a=b",
        "\\$x",
        "$1",
        "x\r\ny",
        "%s",
        "!x",
        "#",
        "two\\\\back",
        "it's \\0101",
        "a'\\n",
        "\\\\'",
        "'\\",
        "postgres://u:p%40s@h/d?x=1&y=2",
    ),
]


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(AppName("shop"), tmp_path)


def as_compose_reads(folder: Path) -> dict[str, str]:
    (folder / "docker-compose.yml").write_text("services: {a: {image: x, env_file: [.env]}}\n")
    argv = [str(compose_program()), "config", "--format", "json"]
    shown = subprocess.run(argv, cwd=folder, capture_output=True, check=True).stdout
    read = json.loads(shown)["services"]["a"]["environment"]
    return {name: value.replace("$$", "$") for name, value in read.items()}


def test_both_parsers_read_tricky_values_as_they_are(app: App) -> None:
    given_values = {f"V{number}": value for number, value in enumerate(TRICKY)}
    for name, value in given_values.items():
        env_file.put(app, name, value)
    assert dotenv_values(app.env_file, interpolate=False) == given_values
    assert as_compose_reads(app.path) == given_values
    assert env_file.names(app) == list(given_values)
    assert app.env_file.stat().st_mode & 0o777 == 0o600


@settings(max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_value_is_read_back_or_refused(value: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = App(AppName("shop"), Path(folder))
        try:
            env_file.put(app, "A", value)
        except UnrepresentableValue:
            assert "\0" in value or ("$" in value and ("\\" in value or "\r" in value))
            return
        env_file.put(app, "B", "after")
        with app.env_file.open(newline="") as stream:
            assert dotenv_values(stream=stream, interpolate=False) == {"A": value, "B": "after"}


def test_everything_else_stays_byte_for_byte(app: App) -> None:
    text = "# top\r\n\nexport A=1 # one\nB='two\nlines'\n\n  C = 3\n# end, no line feed"
    app.env_file.write_bytes(text.encode())
    env_file.put(app, "B", "2")
    assert app.env_file.read_bytes().decode() == text.replace("B='two\nlines'", "B=2")
    env_file.put(app, "D", "4")
    assert app.env_file.read_bytes().decode().endswith("# end, no line feed\nD=4\n")
    assert env_file.remove(app, "A") == ["B", "C", "D"]
    assert "one" not in app.env_file.read_text()
    assert "# top" in app.env_file.read_text()


def test_of_a_name_that_stands_twice_the_last_counts(app: App) -> None:
    app.env_file.write_text("A=1\nA=2\n")
    env_file.put(app, "A", "3")
    assert dotenv_values(app.env_file)["A"] == "3"
    assert env_file.remove(app, "A") == []


def test_a_name_that_is_not_there_is_an_error_with_the_nearest(app: App) -> None:
    env_file.put(app, "DATABASE_POOL", "5")
    with pytest.raises(VariableMissing) as raised:
        env_file.remove(app, "DATABASE_POLL")
    assert raised.value.hint == "Did you mean DATABASE_POOL?"


def test_the_values_that_no_form_can_hold_are_refused(app: App) -> None:
    for value in ("a\\'$b", "$end\\", "$\r"):
        with pytest.raises(UnrepresentableValue):
            env_file.put(app, "A", value)
    assert not app.env_file.exists()
