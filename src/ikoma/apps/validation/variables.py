"""Findings of variables: those that are not set, and what .env says in vain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.database.variables import (
    DatabaseVariables,
    assign_database_variables,
    explain_switch,
    find_own_databases,
)
from ikoma.apps.environment import dotenv
from ikoma.apps.environment.variables import ENV, VariableFault
from ikoma.apps.resolution.resolver import Resolution
from ikoma.apps.resolution.variable_uses import Use
from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.apps.yaml.violation import Place
from ikoma.compose.model import EMPTY, ComposeModel
from ikoma.ports.databases import Databases

_NOT_SET = re.compile(r'The "(\w+)" variable is not set')
_OF_A_SHELL = frozenset(("HOME", "USER", "PATH", "PWD", "LANG", "SHELL", "HOSTNAME", "LOGNAME", "UID", "GID"))
_NEEDED = frozenset(("image", "ports", "volumes", "env_file", "devices"))
"""Keys of a service in which nothing works that is blank."""


def find_faults(faults: Sequence[VariableFault]) -> list[Finding]:
    """Faults, or doubts, of files of variables."""
    return [Finding(fault.file, fault.line, fault.problem, fault.fix) for fault in faults]


def find_blank(resolution: Resolution) -> tuple[list[Finding], list[Finding]]:
    """Variables that are not set: errors where nothing can be made of a blank, else one warning each."""
    errors, warnings = [], []
    source, every = resolution.source, resolution.uses
    for name in dict.fromkeys(_NOT_SET.findall("\n".join(resolution.warnings))):
        uses = [use for use in every if use.name == name and not use.has_default]
        hashes = [_warn_of_piece(source, use) for use in uses if use.in_hash]
        errors += [finding for finding in dict.fromkeys(hashes) if finding not in errors]
        uses = [use for use in uses if not use.in_hash]
        if needed := next((use for use in uses if _is_needed(use.place)), None):
            errors.append(_warn_of_blank(source, needed))
        elif uses:
            warnings.append(_warn_of_blank(source, uses[0]))
    warnings += _find_blank_contents(resolution)
    defaulted = {use.name: use for use in reversed(every) if use.has_default and not use.is_required}
    for name, use in sorted(defaulted.items()):
        if name in resolution.variables.values or name in ("COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"):
            continue
        if use.is_blank or name in _OF_A_SHELL:
            problem = f"The variable {name} is not set: " + ("it is blank." if use.is_blank else "its default is used.")
            warnings.append(
                _make_finding(
                    source, use, problem, f"Set {name} in .env if it should be another.{_explain_shell(name)}"
                )
            )
    return errors, warnings


def _find_blank_contents(resolution: Resolution) -> Iterator[Finding]:
    """Configs and secrets that are the value of a variable which is not set."""
    for kind, items in (resolution.model or EMPTY).contents.items():
        for name, item in items.items():
            variable = item.get("environment")
            if variable and variable not in resolution.variables.values:
                at = resolution.source.locate(kind, name, "environment")
                problem = f"The {kind[:-1]} {name} is the value of {variable}, which is not set: it is empty."
                yield Finding(*at, problem, f"Set {variable} in .env.", place=f"{kind}.{name}.environment")


def _is_needed(place: Place) -> bool:
    if place[:1] == ("services",) and len(place) > 2:
        key = place[2]
        return key in _NEEDED or (key == "build" and place[3:4] not in (("args",), ("labels",)))
    return place[:1] in (("volumes",), ("include",)) or place[2:3] == ("file",)


def _warn_of_piece(source: Source, use: Use) -> Finding:
    """Warn of a $ that may stand for itself. The warning quotes nothing that follows it."""
    problem = f"{'.'.join(map(str, use.place))} holds a $, and what follows it is read as the name of a variable."
    fix = "If it is meant as it stands, write $$ for each $; if a variable is meant, write ${NAME} and set it in .env."
    return _make_finding(source, use, problem, fix)


def _warn_of_blank(source: Source, use: Use) -> Finding:
    if use.may_be_secret:
        return _warn_of_piece(source, use)
    problem = f"The variable {use.name} is not set and has no default: it is blank."
    fix = f"Set {use.name} in .env, or write ${{{use.name}:-default}}; $$ is a plain $.{_explain_shell(use.name)}"
    return _make_finding(source, use, problem, fix)


def _explain_shell(name: str) -> str:
    return " Variables of a shell or of the server are not seen here." if name in _OF_A_SHELL else ""


def _make_finding(source: Source, use: Use, problem: str, fix: str) -> Finding:
    return Finding(
        use.file, source.find_line_in(use.file, *use.place), problem, fix, place=".".join(map(str, use.place))
    )


def find_missing_names(app: App, written: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that the app's .env.example files ask for, and .env does not have."""
    known = {*written, *dotenv.DATABASE_NAMES}
    for name, file in dotenv.read_expected(app).items():
        if name not in known:
            yield Finding(ENV, None, f"{name} is missing; {file} asks for it.", f"Add {name}= to .env.")


def find_database_variables(
    app: App, source: Source, model: ComposeModel, written: Mapping[str, str], databases: Databases
) -> list[Finding]:
    """Warn of a database that the containers will not see, and of services that keep one of their own."""
    owned = credentials.find(app)
    found = assign_database_variables(model, written)
    if owned is None:
        named = [name for name in dotenv.DATABASE_NAMES if written.get(name)]
        if not named or find_own_databases(model):
            return []
        problem = f".env names a database ({', '.join(named)}), but the app has none on this platform yet."
        return [Finding(ENV, dotenv.find_line(app, named[0]), problem, "Call db.create to get one, or ignore this.")]
    parts = credentials.list_parts(owned, databases.find_endpoint())
    given = {name: parts[part] for gift in found.values() for name, part in gift.names.items()}
    findings = [
        Finding(
            ENV,
            dotenv.find_line(app, name),
            f"{name} is replaced when the containers start.",
            f"They get the app's own database role {owned.role!r}: no app is given the platform's login. "
            "Remove the line, or leave it for running the app elsewhere.",
        )
        for name in dotenv.find_replaced(written, given)
    ]
    findings.sort(key=lambda finding: finding.line or 0)
    return findings + [
        Finding(*source.locate("services", service, "environment"), problem, fix)
        for service, gift in found.items()
        for problem, fix in _explain_gift(service, gift)
    ]


def _explain_gift(service: str, gift: DatabaseVariables) -> Iterator[tuple[str, str]]:
    if gift.own is not None:
        problem = f"{service} gets no variables of the app's database on this platform: {gift.own}."
        doubt = "" if gift.is_database else "That may be right. "
        yield problem, f"{doubt}{explain_switch(service, gift)}"
    elif gift.kept:
        problem = f"{service} sets {', '.join(gift.kept)} itself, and keeps what it set."
        yield problem, "Remove from its environment what the app's database on this platform is to give."
    if gift.replaced:
        problem = (
            f"{service} sets {', '.join(gift.replaced)} itself, and gets the value of `x-ikoma: database` instead."
        )
        yield problem, "Remove it from one of the two."
