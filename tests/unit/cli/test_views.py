"""Views say commands that can be pasted as they stand, in the command line's own words; sizes by who reads."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import ikoma.cli
from ikoma.cli import main, views
from ikoma.cli.blocks import Paper
from ikoma.cli.capability_index import read_commands, read_verbs

PEOPLE, PIPE = Paper(people=True, width=200), Paper(people=False)
SOURCES = sorted(Path(ikoma.cli.__file__).parent.rglob("*.py"))
KNOWS_NO_APP = {"`ikoma init APP`", "`ikoma call APP`"}
"""Said where there is no app yet."""


def page(capability: str, result: Any, paper: Paper = PEOPLE, **given: Any) -> str:
    return "\n".join(paper.lay_out(views.lay_out_result(capability, result, given)))


@pytest.mark.parametrize("path", ["notes.md", "with a blank", "it's; rm -rf /", "-f", "$(id)"])
def test_a_deleted_file_is_brought_back_by_the_command_that_is_named(path: str) -> None:
    said = page("files.delete", {"path": path}, appName="shop")
    command = said.split("`")[1]
    assert [word for word in shlex.split(command) if word != "--"] == ["ikoma", "unrm", "shop", path]


@pytest.mark.parametrize(
    ("capability", "result", "command"),
    [
        ("release.list", {"releases": []}, "`ikoma deploy shop`"),
        ("preview.list", {"previews": []}, "`ikoma preview shop REF`"),
        ("domain.list", {"domains": []}, "`ikoma domain-add shop DOMAIN`"),
        ("hook.show", {"exists": False}, "`ikoma hook-create shop`"),
        ("db.status", {"exists": False}, "`ikoma db-create shop`"),
        ("apps.status", {"name": "shop", "health": "stopped", "services": []}, "`ikoma deploy shop`"),
    ],
)
def test_where_there_is_nothing_yet_the_command_for_this_app_is_named(
    capability: str, result: Any, command: str
) -> None:
    assert command in page(capability, result, appName="shop")


def test_no_text_leaves_a_name_open_that_is_known() -> None:
    """Views know the app, and `naming.command` writes it."""
    texts = [
        node.value
        for source in SOURCES
        if source.parent.name == "views"
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    named = {found for text in texts for found in re.findall(r"`ikoma [a-z-]+ (?:APP|RELEASE|PATH)\b[^`]*`", text)}
    assert named <= KNOWS_NO_APP


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["shop", "ls", "-l", "a b"], "ikoma run shop -- ls -l 'a b'"),
        (["--nothing", "shop", "ls"], "ikoma run APP -- COMMAND"),
    ],
)
def test_a_command_whose_options_were_taken_for_own_ones_is_shown_as_it_was_meant(words: list[str], line: str) -> None:
    said = CliRunner().invoke(main, ["run", *words])
    assert said.exit_code == 2
    assert line in said.output


def test_operations_have_the_words_of_the_command_line() -> None:
    at = {"startedAt": "2026-01-02T03:04:05Z", "caller": "ci", "appName": "shop"}
    done = [
        {**at, "id": str(number), "state": "succeeded", "capability": name, "steps": [], "finishedAt": None}
        for number, name in enumerate(read_commands())
    ]
    listed = page("operations.list", {"operations": done})
    shown = "\n".join(page("operations.wait", item) for item in done)
    held = page("apps.status", {"name": "shop", "health": "healthy", "services": [], "operation": done[0]})
    named = {*read_verbs().values()}
    for name in read_commands():
        for text in (listed, shown, held):
            assert not re.search(rf"(?<!call ){re.escape(name)}\b(?!\.)", text), name
        assert (f"call {name}" in listed) is (name not in named)
    assert "`ikoma deploy` of shop is done." in shown
    assert "ikoma.settle" in page("operations.list", {"operations": [{**done[0], "capability": "ikoma.settle"}]})


CHECK = {
    "healthy": True,
    "checks": {"docker": True, "appsRoot": True},
    "details": {
        "docker": {"version": "28.1", "usedBytes": 3 << 20},
        "appsRoot": {"path": "/srv/apps", "freeBytes": 5 << 30},
        "proxy": {"state": "running", "listeners": {"http": True}},
    },
}
VISIT = {"status": 200, "url": "http://x/", "durationMs": 1250, "headers": {}, "body": "", "encoding": "utf-8"}


def test_sizes_and_times_are_words_for_people_and_numbers_in_a_pipe() -> None:
    assert "/srv/apps, 5 GiB free" in page("platform.check", CHECK)
    assert "/srv/apps, 5368709120 free" in page("platform.check", CHECK, PIPE)
    assert "used 3 MiB" in page("platform.check", CHECK)
    assert "used 3145728" in page("platform.check", CHECK, PIPE)
    assert "running, listeners http" in page("platform.check", CHECK, PIPE)
    visit = {**VISIT, "truncated": False}
    assert page("apps.request", visit).startswith("200  http://x/  1.2 s")
    assert page("apps.request", visit, PIPE).startswith("200  http://x/  1250")


def test_only_who_writes_on_paper_words_a_size_or_a_time() -> None:
    """A view that did it itself could not know who reads."""
    worded = re.compile(r"\b(bytes_in_words|word_span|age)\(|people=True|\b[KMGT]iB\b(?! must be free)")
    found = [
        f"{source.name}: {line.strip()}"
        for source in SOURCES
        if source.name not in ("words.py", "blocks.py")
        for line in source.read_text().splitlines()
        if worded.search(line)
    ]
    assert found == []
