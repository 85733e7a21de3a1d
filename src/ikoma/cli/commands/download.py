"""`ikoma backup-download`: fetches a backup to a file of this machine, whole or not at all."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import click

from ikoma.cli import client, complete, output, verbs
from ikoma.cli.blocks import Message
from ikoma.durable import open_whole_file


@click.command(name="backup-download")
@click.argument("app", shell_complete=complete.apps)
@click.argument("name", required=False)
@click.option("--backup-name", "named", metavar="NAME", help="Another way to name the backup.")
@click.option("--to", "target", type=click.Path(path_type=Path), metavar="FILE", help="By default its own name, here.")
@verbs.JSON_OPTION
def download(app: str, name: str | None, named: str | None, target: Path | None, as_json: bool) -> None:
    """Fetch the backup NAME of APP; a whole one comes as a tar file. No file is overwritten.

    All rows are in it, and the values of the app's variables.
    """
    if (wanted := name or named) is None:
        raise click.UsageError("Missing argument 'NAME'.")
    if target is not None and target.exists():
        _refuse(f"{target} exists already.", "Choose another file with --to.")
    offered = verbs.call("backup.download", {"appName": app, "backupName": wanted}, as_json=as_json)
    place = target or Path(offered["name"])
    try:
        digest = hashlib.sha256()
        with open_whole_file(place, mode=0o600, replace=False) as file:
            for piece in client.fetch(offered["path"]):
                file.write(piece)
                digest.update(piece)
            if digest.hexdigest() != offered["sha256"]:
                raise client.CallFailed(_report_other())
    except FileExistsError:
        _refuse(f"{place} exists already.", "Choose another file with --to.")
    except client.CallFailed as failed:
        output.fail_with(failed.answer, as_json)
    told: dict[str, Any] = {"file": str(place), "size": offered["size"], "sha256": offered["sha256"]}
    output.show(told, as_json, () if as_json else (Message(f"{place} is whole: {offered['size']:,} bytes.", "good"),))


def _report_other() -> dict[str, Any]:
    said = "What came is not what was sent: its checksum is another. Nothing was kept."
    return {"success": False, "error": said, "code": "download_damaged", "hint": "Try again."}


def _refuse(said: str, hint: str) -> None:
    click.secho(f"error: {said}", fg="red", err=True)
    click.echo(f"hint:  {hint}", err=True)
    sys.exit(1)


COMMANDS = {"backup-download": download}
