"""`ikoma up`: the server, from first start to clean stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import sys
from typing import TYPE_CHECKING

import click

from ikoma.cli.client import load_settings_or_exit
from ikoma.cli.output import fail
from ikoma.errors import IkomaError
from ikoma.settings import Settings

if TYPE_CHECKING:
    from ikoma.transports.protocol import ConnectionLimits

_ALLOCATIONS = 20_000  # a call makes thousands of short-lived objects; by default every 700 cause a collection
_DESCRIPTORS = 16_384


@click.command()
@click.option("--verbose", is_flag=True, help="Log more of what the server does.")
def up(verbose: bool) -> None:
    """Start the server, and with it PostgreSQL where none is given, and serve until SIGTERM or Ctrl-C.

    The proxy that passes requests on to apps goes on after SIGTERM, so that a restart loses none; Ctrl-C ends it too.
    After SIGUSR1 PostgreSQL goes on as well, for the server that is started next.

    The first start makes the folders and the admin key. Settings are environment variables, also read from .env in
    IKOMA_HOME.
    """
    import uvloop

    gc.disable()  # nearly all that a start makes stays: to look for garbage in it again and again takes a tenth of it
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    settings = load_settings_or_exit()
    _take_descriptors()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(stay_up(settings))
    except IkomaError as error:
        fail(error.message, error.code, error.hint)


def _take_descriptors() -> None:
    """Allow ourselves as many open files and connections as we may: services often begin with 1024 of them."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(_DESCRIPTORS, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def stay_up(settings: Settings, limits: ConnectionLimits | None = None) -> None:
    """Start everything and serve until asked to stop.

    Args:
        limits: what a connection may have; the product's own when omitted.
    """
    from ikoma.apps.recovery.record import require_no_placing
    from ikoma.platform.composition import run_platform
    from ikoma.platform.preparation import prepare
    from ikoma.transports.door import Door
    from ikoma.transports.server import StopRequest, listen, listen_unix, serve

    # Asked to stop while it starts, the server finishes starting: only what has started can be stopped cleanly.
    stop = StopRequest()
    stop.listen()
    require_no_placing(settings.ikoma_state)
    new_key = not settings.rehearsal and prepare(settings)
    sockets = listen(settings)  # first: where the port is taken, nothing else is started
    async with run_platform(settings) as started:

        def say_ready() -> None:
            gc.collect()
            gc.freeze()  # what is there now stays: no collection need look at it again
            gc.set_threshold(_ALLOCATIONS, 20, 20)
            gc.enable()
            url = f"http://{settings.http_host}:{settings.http_port}"
            click.echo(f"IKOMA is up: {url}  (reference: {url}/docs)")
            if new_key:
                click.echo(f"The admin key is in {settings.api_key_file}:")
                click.echo(f"  export API_KEY=$(cat {settings.api_key_file})")
            click.echo(f"Apps: {settings.apps_root}  Backups: {settings.backups_root}  Audit: {settings.audit_log}")
            sys.stdout.flush()

        proxy = started.proxy
        door = Door(
            started.pipeline,
            started.summarise,
            settings,
            started.platform.hooks,
            started.platform.downloads,
            domain=lambda: proxy.platform_domain,
        )
        passed_on = None if settings.rehearsal else listen_unix(proxy.platform_socket)
        if passed_on is not None:
            proxy.admit(proxy.platform_socket)

        async with door.open():
            if not stop.asked.is_set():
                proxied = (door.proxied_app, passed_on) if passed_on else None
                await serve(
                    door.app,
                    sockets,
                    proxied=proxied,
                    on_ready=say_ready,
                    stop=stop,
                    on_stop=door.close,
                    drain=started.platform.operations.drain,
                    limits=limits,
                )
        if stop.by_a_person:
            await proxy.stop()
        if stop.for_successor:
            started.server.hand_over()
    if stop.for_successor:
        os._exit(0)  # the end of the loop would kill PostgreSQL, which serves apps until the next server takes it over
    goes_on = "" if stop.by_a_person else " Apps go on being served; `ikoma proxy-stop` ends that too."
    click.echo(f"IKOMA has stopped.{goes_on}")


COMMANDS = {"up": up}
