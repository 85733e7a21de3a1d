"""`ikoma audit`: what was done, tried and refused, and whether the record of it is whole."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ikoma.cli import client, output


@click.group(invoke_without_command=True)
@click.option("--app", help="Only entries of this app.", shell_complete=client.complete_apps)
@click.option("--capability", help="Only entries of this capability.")
@click.option("--caller", help="Only entries of this caller.")
@click.option("--result", type=click.Choice(["started", "success", "error"]))
@click.option("--since", metavar="TIME", help="Only entries from this time (UTC) on.")
@click.option("--until", metavar="TIME", help="Only entries up to this time (UTC).")
@click.option("--limit", type=int, default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the entries as JSON.")
@click.pass_context
def audit(ctx: click.Context, /, as_json: bool, **filters: Any) -> None:
    """Show the last entries of the audit log, or verify all of it."""
    if ctx.invoked_subcommand is not None:
        return
    filters["appName"] = filters.pop("app")
    arguments = {name: value for name, value in filters.items() if value is not None}
    answer = _called("audit.query", arguments)
    entries = answer["entries"]
    output.show(entries if as_json else {"audit": [_row(entry) for entry in entries]}, as_json)
    if answer["odd"]:
        click.echo(f"{answer['odd']} lines of the log are no entries: `ikoma audit verify` says where.", err=True)


@audit.command()
@click.option("--anchors", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def verify(anchors: tuple[Path, ...], as_json: bool) -> None:
    """Check that no entry was changed, removed, moved or cut off; exit code 1 where one was.

    On the server itself the files are read directly, so that it needs no running server and trusts none. --anchors
    compares with anchors that were kept elsewhere.
    """
    settings = client.settings_or_exit()
    if anchors or (not os.environ.get("IKOMA_URL") and os.access(settings.audit_log, os.R_OK)):
        from ikoma.kernel.audit_chain import verify as verify_chain

        found = asdict(
            verify_chain(settings.audit_log, settings.audit_head_file, [*settings.audit_anchor_files, *anchors])
        )
        verdict = {("firstBad" if name == "first_bad" else name): value for name, value in found.items()}
    else:
        verdict = _called("audit.verify", {})
    _say(verdict, as_json)
    sys.exit(0 if verdict["valid"] else 1)


def _say(verdict: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.show(verdict, as_json)
        return
    counted = f"{verdict['entries']} entries in {len(verdict['files'])} files, {verdict['anchors']} anchors"
    if verdict["valid"]:
        click.secho(f"✓ The audit log is as it was written: {counted}.", fg="green")
    else:
        for bad in verdict["found"]:
            entry = f", entry {bad['seq']}" if bad["seq"] is not None else ""
            click.secho(f"✗ {bad['file']}:{bad['line']}{entry}: {bad['problem']}", fg="red", err=True)
        click.echo(f"  {verdict['bad']} bad places in {counted}.", err=True)
    if verdict["lost"]:
        click.echo(f"  {verdict['lost']} entries could not be written: entries called audit.lost say when and of what.")
    if verdict["unchained"]:
        click.echo(f"  {verdict['unchained']} entries of an earlier version cannot be checked.")


def _called(capability: str, arguments: dict[str, Any]) -> Any:
    try:
        return client.call(capability, arguments)
    except client.Failed as failed:
        output.refuse(failed.answer)


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": entry["timestamp"][5 if sys.stdout.isatty() else 0 : 19].replace("T", " "),
        "caller": entry["caller"],
        "role": entry.get("role"),
        "capability": entry["capability"],
        "app": entry["arguments"].get("appName"),
        "result": entry["result"],
        "code": entry.get("code"),
        "ms": round(entry.get("duration") or 0),
    }


COMMANDS = {"audit": audit}
