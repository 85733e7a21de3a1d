"""How pages are laid out: within the width for people, whole for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ikoma.cli import words
from ikoma.cli.blocks import Block, FactList, FindingList, ItemList, LabelledSentence, Message, Paper, Raw, Table
from ikoma.cli.words import Size, Span, State, Time
from ikoma.kernel.page import Column

NARROW = Paper(people=True, width=40)
PIPE = Paper(people=False)


def table(*rows: tuple[object, ...], spare: bool = False) -> Table:
    return Table((Column("id"), Column("what", cut=True), Column("by", spare=spare)), rows)


def test_a_table_that_fits_is_whole() -> None:
    assert NARROW.lay_out([table(("a1", "short", "me"))]) == ["ID  WHAT   BY", "a1  short  me"]


def test_what_may_be_cut_is_cut_and_ids_never() -> None:
    lines = NARROW.lay_out([table(("0123456789", "a sentence that is too long for it", "somebody"))])
    assert lines[1].endswith("…  somebody")
    assert max(map(len, lines)) <= 40
    assert "0123456789" in lines[1]


def test_what_is_spare_is_left_out_and_named() -> None:
    head, row, left = NARROW.lay_out([table(("0" * 20, "a sentence of thirty letters or so", "somebody"), spare=True)])
    assert "BY" not in head
    assert "somebody" not in row
    assert left == "Not shown: by; --json has."


def test_rows_that_cannot_fit_stand_as_facts() -> None:
    wide = Table((Column("one"), Column("two")), (("1" * 30, "2" * 30), ("3" * 30, "4" * 30)))
    assert NARROW.lay_out([wide]) == [
        f"one  {'1' * 30}",
        f"two  {'2' * 30}",
        "",
        f"one  {'3' * 30}",
        f"two  {'4' * 30}",
    ]


def test_a_pipe_gets_all_columns_and_whole_cells() -> None:
    lines = PIPE.lay_out([table(("a", "x" * 200, None), spare=True)])
    assert lines[0].split() == ["ID", "WHAT", "BY"]
    assert lines[1].split() == ["a", "x" * 200, "-"]


def test_columns_without_values_are_not_shown_to_people() -> None:
    assert NARROW.lay_out([table(("a", None, "me"))])[0] == "ID  BY"


def test_wide_letters_take_two_places() -> None:
    lines = NARROW.lay_out([Table((Column("a"), Column("b")), (("日本", "x"), ("ab", "y")))])
    assert lines == ["A     B", "日本  x", "ab    y"]


def test_control_characters_are_shown_and_not_sent() -> None:
    blocks: list[Block] = [
        Message("a\x1b[31m"),
        FactList([("x", "b\x07")]),
        ItemList("t", ["c\x1b"]),
        Raw("d\x9b"),
        table(("e\x08", "f\rg", "h")),
        FindingList("error", [{"file": "f\x1b", "line": 1, "problem": "p\x1b", "fix": "f\x1b"}]),
    ]
    for paper in (NARROW, PIPE):
        text = "\n".join(paper.lay_out(blocks))
        assert text.replace("\n", "").isprintable()


def test_colours_say_how_something_is() -> None:
    lines = Paper(True, 80, True).lay_out(
        [FactList([("a", State("healthy")), ("b", State("failed (1)")), ("c", State("starting"))])]
    )
    assert "\x1b[32mhealthy" in lines[0]
    assert "\x1b[31mfailed (1)" in lines[1]
    assert "\x1b[33mstarting" in lines[2]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "now"), (30, "30 s ago"), (180, "3 min ago"), (7300, "2 h ago"), (86_400, "1 day ago"), (-7300, "in 2 h")],
)
def test_times_are_said_as_people_say_them(seconds: int, said: str) -> None:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    at = (now - timedelta(seconds=seconds)).isoformat()
    assert words.word_age(at, now) == said
    assert words.write_value(Time(at), people=False) == at


def test_long_ago_is_a_day() -> None:
    assert words.word_age("2026-01-02T03:04:05Z", datetime(2026, 11, 30, tzinfo=UTC)) == "2026-01-02"


@pytest.mark.parametrize(
    ("value", "person", "program"),
    [
        (Size(0), "0 B", "0"),
        (Size(1536), "1.5 KiB", "1536"),
        (Size(1 << 20), "1 MiB", "1048576"),
        (Size(5 << 40), "5 TiB", str(5 << 40)),
        (Span(12), "12 ms", "12"),
        (Span(65_000), "1 min 5 s", "65000"),
        (Span(7_260_000), "2 h 1 min", "7260000"),
        (True, "yes", "yes"),
        (None, "", ""),
        (["a", "b"], "a, b", "a, b"),
    ],
)
def test_values_are_words_for_people_and_figures_for_programs(value: object, person: str, program: str) -> None:
    assert (words.write_value(value, people=True), words.write_value(value, people=False)) == (person, program)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("finishedAt", "finished"),
        ("downtimeMs", "downtime"),
        ("exitCode", "exit code"),
        ("memoryLimitBytes", "memory limit"),
        ("sha256", "SHA-256"),
        ("ownHTTPPort", "own HTTP port"),
        ("appName", "app"),
        ("at", "at"),
    ],
)
def test_names_of_fields_are_words(name: str, said: str) -> None:
    assert words.word_label(name) == said


def test_a_command_stays_whole_where_a_sentence_is_broken() -> None:
    said = "Something is to be done: `ikoma deploy shop --plan 0123456789abcdef` does exactly this."
    lines = NARROW.lay_out([LabelledSentence("hint", said)])
    assert any("`ikoma deploy shop --plan 0123456789abcdef`" in line for line in lines)
    assert " ".join(line.strip() for line in lines).removeprefix("hint:").strip() == said
