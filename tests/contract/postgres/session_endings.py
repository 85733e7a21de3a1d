"""A program that forgets a role's session at each turn of the event loop at which a check may just wait for it.

Run on the event loop of the product, whose C library ends the process where a watched descriptor is closed. The way to
the server comes as JSON on standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any, cast

import uvloop

from ikoma.model import Secret
from ikoma.ports.databases import Credentials
from ikoma.postgres.logins import Logins
from ikoma.postgres.server.server import PostgresServer

TURNS = 12


@dataclass(frozen=True)
class Way:
    """As much of a server as checks want of it."""

    parameters: dict[str, Any]

    def make_app_login(self, credentials: Credentials) -> dict[str, Any]:
        return self.parameters


async def main(parameters: dict[str, Any]) -> None:
    logins = Logins(cast(PostgresServer, Way(parameters)))
    owned = Credentials(parameters["dbname"], parameters["user"], Secret(parameters["password"]))

    async def forget_after(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await logins.forget(owned.database)

    for turns in range(TURNS):
        await logins.check(owned, fresh=False)
        await asyncio.gather(logins.check(owned, fresh=False), forget_after(turns))
    await logins.close()


if __name__ == "__main__":
    uvloop.run(main(json.load(sys.stdin)))
