"""`ikoma completion`: the script that makes a shell complete commands and the names of apps."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    For bash: ikoma completion bash > /etc/bash_completion.d/ikoma
    """
    from ikoma.cli import main

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "ikoma", "_IKOMA_COMPLETE").source())


COMMANDS = {"completion": completion}
