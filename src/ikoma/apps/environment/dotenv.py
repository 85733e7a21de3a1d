"""An app's `.env`: which names it has, which it should have, and which of them IKOMA replaces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ikoma.app_folder import App
from ikoma.apps.environment.entries import parse_entries
from ikoma.compose.variable_names import NAME
from ikoma.errors import EnvUnreadable, FileMissing, NotAFile

DATABASE_PARTS = {
    "DATABASE_URL": "url",
    **{f"PG{part.upper()}": part for part in ("host", "port", "user", "password")},
    "PGDATABASE": "name",
    **{f"POSTGRES_{part.upper()}": part for part in ("host", "port", "user", "password")},
    "POSTGRES_DB": "name",
}
"""The variables through which an app's containers learn of their database, and what each says."""
DATABASE_NAMES = tuple(DATABASE_PARTS)
# ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:?error}, ${NAME:+other} and $NAME; $$ is a plain dollar sign.
# No part of it is read twice: one without end takes the rest of the line with it.
_REFERENCE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*+)"
    r"|\{(?P<braced>[A-Za-z_]\w*+)(?P<operator>:?[-?+])?+(?P<rest>[^}]*+)(?P<end>\}?))"
)

_MOST_BYTES = 16 << 20
_EXAMPLES = (".env.example", "config/.env.example", "src/.env.example")


@dataclass(frozen=True, slots=True)
class VariableReference:
    """One use of a variable in a compose file. `line` counts from 1."""

    name: str
    line: int
    default: str | None
    """The value used when the variable is not set; None where it would be blank or an error."""


def decode(found: bytes) -> str:
    """Decode the text of a .env; EnvUnreadable, with the line, where it is not UTF-8."""
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        line = found.count(b"\n", 0, error.start) + 1
        raise EnvUnreadable(f"Line {line} of .env is not UTF-8.") from None


def read_bytes(app: App) -> bytes:
    """Read the bytes of the app's .env; none when there is none.

    Raises:
        PathOutside: it is a link that leads elsewhere.
        EnvUnreadable: it is larger than 16 MiB.
    """
    try:
        found = app.read_inside(app.env_file, _MOST_BYTES + 1)
    except (FileMissing, NotAFile):
        return b""
    if len(found) > _MOST_BYTES:
        raise EnvUnreadable(
            f"{app.env_file.name} is larger than {_MOST_BYTES >> 20} MiB.", hint="Move what is large to files of src/."
        )
    return found


def read_written(app: App) -> dict[str, str]:
    """Read names and values of the app's .env as they stand there; what counts is what Compose reads."""
    return parse_written(read_bytes(app))


def parse_written(found: bytes) -> dict[str, str]:
    """Parse names and values of a .env as they stand there, but for quotes around them."""
    return {
        entry.name: entry.written.strip("'\"")
        for entry in parse_entries(found.decode(errors="replace"))
        if entry.has_value
    }


def find_line(app: App, name: str) -> int | None:
    """Find the line of the entry of the app's .env that counts for a variable."""
    found = [entry.line for entry in parse_entries(read_bytes(app).decode(errors="replace")) if entry.name == name]
    return found[-1] if found else None


def find_references(text: str) -> list[VariableReference]:
    """Find every variable that a compose file's text uses, comments left out."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        code = re.split(r"(?:^|\s)#", line, maxsplit=1)[0]
        for match in _REFERENCE.finditer(code):
            name = match["plain"] or match["braced"]
            if name and match["end"] != "":
                default = match["rest"] if match["operator"] in (":-", "-", ":+", "+") else None
                found.append(VariableReference(name, number, default))
    return found


def read_expected(app: App) -> dict[str, str]:
    """Read names that the app's own .env.example files ask for: name → the file that does."""
    names: dict[str, str] = {}
    for relative in _EXAMPLES:
        with suppress(FileMissing, NotAFile):  # a container may swap it at any time
            text = app.read_inside(app.path / relative, _MOST_BYTES).decode(errors="replace")
            names |= dict.fromkeys(
                (entry.name for entry in parse_entries(text) if NAME.fullmatch(entry.name)), relative
            )
    return names


def make_example(app: App, compose_text: str) -> str:
    """Make the text of a .env file for this app: what its compose file and its .env.example files ask for."""
    wanted = {reference.name: reference.default or "" for reference in find_references(compose_text)}
    for name in read_expected(app):
        wanted.setdefault(name, "")
    lines = [f"# Environment of {app.name}. Save it as {app.env_file} (chmod 600) and fill in what is empty.", ""]
    lines += [f"{name}={value}" for name, value in wanted.items() if name not in DATABASE_NAMES]
    lines += [
        "",
        "# The database. Once it is there, IKOMA gives the containers the app's own role and password in",
        "# DATABASE_URL, PG* and POSTGRES_*; values written here are for running the app elsewhere.",
        f"POSTGRES_DB={app.name.database}",
        f"POSTGRES_USER={app.name.role}",
        "POSTGRES_PASSWORD=",
    ]
    return "\n".join(lines) + "\n"


def find_replaced(written: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """Find names in .env whose values the containers will not see, because IKOMA gives them others."""
    return [name for name in written if name in given and written[name] not in ("", given[name])]


def escape(values: Mapping[str, str]) -> dict[str, str]:
    """Escape values for a compose file, where `$` begins a variable."""
    return {name: value.replace("$", "$$") for name, value in values.items()}


def find_bad_names(names: Iterable[str]) -> list[str]:
    """Find names that cannot be those of environment variables."""
    return [name for name in names if not NAME.fullmatch(name)]
