"""`ikoma psql`: an app's database, by hand."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ikoma.cli import complete
from ikoma.cli.client import load_settings_or_exit
from ikoma.cli.naming import AnswerWording
from ikoma.cli.output import fail
from ikoma.errors import FileMissing, IkomaError

_PIECE = 64 << 10
_LONG = {"command": "c", "file": "f", "list": "l", "help": "?", "version": "V"}
_WITH_VALUE = frozenset("cdfFhLopPRTUv")
_NO_INPUT = frozenset("clV?")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("app", shell_complete=complete.apps)
@click.option("--admin", is_flag=True, help="As the platform's role `ikoma`: what restoring a backup needs.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(app: str, admin: bool, arguments: tuple[str, ...]) -> None:
    """Open psql in APP's database as the app's own role; further ARGUMENTS go to psql.

    What is read from a file or a pipe stops at the first error, in one transaction where it can be one.

    Restoring a backup: ikoma psql --admin APP < FILE
    """
    from ikoma.apps.app import Apps
    from ikoma.apps.database import credentials
    from ikoma.model import AppName
    from ikoma.postgres.clients.session import make_psql_session

    settings = load_settings_or_exit()
    try:
        try:
            name = AppName.parse(app)
        except ValueError as error:
            raise click.UsageError(f"APP: {error}") from None
        owned = credentials.require(Apps(settings.apps_root).find(name))
        argv, variables = make_psql_session(settings, None if admin else owned, owned.database)
        more = _find_in_files(app, owned.database, arguments, is_admin=admin)
    except IkomaError as error:
        fail(error.message, error.code, AnswerWording("", {"appName": app}).word_sentence(error.hint))
    # psql takes the terminal over: this process becomes it. The password is in its environment, never in its title.
    os.execve(argv[0], [*argv, *more, *arguments], {**os.environ, **variables})  # noqa: S606


def _find_in_files(app: str, database: str, arguments: Sequence[str], *, is_admin: bool) -> list[str]:
    """Further arguments, by what the files are that psql is to run."""
    from ikoma.postgres.backup.input_kind import HEAD_BYTES, look

    options = list(_list_options(arguments))
    is_piped = sys.stdin is not None and not sys.stdin.isatty()
    files = [value for letter, value in options if letter == "f" and (value != "-" or is_piped)]
    does_else = any(letter in {"f", *_NO_INPUT} for letter, _ in options)
    reads_input = is_piped and not does_else
    if reads_input and _is_nothing(sys.stdin.fileno()):
        return []
    found: dict[str, None] = {}
    for file in [*files, *(["-"] if reads_input else [])]:
        is_folder, head = _read_head(file, HEAD_BYTES)
        wanted = look(head, app=app, database=database, is_admin=is_admin, is_folder=is_folder)
        if wanted.told:
            click.echo(wanted.told, err=True)
        found |= dict.fromkeys(wanted.arguments)
    # psql knows one transaction for files that it is given by name alone.
    return [*found, *(["--file=-"] if reads_input and found else [])]


def _list_options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """psql's options, each by its letter and with its value, where it has one."""
    words = iter(arguments)
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            letter = _LONG.get(name, "")
            yield letter, value if equals or letter not in _WITH_VALUE else next(words, "")
        elif word.startswith("-"):
            for place, letter in enumerate(word[1:], 2):
                if letter in _WITH_VALUE:
                    yield letter, word[place:] or next(words, "")
                    break
                yield letter, ""


def _is_nothing(descriptor: int) -> bool:
    return stat.S_ISCHR(os.fstat(descriptor).st_mode)  # /dev/null


def _read_head(file: str, size: int) -> tuple[bool, bytes]:
    """Whether it is a folder, and how it begins. Of a pipe nothing is lost: what was read goes on before the rest."""
    if file == "-":
        return _read_head_of_input(size)
    try:
        if (path := Path(file)).is_dir():
            return True, b""
        with path.open("rb") as stream:
            return False, stream.read(size)
    except OSError as error:
        raise FileMissing(f"{file} cannot be read: {error.strerror}.", hint="Correct the path.") from error


def _read_head_of_input(size: int) -> tuple[bool, bytes]:
    descriptor = sys.stdin.fileno()
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(kind):
        return True, b""
    if stat.S_ISREG(kind):
        return False, os.pread(descriptor, size, os.lseek(descriptor, 0, os.SEEK_CUR))
    head = b""
    while len(head) < size and (piece := os.read(descriptor, size - len(head))):
        head += piece
    _pass_on(head, descriptor)
    return False, head


def _pass_on(head: bytes, descriptor: int) -> None:
    """Let this process read from the beginning again what comes from a pipe: a child writes it into another."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        try:
            piece = head
            while piece:
                while piece:
                    piece = piece[os.write(writing, piece) :]
                piece = os.read(descriptor, _PIECE)
        except OSError:
            pass  # psql has ended
        finally:
            os._exit(0)
    os.close(writing)
    os.dup2(reading, descriptor)
    os.close(reading)


COMMANDS = {"psql": psql}
