"""Makes base backups: copies of the whole server that recovery begins with.

One is made beside under a passing name and gets its own name once pg_verifybackup has found it whole, with all of the
log that it needs in the archive: a base backup that is there can be recovered from. An incremental one holds what has
changed since the one before it, its parent, and pg_combinebackup has seen that it fits upon that one.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Any

import orjson

from ikoma.checkpoints import checkpoint
from ikoma.durable import make_folder, remove_tree, sync_folder, write_file
from ikoma.errors import ArchiveBroken, ArchiveFailed, DiskFull
from ikoma.moments import format_moment
from ikoma.postgres.archive import tools
from ikoma.postgres.archive.chain import PASSING, BaseBackup, Chain
from ikoma.postgres.archive.segments import locate, name_segment
from ikoma.postgres.connect import connected
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.server.tools import find_tool
from ikoma.run import ProcessResult, run

log = logging.getLogger("ikoma.postgres")

_SECONDS = 24 * 3600.0
_SPARE = 1 << 30
"""Bytes that stay free for the log and for backups of apps."""

# The time is read before the transaction has its number, so its commit is no earlier.
_MARK = "SELECT clock_timestamp(), pg_current_xact_id()"
_SUMMARIZES = "SELECT current_setting('summarize_wal', true)"
_SIZE = "SELECT sum(pg_database_size(oid))::bigint FROM pg_database"


async def make_base_backup(
    server: PostgresServer, chain: Chain, until_archived: Callable[[str], Awaitable[None]]
) -> BaseBackup:
    """Copy the server into the chain, whole or not at all: what has changed since the last copy where that can be.

    Args:
        until_archived: waits until the segment of that name is in the archive.

    Raises:
        ArchiveFailed: pg_basebackup or pg_verifybackup failed; their own words are in it.
        DiskFull: a copy could fill the disk.
    """
    parent = await asyncio.to_thread(chain.find_parent)
    if parent is not None and await _has_summaries(server):
        try:
            return await _make(server, chain, parent, until_archived)
        except ArchiveFailed as error:
            log.warning("point in time: the next base backup is a full one, for: %s", error.message)
    return await _make(server, chain, None, until_archived)


async def _has_summaries(server: PostgresServer) -> bool:
    async with connected(server.make_admin_login()) as connection:
        return await (await connection.execute(_SUMMARIZES)).fetchone() == ("on",)


async def _make(
    server: PostgresServer,
    chain: Chain,
    parent: BaseBackup | None,
    until_archived: Callable[[str], Awaitable[None]],
) -> BaseBackup:
    async with connected(server.make_admin_login()) as connection:
        row = await (await connection.execute(_SIZE)).fetchone()
        assert row is not None
        _require_room(chain.folder, int(row[0]))
        row = await (await connection.execute(_MARK)).fetchone()
    assert row is not None
    began = format_moment(row[0].astimezone(UTC), "microseconds")
    name = began.replace(":", "")
    making = chain.bases / f"{PASSING}{name}"
    since = None if parent is None else chain.bases / parent.name / "data"
    make_folder(making, 0o700)
    try:
        await _run(
            "pg_basebackup",
            server,
            chain,
            lambda program, given: tools.copy_server(program, making / "data", given, since),
        )
        checkpoint("base backup copied")
        finished = await _read_clock(server)
        start, end = await asyncio.to_thread(_read_manifest, making / "data", chain.identity.timeline)
        size = chain.identity.segment
        await until_archived(name_segment(chain.identity.timeline, locate(end, size), size))
        await _run(
            "pg_verifybackup", server, chain, lambda program, _: tools.verify_copy(program, making / "data", chain.wal)
        )
        if parent is not None:
            links = [*chain.list_links(parent, chain.list_bases())]
            folders = [*(chain.bases / link.name / "data" for link in links), making / "data"]
            await _run(
                "pg_combinebackup",
                server,
                chain,
                lambda program, _: tools.combine(program, folders, making / "combined", dry=True),
            )
        taken = await asyncio.to_thread(_measure, making)
        base = BaseBackup(name, began, finished, start, end, taken, None if parent is None else parent.name)
        write_file(making / "base.json", orjson.dumps(asdict(base)), mode=0o600)
        checkpoint("base backup verified")
        making.rename(chain.bases / name)
        sync_folder(chain.bases)
    finally:
        if making.is_dir():
            await asyncio.to_thread(remove_tree, making)
    return base


async def verify(chain: Chain, base: BaseBackup) -> None:
    """See that a base backup is still as it was made; ArchiveBroken, saying what is not."""
    program = await find_tool("pg_verifybackup", chain.identity.major)
    folder = chain.bases / base.name
    ended = await run(tools.verify_copy(program, folder / "data", None), timeout=_SECONDS)
    if ended.code != 0:
        raise ArchiveBroken(f"The base backup {base.name} is damaged: {_read_last_line(ended)}.")


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE:
        raise DiskFull(
            f"A base backup takes {size >> 20} MiB, and {free >> 20} MiB are free.",
            hint="Make room on the disk of BACKUPS_ROOT, or keep fewer days (POINT_IN_TIME_DAYS).",
        )


async def _run(
    name: str, server: PostgresServer, chain: Chain, argv: Callable[[Path, dict[str, Any]], list[str]]
) -> None:
    program = await find_tool(name, chain.identity.major)
    parameters = server.make_admin_login()
    ended = await run(argv(program, parameters), env={"PGPASSWORD": parameters["password"]}, timeout=_SECONDS)
    if ended.code != 0:
        tools.require_room_left(ended.stderr.decode(errors="replace").splitlines())
        raise ArchiveFailed(f"There is no new base backup: {_read_last_line(ended)}.")


def _read_last_line(ended: ProcessResult) -> str:
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].rstrip(".") if lines else f"exit code {ended.code}"


async def _read_clock(server: PostgresServer) -> str:
    async with connected(server.make_admin_login()) as connection:
        row = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
    assert row is not None
    return format_moment(row[0].astimezone(UTC), "microseconds")


def _read_manifest(data: Path, timeline: int) -> tuple[str, str]:
    """From which position to which the log is needed to make the copy whole."""
    ranges = orjson.loads((data / "backup_manifest").read_bytes())["WAL-Ranges"]
    if len(ranges) != 1 or ranges[0]["Timeline"] != timeline:
        raise ArchiveFailed("There is no new base backup: the server's timeline changed while it was made.")
    return ranges[0]["Start-LSN"], ranges[0]["End-LSN"]


def _measure(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
