"""The platform of another process, over its unix socket: what `ikoma mcp` speaks to where a server runs.

One server decides and keeps record, so the two doors never disagree.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from ikoma.errors import IkomaError, ServerGone, stored_failure
from ikoma.kernel.call import Answer
from ikoma.kernel.events import Changed
from ikoma.kernel.registry import Capability, Registry
from ikoma.ports import Progress, no_progress
from ikoma.transports.mcp.calls import WAIT_SECONDS, Ask, Credential

_AGAIN_SECONDS = 2.0
_CONNECT_SECONDS = 5.0


class RemoteServer:
    """A running server.

    Args:
        session: connects to it; its base address is the server's.
        registry: the capabilities that both know.
    """

    def __init__(self, session: aiohttp.ClientSession, registry: Registry) -> None:
        self._session = session
        self._registry = registry

    async def execute(self, ask: Ask, progress: Progress = no_progress) -> Answer:
        headers = {
            **_credentials(ask.credential),
            "X-Confirm": "ask",
            "X-Request-Id": ask.request_id,
            "Prefer": f"wait={int(WAIT_SECONDS)}",
        }
        if progress is not no_progress:
            headers["Accept"] = "application/x-ndjson"
        body = orjson.dumps(ask.arguments)
        async with _reached(), self._session.post(f"/execute/{ask.capability}", data=body, headers=headers) as response:
            async for line in response.content:
                said = orjson.loads(line)
                if "progress" not in said:
                    return _answer(response.status, said)
                progress(said["progress"]["message"], said["progress"]["fraction"])
        raise ServerGone("The server ended the connection before it had answered.")

    async def visible(self, credential: Credential) -> Sequence[Capability]:
        async with _reached(), self._session.get("/capabilities", headers=_credentials(credential)) as response:
            said = orjson.loads(await response.read())
        if response.status != 200:
            _answer(response.status, said)
        known = set(self._registry.names())
        return [
            self._registry.get(item["name"])
            for item in said["capabilities"]
            if item["allowed"] and item["name"] in known
        ]

    async def sees(self, credential: Credential, changed: Changed) -> bool:
        return True  # the server tells us of nothing else

    async def changes(self, credential: Credential) -> AsyncIterator[Changed]:
        """What changes there, as the key may see it; a server that was restarted is found again."""
        while True:
            try:
                async with self._session.get(
                    "/events", headers=_credentials(credential), timeout=aiohttp.ClientTimeout(total=None)
                ) as response:
                    response.raise_for_status()
                    async for line in response.content:
                        if line.strip():
                            yield Changed(**orjson.loads(line))
            except (aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(_AGAIN_SECONDS)


@asynccontextmanager
async def connected(socket: Path, registry: Registry) -> AsyncIterator[RemoteServer | None]:
    """The server that answers on this socket; None where none does."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    connector = aiohttp.UnixConnector(path=str(socket))
    async with aiohttp.ClientSession("http://localhost", connector=connector, timeout=timeout) as session:
        yield RemoteServer(session, registry) if await _answers(session) else None


async def _answers(session: aiohttp.ClientSession) -> bool:
    with suppress(aiohttp.ClientError, OSError):
        async with session.get("/health") as response:
            return response.status == 200
    return False


@asynccontextmanager
async def _reached() -> AsyncIterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise ServerGone from error


def _credentials(credential: Credential) -> dict[str, str]:
    found = {"X-Api-Key": credential.key, "X-Role": credential.role}
    return {name: value for name, value in found.items() if value}


def _answer(status: int, said: dict[str, Any]) -> Answer:
    if said.get("success"):
        result = said["result"]
        return Answer(orjson.dumps(result), operation=result["operationId"] if status == 202 else None)
    raise _error(said)


def _error(said: dict[str, Any]) -> IkomaError:
    error = stored_failure(code=said["code"], error=said["error"], hint=said["hint"], details=said.get("details", {}))
    error.audit_message = said.get("cause", error.message)
    return error
