"""backup.download: an address from which a backup can be fetched."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar

from ikoma.app_folder import App
from ikoma.apps.backups.downloads import SECONDS, PackedBackup, pack_file, pack_folder
from ikoma.apps.backups.folder import MANIFEST
from ikoma.apps.backups.names import AnyBackupName, AppBackupName
from ikoma.capabilities.context import Call
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Result, Sensitive, capability, listed
from ikoma.model import DUMP_ENDINGS, BackupName, Effect, Role
from ikoma.moments import format_moment


class BackupDownloadRequest(AppRequest):
    backup_name: AnyBackupName


class BackupDownloadResult(Result):
    page: ClassVar = ResultPage(
        says="{name} can be fetched until {until}.", facts=(Fact("size", "size", "size"), Fact("sha256"), Fact("path"))
    )
    name: str
    """The name of the file; a whole backup comes as a tar file."""
    size: int
    """Bytes."""
    sha256: str
    path: Annotated[str, Sensitive("address of a download")]
    """A path on this server, for GET without a key, also in ranges. Whoever has it can fetch the backup."""
    until: str


@capability(
    "backup.download",
    role=Role.ADMIN,
    effect=Effect.CHANGES,
    rare=True,
    needs_approval=True,
    harmless="it reads, and the address ends by itself",
)
@listed("database", "backup-download", "Fetch a backup to this machine.", by_hand=True, no_tool=True)
async def download(call: Call, request: BackupDownloadRequest) -> BackupDownloadResult:
    """Give out an address from which a backup can be fetched for an hour. All rows and secrets are in it."""
    app = call.find_app(request.app_name)
    await call.platform.backup_return.ensure(app.name, request.backup_name, call.progress)
    call.progress("compare the backup with its manifest")
    packed = await asyncio.to_thread(_pack, call, app, request.backup_name)
    token = call.platform.downloads.offer(packed)
    return BackupDownloadResult(
        name=packed.name,
        size=packed.size,
        sha256=packed.sha256,
        path=f"/downloads/{token}",
        until=format_moment(datetime.now(UTC) + timedelta(seconds=SECONDS), "seconds"),
    )


def _pack(call: Call, app: App, name: AnyBackupName) -> PackedBackup:
    if name.endswith(DUMP_ENDINGS):
        manifest = call.platform.backups.find(app.name, BackupName(name))
        return pack_file(call.platform.backups.root / manifest.name, manifest.sha256)
    backup = call.platform.app_backups.find(app.name, AppBackupName(name))
    return pack_folder(call.platform.app_backups.root / backup.name, backup.files, MANIFEST)
