"""Arguments that fit a capability, made of its own schema."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ikoma.kernel.registry import AppRequest, Capability
from ikoma.kernel.requests import make_example


def arguments_of(item: Capability, app: str) -> dict[str, Any]:
    """The arguments that the capability requires; where it takes an app, it is this one."""
    return {**_required(item.request), **({"appName": app} if issubclass(item.request, AppRequest) else {})}


@cache
def _required(request: Any) -> Mapping[str, Any]:
    """Examples by name. A schema costs pydantic milliseconds each time."""
    schema = request.model_json_schema(by_alias=True)
    return {name: make_example(schema["properties"][name]) for name in schema.get("required", [])}
