"""The `ikoma` command.

`ikoma --help` must be quick, so nothing heavy is imported here: a command's module is loaded when it is called,
and the friendly verbs are made from the registry's own request models then.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ikoma.cli.capability_index import read_commands, read_verbs
from ikoma.cli.catalogue import LOCAL, list_sections
from ikoma.cli.foreign import find_here
from ikoma.kernel.nearest import find_nearest_word

_INTERRUPTED, _READER_GONE = 130, 141
_ENDING = frozenset({"proxy-stop"})
"""Commands of their own that take something out of service."""


class Commands(click.Group):
    """Loads a command when it is asked for, and lists all of them without loading any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for commands in list_sections().values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in LOCAL:
            module = importlib.import_module(LOCAL[cmd_name].module)
            found: click.Command = module.COMMANDS[cmd_name]
            return found
        if cmd_name in read_verbs():
            verbs: Any = importlib.import_module("ikoma.cli.verbs")
            made: click.Command = verbs.make_verb_command(cmd_name)
            return made
        return None

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _noticing_that_the_reader_is_gone():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _noticing_that_the_reader_is_gone():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and "." in args[0] and not args[0].startswith("-"):
            raise click.UsageError(f"To call a capability by its name: ikoma call {args[0]}")
        known = self.list_commands(ctx)
        if args and (here := find_here(args)):
            unknown = "" if args[0] in known else f"No such command {args[0]!r}. "
            raise click.UsageError(f"{unknown}{here}", ctx)
        if args and args[0] not in known and (near := _find_nearest(args[0], known)):
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near}?", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in list_sections().items():
            with formatter.section(title):
                formatter.write_dl([*commands.items()])


@contextlib.contextmanager
def _noticing_that_the_reader_is_gone() -> Iterator[None]:
    """Give it its own exit code: click would end with 1, as a failure does."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(_READER_GONE) from None


def _find_nearest(name: str, known: list[str]) -> str | None:
    """The command that was probably meant; None where it takes something away."""
    near = find_nearest_word(name, known)
    if near is None or near in _ENDING:
        return None
    capability = read_verbs().get(near)
    return None if capability and read_commands()[capability].takes_away else near


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ikoma", prog_name="ikoma", message="%(prog)s %(version)s")
def main() -> None:
    """Deploy and run Docker Compose applications with PostgreSQL on your own server.

    Start the server with `ikoma up`; every other command talks to it.
    """


def run() -> None:
    """The console script. Whatever ends it, a person sees a sentence and no traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows no ✓ is no reason to fail
    try:
        code = main(standalone_mode=False)
        sys.stdout and sys.stdout.flush()
    except click.ClickException as error:
        _show(error)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = _INTERRUPTED
    except BrokenPipeError:
        code = _READER_GONE
    except OSError as error:
        code = _fail(f"{error.filename or 'this machine'}: {error.strerror or error}.")
    except Exception as error:
        if sys.argv[1:2] in (["up"], ["mcp"]):
            traceback.print_exc()  # into the server's log, for whoever mends it
        place = traceback.extract_tb(error.__traceback__)[-1]
        code = _fail(
            f"This is a fault of IKOMA's: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})."
        )
    _drop_output()
    sys.exit(code if isinstance(code, int) else 0)


def _show(error: click.ClickException) -> None:
    """Show what was typed wrongly, within the width of the terminal."""
    if isinstance(error, click.UsageError) and type(error).show is click.UsageError.show:
        from ikoma.cli.blocks import Message
        from ikoma.cli.output import make_paper

        lines = make_paper(sys.stderr).lay_out([Message(f"Error: {error.format_message()}")])
        error = click.UsageError("\n".join(lines).removeprefix("Error: "), error.ctx)
    error.show()


def _fail(said: str) -> int:
    with contextlib.suppress(OSError):
        click.echo(f"error: {said}", err=True)
    return 1


def _drop_output() -> None:
    """Let the interpreter's end not complain of a reader that has gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
