"""The documentation agrees with the code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ikoma import capabilities
from ikoma.cli import capability_index
from ikoma.cli import main as cli
from ikoma.docs import make_capabilities_page, make_commands_file, make_commands_page, make_errors_page, make_rules_page

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMESPACES = {name.split(".", 1)[0] for name in capabilities.load().list_names()}


def test_the_list_of_capabilities_is_the_registrys() -> None:
    page = (ROOT / "docs" / "capabilities.md").read_text()
    assert page == make_capabilities_page(capabilities.load()), "stale: run `make docs`"


def test_what_commands_are_made_of_is_the_registrys() -> None:
    assert capability_index.FILE.read_text() == make_commands_file(capabilities.load()), "stale: run `make docs`"


def test_a_command_is_made_without_loading_the_registry() -> None:
    program = (
        "import sys; from ikoma.cli.verbs import make_verb_command; make_verb_command('status'); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "ikoma.cli.verbs" in loaded
    assert {"pydantic", "ikoma.kernel.registry", "ikoma.capabilities"}.isdisjoint(loaded)


def test_the_list_of_rules_is_the_policys() -> None:
    page = (ROOT / "docs" / "rules.md").read_text()
    assert page == make_rules_page(), "stale: run `make docs`"
    assert "| `privileged` |" in page


def test_the_list_of_errors_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    assert page == make_errors_page(), "stale: run `make docs`"
    assert "| 404 | `app_not_found` | There is no such app. |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_a_part_of_a_page_lead_to_its_heading(page: Path) -> None:
    for target, part in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text()):
        text = (page.parent / target).read_text() if target else page.read_text()
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert part in {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}, part


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_capabilities_that_are_named_exist(page: Path) -> None:
    known = capabilities.load().list_names()
    for name in re.findall(r"`([a-z]+\.[a-z_]+(?:\.[a-z_]+)?)`", page.read_text()):
        if name.split(".", 1)[0] in NAMESPACES - {"platform"} and not name.endswith((".py", ".md", ".json", ".yml")):
            assert name in known, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_named_exist_with_their_arguments(page: Path) -> None:
    """Commands of blocks run in tests/docs; those in a line of text are read here as the command line reads them."""
    for line in re.findall(r"`ikoma ([^`]+)`", page.read_text()):
        name, *rest = shlex.split(re.split(r"\s[|<>]\s", line.replace("\\|", "|"))[0])
        if name == name.lower() and not name.startswith("-"):
            _read(cli.get_command(click.Context(cli), name), name, rest, line)


def _read(command: click.Command | None, name: str, rest: list[str], line: str) -> None:
    assert command is not None, line
    if isinstance(command, click.Group):
        for part in rest[0].split("|") if rest else ():
            _read(command.get_command(click.Context(command), part), part, rest[1:], line)
    elif rest and rest[0].startswith("-"):  # only an option is named
        known = {flag for item in command.params for flag in (*item.opts, *item.secondary_opts)}
        assert {word for word in rest if word.startswith("--")} <= known | {"--help"}, line
    elif rest:
        try:
            command.make_context(name, list(rest))
        except click.UsageError as error:
            is_value = (
                type(error) is click.BadParameter
            )  # of a file that is not there, or a word that stands for a number
            assert is_value, f"{line}: {error.format_message()}"


def test_the_table_of_commands_is_that_of_the_command_line() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert page == make_commands_page(page), "stale: run `make docs`"
    assert "`operations [APP]`" in page


def test_every_command_is_on_its_page() -> None:
    words = set(re.findall(r"[\w-]+", (ROOT / "docs" / "cli.md").read_text()))
    assert {*cli.list_commands(click.Context(cli))} - words == set()


def test_every_setting_is_documented() -> None:
    read = set(re.findall(r'(?:read|values\.get)\("([A-Z_]+)"', (ROOT / "src/ikoma/settings.py").read_text()))
    text = (ROOT / "docs" / "install.md").read_text()
    assert read
    assert {name for name in read if f"`{name}`" not in text} == set()
