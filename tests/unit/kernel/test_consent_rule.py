"""One rule for consent: what no capability brings back asks a person, and only that; no guess names what takes away."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from ikoma import capabilities
from ikoma.cli import main
from ikoma.errors import IkomaError, InvalidArguments, UnknownCapability
from ikoma.kernel.nearest import find_nearest, find_nearest_word
from ikoma.kernel.registry import Capability
from ikoma.model import Effect
from ikoma.transports.mcp import tools

EVERY = capabilities.load()
CHANGING = [item for item in EVERY if item.effect is not Effect.READS]
ENDING = ["apps.remove", "files.delete", "env.unset", "keys.revoke", "keys.rotate", "release.abandon", "preview.remove"]
ENDING += ["domain.remove", "hook.remove", "policy.unwaive", "deploy.down", "operations.cancel"]


@pytest.mark.parametrize("item", CHANGING, ids=lambda item: item.name)
def test_what_changes_something_asks_or_names_what_undoes_it_or_says_why_not(item: Capability) -> None:
    assert item.loses or item.undo or item.harmless
    assert not (item.harmless and (item.loses or item.undo))
    if item.undo:
        assert EVERY.get(item.undo).effect is not Effect.READS
    if item.effect is Effect.DESTROYS:
        assert not item.undo


def test_what_only_reads_asks_nobody() -> None:
    assert not [item.name for item in EVERY if item.effect is Effect.READS and (item.loses or item.undo)]


def test_a_call_that_may_ask_takes_the_answer() -> None:
    for item in EVERY:
        assert ("confirmation" in tools.make_input_schema(item)["properties"]) == (item.loses is not None), item.name


def test_the_documents_say_of_each_that_asks_what_it_loses() -> None:
    page = (Path(__file__).parents[3] / "docs" / "keys-and-audit.md").read_text()
    part = page[page.index("## What a person is asked") : page.index("## Approvals")]
    cells = re.findall(r"^\|([^|]*`[^|]*)\|", part, re.MULTILINE)
    said = set(re.findall(r"`([a-z]+\.[a-z.]+)`", " ".join(cells)))
    assert said == {item.name for item in EVERY if item.loses is not None}


@pytest.mark.parametrize("name", ENDING)
def test_no_guess_at_a_misspelt_name_is_one_that_takes_away(name: str) -> None:
    assert EVERY.get(name).takes_away
    for wrong in (name[:-1], name + "s", name.replace(".", "_"), name.upper(), name[1:], name.replace(".", ".un", 1)):
        if wrong in EVERY:
            continue
        with pytest.raises(UnknownCapability) as refused:
            EVERY.get(wrong)
        guessed = re.search(r"Did you mean (\S+)\?", refused.value.hint)
        assert guessed is None or not EVERY.get(guessed[1]).takes_away, (wrong, guessed)


MEANT = {
    "deploy.upp": "deploy.up",
    "apps.lst": "apps.list",
    "env.ste": "env.set",
    "app_status": "apps.status",
    "appsStatus": "apps.status",
    "file_reed": "files.read",
    "db_migration": "db.migrate",
    "deploy_logs": "apps.logs",
    "apps_restart": "deploy.restart",
    "logs": "apps.logs",
}
OTHERS = (
    *("apps_delete", "apps_stop", "apps_create", "db_dump", "db_import", "deploy_app", "deploy", "env_delete"),
    *("files_remove", "keys_new", "domain_delete", "status", "operations_status", "source_pull", "backup"),
)
"""Names that nothing here has, and that are no slips of the hand."""


def test_a_name_that_merely_looks_alike_is_no_guess() -> None:
    assert [name for name in OTHERS if find_nearest(name, EVERY.list_names()) is not None] == []
    assert find_nearest("db_restore", ["apps.restore", "env.restore", "files.restore"]) is None
    for wrong in ("delete", "destroy", "stop", "start", "update", "ls"):
        assert find_nearest_word(wrong, main.list_commands(click.Context(main))) is None, wrong


def test_a_misspelt_name_of_what_takes_nothing_away_is_guessed() -> None:
    for wrong, meant in MEANT.items():
        with pytest.raises(UnknownCapability, match=wrong) as refused:
            EVERY.get(wrong)
        assert refused.value.hint == f"Did you mean {meant}?"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("apps.remove", {"appNam": "shop"}),
        ("apps.remove", {"appName": "Shop"}),
        ("files.delete", {"appName": "shop", "path": "src", "recursiv": True}),
        ("deploy.rollback", {"appName": "shop", "databse": True}),
        ("source.key", {"appName": "shop", "anwe": True}),
        ("keys.revoke", {"idd": "key_1"}),
    ],
)
def test_arguments_of_what_takes_away_are_not_guessed(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArguments) as refused:
        EVERY.get(name).parse(arguments)
    assert "did you mean" not in f"{refused.value.message} {refused.value.details}".lower()


def test_a_guess_is_withheld_and_other_hints_stay() -> None:
    guessed = IkomaError("There is no such thing.", hint="Look it up.", guess="shop")
    assert guessed.hint == "Did you mean shop?"
    guessed.withhold_guess()
    assert guessed.hint == "Look it up."
    plain = IkomaError("There is no such thing.")
    plain.hint = "Something else."
    plain.withhold_guess()
    assert plain.hint == "Something else."
