"""Makes of a copy of a data folder one of the new version, and compares all that both hold. Nobody else can connect.

The copy is used up: its files become those of the new one (`pg_upgrade --link`). Both servers listen only on a socket
in a folder that PostgreSQL's user alone can enter, with settings of ours above those of the data folder, and write
nothing through to the disk: whoever uses the new one syncs it whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql

from ikoma.durable import make_folder, remove_tree
from ikoma.errors import MajorUpgradeFailed
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.major.contents import Contents, describe_differences, read_contents
from ikoma.postgres.major.programs import Programs
from ikoma.postgres.major.sorting import Rules, find_changed, note_anew, read_noted, sort_anew

_PORT = 1
_LONGEST_SOCKET = 107
_FEW = 5
_WRONG = re.compile("error:|FATAL|ERROR|invalid value|unrecognized")
_SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0700
port = {port}
hba_file = '{data}/pg_hba.conf'
ident_file = '{data}/pg_ident.conf'
ssl = off
archive_mode = off
autovacuum = off
fsync = off
full_page_writes = off
synchronous_commit = off
logging_collector = off
log_min_messages = 'log'
log_error_verbosity = 'terse'
log_min_error_statement = 'panic'
log_statement = 'none'
max_connections = 50
superuser_reserved_connections = 3
max_locks_per_transaction = 1024
max_wal_senders = 0
max_replication_slots = 0
shared_buffers = 128MB
temp_file_limit = -1
statement_timeout = 0
default_transaction_read_only = off
"""
_HBA = "local all all trust\n"
_KEPT = ("lc_messages", "lc_monetary", "lc_numeric", "lc_time", "default_text_search_config", "TimeZone", "DateStyle")
_CLOSED = "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname <> 'template0' ORDER BY 1"
_BROKEN = "SELECT datname FROM pg_database WHERE datconnlimit = -2"

# Functions of PostgreSQL's own that somebody has closed to the public. pg_dump would close them by their arguments,
# which another version may have changed.
_CLOSED_FUNCTIONS = """
SELECT oid::regprocedure::text FROM pg_proc AS p WHERE pronamespace = 'pg_catalog'::regnamespace
    AND NOT has_function_privilege('public', oid, 'EXECUTE')
    AND NOT EXISTS (SELECT FROM pg_init_privs AS i WHERE i.objoid = p.oid AND i.classoid = 'pg_proc'::regclass)
"""
_FUNCTIONS_OF_NAMES = """
SELECT oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND proname::text = ANY(%s)
"""
_EVERY_DATABASE = "SELECT datname FROM pg_database WHERE datname <> 'template0' ORDER BY 1"

Say = Callable[[str], None]


