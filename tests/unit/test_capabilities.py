"""A capability is one file: what is listed of it anywhere follows from there."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ikoma import capabilities
from ikoma.cli import main
from ikoma.kernel.registry import Capability

REGISTRY = capabilities.load()


@pytest.mark.parametrize("item", REGISTRY, ids=lambda item: item.name)
def test_each_is_reached_by_a_command_or_says_why_not(item: Capability) -> None:
    listing = item.listing
    assert bool(listing.verb) != bool(listing.no_verb), "it says its command, or why it has none"
    if not listing.verb:
        return
    command: click.Command = main
    for word in listing.verb.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, f"there is no `ikoma {listing.verb}`"
        command = found
    if listing.by_hand:
        assert item.name in _texts(command), f"`ikoma {listing.verb}` calls something else"
    else:
        assert listing.verb in main.list_commands(click.Context(main))
        assert listing.summary, "it is listed with a line"
        assert {item.argument for item in command.params if hasattr(item, "argument")} <= item.arguments.keys()


@pytest.mark.parametrize("item", REGISTRY, ids=lambda item: item.name)
def test_what_a_listing_names_is_there(item: Capability) -> None:
    listing = item.listing
    named = {*listing.optional, *listing.from_files, *listing.unseen, *listing.unseen.values(), *listing.not_over_mcp}
    assert named <= item.arguments.keys()
    if listing.well:
        assert listing.well[0] in item.result_adapter.json_schema(by_alias=True, mode="serialization")["properties"]


def test_no_two_have_one_command() -> None:
    verbs = [item.listing.verb for item in REGISTRY if item.listing.verb]
    assert len(verbs) == len(set(verbs))


LAMP = '''
from typing import ClassVar

from ikoma.capabilities.context import Call
from ikoma.kernel.page import ResultPage
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role


class Lamp(Result):
    page: ClassVar = ResultPage(says="The lamp is {bright}.", either={"bright": ("on", "off")})
    bright: bool
    """Whether it shines."""


@capability("trash.lamp", role=Role.OBSERVER, effect=Effect.READS)
@listed(
    "look",
    "lamp",
    "Show whether the lamp is on.",
    well=("bright", True),
    says=lambda fields: f"Bright: {fields['bright']}.",
)
async def lamp(call: Call, request: AppRequest) -> Lamp:
    """Show whether an app's lamp is on."""
    return Lamp(bright=True)
'''
LOOK = """
import sys
from pathlib import Path

import click

import ikoma.capabilities.trash
from ikoma import capabilities, docs
from ikoma.cli import capability_index, main, views
from ikoma.cli.naming import write_command_line
from ikoma.transports import openapi
from ikoma.transports.mcp import tools
from ikoma.transports.mcp.wording import sentences
from ikoma.web import reference

folder = Path(sys.argv[1])
ikoma.capabilities.trash.__path__.append(str(folder))
registry = capabilities.load()
capability_index.FILE = folder / "commands.json"
capability_index.FILE.write_text(docs.make_commands_file(registry))
item = registry.get("trash.lamp")

context = click.Context(main)
assert "lamp" in main.list_commands(context)
assert "Show whether the lamp is on." in main.get_help(context)
assert "Usage: lamp [OPTIONS] APP" in main.get_command(context, "lamp").get_help(click.Context(main, info_name="lamp"))
assert write_command_line("trash.lamp", {"appName": "shop"}) == "ikoma lamp shop"
assert not views.is_well("trash.lamp", {"bright": False})
assert [block.text for block in views.lay_out_result("trash.lamp", {"bright": False}, {})] == ["The lamp is off."]
assert [tools.make_tool(found).name for found in tools.choose([*registry], ["trash"])].count("trash_lamp") == 1
assert "trash_lamp" in tools.map_names(registry)
assert sentences.make_first_line(item.listing.says, {"bright": False}) == "Bright: False."
assert "## trash" in docs.make_capabilities_page(registry) and "### trash.lamp" in docs.make_capabilities_page(registry)
assert "`lamp APP`" in docs.make_commands_page("| task | commands |\\n| --- | --- |\\n")
assert "ikoma lamp myapp" in reference.render_reference(registry)
assert "/execute/trash.lamp" in openapi.make_document(registry)["paths"]
"""


def test_one_file_makes_a_command_a_tool_and_a_part_of_every_page(tmp_path: Path) -> None:
    (tmp_path / "lamp.py").write_text(LAMP)
    looked = subprocess.run([sys.executable, "-c", LOOK, str(tmp_path)], capture_output=True, text=True)
    assert looked.returncode == 0, looked.stderr


def _texts(command: click.Command) -> set[str]:
    """Every text in the module that has the command."""
    module = inspect.getmodule(inspect.unwrap(command.callback)) if command.callback else None
    assert module is not None
    nodes = ast.walk(ast.parse(inspect.getsource(module)))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
