"""`ikoma audit`: what was done, tried and refused."""

from __future__ import annotations

from typing import Any

import click

from ikoma.cli import client, output


@click.command()
@click.option("--app", help="Only entries of this app.", shell_complete=client.complete_apps)
@click.option("--capability", help="Only entries of this capability.")
@click.option("--caller", help="Only entries of this caller.")
@click.option("--result", type=click.Choice(["started", "success", "error"]))
@click.option("--since", metavar="TIME", help="Only entries from this time (UTC) on.")
@click.option("--limit", type=int, default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the entries as JSON.")
def audit(as_json: bool, **filters: Any) -> None:
    """Show the last entries of the audit log."""
    filters["appName"] = filters.pop("app")
    arguments = {name: value for name, value in filters.items() if value is not None}
    try:
        entries = client.call("audit.query", arguments)["entries"]
    except client.Failed as failed:
        output.fail(failed.answer["error"], failed.answer["code"], failed.answer.get("hint"))
    output.show(entries if as_json else {"entries": [_row(entry) for entry in entries]}, as_json)


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": entry["timestamp"][:19].replace("T", " "),
        "caller": entry["caller"],
        "role": entry["role"],
        "capability": entry["capability"],
        "app": entry["arguments"].get("appName"),
        "result": entry["result"],
        "code": entry["code"],
        "ms": round(entry["duration"]),
    }


COMMANDS = {"audit": audit}
