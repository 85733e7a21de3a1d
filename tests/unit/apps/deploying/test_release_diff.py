"""Lines that differ: what is shown of them, and what never is."""

from __future__ import annotations

import random

import pytest

from ikoma.apps.deploying.release_diff import _format_difference, hide_values

COMPOSE = """\
x-env: &env
  SHARED: shared-value
services:
  web:
    image: nginx:1
    environment:
      <<: *env
      PLAIN: plain-value
      QUOTED: "quoted value"
      LONG: |
        several
        lines
      EMPTY:
    labels: ["a.b=label-value", bare]
    build: {context: ., args: {ARG: arg-value}}
  job:
    environment:
      - LISTED=listed-value
      - FROM_ENV
    command: [run, --fast]
"""


def test_values_of_variables_are_hidden_and_all_else_stays() -> None:
    shown = hide_values(COMPOSE)
    for value in ("-value", "quoted", "several", "lines"):
        assert value not in shown
    for name in ("SHARED: ***", "PLAIN: ***", "QUOTED: ***", "a.b=***", "ARG: ***", "LISTED=***", "FROM_ENV", "EMPTY:"):
        assert name in shown
    for rest in ("image: nginx:1", "command: [run, --fast]", "context: .", "bare]"):
        assert rest in shown


@pytest.mark.parametrize("text", ["a: [", "\t- x", "a: b: c", "[" * 5000])
def test_what_cannot_be_read_is_not_shown(text: str) -> None:
    assert hide_values(f"{text}\nSECRET: value") == "# This file cannot be read.\n"


def test_a_text_of_nothing_is_one() -> None:
    assert hide_values("") == ""


def test_lines_are_those_of_both_texts() -> None:
    assert list(_format_difference("a\nb\nc\n", "a\nB\nc\n")) == ["@@ -1,3 +1,3 @@", " a", "-b", "+B", " c"]
    assert list(_format_difference("", "new\n")) == ["@@ -0,0 +1 @@", "+new"]
    assert list(_format_difference("a", "a\n")) == ["@@ -1 +1 @@", "-a\n\\ No newline at end of file", "+a"]
    assert list(_format_difference("same\n", "same\n")) == []


def test_what_would_take_long_is_one_change() -> None:
    lots = random.Random(1)
    old, new = ([f"{first}", *(str(lots.randrange(100)) for _ in range(60_000)), f"{first}"] for first in "ab")
    head, *lines = _format_difference("\n".join(["same", *old, ""]), "\n".join(["same", *new, ""]))
    assert head == "@@ -2,60002 +2,60002 @@"
    assert lines == [*(f"-{line}" for line in old), *(f"+{line}" for line in new)]
