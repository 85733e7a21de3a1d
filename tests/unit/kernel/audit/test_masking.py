from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field

from ikoma.kernel.audit.masking import mask_arguments
from ikoma.kernel.registry import AppRequest, Registry, Result, Sensitive, capability
from ikoma.model import Effect, Role

REGISTRY = Registry()


class Request(AppRequest):
    sql: Annotated[str | None, Sensitive("SQL")] = None
    env: Annotated[dict[str, str], Sensitive("environment variables")] = Field(default_factory=dict)
    names: list[str] = Field(default_factory=list)
    timeout: int = 1


@capability("test.mask", role=Role.ADMIN, effect=Effect.CHANGES, into=REGISTRY)
async def mask(call: object, request: Request) -> Result:
    """Mask."""
    return Result()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"appName": "shop", "timeout": 5, "names": ["a"]}, {"appName": "shop", "timeout": 5, "names": ["a"]}),
        ({"sql": "secret"}, {"sql": "[SQL, 6 characters]"}),
        ({"sql": ["secret"]}, {"sql": "[SQL]"}),
        ({"env": {"A": "secret"}}, {"env": {"A": "[redacted]"}}),
        ({"env": "secret"}, {"env": "[environment variables, 6 characters]"}),
        ({"password": "secret"}, {"password": "[unknown argument]"}),
        ({"appName": {"x": "secret"}}, {"appName": "[dict]"}),
        ({"appName": "a" * 300}, {"appName": "[text, 300 characters]"}),
        ({"names": ["a" * 200, "a" * 201]}, {"names": ["a" * 200, "[text, 201 characters]"]}),
        ({"names": ["https://me:secret@example.org"]}, {"names": ["https://***@example.org"]}),
        ({"a" * 81: "secret"}, {"[name, 81 characters]": "[unknown argument]"}),
        ({"env": {"a" * 81: "secret"}}, {"env": {"[name, 81 characters]": "[redacted]"}}),
        ({"names": [1, "secret"]}, {"names": "[list]"}),
    ],
)
def test_secrets_are_described_and_the_rest_is_kept_short(given: dict[str, Any], kept: dict[str, Any]) -> None:
    assert mask_arguments(REGISTRY.get("test.mask"), given) == kept


def test_a_flood_of_arguments_is_cut() -> None:
    masked = mask_arguments(REGISTRY.get("test.mask"), {f"n{number}": 1 for number in range(1000)})
    assert len(masked) == 20
