"""The list of tools: what it holds, what it costs a model, and that it says what is true."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import orjson
import pytest

from ikoma import capabilities
from ikoma.kernel.registry import Registry, Request, Result, capability
from ikoma.model import Effect, Role
from ikoma.transports.mcp import tools
from ikoma.transports.mcp.prompts import fit_text, read_procedures

GOLDEN = Path(__file__).with_name("tools.golden")
MOST_TOKENS = 4000
MOST_OF_ALL = 7500


def everything() -> list[tools.Tool]:
    return [tools.make_tool(item) for item in capabilities.load()]


def cost(tool: tools.Tool) -> int:
    """Tokens, as characters of what reaches a model by four."""
    schemas = [orjson.dumps(schema) for schema in (tool.input_schema, tool.output_schema) if schema is not None]
    return (len(tool.name) + len(tool.description or "") + sum(map(len, schemas))) // 4


def test_the_whole_list_costs_a_model_little(capsys: pytest.CaptureFixture[str]) -> None:
    listed = [tools.make_tool(item) for item in tools.choose(list(capabilities.load()), ())]
    lines = [f"{cost(tool):5}  {tool.name}" for tool in listed]
    total = sum(cost(tool) for tool in listed)
    with capsys.disabled():
        print("\ntokens of each tool:", *lines, f"{total:5}  in all, of {MOST_TOKENS}", sep="\n")
    assert total <= MOST_TOKENS
    assert sum(map(cost, everything())) <= MOST_OF_ALL


def test_the_list_is_the_golden_one() -> None:
    shown = b"\n".join(
        orjson.dumps(
            tool.model_dump(by_alias=True, exclude_none=True, exclude={"output_schema"}), option=orjson.OPT_SORT_KEYS
        )
        for tool in everything()
    )
    if not GOLDEN.exists():
        GOLDEN.write_bytes(shown + b"\n")
    assert GOLDEN.read_bytes() == shown + b"\n", f"the list has changed: look at it, then remove {GOLDEN.name}"


def test_what_is_rare_is_listed_where_its_toolset_is_chosen() -> None:
    every = list(capabilities.load())
    assert not any(item.name.startswith("hook.") for item in tools.choose(every, ()))
    assert {"hook.create", "hook.show"} <= {item.name for item in tools.choose(every, ("hook",))}


def test_names_are_injective_and_every_host_takes_them() -> None:
    known = capabilities.load().list_names()
    assert len({tools.make_tool_name(name) for name in known}) == len(known)
    for tool in everything():
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool.name)
        assert tool.title in known
    taken = tools.map_names(capabilities.load())
    for name in known:
        assert taken[name] == taken[tools.make_tool_name(name)] == name


def test_two_capabilities_of_one_tool_name_are_refused() -> None:
    registry = Registry()
    for name in ("a.b_c", "a.b.c"):

        @capability(name, role=Role.OBSERVER, effect=Effect.READS, into=registry)
        async def nothing(call: object, request: Request) -> Result:
            """Nothing."""
            return Result()

    with pytest.raises(ValueError, match="cannot both"):
        tools.map_names(registry)


def test_annotations_say_what_the_capabilities_do() -> None:
    for item, tool in zip(capabilities.load(), everything(), strict=True):
        notes = tool.annotations
        assert notes is not None
        assert notes.read_only_hint == (item.effect is Effect.READS)
        assert notes.destructive_hint == (item.effect is Effect.DESTROYS)
        assert notes.idempotent_hint == item.idempotent
        assert notes.open_world_hint == item.open_world


def test_what_changes_can_be_waited_for_and_repeated_and_what_reads_cannot() -> None:
    for item, tool in zip(capabilities.load(), everything(), strict=True):
        for control in ("wait", "idempotencyKey"):
            assert (control in tool.input_schema["properties"]) == (item.effect is not Effect.READS), tool.name
        assert ("confirmation" in tool.input_schema["properties"]) == (item.loses is not None)


NAMED = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")
"""Tools, as texts name them."""


def test_every_tool_that_prompts_name_exists_and_prompts_need_what_exists() -> None:
    known = capabilities.load().list_names()
    for procedure in read_procedures().values():
        assert set(NAMED.findall(procedure.text)) <= {tools.make_tool_name(name) for name in known}, procedure.name
        assert procedure.needs <= set(known)
        assert procedure.needs


def test_what_takes_a_limit_says_whether_there_is_more() -> None:
    for item in capabilities.load():
        if item.effect is Effect.READS and "limit" in item.arguments:
            assert "truncated" in item.result.model_fields, item.name


def test_a_plan_names_what_the_key_may_call_and_how_to_reach_what_is_not_listed() -> None:
    every = capabilities.load().list_names()
    text = "Do it.\n\n1. `apps_list` first.\n2. `db_status` then.\n3. `keys_list`.\n4. Report.\n"
    assert fit_text(text, every, every) == text
    assert fit_text(text, {"apps.list", "keys.list"}, {"apps.list", "keys.list"}) == (
        "Do it.\n\n1. `apps_list` first.\n2. `keys_list`.\n3. Report.\n"
    )
    rare = fit_text(text, every, {"apps.list", "db.status"})
    assert rare.startswith(text)
    assert "callable: `keys_list`. Call them all the same" in rare
    assert "toolsets=all" in rare


def test_the_instructions_name_no_tool_since_a_key_may_not_have_it() -> None:
    text = files("ikoma.transports.mcp").joinpath("instructions.md").read_text()
    known = capabilities.load().list_names()
    assert not [name for name in known if re.search(rf"\b{re.escape(name)}\b|\b{tools.make_tool_name(name)}\b", text)]


def test_the_instructions_are_short() -> None:
    text = files("ikoma.transports.mcp").joinpath("instructions.md").read_text()
    assert len(text.split()) < 300
