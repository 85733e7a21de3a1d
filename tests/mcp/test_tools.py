"""The list of tools: what it holds, what it costs a model, and that it says what is true."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import orjson
import pytest
from mcp_types import Tool

from ikoma import capabilities
from ikoma.kernel.registry import Capability, Registry, Request, Result, capability
from ikoma.model import Effect, Role
from ikoma.transports.mcp import tools
from ikoma.transports.mcp.prompts import fit_text, read_procedures

GOLDEN = Path(__file__).with_name("tools.golden")
MOST_TOKENS = 4000
MOST_OF_ALL = 7500
MOST_BYTES = 18_500
MOST_BYTES_OF_ALL = 37_000
"""Limit of the tools on the wire, with what only hosts read: annotations."""


def list_every() -> list[Capability]:
    """List what a client of all toolsets lists."""
    return tools.choose(list(capabilities.load()), (tools.ALL,))


def everything() -> list[Tool]:
    return [tools.make_tool(item) for item in list_every()]


def count_tokens(listed: Sequence[Tool]) -> int:
    """Tokens of the definitions as a host hands them to a model: name, description and input schema, as JSON.

    They are counted as characters by four. A tokenizer counts fewer (o200k_base 7 % of the whole list, cl100k_base
    12 %), so this is on the safe side. Annotations are for hosts: no API of a model takes them.
    """
    told = [{"name": tool.name, "description": tool.description, "input_schema": tool.input_schema} for tool in listed]
    return len(orjson.dumps(told)) // 4


def count_bytes(listed: Sequence[Tool]) -> int:
    """Bytes of the tools as they are on the wire: what has no value is not sent."""
    return len(orjson.dumps([tool.model_dump(by_alias=True, exclude_none=True) for tool in listed]))


def test_the_whole_list_costs_a_model_little(capsys: pytest.CaptureFixture[str]) -> None:
    listed = [tools.make_tool(item) for item in tools.choose(list(capabilities.load()), ())]
    lines = [f"{count_tokens([tool]):5}  {tool.name}" for tool in listed]
    usual, every = count_tokens(listed), count_tokens(everything())
    with capsys.disabled():
        print("\ntokens of each tool:", *lines, f"{usual:5}  in all, of {MOST_TOKENS}", sep="\n")
        print(f"{every:5}  of every tool, of {MOST_OF_ALL}")
    shorter = "say less in docstrings of requests, or in the first sentence of a rare capability"
    assert usual <= MOST_TOKENS, shorter
    assert every <= MOST_OF_ALL, shorter
    assert count_bytes(listed) <= MOST_BYTES
    assert count_bytes(everything()) <= MOST_BYTES_OF_ALL


def test_the_list_is_the_golden_one() -> None:
    shown = b"\n".join(
        orjson.dumps(tool.model_dump(by_alias=True, exclude_none=True), option=orjson.OPT_SORT_KEYS)
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
    for item, tool in zip(list_every(), everything(), strict=True):
        notes = tool.annotations
        assert notes is not None
        # What is not said is what the protocol takes for granted; of what only reads it asks no more.
        reads = item.effect is Effect.READS
        assert bool(notes.read_only_hint) == reads
        assert notes.open_world_hint is (None if item.open_world else False)
        assert (notes.destructive_hint is not False and not reads) == (item.effect is Effect.DESTROYS)
        assert bool(notes.idempotent_hint) == (item.idempotent and not reads)


def test_what_changes_can_be_waited_for_and_repeated_and_what_reads_cannot() -> None:
    for item, tool in zip(list_every(), everything(), strict=True):
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
