from __future__ import annotations

import pytest

from ikoma.kernel.redaction import own_words
from ikoma.kernel.redaction.own_words import is_own


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("appName", True),
        ("deploy.up", True),
        ("`deploy.up`", True),
        ("(see", True),
        ("IKOMA's own words: a secret that is one of them can be told by nobody", True),
        ("deploy.u", False),
        ("told nobody by can be", False),  # its words are there, in another order
        ("words-of_nobody-8f2c", False),
        ("canary-0123456789abcdef01234567", False),
    ],
)
def test_what_ikoma_says_itself_is_its_own(text: str, own: bool) -> None:
    assert is_own(text) is own


def test_the_source_is_not_searched_for_what_holds_a_word_that_is_not_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search takes 50 ms, and an app has hundreds of secrets in several encodings each."""
    assert is_own("appName")
    monkeypatch.setattr(own_words, "_read_source", lambda: pytest.fail("searched"))
    assert not any(is_own(f"canary-{number:024x}") for number in range(5000))


def test_a_sentence_that_goes_on_in_the_next_line_is_one() -> None:
    assert is_own("apps, capabilities, end, rate"), "callers.py says so in two literals"


def test_the_source_is_not_kept() -> None:
    assert is_own("is missing")
    assert len(own_words._list_words()) < 1 << 18
