"""`ikoma keys`: who may call."""

from __future__ import annotations

from typing import Any

import click

from ikoma.cli import complete, consent, verbs

_ID = click.argument("identity", metavar="[ID]", required=False, shell_complete=complete.make_completer("key"))
_ID_OPTION = click.option("--id", "id_option", metavar="ID", help="Another way to name the key.")


@click.group(cls=consent.CarefulGroup)
def keys() -> None:
    """Create, list, rotate and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["observer", "operator", "builder", "admin"]), required=True)
@click.option(
    "--apps", multiple=True, metavar="GLOB", help="Only these apps; may be given more than once. Left out: all apps."
)
@click.option(
    "--capabilities",
    multiple=True,
    metavar="GLOB",
    help="Only these capabilities.",
    shell_complete=complete.complete_capability,
)
@click.option("--read-only", is_flag=True, help="Reading capabilities only.")
@click.option("--needs-approval", is_flag=True, help="Another admin key must approve what destroys or gives rights.")
@click.option("--rate", type=int, metavar="CALLS", help="Calls it may make in a window of the rate limit.")
@click.option("--expires", metavar="TIME", help="When the key ends, such as 2027-01-31T00:00:00Z.")
@verbs.JSON_OPTION
def create(
    name: str,
    role: str,
    apps: tuple[str, ...],
    capabilities: tuple[str, ...],
    read_only: bool,
    needs_approval: bool,
    rate: int | None,
    expires: str | None,
    as_json: bool,
) -> None:
    """Make a key for NAME and show it, this once."""
    arguments: dict[str, Any] = {"name": name, "role": role, "readOnly": read_only, "needsApproval": needs_approval}
    if rate:
        arguments["rate"] = rate
    if apps:
        arguments["apps"] = list(apps)
    if capabilities:
        arguments["capabilities"] = list(capabilities)
    if expires:
        arguments["expires"] = expires
    verbs.perform("keys.create", arguments, as_json)


@keys.command("list")
@verbs.LIMIT_OPTION
@verbs.JSON_OPTION
def listing(limit: int | None, as_json: bool) -> None:
    """List all keys: names, roles and dates, never the keys."""
    verbs.perform("keys.list", {} if limit is None else {"limit": limit}, as_json)


@keys.command()
@_ID
@_ID_OPTION
@click.option("--overlap", type=int, metavar="SECONDS", help="How long the former key still works (default: an hour).")
@consent.YES
@verbs.JSON_OPTION
def rotate(identity: str | None, id_option: str | None, overlap: int | None, yes: bool, as_json: bool) -> None:
    """Make a new key for the holder of ID and show it, this once."""
    arguments: dict[str, Any] = {"id": _choose_id(identity, id_option)}
    if overlap is not None:
        arguments["overlap"] = overlap
    verbs.perform("keys.rotate", arguments, as_json, yes=yes)


@keys.command()
@_ID
@_ID_OPTION
@consent.YES
@verbs.JSON_OPTION
def revoke(identity: str | None, id_option: str | None, yes: bool, as_json: bool) -> None:
    """End a key at once."""
    verbs.perform("keys.revoke", {"id": _choose_id(identity, id_option)}, as_json, yes=yes)


def _choose_id(identity: str | None, id_option: str | None) -> str:
    found = identity or id_option
    if found is None:
        raise click.UsageError("Missing argument 'ID'.")
    return found


COMMANDS = {"keys": keys}
