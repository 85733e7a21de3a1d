"""`ikoma schedule-set`: a backup, or a command, by the clock."""

from __future__ import annotations

from typing import Any

import click

from ikoma.cli import complete
from ikoma.cli.verbs import JSON_OPTION, perform


@click.command()
@click.argument("app", shell_complete=complete.apps)
@click.argument("name")
@click.argument("cron")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--zone", help="Time zone, such as Europe/Berlin; default UTC.")
@click.option("--service", shell_complete=complete.services, help="Whose image and variables the command gets.")
@click.option("--timeout", type=int, help="Seconds for the command; default 3600.")
@click.option("--jitter", type=int, help="Seconds over which starts are spread.")
@click.option(
    "--catch-up/--no-catch-up", default=None, help="Make up for a time that the server missed, once (default)."
)
@click.option("--keep-days", "keepDays", type=int, help="For how many days a backup each is kept; default 7.")
@click.option("--keep-weeks", "keepWeeks", type=int, help="The same in weeks; default 4.")
@click.option("--keep-months", "keepMonths", type=int, help="The same in months; default 6.")
@JSON_OPTION
def schedule_set(app: str, name: str, cron: str, command: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Have APP's database backed up by the clock, or COMMAND run where one is given.

    \b
    ikoma schedule-set shop nightly "0 3 * * *" --zone Europe/Berlin
    ikoma schedule-set shop report "0 6 * * mon-fri" -- python manage.py report
    """
    given = {"catchUp" if key == "catch_up" else key: value for key, value in options.items() if value is not None}
    arguments = {"appName": app, "name": name, "cron": cron, **given}
    perform("schedules.set", arguments | ({"command": list(command)} if command else {}), as_json)


COMMANDS = {"schedule-set": schedule_set}
