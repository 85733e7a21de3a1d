"""trash.delete: delete a removed app for good."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import ClassVar

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.kernel.page import ResultPage
from ikoma.kernel.registry import Loss, Request, Result, capability, listed
from ikoma.model import Effect, Role


class TrashDeleteRequest(Request):
    id: str = Field(max_length=120, examples=["myapp-20260102-150405-9f3a"])


class TrashDeleteResult(Result):
    page: ClassVar = ResultPage(says="{message}")
    success: bool
    message: str
    freed: int
    """Bytes."""


async def find_losses(call: Call, request: TrashDeleteRequest) -> Loss:
    """All that is kept of the app: nothing else holds it."""
    entry = call.platform.trash.find(request.id)
    call.caller.check_app(entry.app)
    call.platform.trash.require_deletable(entry)
    lost = [f"the folder of {entry.app}, removed at {entry.removed_at}"] if entry.folder.is_dir() else []
    if entry.dump.exists():
        lost.append(
            f"its database: {', '.join(f'{table} ({rows} rows)' for table, rows in entry.rows.items()) or 'a dump'}"
        )
    lost += [f"its volume {name}" for name in entry.list_volumes()]
    return Loss(
        f"Delete {entry.id} from the trash.",
        tuple(lost),
        call.list_kept_of_database(call.platform.apps.locate(entry.app)),
    )


@capability("trash.delete", role=Role.ADMIN, effect=Effect.DESTROYS, loses=find_losses, rare=True)
@listed("server", "trash-delete", "Delete a removed app for good.")
async def delete(call: Call, request: TrashDeleteRequest) -> TrashDeleteResult:
    """Delete a removed app for good."""
    entry = call.platform.trash.find(request.id)
    call.caller.check_app(entry.app)
    size = await asyncio.to_thread(entry.measure)
    name = entry.app
    await call.platform.restorer.delete(entry)
    if not call.platform.apps.locate(name).exists and name not in {
        item.app for item in call.platform.trash.list_entries()
    }:
        await call.platform.hooks.change(partial(call.platform.hooks.forget, name))
    return TrashDeleteResult(success=True, message=f"{entry.id} is deleted for good.", freed=size)
