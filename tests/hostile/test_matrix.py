"""Every capability, for every kind of key, through every door: on the call, not only in the list.

The list of capabilities is the registry's own, so that a new one is tried as soon as it is there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import pytest

from ikoma import capabilities
from ikoma.kernel.registry import AppRequest, Capability
from ikoma.model import Effect, Role
from tests.hostile import fitting_arguments
from tests.hostile.doors import DOORS, Outcome
from tests.support import Server

EVERY = list(capabilities.load())


@pytest.fixture(scope="module")
def keys(house: Server) -> Mapping[str, str]:
    """One key of each kind."""
    admin: Mapping[str, Mapping[str, Any]] = {
        **{str(role): {"role": str(role)} for role in Role},
        "elsewhere": {"role": "admin", "apps": ["elsewhere-*"]},
        "narrow": {"role": "admin", "capabilities": ["nothing.at_all"]},
        "reading": {"role": "admin", "readOnly": True},
        "revoked": {"role": "admin"},
        "expired": {"role": "admin", "expires": "2099-01-01T00:00:00Z"},
    }
    made = {name: house.do("keys.create", {"name": name, **scope}) for name, scope in admin.items()}
    house.do("keys.revoke", {"id": made["revoked"]["id"]})
    with sqlite3.connect(house.folder / "state" / "state.db", timeout=90) as state:
        state.execute("UPDATE keys SET expires_at = '2020-01-01T00:00:00Z' WHERE id = ?", (made["expired"]["id"],))
    state.close()
    return {name: key["key"] for name, key in made.items()}


_BESIDES: Mapping[str, Mapping[str, Any]] = {
    "db.restore": {"backupName": "before.sql"},
    "env.restore": {"name": "PORT"},
    "files.restore": {"path": "src/index.html"},
    "source.token": {"token": "a-token-of-a-host"},
}
"""Arguments of capabilities that want one of several: one that fits."""


def arguments_of(item: Capability) -> dict[str, Any]:
    """Arguments that fit, for an app that is not there."""
    return fitting_arguments.arguments_of(item, "matrix-app") | _BESIDES.get(item.name, {})


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("item", EVERY, ids=lambda item: item.name)
def test_a_key_does_what_it_was_given_and_nothing_else(
    house: Server, keys: Mapping[str, str], item: Capability, door: str
) -> None:
    def call(kind: str, arguments: Mapping[str, Any], role: str | None = None) -> Outcome:
        return DOORS[door](house, item.name, arguments, keys[kind], role)

    unfit = {**arguments_of(item), "unheardOf": "x"}  # goes past the checks of who asks, and no further
    for kind in ("revoked", "expired"):
        assert call(kind, unfit).code == "unauthenticated", kind
    assert DOORS[door](house, item.name, unfit, "ikoma_nobodys_key").code == "unauthenticated"
    for role in Role:
        allowed = "invalid_arguments" if role >= item.role else "role_too_low"
        assert call(str(role), unfit).code == allowed, role
        assert call("admin", unfit, role=str(role)).code == allowed, role
        if role < Role.ADMIN:
            assert call(str(role), unfit, role="admin").code == "role_too_low", role
    assert call("narrow", unfit).code == "out_of_scope"
    assert call("reading", unfit).code == ("invalid_arguments" if item.effect is Effect.READS else "out_of_scope")
    if issubclass(item.request, AppRequest):
        assert call("elsewhere", arguments_of(item)).code == "out_of_scope"


def test_what_a_key_reaches_is_all_that_it_sees(house: Server, keys: Mapping[str, str]) -> None:
    house.do("apps.init", {"appName": "matrix-seen"})
    house.do("apps.init", {"appName": "elsewhere-1"})
    seen = house.do("apps.list", key=keys["elsewhere"])["apps"]
    assert [app["name"] for app in seen] == ["elsewhere-1"]
    entries = house.do("audit.query", {"limit": 1000}, key=keys["elsewhere"])["entries"]
    assert {entry["arguments"].get("appName") for entry in entries} <= {"elsewhere-1"}
    operations = house.do("operations.list", key=keys["elsewhere"])["operations"]
    assert {operation["appName"] for operation in operations} <= {"elsewhere-1"}


def test_a_limited_admin_gives_no_more_than_it_has(house: Server, keys: Mapping[str, str]) -> None:
    key = keys["elsewhere"]
    for scope in ({}, {"apps": ["*"]}, {"apps": ["elsewhere-*", "bank"]}):
        refused = house.call("keys.create", {"name": "more", "role": "observer", **scope}, key=key)
        assert refused.code == "out_of_scope", scope
    wide = house.do("keys.create", {"name": "wide", "role": "observer"})["id"]
    for capability in ("keys.rotate", "keys.revoke"):
        assert house.call(capability, {"id": wide}, key=key).code == "out_of_scope"
    made = house.do("keys.create", {"name": "within", "role": "builder", "apps": ["elsewhere-1"]}, key=key)
    assert house.do("keys.rotate", {"id": made["id"]}, key=key)["name"] == "within"
