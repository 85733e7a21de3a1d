"""`ikoma completion`: the script that makes a shell complete commands, and names of what is on the server."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from ikoma.cli import output

_PLACES = {
    "bash": "ikoma completion bash > /etc/bash_completion.d/ikoma",
    "zsh": 'ikoma completion zsh > "${fpath[1]}/_ikoma"',
    "fish": "ikoma completion fish > ~/.config/fish/completions/ikoma.fish",
}
_NOW = {
    "bash": 'eval "$(ikoma completion bash)"',
    "zsh": 'eval "$(ikoma completion zsh)"',
    "fish": "ikoma completion fish | source",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_PLACES)))
def completion(shell: str) -> None:
    """Print the completion script for SHELL; on a terminal it is said how to install it.

    \b
    bash: ikoma completion bash > /etc/bash_completion.d/ikoma
    zsh:  ikoma completion zsh > "${fpath[1]}/_ikoma"
    fish: ikoma completion fish > ~/.config/fish/completions/ikoma.fish
    """
    from ikoma.cli import main

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "ikoma", "_IKOMA_COMPLETE").source())
    if output.is_terminal(sys.stdout):
        click.echo(f"# For every {shell} from now on:  {_PLACES[shell]}", err=True)
        click.echo(f"# For this one:  {_NOW[shell]}", err=True)


COMMANDS = {"completion": completion}
