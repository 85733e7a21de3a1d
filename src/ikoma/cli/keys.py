"""`ikoma keys`: who may call."""

from __future__ import annotations

from typing import Any

import click

from ikoma.cli import verbs


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["observer", "operator", "builder", "admin"]), required=True)
@click.option("--apps", multiple=True, metavar="GLOB", help="Only these apps; may be given more than once.")
@click.option("--capabilities", multiple=True, metavar="GLOB", help="Only these capabilities.")
@click.option("--read-only", is_flag=True, help="Reading capabilities only.")
@click.option("--expires", metavar="TIME", help="When the key ends, such as 2027-01-31T00:00:00Z.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def create(
    name: str,
    role: str,
    apps: tuple[str, ...],
    capabilities: tuple[str, ...],
    read_only: bool,
    expires: str | None,
    as_json: bool,
) -> None:
    """Make a key for NAME and show it, this once."""
    arguments: dict[str, Any] = {"name": name, "role": role, "readOnly": read_only}
    if apps:
        arguments["apps"] = list(apps)
    if capabilities:
        arguments["capabilities"] = list(capabilities)
    if expires:
        arguments["expires"] = expires
    verbs.perform("keys.create", arguments, as_json)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def listing(as_json: bool) -> None:
    """List all keys: names, roles and dates, never the keys."""
    verbs.perform("keys.list", {}, as_json)


@keys.command()
@click.argument("identity", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def revoke(identity: str, as_json: bool) -> None:
    """End a key at once."""
    verbs.perform("keys.revoke", {"id": identity}, as_json)


COMMANDS = {"keys": keys}
