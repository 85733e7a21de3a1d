"""Findings of variables: those that are not set, and what .env says in vain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ikoma.apps import credentials, environment
from ikoma.apps.compose_lines import Source
from ikoma.apps.folder import App
from ikoma.apps.validation.finding import Finding
from ikoma.ports import Databases


def find_undefined(app: App, source: Source, warnings: Sequence[str]) -> list[Finding]:
    known = {*environment.read(app), "COMPOSE_PROJECT_NAME"}
    found = []
    named = set()
    for reference in environment.references(source.text):
        if reference.name not in known and reference.default is None:
            named.add(reference.name)
            found.append(_blank(source.name, reference.line, reference.name))
    # Compose also sees the variables in .env itself and in files that this one pulls in.
    for name in re.findall(r'The "(\w+)" variable is not set', "\n".join(warnings)):
        if name not in named:
            line = source.line_with(f"${{{name}") or source.line_with(f"${name}")
            found.append(_blank(source.name if line else ".env", line, name))
    return found


def _blank(file: str, line: int | None, name: str) -> Finding:
    problem = f"The variable {name} is not set and has no default: it would be blank."
    return Finding(file, line, problem, f"Set {name} in .env, or write ${{{name}:-default}}; $$ is a plain $.")


def find_missing_names(app: App) -> Iterator[Finding]:
    known = {*environment.read(app), *environment.DATABASE_NAMES}
    for name, file in environment.expected(app).items():
        if name not in known:
            yield Finding(".env", None, f"{name} is missing; {file} asks for it.", f"Add {name}= to .env.")


def find_replaced(app: App, databases: Databases) -> list[Finding]:
    """What .env says of a database and the containers will not see, and why."""
    written = environment.read(app)
    owned = credentials.find(app)
    if owned is None:
        named = [name for name in environment.DATABASE_NAMES if written.get(name)]
        if not named:
            return []
        problem = f".env names a database ({', '.join(named)}), but the app has none on this platform yet."
        return [Finding(".env", _line_of(app, named[0]), problem, "Call db.create to get one, or ignore this.")]
    given = credentials.variables(owned, databases.endpoint())
    return [
        Finding(
            ".env",
            _line_of(app, name),
            f"{name} is replaced when the containers start.",
            f"They get the app's own database role {owned.role!r}: no app is given the platform's login. "
            "Remove the line, or leave it for running the app elsewhere.",
        )
        for name in environment.replaced(written, given)
    ]


def _line_of(app: App, name: str) -> int | None:
    lines = environment.read_text(app).splitlines()
    pattern = re.compile(rf"\s*(export\s+)?{re.escape(name)}\s*=")
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), None)
