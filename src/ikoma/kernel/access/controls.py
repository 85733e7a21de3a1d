"""Controls that any changing call may carry besides its own arguments, whatever the door.

How long to wait before the work goes on as an operation, the key that makes a retry harmless, and a person's word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from pydantic import Field

from ikoma.kernel.registry import Capability, Request
from ikoma.kernel.requests import parse_arguments
from ikoma.kernel.schemas import make_request_schema
from ikoma.model import Effect

DECLINED = "declined"
"""As `confirmation`: the person was asked and said no."""


class Controls(Request):
    """Arguments that every changing capability takes."""

    wait: int | None = Field(default=None, ge=0, le=3600)
    """Seconds, after which it goes on as an operation."""
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=200)
    """A retry with the same one is not done again."""


class Confirmed(Controls):
    """Arguments that every capability takes which may lose something for good."""

    confirmation: str | None = Field(default=None, min_length=1, max_length=400)
    """The token that came with the list of what would be lost."""


@dataclass(slots=True)
class Given:
    """The parts of what a caller sent."""

    arguments: Mapping[str, Any]
    wait: int | None = None
    idempotency_key: str | None = None
    confirmation: str | None = None


def find_model(capability: Capability) -> type[Controls] | None:
    """The controls that a capability takes; None for one that only reads."""
    if capability.effect is Effect.READS:
        return None
    return Controls if capability.loses is None else Confirmed


@cache
def make_arguments_schema(capability: Capability) -> dict[str, Any]:
    """The JSON schema of all that a call takes: the capability's own arguments, and the controls."""
    schema = make_request_schema(capability.request)
    model = find_model(capability)
    more = make_request_schema(model)["properties"] if model else {}
    return {**schema, "properties": {**schema.get("properties", {}), **more}}


def split(capability: Capability, sent: Mapping[str, Any], key: str | None = None) -> Given:
    """Tell a call's own arguments from its controls; InvalidArguments where a control does not fit.

    Args:
        key: the idempotency key that the door was given, where the arguments hold none.
    """
    model = find_model(capability)
    if model is None:
        return Given(sent)
    names = {field.alias for field in model.model_fields.values()}
    given = {name: sent[name] for name in names & sent.keys() if isinstance(name, str)}
    if key is not None and given.get("idempotencyKey") is None:
        given["idempotencyKey"] = key
    if not given:
        return Given(sent)
    controls = parse_arguments(model, given, of=capability.name, guesses=capability.guesses)
    return Given(
        {name: value for name, value in sent.items() if name not in names},
        controls.wait,
        controls.idempotency_key,
        controls.confirmation if isinstance(controls, Confirmed) else None,
    )


def compute_digest(capability: Capability, arguments: Mapping[str, Any]) -> str:
    """Tells whether two calls ask for the very same."""
    asked = orjson.dumps([capability.name, arguments], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(asked).hexdigest()
