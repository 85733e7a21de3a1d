"""YAML that would end whoever reads it, by its depth: the parser's own stack is the server's."""

from __future__ import annotations

import pytest

from ikoma.apps.yaml import form


def rules(text: str) -> list[str]:
    return [violation.rule for violation in form.read(text.encode(), "docker-compose.yml").violations]


@pytest.mark.parametrize("deep", ["[", "- ", "{a: ", "? ", "[{a: "])
def test_a_file_that_is_nested_without_end_ends_nobody(deep: str) -> None:
    assert rules(deep * (1_000_000 // len(deep))) == ["alias-bomb"]


def test_depth_counts_with_aliases_written_out() -> None:
    lines = ["a0: &a0 [1]", *(f"a{n}: &a{n} {'[' * 50}*a{n - 1}{']' * 50}" for n in range(1, 60))]
    assert rules("\n".join(lines)) == ["alias-bomb"]


def test_ordinary_depth_and_aliases_pass() -> None:
    assert rules("a: &a " + "[" * 30 + "]" * 30 + "\nb: [*a, *a]\n") == []
    assert rules("[" * 60 + "]" * 60) == []
    assert rules("[" * 61 + "]" * 61) == ["alias-bomb"]
