"""A Dockerfile tells before it is built whom its image runs as."""

from __future__ import annotations

import pytest

from ikoma.compose.dockerfiles import find_last_stage


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("FROM node\n", ""),
        ("FROM node\nUSER node\n", "node"),
        ("FROM node\nUSER root\nUSER 1000:1000\n", "1000:1000"),
        ("FROM node\nUSER 1000\nFROM alpine\n", ""),
        ("FROM node AS base\nUSER 1000\nFROM base\nRUN x\n", "1000"),
        ("ARG U=7\nFROM node\nARG U\nUSER ${U}\n", "7"),
        ("ARG U=7\nFROM node\nUSER ${U:-8}\n", "8"),
        ("FROM node\nARG U=1001\nARG G=$U\nUSER $U:$G\n", "1001:1001"),
        ("FROM node\nENV U=5 V=6\nUSER $V\n", "6"),
        ("FROM node\nENV U 5\nUSER $U\n", "5"),
        ("FROM node\nARG U\nUSER ${U}\n", "${U}"),
        ("FROM node\nARG U\nUSER ${U}:${U}\n", "${U}:${U}"),
        ("FROM node\nRUN <<EOF\nUSER 5\nEOF\n", ""),
        ("FROM node\n# USER 5\nRUN a \\\n  USER 6\n", ""),
        ('FROM node\nUSER "app"\n', "app"),
    ],
)
def test_the_last_user_of_the_last_stage_counts(text: str, user: str) -> None:
    assert find_last_stage(text).user == user


def test_an_argument_of_the_build_counts_where_the_file_declares_it() -> None:
    assert find_last_stage("FROM node\nARG U=1\nUSER $U\n", args={"U": "9"}).user == "9"
    assert find_last_stage("FROM node\nUSER ${U:-1}\n", args={"U": "9"}).user == "1"


def test_variables_without_end_take_no_time_and_name_nothing() -> None:
    doubled = "\n".join(f"ARG A{n}=${{A{n - 1}}}${{A{n - 1}}}" for n in range(1, 200))
    assert find_last_stage(f"ARG A0=xxxxxxxx\n{doubled}\nFROM ${{A199}}\n").base == ""
    assert find_last_stage("FROM x\n" + "RUN a \\\n" * 50_000).base == "x"
