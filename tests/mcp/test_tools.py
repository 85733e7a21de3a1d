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
from ikoma.transports.mcp.prompts import procedures

GOLDEN = Path(__file__).with_name("tools.golden")
MOST_TOKENS = 4000
MOST_OF_ALL = 7500


def everything() -> list[tools.Tool]:
    return [tools.tool(item) for item in capabilities.load()]


def cost(tool: tools.Tool) -> int:
    """Tokens, as characters of what reaches a model by four."""
    schemas = [orjson.dumps(schema) for schema in (tool.input_schema, tool.output_schema) if schema is not None]
    return (len(tool.name) + len(tool.description or "") + sum(map(len, schemas))) // 4


def test_the_whole_list_costs_a_model_little(capsys: pytest.CaptureFixture[str]) -> None:
    listed = [tools.tool(item) for item in tools.chosen(list(capabilities.load()), ())]
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
    assert not any(item.name.startswith("hook.") for item in tools.chosen(every, ()))
    assert {"hook.create", "hook.show"} <= {item.name for item in tools.chosen(every, ("hook",))}


def test_names_are_injective_and_every_host_takes_them() -> None:
    known = capabilities.load().names()
    assert len({tools.tool_name(name) for name in known}) == len(known)
    for tool in everything():
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool.name)
        assert tool.title in known
    taken = tools.names(capabilities.load())
    for name in known:
        assert taken[name] == taken[tools.tool_name(name)] == name


def test_two_capabilities_of_one_tool_name_are_refused() -> None:
    registry = Registry()
    for name in ("a.b_c", "a.b.c"):

        @capability(name, role=Role.OBSERVER, effect=Effect.READS, into=registry)
        async def nothing(call: object, request: Request) -> Result:
            """Nothing."""
            return Result()

    with pytest.raises(ValueError, match="cannot both"):
        tools.names(registry)


def test_annotations_say_what_the_capabilities_do() -> None:
    for item, tool in zip(capabilities.load(), everything(), strict=True):
        notes = tool.annotations
        assert notes is not None
        assert notes.read_only_hint == (item.effect is Effect.READS)
        assert notes.destructive_hint == (item.effect is Effect.DESTROYS)
        assert notes.idempotent_hint == item.idempotent
        assert notes.open_world_hint == item.open_world


def test_what_changes_takes_a_retry_key_and_what_reads_does_not() -> None:
    for item, tool in zip(capabilities.load(), everything(), strict=True):
        keyed = item.effect is not Effect.READS and not item.idempotent
        assert ("idempotencyKey" in tool.input_schema["properties"]) == keyed
        assert ("confirmation" in tool.input_schema["properties"]) == (item.loses is not None)


def test_every_tool_that_prompts_and_instructions_name_exists() -> None:
    known = {tools.tool_name(name) for name in capabilities.load().names()}
    later = {"db_restore", "deploy_rollback", "platform_prune"}  # named as "if it is listed"
    texts = [procedure.text for procedure in procedures().values()]
    texts.append(files("ikoma.transports.mcp").joinpath("instructions.md").read_text())
    namespaces = "|".join({name.split("_", 1)[0] for name in known})
    for text in texts:
        assert set(re.findall(rf"\b(?:{namespaces})_[a-z_]+\b", text)) <= known | later


def test_the_instructions_are_short() -> None:
    text = files("ikoma.transports.mcp").joinpath("instructions.md").read_text()
    assert len(text.split()) < 300
