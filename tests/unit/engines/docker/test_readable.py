from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikoma.engines.docker.readable import make_sentence, parse_log_line
from ikoma.readable import make_readable


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain ünïcode 日本", "plain ünïcode 日本"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\rb\x08c\x00d", "abcd"),
        ("tab\tstays", "tab\tstays"),
        ("\x1bcreset", "reset"),
        ("\x9b31mold", "31mold"),
    ],
)
def test_what_steers_a_terminal_is_taken_out(line: str, shown: str) -> None:
    assert make_readable(line) == shown


@given(st.text())
def test_no_control_character_is_left(line: str) -> None:
    assert not {*map(chr, [*range(9), *range(10, 32), *range(127, 160)])} & set(make_readable(line))


def test_a_line_of_compose_s_log_is_its_message() -> None:
    quoted = 'time="2026-11-23T12:48:44Z" level=warning msg="The \\"FOO\\" variable is not set."'
    assert parse_log_line(quoted) == ("warning", 'The "FOO" variable is not set.')
    assert parse_log_line('time="x" level=info msg=short other=1') == ("info", "short")
    assert parse_log_line('time="x" level=info msg="odd \\x1b"') == ("info", "odd \\x1b")
    assert parse_log_line("services must be a mapping") is None


def test_a_sentence_is_one_line_with_a_full_stop() -> None:
    assert make_sentence(" one\n two ") == "one two."
    assert make_sentence("done.") == "done."
    assert make_sentence(None) == "it gave no reason."


def test_an_engine_that_cannot_start_a_program_is_quoted_from_the_program_on() -> None:
    way = (
        "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
    )
    assert make_sentence(f'{way}exec: "x": not found: unknown.') == 'exec: "x": not found.'
    assert make_sentence("no such image") == "no such image."
