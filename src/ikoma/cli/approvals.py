"""`ikoma approvals`: a second key's consent."""

from __future__ import annotations

import click

from ikoma.cli import client, consent, output, verbs

_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_ID = click.argument("identity", metavar="ID")


@click.group(cls=consent.CarefulGroup)
def approvals() -> None:
    """See and decide on calls that wait for the consent of another key."""


@approvals.command("list")
@click.option("--closed", is_flag=True, help="Also those that were decided or have ended.")
@_JSON
def listing(closed: bool, as_json: bool) -> None:
    """List what waits: who asks, for what exactly, and what would be lost."""
    try:
        found = client.call("approvals.list", {"closed": closed})
    except client.Failed as failed:
        output.refuse(failed.answer)
    if as_json:
        output.show(found, as_json)
        return
    names = ("id", "state", "caller", "capability", "app", "summary", "expiresAt")
    output.show({"approvals": [{name: item[name] for name in names} for item in found["approvals"]]}, as_json)


@approvals.command()
@_ID
@_JSON
def approve(identity: str, as_json: bool) -> None:
    """Consent to the call ID; its caller then makes it again."""
    verbs.perform("approvals.approve", {"id": identity}, as_json)


@approvals.command()
@_ID
@_JSON
def deny(identity: str, as_json: bool) -> None:
    """Refuse the call ID."""
    verbs.perform("approvals.deny", {"id": identity}, as_json)


COMMANDS = {"approvals": approvals}
