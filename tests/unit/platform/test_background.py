"""The server's own work outlives a Docker that refuses."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ikoma.errors import IkomaError, StartRefused
from ikoma.platform.background import tell_server_address


@pytest.mark.parametrize("refusal", [IkomaError("Docker answers 500."), StartRefused("PostgreSQL did not come back.")])
def test_an_address_that_cannot_be_told_now_is_told_the_next_time(refusal: IkomaError) -> None:
    told: list[str | None] = []
    answers: list[Any] = [refusal, SimpleNamespace(server_address="172.17.0.1")]

    async def read_version() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, IkomaError):
            raise answer
        return answer

    async def set_app_address(address: str | None) -> None:
        told.append(address)

    runtime, server = SimpleNamespace(read_version=read_version), SimpleNamespace(set_app_address=set_app_address)

    async def scenario() -> None:
        for _ in range(2):
            await tell_server_address(cast(Any, runtime), cast(Any, server))

    asyncio.run(scenario())
    assert told == ["172.17.0.1"]
