from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikoma.kernel.redaction import scrub
from ikoma.model import Secret


def hidden(text: str, *values: str) -> str:
    return scrub(text, [Secret(value) for value in values])


def test_every_place_of_a_secret_is_starred() -> None:
    assert hidden("a=hunter2 b=hunter2hunter2", "hunter2") == "a=*** b=******"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert hidden("postgres://me:pass@db/x", "pass", "postgres://me:pass@db/x") == "***"


@pytest.mark.parametrize("short", ["", "a", "abc", "   ", "\n\n\n\n\n"])
def test_values_of_under_four_characters_stay(short: str) -> None:
    assert hidden("abc a     b\n\n\n\n\nc", short) == "abc a     b\n\n\n\n\nc"


def test_each_line_of_a_secret_is_one() -> None:
    key = "-----BEGIN KEY-----\nbm90IGEga2V5\n-----END KEY-----\n"
    assert hidden("got bm90IGEga2V5!", key) == "got ***!"


def test_a_quoted_secret_is_one() -> None:
    value = 'say "hello"\tthere'
    assert hidden(json.dumps({"password": value}), value) == '{"password": "***"}'


@given(st.text(), st.text(), st.text(min_size=4).filter(lambda value: len(value.strip()) >= 4))
def test_no_secret_is_left(before: str, after: str, secret: str) -> None:
    if "***" not in secret and secret not in "***":
        assert secret not in hidden(f"{before}{secret}{after}", secret).replace("***", "\0")
