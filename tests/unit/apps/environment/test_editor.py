"""Editing `.env`: what is written is what Compose reads, and nothing else changes."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikoma.app_folder import App
from ikoma.apps.environment import editor
from ikoma.engines.compose.argv import find_compose_program
from ikoma.errors import EnvUnreadable, UnrepresentableValue, VariableMissing
from ikoma.model import AppName
from tests.unit.apps import compose_reading

pytestmark = pytest.mark.engine

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
    argv = [str(find_compose_program()), "config", "--format", "json"]
    shown = subprocess.run(argv, cwd=folder, capture_output=True, check=True).stdout
    read = json.loads(shown)["services"]["a"]["environment"]
    return {name: value.replace("$$", "$") for name, value in read.items()}


def test_compose_reads_tricky_values_as_they_are(app: App) -> None:
    given_values = {f"V{number}": value for number, value in enumerate(TRICKY)}
    assert compose_reading.put_all(app, given_values) == list(given_values)
    assert as_compose_reads(app.path) == given_values
    assert app.env_file.stat().st_mode & 0o777 == 0o600


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40), max_size=9))
def test_any_text_is_read_back(values: list[str]) -> None:
    text = "".join(f"V{number}={editor.write_value(value)}\n" for number, value in enumerate(values))
    with tempfile.TemporaryDirectory() as folder:
        found = compose_reading.read(App(AppName("shop"), Path(folder)), text)
    assert found.values == {f"V{number}": value for number, value in enumerate(values)}
    assert found.doubts == ()


def test_everything_else_stays_byte_for_byte(app: App) -> None:
    text = "# top\r\n\nexport A=1 # one\nB='two\nlines'\n\n  C = 3\n# end, no line feed"
    app.env_file.write_bytes(text.encode())
    compose_reading.put(app, "B", "2")
    assert app.env_file.read_bytes().decode() == text.replace("B='two\nlines'", "B=2")
    compose_reading.put(app, "D", "4")
    assert app.env_file.read_bytes().decode().endswith("# end, no line feed\nD=4\n")
    assert compose_reading.remove(app, "A") == ["B", "C", "D"]
    assert "one" not in app.env_file.read_text()
    assert "# top" in app.env_file.read_text()


def test_of_a_name_that_stands_twice_the_last_counts(app: App) -> None:
    app.env_file.write_text("A=1\nA=2\n")
    compose_reading.put(app, "A", "3")
    assert compose_reading.read(app).values["A"] == "3"
    assert compose_reading.remove(app, "A") == []


def test_a_name_that_is_not_there_is_an_error_with_the_nearest(app: App) -> None:
    compose_reading.put(app, "DATABASE_POOL", "5")
    with pytest.raises(VariableMissing) as raised:
        compose_reading.remove(app, "DATABASE_POLL")
    assert raised.value.hint == "Did you mean DATABASE_POOL?"


def test_a_value_that_no_container_can_have_is_refused(app: App) -> None:
    with pytest.raises(UnrepresentableValue):
        compose_reading.put(app, "A", "a\0b")
    assert not app.env_file.exists()


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("A: old\nB=1\n", "A: 'new $x'\nB=1\n"),
        ("\ufeffA=old\r\nB=1\r\n", "\ufeffA='new $x'\r\nB=1\r\n"),
        ('export A = "o\nld" # why\nB=1', "export A = 'new $x' # why\nB=1"),
        ("B=1 # A=2", "B=1 # A=2\nA='new $x'\n"),
        ("A=\"forgotten\nB=1\nC='2'\n", "A='new $x'\nB=1\nC='2'\n"),
    ],
)
def test_only_the_value_is_exchanged(app: App, text: str, after: str) -> None:
    app.env_file.write_bytes(text.encode())
    compose_reading.put(app, "A", "new $x")
    assert app.env_file.read_bytes().decode() == after


def test_a_file_that_cannot_be_read_stays_as_it_is(app: App) -> None:
    app.env_file.write_text('A="forgotten secret\nB=1\n')
    for edit in (lambda: compose_reading.put(app, "B", "2"), lambda: compose_reading.remove(app, "B")):
        with pytest.raises(EnvUnreadable) as refused:
            edit()
        assert refused.value.message.startswith(".env:1: The value of A ")
        assert "forgotten" not in f"{refused.value.message} {refused.value.hint}"
    assert app.env_file.read_text() == 'A="forgotten secret\nB=1\n'


def test_what_stands_behind_a_value_in_its_line_stays(app: App) -> None:
    text = "A='1'B=2\nC=3\n"
    app.env_file.write_text(text)
    assert compose_reading.read(app).values == {"A": "1", "B": "2", "C": "3"}
    assert compose_reading.put(app, "A", "new") == ["A", "B", "C"]
    assert app.env_file.read_text() == text.replace("'1'", "'new'")


def test_a_whole_file_takes_the_place_of_another_which_is_kept(app: App) -> None:
    app.env_file.write_text("A=1\nB=2\nC=3\n")
    content = "# kept as it is\nA=1 # one\n\nB='two'\nD=4"
    done = compose_reading.replace(app, content)
    assert app.env_file.read_text() == content
    assert (list(done.variables.values), done.replaced) == (["A", "B", "D"], ("B", "C"))
    assert done.former is not None
    assert Path(done.former).read_text() == "A=1\nB=2\nC=3\n"
    assert Path(done.former).stat().st_mode & 0o777 == 0o600
    assert compose_reading.replace(app, content).former is None


@pytest.mark.parametrize(
    "content",
    ["A=1\nB='secret\n", "A=1\nB=sec\0ret\n", "A=1\nsec ret=2\n", "A=1\nsec-ret=2\n", "A=1\nB=$2b$12$secretsecret\n"],
)
def test_a_whole_file_is_taken_or_nothing_of_it(app: App, content: str) -> None:
    app.env_file.write_text("OLD=1\n")
    with pytest.raises(EnvUnreadable) as refused:
        compose_reading.replace(app, content)
    assert refused.value.message.startswith(".env:2: ")
    assert "sec" not in f"{refused.value.message} {refused.value.hint}"
    assert app.env_file.read_text() == "OLD=1\n"
    assert not app.state.exists()
