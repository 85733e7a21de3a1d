"""backup.list: the backups of an app, of its database and of the whole."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

from pydantic import Field

from ikoma.apps.backups.folder import AppBackup
from ikoma.apps.backups.names import SERVER, AppOrServer
from ikoma.apps.database.backups import BackupManifest
from ikoma.apps.offsite.copy import OffsiteCopy
from ikoma.capabilities.context import Call
from ikoma.kernel.page import Column, ResultPage
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.model import DUMP_ENDINGS, AppName, Effect, Role


class BackupRequest(AppRequest):
    """Arguments of what works on the backups of an app, or of the server itself."""

    app_name: AppOrServer


class BackupListRequest(BackupRequest):
    limit: int = Field(default=50, ge=1, le=1000)


class BackupFacts(Result):
    name: Annotated[str, Untrusted("name of a backup", ours=True)]
    created_at: str
    size: int
    """Bytes."""
    holds: list[str]
    """database, volumes, folder; state: the server's own."""
    proven: bool
    """Whether it was restored beside and compared, and nothing was missing."""
    proven_at: str | None
    restore_seconds: float | None
    """How long that restore took: to recover takes about as long."""
    places: list[str]
    """here, off-site."""
    offsite_verified_at: str | None
    """When its copy off this machine was read back there and found whole; null: there is none."""


COLUMNS = (
    Column("name"),
    Column("made", "createdAt", "time"),
    Column("size", kind="size", right=True),
    Column("holds", cut=True),
    Column("proven", "provenAt", "time"),
    Column("where", "places"),
)


class BackupListResult(Result):
    page: ClassVar = ResultPage(
        rows="backups", columns=COLUMNS, empty="{appName} has no backup: backup.create makes one."
    )
    app_name: str
    backups: list[BackupFacts]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("backup.list", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed("database", "backups", "List the backups of an app.", not_over_mcp=("limit",))
async def listing(call: Call, request: BackupListRequest) -> BackupListResult:
    """List an app's backups; what each holds, whether a restore has proven it, where it is. The newest is first."""
    found = await asyncio.to_thread(list_backups, call, find_backed_up(call, request.app_name))
    return BackupListResult(
        app_name=request.app_name, backups=found[: request.limit], truncated=len(found) > request.limit
    )


def find_backed_up(call: Call, name: AppName) -> AppName:
    """The name of an app that is there, or of the server itself."""
    return SERVER if name == SERVER else call.find_app(name).name


def list_backups(call: Call, app: AppName) -> list[BackupFacts]:
    """The backups of an app of both kinds, newest first."""
    copies = {copy.name: copy for copy in call.platform.offsite.read_known().list_of(app)}
    found = [describe_dump(item, copies.pop(item.name, None)) for item in call.platform.backups.list_of(app)]
    found += [describe_backup(item, copies.pop(item.name, None)) for item in call.platform.app_backups.list_of(app)]
    found += [describe_copy(copy) for copy in copies.values()]
    return sorted(found, key=lambda item: item.created_at, reverse=True)


def describe_backup(backup: AppBackup, copy: OffsiteCopy | None = None) -> BackupFacts:
    """The facts of a whole app's backup."""
    is_server = backup.app == SERVER
    parts = {
        "database": backup.database is not None,
        "volumes": bool(backup.volumes),
        "folder": not is_server,
        "state": is_server,
    }
    return BackupFacts(
        name=backup.name,
        created_at=backup.created_at,
        size=backup.size,
        holds=[name for name, is_there in parts.items() if is_there],
        proven=backup.proven_at is not None,
        proven_at=backup.proven_at,
        restore_seconds=backup.restore_seconds,
        places=_list_places(copy),
        offsite_verified_at=copy.sent_at if copy else None,
    )


def describe_dump(manifest: BackupManifest, copy: OffsiteCopy | None = None) -> BackupFacts:
    """The facts of a database's backup."""
    return BackupFacts(
        name=manifest.name,
        created_at=manifest.created_at,
        size=manifest.size,
        holds=["database"],
        proven=manifest.proven_at is not None,
        proven_at=manifest.proven_at,
        restore_seconds=manifest.restore_seconds,
        places=_list_places(copy),
        offsite_verified_at=copy.sent_at if copy else None,
    )


def describe_copy(copy: OffsiteCopy) -> BackupFacts:
    """The facts of a backup that is off this machine alone: what is in a whole app's is encrypted."""
    return BackupFacts(
        name=copy.name,
        created_at=copy.created_at,
        size=copy.size,
        holds=["database"] if copy.name.endswith(DUMP_ENDINGS) else [],
        proven=copy.proven_at is not None,
        proven_at=copy.proven_at,
        restore_seconds=None,
        places=["off-site"],
        offsite_verified_at=copy.sent_at,
    )


def _list_places(copy: OffsiteCopy | None) -> list[str]:
    return ["here", "off-site"] if copy else ["here"]
