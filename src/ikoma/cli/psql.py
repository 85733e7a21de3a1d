"""`ikoma psql`: an app's database, by hand."""

from __future__ import annotations

import os

import click

from ikoma.cli.client import complete_apps, settings_or_exit
from ikoma.cli.output import fail
from ikoma.errors import IkomaError


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("app", shell_complete=complete_apps)
@click.option("--admin", is_flag=True, help="As the platform's role `ikoma`: what restoring a backup needs.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(app: str, admin: bool, arguments: tuple[str, ...]) -> None:
    """Open psql in APP's database as the app's own role; further ARGUMENTS go to psql.

    Restoring a backup: ikoma psql --admin APP < FILE
    """
    from ikoma.apps import credentials
    from ikoma.apps.folder import Apps
    from ikoma.model import AppName
    from ikoma.postgres.session import psql_session

    settings = settings_or_exit()
    try:
        try:
            name = AppName.parse(app)
        except ValueError as error:
            raise click.UsageError(f"APP: {error}") from None
        owned = credentials.require(Apps(settings.apps_root).find(name))
        argv, variables = psql_session(settings, None if admin else owned, owned.database)
    except IkomaError as error:
        fail(error.message, error.code, error.hint)
    # psql takes the terminal over: this process becomes it. The password is in its environment, never in its title.
    os.execve(argv[0], [*argv, *arguments], {**os.environ, **variables})  # noqa: S606


COMMANDS = {"psql": psql}
