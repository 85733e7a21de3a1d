"""Sentences for an app that has a database of its own, where somebody asks for the platform's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.database.variables import (
    assign_database_variables,
    explain_switch,
    find_other_stores,
    find_own_databases,
)
from ikoma.compose.model import ComposeModel
from ikoma.errors import DatabaseMissing
from ikoma.ports.databases import Credentials


def explain_create(model: ComposeModel, variables: Mapping[str, str]) -> list[str]:
    """Explain what stays the same for an app that gets a database on this platform.

    Args:
        variables: what the app's .env sets.
    """
    told = [
        f"{name} is a database that the app runs itself: it stays as it is, and its rows stay there."
        for name in find_own_databases(model)
    ]
    told += [
        f"{name} is a database that the app runs itself: it stays as it is, and gets no variables of this one."
        for name in find_other_stores(model)
    ]
    return told + [
        f"{name} gets no variables of this database: {gift.own}. {explain_switch(name, gift)}"
        for name, gift in assign_database_variables(model, variables).items()
        if gift.own is not None
    ]


def explain_backup(model: ComposeModel) -> list[str]:
    """Explain what a backup of the app's database on this platform does not hold."""
    told = [
        f"The rows of {name}, a database that the app runs itself, are not in this backup."
        for name in find_own_databases(model)
    ]
    return told + [
        f"What {name} keeps, a database that the app runs itself, is not in this backup."
        for name in find_other_stores(model)
    ]


async def require(app: App, model: Callable[[App], Awaitable[ComposeModel]]) -> Credentials:
    """The app's credentials on this platform.

    Args:
        model: tells the app's resolved model, where it is needed to say what is the case.

    Raises:
        DatabaseMissing: it has no database here; where it runs one itself, that is said, and how to come by its rows.
    """
    if (found := credentials.find(app)) is not None:
        return found
    known = await model(app)
    if not (own := find_own_databases(known)):
        if not (others := find_other_stores(known)):
            return credentials.require(app)
        raise DatabaseMissing(
            f"{app.name} has no database on this platform. It runs its own ({', '.join(others)}), "
            "which IKOMA does not open.",
            hint="Back it up with the tool of its own product. With db.create the app gets a PostgreSQL database here.",
        )
    raise DatabaseMissing(
        f"{app.name} has no database on this platform. It runs its own ({', '.join(own)}), which IKOMA does not open.",
        hint="A person at the server dumps it with the tool of its own product, such as "
        f"`docker compose -p {app.name.project} exec -T {own[0]} pg_dump -U USER --no-owner --no-privileges DATABASE > "
        "FILE`. To have it here: db.create, then a person at the server loads it with "
        f"`ikoma psql {app.name} < FILE`; take {own[0]} out of the compose file.",
    )
