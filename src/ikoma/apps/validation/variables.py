"""Findings of variables: those that are not set, and what .env says in vain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ikoma.apps import credentials, environment
from ikoma.apps.compose_lines import Source
from ikoma.apps.database_variables import Gift, gifts, own_databases, to_use_the_platforms
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


def find_database_variables(app: App, source: Source, model: Mapping[str, Any], databases: Databases) -> list[Finding]:
    """What is said of a database that the containers will not see, and which services keep one of their own."""
    written, owned = environment.read(app), credentials.find(app)
    found = gifts(model, written)
    if owned is None:
        named = [name for name in environment.DATABASE_NAMES if written.get(name)]
        if not named or own_databases(model):
            return []
        problem = f".env names a database ({', '.join(named)}), but the app has none on this platform yet."
        return [Finding(".env", _line_of(app, named[0]), problem, "Call db.create to get one, or ignore this.")]
    parts = credentials.parts(owned, databases.endpoint())
    given = {name: parts[part] for gift in found.values() for name, part in gift.names.items()}
    findings = [
        Finding(
            ".env",
            _line_of(app, name),
            f"{name} is replaced when the containers start.",
            f"They get the app's own database role {owned.role!r}: no app is given the platform's login. "
            "Remove the line, or leave it for running the app elsewhere.",
        )
        for name in environment.replaced(written, given)
    ]
    return findings + [
        Finding(*source.at("services", service, "environment"), problem, fix)
        for service, gift in found.items()
        for problem, fix in _what_it_gets(service, gift)
    ]


def _what_it_gets(service: str, gift: Gift) -> Iterator[tuple[str, str]]:
    if gift.own is not None:
        problem = f"{service} gets no variables of the app's database on this platform: {gift.own}."
        yield problem, f"That may be right. {to_use_the_platforms(service)}"
    elif gift.kept:
        problem = f"{service} sets {', '.join(gift.kept)} itself, and keeps what it set."
        yield problem, "Remove from its environment what the app's database on this platform is to give."
    if gift.replaced:
        problem = (
            f"{service} sets {', '.join(gift.replaced)} itself, and gets the value of `x-ikoma: database` instead."
        )
        yield problem, "Remove it from one of the two."


def _line_of(app: App, name: str) -> int | None:
    lines = environment.read_text(app).splitlines()
    pattern = re.compile(rf"\s*(export\s+)?{re.escape(name)}\s*=")
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), None)
