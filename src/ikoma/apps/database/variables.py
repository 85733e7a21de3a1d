"""Assign the variables of the app's database on this platform: to which services, and under which names.

`x-ikoma: database` has the first word. Without it every service gets them that has no database of the app's own: a
database never does, nor what names another database in its environment, or depends on one that the app runs itself.
What a service's own environment sets stays as it is. Only what stands in `.env` is replaced, since that is where people
write how they reach a database elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from ikoma.apps.database.images import fill_in_builds, is_database, keeps_rows
from ikoma.apps.environment.dotenv import DATABASE_PARTS
from ikoma.compose.compose_file import uses_database
from ikoma.compose.model import ComposeModel, Service
from ikoma.compose.variable_names import TLS_PARTS
from ikoma.compose.x_ikoma import PARTS
from ikoma.postgres.server.server import HOST_NAME

KEPT_AS = "x-ikoma-database"
"""The key of a service in a release's model that holds what it gets: name → part."""

_PLACES = frozenset(name for name, part in DATABASE_PARTS.items() if part in ("host", "url"))
_HOST_OF_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/@]*@)?(\[[^\]]*\]|[^/:?#]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DatabaseVariables:
    """The database variables of one service.

    `names` are the variables with the part of the database that each tells. `kept` are those that it sets itself and
    keeps, `replaced` those that it sets in vain. `own` says by what it is known to have a database of the app's own,
    where that is why it gets nothing.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    own: str | None = None
    is_database: bool = False
    """Whether the app asks for variables of a service that is a database itself, which gets none."""


def assign_database_variables(model: ComposeModel, written: Mapping[str, str]) -> dict[str, DatabaseVariables]:
    """Assign database variables to each service of a resolved model.

    Args:
        model: one of which its Dockerfiles are a part (`inline_dockerfiles`): they tell what is a database.
        written: names and values of the app's .env.
    """
    services = fill_in_builds(model)
    setting = model.said.get("database")
    named = setting if isinstance(setting, list | Mapping) else ()
    found = {}
    for name, service in services.items():
        if is_database(service):
            found[name] = (
                DatabaseVariables(own="it is a database itself", is_database=True)
                if name in named
                else DatabaseVariables()
            )
        elif uses_database(model, name):
            found[name] = _assign_variables(
                service, services, setting.get(name) if isinstance(setting, Mapping) else setting, written
            )
        else:
            found[name] = DatabaseVariables()
    return found


def find_own_databases(model: ComposeModel) -> list[str]:
    """Find services of the app that are databases asked in SQL. The model holds its Dockerfiles."""
    return [name for name, service in fill_in_builds(model).items() if keeps_rows(service)]


def find_other_stores(model: ComposeModel) -> list[str]:
    """Find services of the app that are databases of another kind."""
    return [name for name, service in fill_in_builds(model).items() if is_database(service) and not keeps_rows(service)]


def explain_switch(service: str, gift: DatabaseVariables) -> str:
    """Explain how a service with a database of the app's own is given the platform's."""
    if gift.is_database:
        return f"Take {service} out of `x-ikoma: database`."
    return (
        f"To let it use that one, write `x-ikoma: {{database: [{service}]}}`, "
        "and remove from its environment what that one is to give."
    )


def _assign_variables(
    service: Service, services: Mapping[str, Service], setting: Any, written: Mapping[str, str]
) -> DatabaseVariables:
    """Assign variables to a service that may get some; `setting` is what the app's file says of it."""
    if isinstance(setting, Mapping):
        names = {str(name): part for name, part in setting.items() if part in PARTS}
        return DatabaseVariables(names, replaced=tuple(name for name, _ in _read_values(service) if name in names))
    kept = tuple(_find_own_settings(service, written))
    if setting is None and (own := _find_own_database(service, services, kept)) is not None:
        return DatabaseVariables(kept=kept, own=own)
    instead = TLS_PARTS if _insists_on_tls(service) else {}
    return DatabaseVariables(
        {key: instead.get(part, part) for key, part in DATABASE_PARTS.items() if key not in kept}, kept
    )


def _insists_on_tls(service: Service) -> bool:
    return dict(_read_values(service)).get("PGSSLMODE") in ("require", "verify-ca", "verify-full")


def _find_own_settings(service: Service, written: Mapping[str, str]) -> Iterator[str]:
    """Find names of the database's variables to which a service gives values that do not come from .env."""
    known = {HOST_NAME, *(written[name] for name in DATABASE_PARTS if written.get(name))}
    for name, value in _read_values(service):
        if name in DATABASE_PARTS and value not in known and _parse_host(value) not in known:
            yield name


def _find_own_database(service: Service, services: Mapping[str, Service], kept: tuple[str, ...]) -> str | None:
    """Tell by what a service is known to have another database than the platform's."""
    databases = {name: other for name, other in services.items() if keeps_rows(other)}
    for name in databases:
        if name in service.depends_on:
            return f"it depends on {name}"
    hosts = {host: name for name, other in databases.items() for host in _list_hosts(other)}
    for key, value in _read_values(service):
        if found := _find_host(value, hosts.keys()):
            return f"{key} leads to {hosts[found]}"
    # A port says nothing of whose database it is.
    said = [name for name in kept if DATABASE_PARTS[name] != "port"]
    places = [name for name in said if name in _PLACES]
    return f"it sets {', '.join(places or said)} itself" if said else None


def _find_host(value: str, hosts: Set[str]) -> str | None:
    """Find the host among these that a variable's value names: alone, with a port, in an address, or as host=…"""
    return next(
        (host for host in hosts if re.search(rf"(?:^|@|//|\bhost=|,){re.escape(host)}(?:$|[:/?#,;\s])", value)), None
    )


def _list_hosts(service: Service) -> Iterator[str]:
    """List the names by which other services of an app can call this one."""
    yield from filter(None, (service.name, service.container_name, service.hostname))
    for network in service.networks.values():
        yield from network.get("aliases") or ()


def _parse_host(value: str) -> str | None:
    found = _HOST_OF_ADDRESS.match(value)
    return found[1] or None if found else None


def _read_values(service: Service) -> Iterator[tuple[str, str]]:
    """Read the variables of a service that say anything; in a resolved model `$` is written twice."""
    for name, value in service.environment.items():
        if value not in (None, ""):
            yield name, str(value).replace("$$", "$")
