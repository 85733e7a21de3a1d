"""Parts that the fuzzers of all doors share: secrets that no answer may hold, values of every kind, and who calls what.

The secrets belong to an app that stands there while a door is fuzzed, and about half of all calls are aimed at it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.model import AppName
from tests.hostile.payloads import PAYLOADS
from tests.support import Server

SECONDS = 120.0
"""After which a call that has not been answered hangs."""

AS_OBSERVER = frozenset(
    {
        *("apps.remove", "env.unset", "files.delete", "keys.revoke"),  # would take away what other tests need
        *("deploy.up", "deploy.restart"),  # would take minutes
        *("source.clone", "source.checkout"),  # would look for hosts of any name
    }
)
"""Called as an observer, who may not; everything else is called as an admin."""

APP = "fuzzed-app"


def role_for(capability: str) -> str:
    return "observer" if capability in AS_OBSERVER else "admin"


@contextmanager
def secrets_of(server: Server) -> Iterator[Mapping[str, str]]:
    """Map each secret's name to its value: an app's variable and database, and the server's own key and database."""
    planted = f"planted-{secrets.token_hex(16)}"
    server.do("apps.init", {"appName": APP})
    server.do("db.create", {"appName": APP})
    server.do("env.set", {"appName": APP, "name": "PLANTED", "value": planted})
    owned = credentials.require(App(AppName(APP), server.apps / APP))
    try:
        yield {
            "the admin key": server.key,
            "PostgreSQL's admin password": (Path(server.env["IKOMA_STATE"]) / "postgres" / "password")
            .read_text()
            .strip(),
            "the password of an app's database": owned.password.reveal(),
            "a variable of an app": planted,
        }
    finally:
        server.do("apps.remove", {"appName": APP})


TEXT = st.one_of(st.text(max_size=40), st.sampled_from(PAYLOADS).filter(lambda text: len(text) < 100))
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=8,
)


def fitting(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """Values of the type that a JSON schema says, in its bounds where those are numbers."""
    defined = definitions if definitions is not None else schema.get("$defs", {})
    if "$ref" in schema:
        return fitting(defined[schema["$ref"].rpartition("/")[2]], defined)
    if "anyOf" in schema:
        return st.one_of([fitting(part, defined) for part in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, defined)
    if kind == "array":
        return st.lists(fitting(schema.get("items", {}), defined), max_size=3)
    if kind == "string":
        return st.one_of(
            TEXT, st.sampled_from(schema.get("examples") or ["a", "A_1", "docker-compose.yml", "SELECT 1"])
        )
    simple = {"null": st.none(), "boolean": st.booleans(), "integer": _integers(schema), "number": _integers(schema)}
    return simple.get(str(kind), JUNK)


def _object(schema: Mapping[str, Any], defined: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: fitting(field, defined) for name, field in schema.get("properties", {}).items()}
    if "appName" in fields:
        fields["appName"] = st.one_of(st.just(APP), fields["appName"])
    if not fields:
        return st.dictionaries(TEXT, fitting(schema.get("additionalProperties") or {}, defined), max_size=2)
    needed = {name: fields.pop(name) for name in schema.get("required", [])}
    return st.fixed_dictionaries(needed, optional=fields)


def _integers(schema: Mapping[str, Any]) -> st.SearchStrategy[int]:
    least = schema.get("minimum", -10)
    return st.integers(least, min(schema.get("maximum", least + 100), least + 100))
