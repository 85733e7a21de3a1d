"""`ikoma open`: an app's address in the browser of this machine, or printed where there is none."""

from __future__ import annotations

import os
import sys
import webbrowser

import click

from ikoma.cli import client, complete, output, verbs
from ikoma.cli.columns import choose_address


@click.command("open")
@click.argument("app", shell_complete=complete.apps)
@click.option("--print", "only_print", is_flag=True, help="Only print the address.")
@verbs.JSON_OPTION
def open_app(app: str, only_print: bool, as_json: bool) -> None:
    """Open APP's address in a browser, or print it where there is no screen."""
    try:
        found = client.call("apps.status", {"appName": app})
    except client.CallFailed as failed:
        output.fail_with(failed.answer, as_json)
    url = choose_address(found["urls"])
    if url is None:
        missing = {
            "error": f"{app} has no address.",
            "code": "not_deployed",
            "hint": f"`ikoma deploy {app}` gives it one.",
        }
        output.fail_with({"success": False, **missing}, as_json)
    if as_json:
        output.show({"url": url, "urls": found["urls"]}, as_json)
        return
    click.echo(url)
    if not only_print and _has_screen():
        webbrowser.open(url)


def _has_screen() -> bool:
    """Whether a browser would appear before a person; one in a terminal would only be in the way."""
    return output.is_terminal(sys.stdout) and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


COMMANDS = {"open": open_app}
