"""`ikoma upgrade`: hands over to the installer, which stands outside of what it replaces."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import click

from ikoma.cli.client import load_settings_or_exit
from ikoma.cli.output import fail

_IN_CONTAINER = Path("/.dockerenv")


@click.command()
@click.option("--to", metavar="FILE|FOLDER|VERSION", help="A bundle, a checkout, or a version that UPGRADE_URL has.")
@click.option("--check", is_flag=True, help="Change nothing: say what stands in the way, and what would happen.")
@click.option("--back", is_flag=True, help="Return to the former version.")
@click.option("--postgres", is_flag=True, help="Bring the databases to the major version of PostgreSQL that is here.")
@click.option("--forget", is_flag=True, help="With --postgres: remove the data that the former version had.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def upgrade(to: str | None, check: bool, back: bool, postgres: bool, forget: bool, yes: bool) -> None:
    """Bring another version of IKOMA to this machine; apps go on. What fails leads back to the version of now.

    The new version is tried beside the old one on a copy of the state, takes its place, is watched for a minute, and
    the old one is kept. An upgrade that was cut off is put right by `ikoma upgrade` alone.
    """
    installer = load_settings_or_exit().ikoma_home / "installer" / "install.sh"
    if postgres and not installer.is_file():
        _upgrade_postgres_of_checkout(check, back, forget)
    if _IN_CONTAINER.exists() or not installer.is_file():
        fail("IKOMA cannot be upgraded from here.", "usage", _find_way(installer))
    chosen = {"--check": check, "--back": back, "--postgres": postgres, "--forget": forget, "--yes": yes}
    options = [*(["--to", to] if to else []), *(name for name, given in chosen.items() if given)]
    os.execv(installer, [str(installer), "--upgrade", *options])  # noqa: S606 - no shell


def _upgrade_postgres_of_checkout(check: bool, back: bool, forget: bool) -> NoReturn:
    """Upgrade where a person starts and stops the server: it must be stopped."""
    from ikoma.cli.commands.server.postgres_major import postgres_major

    action = "check" if check else "back" if back else "forget" if forget else "upgrade"
    postgres_major.main([action], prog_name="ikoma upgrade --postgres")
    raise SystemExit


def _find_way(installer: Path) -> str:
    if installer.is_file():
        return "On the machine itself, outside of the container: ikoma upgrade"
    return (
        "install.sh has not installed it. A checkout: git pull && make setup, then stop it with SIGTERM and start it."
    )


COMMANDS = {"upgrade": upgrade}
