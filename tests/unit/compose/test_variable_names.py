"""Names of variables, and what a person is told of one that is none."""

from __future__ import annotations

import pytest

from ikoma.compose.variable_names import VariableName


@pytest.mark.parametrize("name", ["A", "_", "SECRET_KEY", "a1", "A" * 200])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    assert VariableName.parse(name) == name


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("A-B", "A_B"),
        ("spring.datasource.url", "spring_datasource_url"),
        ("$HOME", "HOME"),
        ("${HOME}", "HOME"),
        (" KEY ", "KEY"),
    ],
)
def test_a_name_that_is_near_one_is_told_with_it(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"did you mean '{near}'\?$"):
        VariableName.parse(name)


@pytest.mark.parametrize("name", ["", "1A", "Ä", "A\n;", "A" * 201, "A=B"])
def test_a_name_that_is_near_none_is_told_the_form(name: str) -> None:
    with pytest.raises(ValueError, match=r"no digit first$"):
        VariableName.parse(name)
