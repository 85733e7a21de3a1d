"""`ikoma up` that notes what it asks for: a line in the file `asked` of IKOMA_STATE for each question.

A question is one of Compose, of Docker, of PostgreSQL or of the policy; `open PATH` is a file of an app.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from ikoma.apps.database import migration_files
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.resolution import resolver
from ikoma.apps.routing.routes import Routes
from ikoma.apps.yaml import form
from ikoma.cli import run
from ikoma.engines.compose import runtime
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.docker import ownership
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.kernel.redaction.redaction import Scrubber
from ikoma.postgres.app_sessions import AppSessions
from ikoma.postgres.backup import dump
from ikoma.postgres.migrations import sending

COMMAND = (sys.executable, "-P", str(Path(__file__).resolve()), "up")
FILE = "asked"
QUESTIONS: dict[str, tuple[Any, str]] = {
    "resolve": (runtime, "resolve"),
    "read YAML": (form, "read"),
    "parse": (resolver, "parse_model"),
    "read a migration": (migration_files, "_read"),
    "judge": (Policy, "judge"),
    "judge what is made": (Policy, "require_fixed"),
    "list volumes and networks": (DockerApi, "list_resources"),
    "list own networks": (ComposeEngine, "list_networks"),
    "remove a network": (ComposeEngine, "remove_network"),
    "read a container's files": (ownership, "_read_file"),
    "wait for old requests": (Routes, "drain"),
    "log in for the ledger": (AppSessions, "_log_in"),
    "connect for a migration": (sending, "connected"),
    "connect for a backup": (dump, "connected"),
    "redact": (Scrubber, "scrub_json"),
}


def note(question: str) -> None:
    with suppress(FileNotFoundError), (Path(os.environ["IKOMA_STATE"]) / FILE).open("a") as asked:  # before a start
        asked.write(f"{question}\n")


def noting(question: str, ask: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(ask)
    def noted(*arguments: Any, **named: Any) -> Any:
        note(question)
        return ask(*arguments, **named)

    return noted


def note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and str(arguments[0]).startswith(os.environ["APPS_ROOT"]):
        note(f"open {arguments[0]}")


if __name__ == "__main__":
    for question, (place, name) in QUESTIONS.items():
        setattr(place, name, noting(question, getattr(place, name)))
    sys.addaudithook(note_opened)
    run()
