"""`ikoma import`: shows what would become of a Compose project that runs here, asks, and takes it over."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from ikoma.cli import output, verbs, views
from ikoma.cli.consent import require_agreement

_LONGEST = 59
_NO_SIGNS = re.compile(r"[^a-z0-9_-]+")


@click.command(name="import")
@click.argument("source")
@click.option("--as", "name", metavar="APP", help="The app's name; by default the project's, with -app behind it.")
@click.option("--database", is_flag=True, help="Move the rows of its own PostgreSQL into the app's database here.")
@click.option("--plan", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--timeout", type=int, help="Seconds until every service must be healthy; default 300.")
@click.option("--yes", is_flag=True, help="Do it without asking, as scripts must.")
@verbs.JSON_OPTION
def take_over(
    source: str, name: str | None, database: bool, plan: bool, timeout: int | None, yes: bool, as_json: bool
) -> None:
    """Take over an app that runs here under plain Docker Compose: SOURCE is its folder, or its project's name.

    What would be done is shown first. The old one is stopped only once the new one is healthy, and is kept.
    """
    place = str(Path(source).resolve()) if "/" in source or source in (".", "..") else source
    arguments: dict[str, Any] = {"appName": name or _choose_name(place), "source": place}
    arguments |= {"database": True} if database else {}
    planned = verbs.call("apps.import", {**arguments, "plan": True}, as_json=as_json)
    refused = bool(planned["details"]["left"])
    if plan or refused or not as_json:
        output.show(planned, as_json, () if as_json else views.lay_out_result("apps.import", planned, arguments))
    if plan or refused:
        sys.exit(1 if refused else 0)
    if not yes:
        require_agreement("Go on?")
    arguments |= {"seen": planned["sha256"]} | ({"timeout": timeout} if timeout is not None else {})
    verbs.perform("apps.import", arguments, as_json)


def _choose_name(source: str) -> str:
    """Choose the app's name: the old project keeps its own, with its volumes and networks."""
    plain = _NO_SIGNS.sub("-", source.rstrip("/").rpartition("/")[2].lower()).strip("-_") or "project"
    return f"{plain[:_LONGEST]}-app"


COMMANDS = {"import": take_over}
