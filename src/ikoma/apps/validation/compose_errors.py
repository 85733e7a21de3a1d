"""Findings made of what Compose says of a file that it refuses."""

from __future__ import annotations

import re

from ikoma.apps.compose_lines import Source
from ikoma.apps.validation.finding import Finding

_EXTRA = re.compile(r"[Aa]dditional propert(?:y|ies) '?([\w.-]+)'?")


def find_compose_error(source: Source, message: str) -> Finding:
    line = None
    if found := re.search(r"\bline:? (\d+)|\bat L(\d+)\.C\d+", message):
        line = int(found[1] or found[2])
    elif found := re.search(r"\b(services|networks|volumes|configs|secrets)\.([\w.-]+)", message):
        line = source.line(found[1], *found[2].strip(".").split("."))
        if extra := _EXTRA.search(message):
            line = source.line(found[1], *found[2].strip(".").split("."), extra[1]) or line
    elif found := re.search(r'\bservice "?([\w.-]+)"?', message):
        line = source.line("services", found[1])
    elif found := _EXTRA.search(message):
        line = source.line(found[1])
    problem = _sentence(message.replace(" false schema", " is an unknown key"))
    return Finding(source.name, line, problem, _compose_fix(message))


def _compose_fix(message: str) -> str:
    if "dditional propert" in message or "false schema" in message:
        return "Correct the key's name or indentation, or remove it."
    if "env file" in message:
        return "Create the file (apps.env.example gives a start), or mark it `required: false`."
    if "neither an image nor a build" in message:
        return "Give the service an image or a build."
    if "required variable" in message:
        return "Set the variable in .env."
    return "Correct the file; `docker compose config` shows the same error."


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
