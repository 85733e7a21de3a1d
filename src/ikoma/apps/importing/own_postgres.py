"""Moves the database of an app's own PostgreSQL container into the app's database here.

pg_dump runs inside the container, so its version is the server's; pg_restore runs here, as the app's role. The rows of
each table are counted on both sides. Which variables lead to the old database is told by their values, so that each
service gets what it had, under the same names.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.database.images import fill_in_builds, keeps_rows
from ikoma.compose.model import ComposeModel, Service
from ikoma.errors import DatabaseNotMoved, NotImportable
from ikoma.ports.databases import Databases
from ikoma.ports.projects import ComposeProject, ProjectContainer
from ikoma.ports.runtime import Engine

_SECONDS = 24 * 3600.0
_ASK_SECONDS = 60.0
_TOGETHER = 200
"""Tables that are counted by one statement."""
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_USERS = ("POSTGRES_USER", "POSTGRESQL_USERNAME", "PGUSER")
_PASSWORDS = ("POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD", "PGPASSWORD")
_NAMES = ("POSTGRES_DB", "POSTGRESQL_DATABASE", "PGDATABASE")
_HOST = re.compile(r"[^:/?#]*")
_PLAIN_SCHEMES = ("postgres", "postgresql")
_PORT_NAME = re.compile(r".*(?:PG|POSTGRES|DB|DATABASE|SQL).*PORT.*", re.IGNORECASE)
# The names and the quoting are the container's own server's; it counts its own rows.
_LIST = """SELECT format('SELECT %L, count(*) FROM %I.%I',
    CASE WHEN n.nspname = 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"""


@dataclass(frozen=True, slots=True)
class OwnPostgres:
    """A PostgreSQL that a project runs itself, and the database in it."""

    service: str
    container: ProjectContainer
    user: str
    password: str
    name: str
    port: str

    def make_options(self) -> list[str]:
        """Options of PostgreSQL's programs inside the container."""
        return ["--host=127.0.0.1", f"--port={self.port}", f"--username={self.user}", "--no-password"]


@dataclass(frozen=True, slots=True)
class OwnVariables:
    """Variables that lead to the old database: service → variable → part of the one here; and those of no such form."""

    parts: Mapping[str, Mapping[str, str]]
    left: tuple[str, ...]


class PostgresMover:
    """Moves databases out of containers."""

    def __init__(self, engine: Engine, databases: Databases) -> None:
        self._engine = engine
        self._databases = databases

    async def find(self, project: ComposeProject, model: ComposeModel) -> OwnPostgres:
        """Find the PostgreSQL that a project runs, and see that its rows can be moved.

        Raises:
            NotImportable: there is none, or several, or it does not run.
            DatabaseNotMoved: it is newer than the one here, or lets nobody in.
        """
        services = [name for name, service in fill_in_builds(model).items() if keeps_rows(service)]
        if len(services) != 1:
            said = f"It runs {', '.join(services)}" if services else "It runs none"
            raise NotImportable(f"The database of one PostgreSQL can be moved. {said}.", hint=_WITHOUT)
        container = project.find(services[0])
        if container is None or container.state != "running":
            raise NotImportable(
                f"{services[0]} does not run, and its database can be moved only while it does.",
                hint="Start it with `docker compose start`, then call apps.import again.",
            )
        given = await self._engine.require_projects().read_variables(container.id)
        user = _find_first(given, _USERS) or "postgres"
        found = OwnPostgres(
            services[0],
            container,
            user,
            _find_first(given, _PASSWORDS),
            _find_first(given, _NAMES) or user,
            given.get("PGPORT", "5432"),
        )
        await self._require_not_newer(found)
        return found

    async def move(self, app: App, own: OwnPostgres) -> int:
        """Make the app's database anew, and fill it with what the container's holds now; bytes of the dump."""
        work = app.make_state() / "import.dump"
        try:
            options = ["--format=custom", "--no-owner", "--no-privileges"]
            await self._run(own, ["pg_dump", *own.make_options(), *options, own.name], work)
            owned = credentials.obtain(app)
            await self._databases.drop(app.name)
            await self._databases.create(app.name, owned.password)
            await self._databases.restore_archive(owned, work)
            return work.stat().st_size
        finally:
            work.unlink(missing_ok=True)

    async def compare(self, app: App, own: OwnPostgres) -> Mapping[str, int]:
        """Rows of each table, which must be as many on both sides.

        Raises:
            DatabaseNotMoved: a table has other rows here.
        """
        there = await self.count_rows(app, own)
        here = await self._databases.count_rows(credentials.require(app), timeout=_SECONDS)
        for name in sorted({*there, *here}):
            if there.get(name) != here.get(name):
                raise DatabaseNotMoved(
                    f"The table {name} has {there.get(name)} rows there and {here.get(name)} here.",
                    audit_message="A table has other rows here.",
                )
        return there

    async def count_rows(self, app: App, own: OwnPostgres) -> Mapping[str, int]:
        """Rows of each table of the container's database now."""
        queries = (await self._ask(app, own, _LIST)).splitlines()
        counted: list[str] = []
        for begin in range(0, len(queries), _TOGETHER):
            counted += (await self._ask(app, own, " UNION ALL ".join(queries[begin : begin + _TOGETHER]))).splitlines()
        return {name: int(count) for name, _, count in (line.rpartition("|") for line in counted)}

    async def _ask(self, app: App, own: OwnPostgres, query: str) -> str:
        work = app.make_state() / "import.rows"
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", f"--dbname={own.name}"]
        try:
            await self._run(own, ["psql", *own.make_options(), *options, f"--command={query}"], work)
            return await asyncio.to_thread(lambda: work.read_text(errors="replace").strip())
        finally:
            work.unlink(missing_ok=True)

    async def _run(self, own: OwnPostgres, command: list[str], output: Path) -> None:
        variables = {"PGPASSWORD": own.password} if own.password else {}
        projects = self._engine.require_projects()
        code, said = await projects.run_inside(own.container.id, command, variables, output, timeout=_SECONDS)
        if code != 0:
            reason = said.splitlines()[-1][:300] if said else f"exit code {code}"
            raise DatabaseNotMoved(
                f"{command[0]} in {own.container.name} failed: {reason}", audit_message=f"{command[0]} failed."
            )

    async def _require_not_newer(self, own: OwnPostgres) -> None:
        here = int((await self._databases.read_version()).partition(".")[0].split()[0])
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "version"
            code, _ = await self._engine.require_projects().run_inside(
                own.container.id, ["pg_dump", "--version"], {}, output, timeout=_ASK_SECONDS
            )
            found = _VERSION.search(output.read_text(errors="replace"))
        if code != 0 or found is None:
            raise DatabaseNotMoved(f"There is no pg_dump in {own.container.name}.")
        if int(found[1]) > here:
            raise DatabaseNotMoved(f"{own.service} is PostgreSQL {found[1]}, and the one here is {here}.")


_WITHOUT = "Call apps.import without `database`: the app keeps what it runs itself."


def find_variables(model: ComposeModel, own: OwnPostgres) -> OwnVariables:
    """Find the variables of the other services that lead to a database of the project's own.

    Args:
        model: the project's, with that database in it.
    """
    database = model.services[own.service]
    hosts = {own.service, database.container_name, database.hostname} - {None, ""}
    for network in database.networks.values():
        hosts.update(network.get("aliases") or ())
    parts: dict[str, dict[str, str]] = {}
    left: list[str] = []
    for name, service in model.services.items():
        found: dict[str, str] = {}
        values = dict(_read_values(service))
        if name == own.service or not any(_leads_to(value, hosts) for value in values.values()):
            continue
        for key, value in values.items():
            part = _find_part(key, value, hosts, own)
            if part is not None:
                found[key] = part
            elif _leads_to(value, hosts):
                left.append(f"{key} of {name} leads to {own.service} in a form that IKOMA cannot give.")
        parts[name] = found
    return OwnVariables(parts, tuple(left))


def _find_part(key: str, value: str, hosts: set[Any], own: OwnPostgres) -> str | None:
    """Find which part of the database a variable tells."""
    if value in hosts:
        return "host"
    scheme, separator, rest = value.partition("://")
    if separator and _HOST.match(rest.rpartition("@")[2])[0] in hosts:  # type: ignore[index]  # it can be empty
        return "url" if scheme in _PLAIN_SCHEMES else None
    if own.password and value == own.password:
        return "password"
    if value == own.port and _PORT_NAME.fullmatch(key):
        return "port"
    words = key.upper()
    if value == own.user and "USER" in words:
        return "user"
    if value == own.name and ("DB" in words or "NAME" in words or "DATABASE" in words):
        return "name"
    return None


def _leads_to(value: str, hosts: set[Any]) -> bool:
    return any(re.search(rf"(?:^|@|//|\bhost=|,){re.escape(host)}(?:$|[:/?#,;\s])", value) for host in hosts)


def _read_values(service: Service) -> Iterator[tuple[str, str]]:
    for name, value in service.environment.items():
        if value not in (None, ""):
            yield name, str(value).replace("$$", "$")


def _find_first(given: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((given[name] for name in names if given.get(name)), "")
