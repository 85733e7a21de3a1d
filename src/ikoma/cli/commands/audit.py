"""`ikoma audit`: what was done, tried and refused, and whether the record of it is whole."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ikoma.cli import client, complete, output, verbs, views


@click.group(invoke_without_command=True)
@click.option("--app", help="Only entries of this app.", shell_complete=complete.apps)
@click.option("--capability", help="Only entries of this capability.", shell_complete=complete.complete_capability)
@click.option("--caller", help="Only entries of this caller.")
@click.option("--result", type=click.Choice(["started", "success", "error"]))
@click.option("--since", metavar="TIME", help="Only entries from this time (UTC) on.")
@click.option("--until", metavar="TIME", help="Only entries up to this time (UTC).")
@click.option("--limit", type=int, default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print each entry as a JSON object on a line of its own.")
@click.pass_context
def audit(ctx: click.Context, /, as_json: bool, **filters: Any) -> None:
    """Show the last entries of the audit log, or verify all of it."""
    if ctx.invoked_subcommand is not None:
        return
    filters["appName"] = filters.pop("app")
    arguments = {name: value for name, value in filters.items() if value is not None}
    found = verbs.call("audit.query", arguments, as_json)
    if not as_json:
        output.show(found, as_json, views.lay_out_result("audit.query", found, {}))
        return
    for entry in found["entries"]:
        click.echo(json.dumps(entry, ensure_ascii=False))


@audit.command()
@click.option("--anchors", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@verbs.JSON_OPTION
def verify(anchors: tuple[Path, ...], as_json: bool) -> None:
    """Check that no entry was changed, removed, moved or cut off; exit code 1 where one was.

    On the server itself the files are read directly, so that it needs no running server and trusts none. --anchors
    compares with anchors that were kept elsewhere.
    """
    settings = client.load_settings_or_exit()
    if anchors or (not os.environ.get("IKOMA_URL") and os.access(settings.audit_log, os.R_OK)):
        from ikoma.kernel.audit.chain import verify as verify_chain

        found = asdict(
            verify_chain(settings.audit_log, settings.audit_head_file, [*settings.audit_anchor_files, *anchors])
        )
        verdict = {("firstBad" if name == "first_bad" else name): value for name, value in found.items()}
    else:
        verdict = verbs.call("audit.verify", {}, as_json)
    output.show(verdict, as_json, views.lay_out_result("audit.verify", verdict, {}))
    sys.exit(0 if verdict["valid"] else 1)


COMMANDS = {"audit": audit}
