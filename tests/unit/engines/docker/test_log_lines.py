"""Lines of containers from what Docker hands over: pieces, stamps, frames; and never the half of a line alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ikoma.engines.docker.log_lines import LONGEST, LineAssembler, format_after, select_last
from ikoma.ports.runtime import LogLine

STAMP = "2026-01-02T03:04:05.000000006Z"
PIECE = 16 << 10
SECRET = "Zq7-Canary-Tail-9f3b2e1d8c7a"


def frame(stream: int, content: str) -> bytes:
    encoded = f"{STAMP} {content}".encode()
    return bytes([stream, 0, 0, 0]) + len(encoded).to_bytes(4) + encoded


def pieces_of(line: str) -> list[str]:
    """As Docker cuts a line."""
    whole = f"{line}\n"
    return [whole[place : place + PIECE] for place in range(0, len(whole), PIECE)]


def framed(stream: int, *lines: str) -> bytes:
    return b"".join(frame(stream, piece) for line in lines for piece in pieces_of(line))


def raw(*lines: str) -> bytes:
    """As a terminal has it: stamps, and no frames."""
    return b"".join(f"{STAMP} {piece}".encode() for line in lines for piece in pieces_of(line))


def texts(output: bytes, asked: int = 1000) -> list[str]:
    return [line.text for line in select_last(output, asked)[0]]


LINE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=80)


@given(st.lists(st.tuples(st.sampled_from([1, 2]), LINE)))
def test_frames_and_stamps_are_taken_off(lines: list[tuple[int, str]]) -> None:
    output = b"".join(framed(stream, text) for stream, text in lines)
    assert select_last(output, 1000)[0] == [line for line in select_last(output, 1000)[0] if line.at == STAMP]
    assert texts(output) == [text for _, text in lines]
    assert texts(raw(*(text for _, text in lines))) == [text for _, text in lines]


def test_a_line_of_several_pieces_is_one_again() -> None:
    long = "x" * (PIECE - 14) + SECRET + "y" * PIECE
    for output in (framed(1, "before", long, "after"), raw("before", long, "after")):
        assert texts(output) == ["before", long, "after"]
    mixed = [frame(1, long[:PIECE]), frame(2, "other\n"), frame(1, long[PIECE : 2 * PIECE]), frame(1, "end\n")]
    assert texts(b"".join(mixed)) == ["other", long[: 2 * PIECE] + "end"]


def test_what_may_have_begun_before_is_left_out() -> None:
    half = frame(1, SECRET[14:] + "\n") + frame(2, "half too\n") + frame(1, "whole\n") + frame(2, "fine\n")
    assert texts(half, asked=5) == [SECRET[14:], "half too", "whole", "fine"]
    assert texts(half, asked=4) == ["whole", "fine"]
    assert select_last(half, 4)[1] is False
    assert texts(raw("half", "whole"), asked=2) == ["whole"]


def test_of_a_line_that_is_too_long_the_end_is_never_shown() -> None:
    lines = LineAssembler()
    shown = [
        line
        for piece in pieces_of("x" * (LONGEST - 14) + SECRET)
        for _, line in lines.take(1, f"{STAMP} {piece}".encode())
    ]
    assert [line.text for line in shown] == ["x" * (LONGEST - PIECE)]
    assert [line.text for _, line in lines.take(1, f"{STAMP} next\n".encode())] == ["next"]


def test_lines_without_an_end_and_empty_ones() -> None:
    assert texts(frame(1, "no end")) == ["no end"]
    assert texts(frame(1, "\n") + frame(1, "\r\n") + frame(1, "one\n")) == ["one"]
    assert texts(b"") == []
    assert texts(f"{STAMP} on a terminal\r\n{STAMP} more\r\n".encode()) == ["on a terminal", "more"]


def test_a_stream_is_taken_up_right_after_the_line_that_came_last() -> None:
    assert format_after(LogLine("2026-01-02T03:04:05.000000006Z", "x")) == "1767323045.000000007"
    assert format_after(LogLine("2026-01-02T03:04:05.999999999Z", "x")) == "1767323046.000000000"
