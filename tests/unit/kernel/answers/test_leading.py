"""The lead after a failure fits the capability that it calls, and the key that is told of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import ikoma
from ikoma import capabilities
from ikoma.errors import DeployFailed, IkomaError, Next, rebuild_failure
from ikoma.errors.base import list_error_classes
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.answers.failures import describe_failure
from ikoma.kernel.answers.leading import Leading, dump_next
from ikoma.model import Effect, Role
from ikoma.transports.mcp.tools import is_chosen

REGISTRY = capabilities.load()
LEADING = Leading(REGISTRY)
GIVEN = {"appName": "shop", "path": "src/app.py", "operationId": "0123456789abcdef01234567"}
"""Arguments of a call that has all that another could lack."""
ADMIN = Caller("k", "ann", Role.ADMIN)


def _leading() -> list[IkomaError]:
    return [kind() for kind in list_error_classes() if kind.default_next]


@pytest.mark.parametrize("error", _leading(), ids=lambda error: type(error).__name__)
def test_what_an_error_leads_to_can_be_called_with_what_it_gives(error: IkomaError) -> None:
    whole = LEADING.complete(error.next, REGISTRY.get("keys.list"), GIVEN)
    assert [item.capability for item in whole] == [item.capability for item in error.next]
    for item in whole:
        REGISTRY.get(item.capability).parse(item.arguments)  # raises InvalidArguments


@pytest.mark.parametrize("error", _leading(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("role", Role)
def test_a_key_is_told_only_what_it_can_call(error: IkomaError, role: Role) -> None:
    keys = [
        Caller("k", "ann", role),
        Caller("k", "ann", role, read_only=True),
        Caller("k", "ann", role, capabilities=("apps.*",)),
        Caller("k", "ann", role, apps=("other-*",)),
    ]
    for key in keys:
        lead = LEADING.choose(error.next, key, role, GIVEN)
        if lead is not None:
            capability = REGISTRY.get(lead.capability)
            assert role >= capability.role
            assert key.reaches_capability(capability)
            assert key.reaches(lead.arguments.get("appName", "other-1"))
    nothing = Caller("k", "ann", role, capabilities=("keys.rotate",))
    assert LEADING.choose(error.next, nothing, role, GIVEN) is None


def _written() -> Iterator[tuple[str, str, list[str]]]:
    """Every `Next` that stands in the source: where, what it calls, and the arguments that are named there."""
    for path in sorted(Path(ikoma.__file__).parent.rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "Next(" in text else ():  # each worker does this before its first test
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Next"):
                continue
            if node.args and isinstance(node.args[0], ast.Constant):
                given = node.args[1].keys if len(node.args) > 1 and isinstance(node.args[1], ast.Dict) else []
                keys = [key.value for key in given if isinstance(key, ast.Constant)]
                yield f"{path.name}:{node.lineno}", str(node.args[0].value), [str(key) for key in keys]


@pytest.mark.parametrize(("where", "capability", "arguments"), list(_written()))
def test_what_leads_on_names_what_exists(where: str, capability: str, arguments: list[str]) -> None:
    assert capability in REGISTRY, where
    assert set(arguments) <= REGISTRY.get(capability).arguments.keys(), where


OF_NO_KEY = {"hook_refused", "hook_replayed", "hook_worn_out"}
"""Told to git hosts, which call nothing else."""
READS = re.compile("|".join(re.escape(item.name) for item in REGISTRY if item.effect is Effect.READS))


def _raised() -> Iterator[tuple[str, str, str]]:
    """Every error that is raised with a hint of its own, and nothing that leads on."""
    for path in sorted(Path(ikoma.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if "hint" in said and "next" not in said:
                    yield f"{path.name}:{node.lineno}", node.func.id, said["hint"]


KINDS = {kind.__name__: kind for kind in list_error_classes()}


def test_a_hint_that_names_a_call_which_shows_more_leads_there() -> None:
    silent = [
        (where, hint)
        for where, kind, hint in _raised()
        if READS.search(hint) and not KINDS[kind].default_next and KINDS[kind].code not in OF_NO_KEY
    ]
    silent += [
        (kind.__name__, kind.default_hint)
        for kind in KINDS.values()
        if READS.search(kind.default_hint) and not kind.default_next and kind.code not in OF_NO_KEY
    ]
    assert silent == []


def test_the_first_that_a_key_may_call_is_told() -> None:
    known = [Next("db.create", {"appName": "shop"}), Next("db.status", {"appName": "shop"})]
    assert LEADING.choose(known, ADMIN, Role.ADMIN) == known[0]
    assert LEADING.choose(known, ADMIN, Role.OBSERVER) == known[1]


def test_a_client_is_led_only_to_what_it_offers() -> None:
    known = [Next("files.history", {"appName": "shop"}), Next("files.list", {"appName": "shop"})]
    default, narrow = (partial(is_chosen, toolsets=toolsets) for toolsets in ((), ("apps",)))
    assert LEADING.choose(known, ADMIN, Role.ADMIN) == known[0]
    assert LEADING.choose(known, ADMIN, Role.ADMIN, lists=default) == known[1]
    assert LEADING.choose(known, ADMIN, Role.ADMIN, lists=narrow) is None
    status = REGISTRY.get("apps.status")
    for lists, led in ((default, True), (narrow, False)):
        told = LEADING.complete_result(status, {"next": dump_next(known[1])}, {}, ADMIN, Role.ADMIN, lists)
        assert ("next" in told) is led


def test_nobody_is_led_in_a_circle_nor_told_a_secret_again() -> None:
    status = REGISTRY.get("apps.status")
    assert LEADING.complete([Next("apps.status")], status, {"appName": "shop"}) == ()
    assert (
        LEADING.complete([Next("env.set")], REGISTRY.get("env.set"), {"appName": "a", "name": "A", "value": "s"}) == ()
    )


def test_what_leads_on_is_the_same_in_the_record_of_an_operation() -> None:
    error = DeployFailed(
        "It broke.", next=Next("release.show", {"appName": "shop", "release": "20260101000000-abcdef"})
    )
    kept = [dump_next(item) for item in error.next]
    again = rebuild_failure(code=error.code, error=error.message, hint=error.hint, details={}, next=kept)
    for failure in (error, again):
        failure.lead = LEADING.choose(failure.next, ADMIN, Role.ADMIN, GIVEN)
    assert describe_failure(error) == describe_failure(again)
    assert rebuild_failure(code="deploy_failed", error="x", hint="y", details={}).next == (), "of an earlier version"
