"""Findings made of what Compose says of a file that it refuses."""

from __future__ import annotations

import re

from ikoma.apps.resolution.remaining_errors import Refusal
from ikoma.apps.validation.finding import Finding

_PLACE = re.compile(r"(services|networks|volumes|configs|secrets)\b")
_FILE = re.compile(r"^validating [^:]+: *")
_DECODED = re.compile(r"^'services\[([^\]]+)\](\S*)' ")
_UNDEFINED = re.compile(r'undefined (service|network|volume|config|secret) "?([^":\s]+)"?')
_VARIABLE = re.compile(r"required variable (\w+)")
_NOWHERE = "Correct the file; `docker compose config` shows the same error."
_FIXES = (
    (re.compile(r"^additional propert"), "Indent it below a `services:` line where it is one, or remove it."),
    (re.compile(r"dditional propert|unknown key"), "Correct the key's name or indentation, or remove it."),
    (re.compile(r"env file"), "Create the file (apps.env.example gives a start), or mark it `required: false`."),
    (re.compile(r"no such file"), "Bring the file into the app's folder, or remove the line."),
    (re.compile(r"neither an image nor a build"), "Give the service an image or a build."),
    (re.compile(r"must be a string"), "Put the value in quotes."),
    (re.compile(r"must be a mapping"), "Write it as `key: value` lines, indented below this one."),
    (re.compile(r"invalid interpolation"), "Close the variable with }, or write $$ for a plain $."),
    (re.compile(r"dependency cycle"), "Take one of these out of depends_on."),
    (re.compile(r"mutually exclusive|distinct values|conflicting"), "Remove one of the two."),
    (re.compile(r"[dD]uration"), "Write a time with its unit, such as 30s or 5m."),
    (re.compile(r"invalid size"), "Write a size such as 512m or 2g."),
    (re.compile(r"[pP]ort\b"), "Write a port as a number, or HOST:CONTAINER such as 8080:80."),
    (re.compile(r"too many colons|invalid spec"), "Write a mount as SOURCE:TARGET or SOURCE:TARGET:ro."),
    (re.compile(r"healthcheck\.test"), "Begin the list with CMD or CMD-SHELL."),
)


def find_compose_error(refusal: Refusal) -> Finding:
    text = _DECODED.sub(r"services.\1\2: ", _FILE.sub("", refusal.message.strip()))
    text = text.replace(" false schema", " is an unknown key").removesuffix(": invalid compose project")
    said = text if _PLACE.match(text) else text[:1].upper() + text[1:]
    return Finding(*refusal.at, f"{said.rstrip('.')}.", _fix(text))


def _fix(message: str) -> str:
    if found := _UNDEFINED.search(message):
        kind, name = found[1], found[2]
        also = "" if kind == "service" else f" at the top level: `{kind}s: {{{name}: {{}}}}`"
        return f"Define the {kind} {name}{also}, or remove it here."
    if found := _VARIABLE.search(message):
        return f"Set {found[1]} in .env."
    return next((fix for pattern, fix in _FIXES if pattern.search(message)), _NOWHERE)
