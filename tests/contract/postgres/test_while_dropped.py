"""Questions about a database that is made and dropped meanwhile are answered, or it is said to be unavailable."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from ikoma.errors import IkomaError
from ikoma.model import AppName, Secret
from ikoma.ports.databases import Credentials
from tests.contract.postgres.conftest import Postgres

ROUNDS = 12


def test_looks_never_fail_otherwise(postgres: Postgres, app: AppName) -> None:
    owned = Credentials(app.database, app.role, Secret(secrets.token_urlsafe(16)))
    databases = postgres.databases
    unforeseen: list[BaseException] = []

    async def look(ask: Callable[[], Awaitable[object]], working: asyncio.Task[None]) -> None:
        while not working.done():
            try:
                await ask()
            except IkomaError:
                pass
            except Exception as error:
                unforeseen.append(error)
            await asyncio.sleep(0)

    async def come_and_go() -> None:
        for _ in range(ROUNDS):
            await databases.create(app, owned.password)
            await databases.drop(app)

    async def together() -> None:
        working = asyncio.ensure_future(come_and_go())
        await asyncio.gather(
            *(look(lambda: databases.read_state(app), working) for _ in range(3)),
            look(lambda: databases.check_login(owned, fresh=False), working),
            look(lambda: databases.check_login(owned), working),
            look(lambda: databases.count_rows(owned), working),
            look(lambda: databases.read_ledger(owned), working),
            working,
        )

    postgres.do(together())
    assert [(type(error), str(error)) for error in unforeseen] == []
