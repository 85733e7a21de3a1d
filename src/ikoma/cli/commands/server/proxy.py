"""`ikoma proxy-stop`: end the proxy that goes on serving apps when the server has stopped."""

from __future__ import annotations

import asyncio

import click

from ikoma.cli.client import load_settings_or_exit


@click.command("proxy-stop")
def stop() -> None:
    """End the proxy of this machine's IKOMA: apps are not reached any more until the server starts again."""
    from ikoma.proxy.caddy import CaddyProxy

    asyncio.run(CaddyProxy(load_settings_or_exit()).stop())
    click.echo("The proxy has stopped.")


COMMANDS = {"proxy-stop": stop}
