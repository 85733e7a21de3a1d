"""`ikoma recover`: makes a new, empty server the one that was, from its backups."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ikoma.cli.client import load_settings_or_exit
from ikoma.cli.consent import require_agreement
from ikoma.cli.output import fail
from ikoma.durable import translate_disk_full
from ikoma.errors import IkomaError
from ikoma.settings import Settings

if TYPE_CHECKING:
    from ikoma.apps.recovery.beginning import ServerRecoveryPlan
    from ikoma.apps.recovery.record import RecoveryRecord
    from ikoma.apps.recovery.source import BackupSource
    from ikoma.platform.recovery import ReturnedApp


@click.command()
@click.option("--from", "source", metavar="STORE", help="A folder of backups, or the OFFSITE_URL of the server.")
@click.option("--identity", type=click.Path(path_type=Path), help="The file with the age key that opens the backups.")
@click.option("--state", metavar="NAME", help="This backup of the server's state, in place of the newest.")
@click.option("--plan", is_flag=True, help="Show what would come back and how old it is, and bring nothing back.")
@click.option("--yes", is_flag=True, help="Do it without asking, as scripts must.")
def recover(source: str | None, identity: Path | None, state: str | None, plan: bool, yes: bool) -> None:
    """Make this server, which has no apps, the one that was: keys, history, settings, certificates and apps.

    The server must be stopped. A recovery that was cut off goes on where it was by the same command.
    """
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    settings = load_settings_or_exit()
    try:
        with translate_disk_full():
            _recover(settings, source, identity, state, only_plan=plan, agreed=yes)
    except IkomaError as error:
        fail(error.message, error.code, error.hint)


def _recover(
    settings: Settings, address: str | None, identity: Path | None, state: str | None, *, only_plan: bool, agreed: bool
) -> None:
    from ikoma.apps.recovery.beginning import begin, plan_recovery, require_empty, require_stopped
    from ikoma.apps.recovery.placing import clear_unpacked
    from ikoma.apps.recovery.record import hold_recovery, read_record
    from ikoma.platform.preparation import make_folders
    from ikoma.platform.recovery_source import open_source

    make_folders(settings)
    with hold_recovery(settings.ikoma_state):
        record = read_record(settings.ikoma_state)
        if record is not None:
            require_stopped(settings)
            click.echo(f"The recovery from {record.source} goes on.")
            _bring_back(settings, record, open_source(address or record.source, identity))
        require_empty(settings)
        if address is None:
            fail("--from is missing: the place of the backups.", "usage", "For example: ikoma recover --from /mnt/old")
        place = open_source(address, identity)
        try:
            found = plan_recovery(settings, place, state, _say)
        finally:
            clear_unpacked(settings)
        _show(found)
        if only_plan:
            return
        if not agreed:
            require_agreement("Is that your server, and its key?")
        _bring_back(settings, begin(settings, found, place), place)


def _bring_back(settings: Settings, record: RecoveryRecord, source: BackupSource) -> NoReturn:
    import uvloop

    from ikoma.platform.recovery import recover as bring_back

    async def work() -> NoReturn:
        is_whole = await bring_back(settings, record, source, _say, _show_app)
        if is_whole:
            click.echo(f"✓ All of it is back. Start the server: {_name_start(settings)}")
        else:
            click.echo("✗ Not all of it is back. `ikoma recover` tries again what is missing; what is back stays.")
        sys.stdout.flush()
        os._exit(0 if is_whole else 1)  # the end of the loop would kill PostgreSQL, which serves the apps already

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())
    raise AssertionError


def _name_start(settings: Settings) -> str:
    if settings.proxy_process == "given":  # three containers: the proxy takes the certificates that came back
        return f"sudo docker compose -f {settings.ikoma_home}/docker-compose.yml restart proxy ikoma"
    return "sudo systemctl start ikoma"


def _show(plan: ServerRecoveryPlan) -> None:
    from ikoma.moments import tell_age

    state = plan.state
    click.echo(f"server  {plan.about.host}, signed by the key {plan.fingerprint}")
    click.echo(f"state   {state.name}, {tell_age(state.created_at)} ({state.created_at[:19]}Z)")
    for app, offers in plan.apps.items():
        if not offers:
            click.echo(f"app     {app}: no backup, so it will not come back")
            continue
        first = offers[0]
        proven = "" if first.proven_at else ", not proven"
        click.echo(f"app     {app}: {first.name}, {tell_age(first.created_at)}, {first.size} bytes{proven}")
    for offer in plan.others:
        click.echo(f"not     {offer.app}: the server did not have it then; {offer.name} stays where it is")


def _show_app(app: ReturnedApp) -> None:
    from ikoma.moments import tell_age

    if not app.is_back:
        click.echo(f"✗ {app.app} is not back. {' '.join(app.notes)}")
        return
    rows = ", ".join(f"{table} {count}" for table, count in app.tables.items())
    parts = [
        f"as of {tell_age(app.made_at)}" if app.made_at else "",
        f"rows: {rows}" if rows else "",
        f"volumes: {', '.join(app.volumes)}" if app.volumes else "",
        f"serves {app.release}" if app.release else "does not serve",
    ]
    click.echo(f"✓ {app.app} is back in {app.seconds} s: {'; '.join(part for part in parts if part)}")
    for note in app.notes:
        click.echo(f"  • {note}")
    for url in app.urls:
        click.echo(f"  {url}")


def _say(message: str, fraction: float | None = None) -> None:
    if sys.stderr.isatty():
        click.echo(f"• {message}", err=True)


COMMANDS = {"recover": recover}
