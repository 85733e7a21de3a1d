"""Files of variables as Compose reads them, and what is said of those that it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.model import AppName
from tests.unit.apps import compose_reading

pytestmark = pytest.mark.engine

HASH = "$2b$12$Dwt1BjqBfJvvqs.e7sR1dF6gH3jY5cA0eUZq9kLm2PwX7vB4nT8sR"


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(AppName("shop"), tmp_path)


def test_every_form_is_read_as_compose_reads_it(app: App) -> None:
    text = (
        '\ufeffBOM=1\r\nA="a\\$b"\r\nB=a$$b\nC: b\nD="q"tail\nE=${B}x\nF=val\t# c\nG="l1\nl2"\nexport H=1\n'
        "J=x\u0085y\u2028z\u2029\U0001f600e\nK='a$b'\nL=a #c\nHOME=/data\nPATH=/bin\n"
    )
    assert compose_reading.read(app, text).values == {
        "BOM": "1",
        "A": "a$b",
        "B": "a$b",
        "C": "b",
        "D": "q",
        "E": "a$bx",
        "F": "val\t# c",
        "G": "l1\nl2",
        "H": "1",
        "J": "x\u0085y\u2028z\u2029\U0001f600e",
        "K": "a$b",
        "L": "a",
        "HOME": "/data",
        "PATH": "/bin",
    }
    raw = compose_reading.read(app, "A=\"a$b\" # c\nB='x'\n", file="raw.env", raw=True)
    assert raw.values == {"A": '"a$b" # c', "B": "'x'"}
    assert compose_reading.read(app, "A=${B}\n", file="more.env", beside=b"B=of-env\n").values == {"A": "of-env"}


def test_nothing_of_the_server_is_seen(app: App) -> None:
    names = ("HOME", "PATH", "USER", "LANG", "DOCKER_HOST", "COMPOSE_FILE", "API_KEY_HASH")
    found = compose_reading.read(app, "".join(f"V_{name}=x${{{name}}}x\n" for name in names))
    assert set(found.values.values()) == {"xx"}


@pytest.mark.parametrize(
    ("text", "line", "name"),
    [
        ('A=1\nB="sec ret\nC=2\nD="x"\n', 2, "B"),
        ('A=1\nB="sec ret\nC=2\n', 2, "B"),
        ("A=1\nB='sec'ret'\nC=2\n", 2, "B"),
        ("A=1\n\n# c\nB='sec\n", 4, "B"),
        ("A=1\nB=${sec\n", 2, "B"),
        (f'A=1\nB="{HASH}${{ret"\n', 2, "B"),
        ("A=1\nsec ret=2\n", 2, None),
        ("KEY=-----BEGIN\nsec/ret+==\n", 2, None),
        ("A=1\nB=sec\0ret\n", 2, None),
    ],
)
def test_what_cannot_be_read_is_named_by_line_and_name_and_never_quoted(
    app: App, text: str, line: int, name: str | None
) -> None:
    found = compose_reading.read(app, text)
    fault = found.faults[0]
    assert (fault.file, fault.line, fault.name) == (".env", line, name)
    assert not any(part in f"{fault.problem} {fault.fix}" for part in ("sec", "ret", "Dwt1", "2b$"))
    assert found.values == {}
    if name:
        assert name in fault.problem
        assert "single quotes" in fault.fix


@pytest.mark.parametrize(
    ("text", "file", "problem", "fix"),
    [
        ("A=1\nURL=x${HOST:?name the host}/\n", ".env", "HOST, which has no value: name the host.", "HOST in a line"),
        ("A=1\nB=${HOST?}\n", ".env", "HOST, which has no value.", "HOST in a line above it."),
        ("A=1\nB=${HOST:?}\n", "web.env", "HOST, which has no value.", "HOST in .env, or a line above it."),
    ],
)
def test_a_variable_that_is_required_is_named_with_what_its_author_says(
    app: App, text: str, file: str, problem: str, fix: str
) -> None:
    [fault] = compose_reading.read(app, text, file=file).faults
    assert (fault.file, fault.line) == (file, 2)
    assert problem in fault.problem
    assert fix in fault.fix
    assert compose_reading.read(app, f"HOST=h\n{text}", file=file).faults == ()


@pytest.mark.parametrize(
    ("text", "doubts"),
    [
        ("ABC=1\nB=ab$ABC-def\n", [(2, "B")]),
        ('ABC=1\nB="ab$ABC-def"\n', [(2, "B")]),
        (f"ABC=1\nB={HASH}\n", [(2, "B")]),
        ("ABC=1\nB='ab$ABC-def'\n", []),
        ("ABC=1\nB=x${ABC}y\n", []),
        ("B=x${ABC}y\n", [(1, "B")]),
        ("B=x${ABC:-}y\n", []),
        ("ABC=1\nB=a$$ABC\nC=a\\$ABC\nD=5$\nE=$5\n", []),
        ("A='l1\nB=2'\n", [(1, "A")]),
    ],
)
def test_what_changes_silently_is_doubted(app: App, text: str, doubts: list[tuple[int, str]]) -> None:
    found = compose_reading.read(app, text)
    assert [(doubt.line, doubt.name) for doubt in found.doubts] == doubts
    assert [doubt.grave for doubt in found.doubts] == [HASH in text] * len(doubts)
    assert not any("Dwt1" in f"{doubt.problem} {doubt.fix}" for doubt in found.doubts)
