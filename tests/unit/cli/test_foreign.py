"""Words of other tools lead to the command that does it here, and never to one that takes something away for good."""

from __future__ import annotations

import re

import pytest

from ikoma.cli import foreign
from ikoma.cli.capability_index import read_commands, read_verbs
from ikoma.cli.catalogue import LOCAL, list_sections

COMMANDS = [name for commands in list_sections().values() for name in commands]


def test_every_word_is_none_of_ikomas_and_leads_to_commands_that_are() -> None:
    assert not {*foreign._HERE} & {*COMMANDS}
    for said in {*foreign._HERE.values()}:
        for name in re.findall(r"`ikoma ([a-z][a-z-]*)", said):
            assert name in COMMANDS, said
            capability = read_verbs().get(name)
            assert name in LOCAL or capability, said
            assert name == "down" or not (capability and read_commands()[capability].takes_away), said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stop shop", "`ikoma down APP`"),
        ("delete shop", "`ikoma down APP`"),
        ("ls", "`ikoma list`"),
        ("ps", "`ikoma list`"),
        ("ps shop", "`ikoma status APP`"),
        ("ps:restart shop", "`ikoma list`"),
        ("config:set A=1", "`ikoma env-set APP NAME`"),
        ("exec shop sh", "`ikoma run APP -- COMMAND`"),
        ("up shop", "`ikoma deploy shop`"),
        ("rm shop", "`ikoma down APP`"),
        ("up", None),
        ("up --help", None),
        ("rm shop src/a", None),
        ("deploy shop", None),
        ("qqqq", None),
    ],
)
def test_a_line_of_another_tool_is_told_what_it_is_here(words: str, said: str | None) -> None:
    found = foreign.find_here(words.split())
    assert found is None if said is None else said in (found or "")
