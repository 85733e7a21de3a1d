"""`ikoma cat` and `ikoma put`: an app's files, byte for byte."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ikoma.cli import client, complete, output, stdin, verbs

_PIECE = 1 << 20

_APP = click.argument("app", shell_complete=complete.apps)
_PATH_OPTION = click.option("--path", "path_option", metavar="PATH", help="Another way to name the file.")


@click.command()
@_APP
@click.argument("path", required=False, shell_complete=complete.make_completer("path"))
@_PATH_OPTION
@click.option("--offset", type=click.IntRange(min=0), help="Byte to begin at.")
@click.option("--limit", type=click.IntRange(min=1), help="The most bytes to print; all when left out.")
@click.option(
    "--release", metavar="ID", help="As it was in that release.", shell_complete=complete.make_completer("release")
)
@verbs.JSON_OPTION
def cat(
    app: str,
    path: str | None,
    path_option: str | None,
    offset: int | None,
    limit: int | None,
    release: str | None,
    as_json: bool,
) -> None:
    """Print a file of APP, its compose file when PATH is left out: each byte, and nothing else.

    Values of secrets are hidden.
    """
    arguments: dict[str, Any] = {"appName": app, "offset": offset or 0}
    if path or path_option:
        arguments["path"] = path or path_option
    if release:
        arguments["release"] = release
    try:
        if as_json:
            output.show(client.call("files.read", arguments | ({"limit": limit} if limit else {})), as_json)
            return
        for piece in _read_pieces(arguments, limit):
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
    except client.CallFailed as failed:
        output.fail_with(failed.answer, as_json)


@click.command()
@_APP
@click.argument("path", required=False, shell_complete=complete.make_completer("path"))
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_PATH_OPTION
@click.option("--content", metavar="TEXT", help="The content itself; @FILE reads it from a file.")
@click.option("--sha256", metavar="SHA-256", help="Write only if the file still has this.")
@click.option("--executable/--no-executable", default=None, help="Whether it may be run.")
@verbs.JSON_OPTION
def put(
    app: str,
    path: str | None,
    file: Path | None,
    path_option: str | None,
    content: str | None,
    sha256: str | None,
    executable: bool | None,
    as_json: bool,
) -> None:
    """Write the file PATH of APP with what FILE of this machine holds, or else stdin: each byte of it.

    ikoma put myapp src/logo.png < logo.png
    """
    place = path or path_option
    if place is None:
        raise click.UsageError("Missing argument 'PATH'.")
    if path and path_option and file is None:
        file = Path(path)
        place = path_option
    bytes_ = _read_content(file, content)
    arguments: dict[str, Any] = {"appName": app, "path": place, "encoding": "base64"}
    arguments["content"] = base64.b64encode(bytes_).decode()
    if sha256 is not None:
        arguments["sha256"] = sha256
    if executable is not None:
        arguments["executable"] = executable
    verbs.perform("files.write", arguments, as_json)


def _read_pieces(arguments: dict[str, Any], limit: int | None) -> Iterator[bytes]:
    """The file's bytes, as far as they are wanted; a file that changes meanwhile is a failure."""
    rest, first = limit, None
    while rest is None or rest > 0:
        found = client.call("files.read", arguments | {"limit": min(_PIECE, rest or _PIECE)})
        if found["sha256"] != (first := first or found["sha256"]):
            raise client.CallFailed(
                {"error": "The file was changed while it was read.", "code": "file_changed", "hint": "Read it again."}
            )
        text = found["content"]
        yield base64.b64decode(text) if found["encoding"] == "base64" else text.encode()
        if found["nextOffset"] is None:
            return
        if rest is not None:
            rest -= found["nextOffset"] - arguments["offset"]
        arguments = arguments | {"offset": found["nextOffset"]}


def _read_content(file: Path | None, content: str | None) -> bytes:
    if content is not None and not content.startswith("@"):
        return content.encode()
    source = Path(content[1:]) if content is not None else file
    if source is not None and str(source) != "-":
        try:
            with source.open("rb") as opened:
                return opened.read(stdin.MOST + 1)
        except OSError as error:
            raise click.UsageError(f"{source} cannot be read: {error.strerror}.") from None
    return stdin.read_input("file")


COMMANDS = {"cat": cat, "put": put}
