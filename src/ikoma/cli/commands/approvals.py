"""`ikoma approvals`: a second key's consent."""

from __future__ import annotations

import click

from ikoma.cli import complete, consent, verbs

_ID = click.argument("identity", metavar="ID", shell_complete=complete.make_completer("approval"))


@click.group(cls=consent.CarefulGroup)
def approvals() -> None:
    """See and decide on calls that wait for the consent of another key."""


@approvals.command("list")
@click.option("--closed", is_flag=True, help="Also those that were decided or have ended.")
@verbs.LIMIT_OPTION
@verbs.JSON_OPTION
def listing(closed: bool, limit: int | None, as_json: bool) -> None:
    """List what waits: who asks, for what exactly, and what would be lost."""
    verbs.perform("approvals.list", {"closed": closed, **({} if limit is None else {"limit": limit})}, as_json)


@approvals.command()
@_ID
@verbs.JSON_OPTION
def approve(identity: str, as_json: bool) -> None:
    """Consent to the call ID; its caller then makes it again."""
    verbs.perform("approvals.approve", {"id": identity}, as_json)


@approvals.command()
@_ID
@verbs.JSON_OPTION
def deny(identity: str, as_json: bool) -> None:
    """Refuse the call ID."""
    verbs.perform("approvals.deny", {"id": identity}, as_json)


COMMANDS = {"approvals": approvals}
