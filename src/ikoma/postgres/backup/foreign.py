"""Loads a dump that this server did not make into an empty database, as the app's own role and in a sandbox.

A dump is a program: for the server, which runs it with the app's rights and no others, and for psql, which would obey
its backslash commands. psql runs restricted, so it obeys none of them, and sealed, so that it could do nothing by them:
no network, no other program, no rights. What is loaded is whole, or the load fails.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from psycopg.conninfo import make_conninfo

from ikoma.durable import open_file
from ikoma.errors import BackupMissing, BackupUnproven, DatabasesUnavailable
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import Progress
from ikoma.postgres.backup import proof
from ikoma.postgres.backup.foreign_text import ARCHIVE, write_plain
from ikoma.postgres.backup.restore import PsqlOutput
from ikoma.postgres.backup.sandbox import open_sandbox
from ikoma.postgres.backup.text.reading import DumpText, PackedText, find_text
from ikoma.postgres.connect import connected
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.server.tools import find_tool
from ikoma.run import follow

_SECONDS = 24 * 3600.0
_OWNERS = (
    "Where it stops at OWNER, GRANT, a role or an extension: `pg_dump --no-owner --no-privileges` makes one without."
)


async def load(
    server: PostgresServer,
    place: Credentials,
    path: Path,
    *,
    told: Dump | None,
    work: Path,
    what: str,
    progress: Progress,
) -> None:
    """Load a dump: pg_dump's plain text or custom format, or a backup of another IKOMA of an app of the same name.

    Args:
        told: what another server's manifest says of it, which is compared.
        work: a path for its plain text; nothing is left there.
        what: how the sentence begins that says why it fails.

    Raises:
        SandboxMissing: it would run outside of one.
        BackupMissing, BackupForeign, BackupDamaged: it is no dump, or not a whole one.
        BackupUnproven: a statement failed, or what came of it is not what its manifest says.
    """
    with _open_backup(path) as file:
        if file.read(len(ARCHIVE)) == ARCHIVE:
            options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
            await _run(server, place, "pg_restore", options, file, what, progress)
        else:
            with _make_plain(find_text(file, path.name), work, place.role) as plain:
                await _run(server, place, "psql", _restrict(), plain, what, progress)
    if told is not None:
        await proof.compare(server, place, told, what)


def _open_backup(path: Path) -> BufferedReader:
    try:
        return os.fdopen(open_file(path), "rb")
    except OSError as error:
        raise BackupMissing(f"There is no backup {path.name}, or it is no file.") from error


def _restrict() -> tuple[str, ...]:
    """psql obeys none of its commands from the first on, and nobody knows the word that ends it."""
    return (
        *("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"),
        *(f"--command=\\restrict {secrets.token_hex(16)}", "--file=-"),
    )


def _make_plain(text: DumpText, work: Path, role: str) -> BinaryIO:
    """The plain text in a file that has no name any more."""
    plain = _open_unnamed(work)
    try:
        text.file.seek(0)
        if isinstance(text, PackedText):
            with _open_unnamed(work) as unpacked:
                text.write_to(unpacked)
                unpacked.seek(0)
                write_plain(unpacked, plain, name=text.name, role=role)
        else:
            write_plain(text.file, plain, name=text.name, role=role)
        plain.flush()
        plain.seek(0)
    except BaseException:
        plain.close()
        raise
    return plain


def _open_unnamed(work: Path) -> BinaryIO:
    descriptor = os.open(work, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    work.unlink()
    return os.fdopen(descriptor, "w+b")


async def _run(
    server: PostgresServer,
    place: Credentials,
    program: str,
    options: Sequence[str],
    file: BinaryIO,
    what: str,
    progress: Progress,
) -> None:
    async with connected(server.make_admin_login()) as connection:
        tool = await find_tool(program, connection.info.server_version // 10_000)
    said = PsqlOutput()
    async with open_sandbox(server.make_app_login(place)) as sandbox:
        parameters = {**sandbox.parameters}
        password = parameters.pop("password")
        argv = [str(tool), *options, "--no-password", f"--dbname={make_conninfo(**parameters)}"]
        progress(f"{program} runs in a sandbox")
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        code = await follow(
            sandbox.wrap(argv), on_line=said.hear, env={"PGPASSWORD": password}, stdin=file.fileno(), timeout=_SECONDS
        )
        sandbox.check(code, said.lines)
    if code == 0:
        return
    if program == "psql" and code == 2:  # psql's own code for a lost connection
        raise DatabasesUnavailable("PostgreSQL went away during the restore.", said=said.lines)
    reason = said.error or (said.lines[-1] if said.lines else f"{program} ended with code {code}")
    raise BackupUnproven(f"{what}: {reason}.", audit_message=f"{what}.", hint=_OWNERS, said=said.lines)
