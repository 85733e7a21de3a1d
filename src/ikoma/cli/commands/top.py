"""`ikoma top`: what each service takes of CPU and memory; on a terminal again and again until Ctrl-C."""

from __future__ import annotations

import sys
import time

import click

from ikoma.cli import client, complete, output, verbs, views

_CLEAR = "\x1b[H\x1b[2J"


@click.command()
@click.argument("app", required=False, shell_complete=complete.apps)
@click.option("--once", is_flag=True, help="Show it once, as it is where the output is no terminal.")
@click.option("--every", type=click.IntRange(1, 3600), default=2, show_default=True, metavar="SECONDS")
@verbs.LIMIT_OPTION
@verbs.JSON_OPTION
def top(app: str | None, once: bool, every: int, limit: int | None, as_json: bool) -> None:
    """Show what the containers of all apps, or of APP, take of this machine: CPU in percent of one core, memory."""
    arguments = {name: value for name, value in (("appName", app), ("limit", limit)) if value is not None}
    stays = output.is_terminal(sys.stdout) and not once and not as_json
    try:
        while True:
            found = client.call("apps.top", arguments)
            lines = (
                [] if as_json else output.make_paper(sys.stdout).lay_out(views.lay_out_result("apps.top", found, {}))
            )
            if not stays:
                output.show(found, as_json, views.lay_out_result("apps.top", found, {}))
                return
            click.echo(_CLEAR + "\n".join([*lines, "", "Ctrl-C ends it."]))
            time.sleep(every)
    except client.CallFailed as failed:
        output.fail_with(failed.answer, as_json)
    except KeyboardInterrupt:
        return


COMMANDS = {"top": top}