@dataclass
class Conversion:
    """A copy that becomes `new`; both lie in `folder`, which belongs to PostgreSQL's user."""

    folder: Path
    copy: Path
    programs: Programs
    admin: str
    say: Say
    login_options: str
    new: Path = field(init=False)
    contents: Contents = field(init=False, default_factory=dict)
    _noted: dict[str, Rules] = field(init=False, default_factory=dict)
    _closed: dict[str, list[str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.new = self.folder / "new"
        if len(os.fsencode(self.folder / f".s.PGSQL.{_PORT}")) > _LONGEST_SOCKET:
            raise MajorUpgradeFailed(
                f"The path {self.folder} is too long for a socket.", hint="Put IKOMA_STATE elsewhere."
            )

    async def make_new(self) -> Path:
        """The new data folder, compared with the copy, its server stopped."""
        settings = _read_settings(self.copy)
        self._configure(self.copy)
        self._forget_slots()
        async with self._serve(self.programs.old, self.copy):
            closed, kept, superuser = await self._look_at_old()
            await self._read_rules()
            self.say("reading the rows of before")
            self.contents = await read_contents(self.make_login)
            await self._open_functions()
        await self._make_empty(superuser, kept)
        self.say("pg_upgrade")
        await self._upgrade(superuser)
        async with self._serve(self.programs.new, self.new):
            await self._close_functions()
            await self._sort_anew()
            self.say("reading the rows of after")
            self._compare(await read_contents(self.make_login))
            settings = await self._choose_known(settings)
            async with connected(self.make_login("postgres")) as connection:
                for database in closed:
                    await _alter(connection, database, "ALLOW_CONNECTIONS false")
        await self._prove_start(settings)
        remove_tree(self.copy)
        return self.new

    def make_login(self, database: str) -> Mapping[str, Any]:
        return {
            "host": str(self.folder),
            "port": _PORT,
            "user": self.admin,
            "dbname": database,
            "options": self.login_options,
        }

    # --- The old one ---

    def _forget_slots(self) -> None:
        """Replication begins anew with a new version: what reads along reads from the beginning."""
        for slot in (self.copy / "pg_replslot").iterdir():
            self.say(f"the replication slot {slot.name} does not come along: what reads from it begins anew")
            remove_tree(slot)

    async def _look_at_old(self) -> tuple[list[str], dict[str, str], str]:
        """Databases that take no connections (they are opened), settings that initdb makes, and the first superuser."""
        async with connected(self.make_login("postgres")) as connection:
            for name in await _list(connection, _BROKEN):
                self.say(f"{name} was left by a DROP DATABASE that was interrupted, and does not come along")
                await connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
            closed = await _list(connection, _CLOSED)
            for name in closed:
                await _alter(connection, name, "ALLOW_CONNECTIONS true")
            kept = {name: (await _list(connection, f"SHOW {name}"))[0] for name in _KEPT}
            if libraries := (await _list(connection, "SHOW shared_preload_libraries"))[0]:
                kept["shared_preload_libraries"] = libraries
            superuser = (await _list(connection, "SELECT rolname FROM pg_roles WHERE oid = 10"))[0]
        return closed, kept, superuser

    async def _open_functions(self) -> None:
        """Have nobody's closing of PostgreSQL's own functions in the dump; the new ones are closed by their names."""
        async with connected(self.make_login("postgres")) as connection:
            databases = await _list(connection, _EVERY_DATABASE)
        for database in databases:
            async with connected(self.make_login(database)) as connection:
                functions = await _list(connection, _CLOSED_FUNCTIONS)
                for function in functions:
                    await connection.execute(f"GRANT EXECUTE ON FUNCTION {function} TO PUBLIC".encode())
                self._closed[database] = sorted({function.partition("(")[0] for function in functions})

    # --- The new one ---

    async def _close_functions(self) -> None:
        for database, names in self._closed.items():
            async with connected(self.make_login(database)) as connection:
                rows = await (await connection.execute(_FUNCTIONS_OF_NAMES.encode(), (names,))).fetchall()
                for (function,) in rows:
                    await connection.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC".encode())

    async def _make_empty(self, superuser: str, kept: Mapping[str, str]) -> None:
        """An empty cluster that pg_upgrade takes: of the same size of segments, with checksums as the copy has them."""
        said = await self.programs.do([str(self.programs.old / "bin" / "pg_controldata"), str(self.copy)])
        facts = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
        if facts["Data page checksum version"].strip() == "0":
            self.say("adding checksums to the pages of the copy")
            await self.programs.do(
                [str(self.programs.old / "bin" / "pg_checksums"), "--enable", "--no-sync", "-D", str(self.copy)]
            )
        megabytes = int(facts["Bytes per WAL segment"]) >> 20
        await self.programs.do(
            [
                str(self.programs.new / "bin" / "initdb"),
                *("-D", str(self.new), "-U", superuser, "--auth=trust", "--encoding=UTF8", "--locale=C"),
                *(f"--wal-segsize={megabytes}", "--data-checksums", "--no-instructions", "--no-sync"),
            ]
        )
        with (self.new / "postgresql.conf").open("a") as stream:
            stream.write("\n# As the version before had it.\n")
            stream.writelines(f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in kept.items())
        self._configure(self.new)

    async def _upgrade(self, superuser: str) -> None:
        argv = [
            str(self.programs.new / "bin" / "pg_upgrade"),
            *("-b", str(self.programs.old / "bin"), "-B", str(self.programs.new / "bin")),
            *("-d", str(self.copy), "-D", str(self.new), "-U", superuser),
            *("-s", str(self.folder), "-p", str(_PORT), "-P", str(_PORT), "--link", "--jobs=2", "--no-sync"),
        ]
        try:
            await self.programs.do([*argv, "--check"])
            await self.programs.do(argv)
        except MajorUpgradeFailed as error:
            found = _read_reports(self.new)
            raise MajorUpgradeFailed(f"pg_upgrade failed. {found}" if found else error.message) from None

    async def _read_rules(self) -> None:
        async with connected(self.make_login("postgres")) as connection:
            databases = await _list(connection, _EVERY_DATABASE)
        for database in databases:
            async with connected(self.make_login(database)) as connection:
                self._noted[database] = await read_noted(connection)

    async def _sort_anew(self) -> None:
        """Indexes that were sorted by another version of the system's rules are made anew."""
        for database, noted in self._noted.items():
            async with connected(self.make_login(database)) as connection:
                if changed := await find_changed(connection, noted):
                    names = ", ".join(name or "its own" for name in changed)
                    self.say(f"{database}: the rules of sorting are others ({names}), its indexes are made anew")
                    await sort_anew(connection, database)
                await note_anew(connection, database)

    def _compare(self, after: Contents) -> None:
        differences = describe_differences(self.contents, after)
        if differences:
            more = f" and {len(differences) - _FEW} more" if len(differences) > _FEW else ""
            raise MajorUpgradeFailed(f"The copy does not hold the same: {'; '.join(differences[:_FEW])}{more}.")

    async def _choose_known(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Keep, of what ALTER SYSTEM has set, that which the new version has."""
        async with connected(self.make_login("postgres")) as connection:
            known = {name.lower() for name in await _list(connection, "SELECT name FROM pg_settings")}
        for name in settings:
            if name.lower() not in known and "." not in name:
                self.say(f"the setting {name} is gone in the new version, and was left out")
        return {name: value for name, value in settings.items() if name.lower() in known or "." in name}

    async def _prove_start(self, settings: Mapping[str, str]) -> None:
        """See that the new version starts with the settings that it is to have, where nobody can reach it."""
        self.say("starting the new version with the settings of before")
        closed = {"listen_addresses": "''", "unix_socket_directories": f"'{self.folder}'", "port": str(_PORT)}
        closed |= {"archive_mode": "off", "fsync": "off"}
        self._configure_new({**settings, **closed})
        async with self._serve(self.programs.new, self.new):
            pass
        self._configure_new(settings)

    # --- Servers and their settings ---

    @asynccontextmanager
    async def _serve(self, programs: Path, data: Path) -> AsyncIterator[None]:
        control = [str(programs / "bin" / "pg_ctl"), "-D", str(data), "-w", "-t", "3600"]
        log = self.folder / f"{data.name}.log"
        try:
            await self.programs.do([*control, "-l", str(log), "start"])
        except MajorUpgradeFailed as error:
            said = log.read_text(errors="replace").splitlines() if log.exists() else []
            words = [line for line in said if _WRONG.search(line)]
            raise MajorUpgradeFailed("; ".join(words[-_FEW:]) or error.message) from None
        try:
            yield
        finally:
            await self.programs.do([*control, "-m", "fast", "stop"])

    def _configure(self, data: Path) -> None:
        owner = data.stat()
        settings = _SETTINGS.format(folder=self.folder, data=data, port=_PORT)
        for name, text in (("postgresql.auto.conf", settings), ("pg_hba.conf", _HBA), ("pg_ident.conf", "")):
            path = data / name
            path.unlink(missing_ok=True)
            path.write_text(text)
            path.chmod(0o600)
            os.chown(path, owner.st_uid, owner.st_gid)
        for name in ("standby.signal", "recovery.signal"):
            (data / name).unlink(missing_ok=True)

    def _configure_new(self, settings: Mapping[str, str]) -> None:
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (self.new / "postgresql.auto.conf").write_text("".join(["# Set by ALTER SYSTEM.\n", *lines]))


def make_work_folder(folder: Path, like: Path) -> None:
    """A folder that belongs to whom `like` belongs."""
    owner = like.stat()
    make_folder(folder, 0o700)
    os.chown(folder, owner.st_uid, owner.st_gid)


async def _list(connection: Connection, query: str) -> list[str]:
    return [str(row[0]) for row in await (await connection.execute(query.encode())).fetchall()]


async def _alter(connection: Connection, database: str, what: str) -> None:
    await connection.execute(sql.SQL("ALTER DATABASE {} ").format(sql.Identifier(database)) + sql.SQL(what))


def _read_settings(data: Path) -> dict[str, str]:
    """Settings that ALTER SYSTEM has made in a data folder."""
    path = data / "postgresql.auto.conf"
    text = path.read_text() if path.exists() else ""
    return dict(re.findall(r"^([A-Za-z_][\w.]*)\s*=\s*(.*)$", text, re.MULTILINE))


def _read_reports(new: Path) -> str:
    """Tell what pg_upgrade has found in the way: the beginnings of its lists, and the errors of its logs."""
    found = []
    for path in sorted((new / "pg_upgrade_output.d").rglob("*.*")):
        lines = (
            [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
            if path.is_file()
            else []
        )
        if path.suffix == ".log":
            lines = [line for line in lines if _WRONG.search(line) and "administrator command" not in line]
        if path.suffix in (".log", ".txt") and lines:
            found.append(f"{path.name}: {' / '.join(lines[:_FEW])}")
    return "; ".join(found)
