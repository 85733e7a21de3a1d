from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.environment import dotenv
from ikoma.model import AppName
from tests.unit.apps import compose_reading


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(AppName("shop"), tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image: ${IMAGE}", [("IMAGE", 1, None)]),
        ("a: $A\nb: ${B:-1}", [("A", 1, None), ("B", 2, "1")]),
        ("a: ${A-}", [("A", 1, "")]),
        ("a: ${A:?must be set}", [("A", 1, None)]),
        ("a: $$A $${B}", []),
        ("# ${COMMENT}\na: 1 # ${OTHER}", []),
        ('url: "http://x/#${FRAGMENT}"', [("FRAGMENT", 1, None)]),
    ],
)
def test_references_are_found_with_line_and_default(text: str, found: list[tuple[str, int, str | None]]) -> None:
    assert [(item.name, item.line, item.default) for item in dotenv.find_references(text)] == found


def test_the_example_asks_for_what_the_files_use(app: App) -> None:
    (app.path / ".env.example").write_text("API_TOKEN=\nPOSTGRES_HOST=\n")
    text = dotenv.make_example(app, "a: ${PORT:-3000}\nb: ${MAIL}\n")
    lines = text.splitlines()
    for line in ("PORT=3000", "MAIL=", "API_TOKEN=", "POSTGRES_DB=shop", "POSTGRES_PASSWORD="):
        assert line in lines
    assert "POSTGRES_HOST=" not in lines


@pytest.mark.engine
def test_a_dollar_sign_in_a_value_is_kept(app: App) -> None:
    app.env_file.write_text("PASSWORD='a$b'\nexport TOKEN=x\n")
    assert compose_reading.read(app).values == {"PASSWORD": "a$b", "TOKEN": "x"}
    assert dotenv.escape({"A": "a$b"}) == {"A": "a$$b"}


def test_only_values_that_differ_count_as_replaced() -> None:
    written = {"POSTGRES_USER": "ikoma", "POSTGRES_DB": "shop", "PORT": "1", "PGHOST": ""}
    given = {"POSTGRES_USER": "shop", "POSTGRES_DB": "shop", "PGHOST": "x"}
    assert dotenv.find_replaced(written, given) == ["POSTGRES_USER"]
