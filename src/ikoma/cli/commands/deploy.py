"""`ikoma deploy`: a deploy, and with --follow what the app says afterwards."""

from __future__ import annotations

from typing import Any

import click

from ikoma.cli import verbs
from ikoma.cli.commands import logs

_TAIL = 20


def _deploy() -> click.Command:
    """The verb, with one option more."""
    made = verbs.make_verb_command("deploy")
    made.params.insert(-1, click.Option(["-f", "--follow"], is_flag=True, help="Then show its logs until Ctrl-C."))
    deploys = made.callback
    assert deploys is not None

    def deploy(follow: bool, **options: Any) -> None:
        deploys(**options)
        if follow:
            app = options.get("appName") or options["place_0"]
            logs.follow({"appName": app, "tail": _TAIL}, options["as_json"])

    made.callback = deploy
    return made


COMMANDS = {"deploy": _deploy()}
