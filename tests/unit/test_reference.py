"""The reference that the server shows is whole: every capability once, every error, a command that exists."""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import get_args

import click
import pytest

from ikoma import capabilities
from ikoma.cli import main as cli
from ikoma.kernel.listing import Task
from ikoma.kernel.schemas import make_result_schema
from ikoma.web import guides, reference
from ikoma.web.commands import make_example_command
from ikoma.web.schemas import list_arguments, list_parts
from ikoma.web.tasks import TASKS

REGISTRY = capabilities.load()
BY_NAME = {item.name: item for item in REGISTRY}
OF_ANY_CALL = ("access", "base", "machine", "operations", "requests")


@cache
def render_page() -> str:
    """Render it once, and not where each worker imports this file."""
    return reference.render_reference(REGISTRY, guides.list_guides())


@pytest.mark.parametrize("name", REGISTRY.list_names())
def test_every_capability_stands_in_one_task(name: str) -> None:
    assert BY_NAME[name].listing.task in {task.word for task in TASKS}
    assert render_page().count(f'id="{name}"') == 1


def test_every_error_is_told_and_those_of_apps_in_a_task() -> None:
    named = {code for task in TASKS for code in task.errors.split()}
    known = reference.list_errors()
    assert named <= known.keys()
    special = {code for code, kind in known.items() if kind.__module__.rsplit(".", 1)[-1] not in OF_ANY_CALL}
    assert special - named == {"app_busy", "app_not_found"}  # these can come of any call too
    page = render_page()
    assert all(f'id="error-{code}"' in page for code in known)


def test_every_guide_that_is_named_is_there() -> None:
    assert {name for task in TASKS for name in task.guides} <= set(guides.list_guides())


def test_the_tasks_are_those_that_a_capability_may_name() -> None:
    assert {task.word for task in TASKS} == set(get_args(Task))
    assert {item.listing.task for item in REGISTRY} == set(get_args(Task)), "a task without capabilities"


@pytest.mark.parametrize("name", REGISTRY.list_names())
def test_each_command_is_one_that_the_command_line_takes(name: str) -> None:
    program, *words = shlex.split(make_example_command(BY_NAME[name]).removesuffix(" < FILE"))
    assert program == "ikoma"
    command: click.Command = cli
    context = click.Context(command)
    while isinstance(command, click.Group) and words and (inner := command.get_command(context, words[0])):
        command, words = inner, words[1:]
        if isinstance(command, click.Group) and not words:
            return
    command.make_context(name, words, resilient_parsing=False)


def test_arguments_are_described_with_their_bounds_and_defaults() -> None:
    schema = {
        "properties": {
            "seconds": {"type": "integer", "minimum": 0, "maximum": 3600, "default": 45, "description": "How long."},
            "ref": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}], "default": None},
            "kind": {"enum": ["a", "b"]},
            "names": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        },
        "required": ["kind"],
    }
    first, *others = list_arguments(schema)
    assert (first.name, first.kind, first.required) == ("kind", "one of a, b", True)
    assert [(field.kind, field.bounds, field.default) for field in others] == [
        ("whole number", "at most 3,600", "45"),
        ("text", "at most 9 characters", ""),
        ("list of text", "at most 3 items", ""),
    ]


def test_answers_are_described_to_their_parts() -> None:
    found = {field.name: field for field in list_parts(make_result_schema(BY_NAME["db.backup"].result_adapter))}
    assert found["tables"].kind == "whole number by name"
    assert found["tables"].about == "Rows of each table, counted in the dump's own snapshot."
    lists = list_parts(make_result_schema(BY_NAME["release.list"].result_adapter))
    assert "releases[].pinned" in {field.name for field in lists}


def test_nothing_of_a_page_stands_outside_its_policy() -> None:
    for page in (render_page(), *(guides.render_guide(name) or "" for name in guides.list_guides())):
        assert not re.search(r"<[^>]+\s(style|on\w+)=", page)
        assert not re.search(r"<(img|link|iframe|object|script src)", page)
