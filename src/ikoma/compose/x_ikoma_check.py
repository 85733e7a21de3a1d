"""Refuses what the `x-ikoma:` block of a new release must not say.

`x_ikoma.parse` takes it all the same, so that releases that say it can still be served.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ikoma.compose.model import ComposeModel, Service
from ikoma.compose.roles.release_command import ReleaseCommand
from ikoma.compose.variable_names import NAME
from ikoma.compose.x_ikoma import PARTS, SOURCE
from ikoma.errors import InvalidCompose


def check(model: ComposeModel) -> None:
    """Refuse what the block of a new release must not say.

    Raises:
        InvalidCompose: a key is unknown, its value is not of its form, or it names what is not there.
    """
    wishes = model.x_ikoma
    if both := sorted({*wishes.data} & {*wishes.source}):
        raise InvalidCompose(f"x-ikoma: source: {both[0][:80]!r} is named in data too; it can be only one of them.")
    for folder in wishes.data:
        if folder.split("/")[0] not in SOURCE:
            raise InvalidCompose(
                f"x-ikoma: data: {folder[:80]!r} is not inside {' or '.join(f'{name}/' for name in SOURCE)}; "
                "any other folder that containers write is data already."
            )
    for domain in wishes.redirects:
        if _is_circle(domain, wishes.redirects):
            raise InvalidCompose(f"x-ikoma: redirects: {domain} goes round in a circle.")
    service = model.said.get("service")
    is_one = isinstance(service, str) and service in model.services
    if service is not None and service is not False and not is_one:
        raise InvalidCompose(
            f"x-ikoma: service: there is no service {str(service)[:80]!r}; false says that none answers."
        )
    _check_release_command(wishes.release_command, model.services)
    _check_database(model.said.get("database"), model.services)


def _check_release_command(command: ReleaseCommand | None, services: Mapping[str, Service]) -> None:
    if command is None:
        return
    if command.service not in services:
        raise InvalidCompose(f"x-ikoma: release: there is no service {command.service[:80]!r}.")
    if services[command.service].scale == 0:
        raise InvalidCompose(f"x-ikoma: release: {command.service} has no container that it could run like.")


def _check_database(database: Any, services: Collection[str]) -> None:
    takes = "x-ikoma: database takes a list of services, true, false, or names such as web: {DB_USER: user}"
    if database is not None and not isinstance(database, list | bool | Mapping):
        raise InvalidCompose(f"{takes}.")
    for service in () if database is None or isinstance(database, bool) else database:
        if not isinstance(service, str) or service not in services:
            raise InvalidCompose(f"x-ikoma: database: there is no service {str(service)[:80]!r}.")
    for service, names in database.items() if isinstance(database, Mapping) else ():
        if not isinstance(names, Mapping) or not names:
            raise InvalidCompose(f"{takes}; {service} has {str(names)[:40]!r}.")
        for name, part in names.items():
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise InvalidCompose(f"x-ikoma: database: {service}: {str(name)[:80]!r} is no name of a variable.")
            if part not in PARTS:
                raise InvalidCompose(
                    f"x-ikoma: database: {service}: {name} is {str(part)[:40]!r}; it takes {', '.join(PARTS)}."
                )


def _is_circle(domain: str, redirects: Mapping[str, str]) -> bool:
    seen, place = {domain}, redirects[domain]
    while place in redirects and place not in seen:
        seen.add(place)
        place = redirects[place]
    return place in seen
