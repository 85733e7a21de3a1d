"""Compose's words on a file that it refuses become a sentence and the smallest change."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.apps.resolution.remaining_errors import Refusal
from ikoma.apps.validation.compose_errors import find_compose_error

FOLDER = Path("/srv/apps/shop")


@pytest.mark.parametrize(
    ("message", "problem", "fix"),
    [
        (
            "error while interpolating services.web.environment.A: required variable A is missing a value: say it",
            "The variable A is required, and has no value: say it.",
            "Set A in .env.",
        ),
        (
            "env file /srv/apps/shop/web.env not found: stat /srv/apps/shop/web.env: no such file or directory",
            "There is no file web.env.",
            "Create the file",
        ),
        ("services.web.volumes must be a array", "services.web.volumes takes a list.", "Write a list"),
        (
            "services.web.command must be a null",
            "services.web.command takes text, or a list",
            "Put the value in quotes",
        ),
        (
            'error while interpolating services.web.cpus: failed to cast: strconv.ParseFloat: parsing "a"',
            "services.web.cpus takes a number.",
            "Write a number.",
        ),
        (
            "error while interpolating services.web.init: failed to cast to expected type: invalid boolean: maybe",
            "services.web.init takes true or false.",
            "Write true or false.",
        ),
        ("services.web.enviroment false schema", "services.web.enviroment is", "Write `environment` instead of"),
        ("services.web.memory false schema", "services.web.memory is an", "Write `mem_limit` instead of `memory`."),
        ("services.web.TZ false schema", "services.web.TZ is an unknown key.", "Indent it below `environment:`."),
        ("services.web.colour false schema", "services.web.colour is an unknown key.", "Correct the key's name"),
        ("additional properties 'service' not allowed", "The file has no key service.", "Write `services` instead"),
        ("additional properties 'shop' not allowed", "The file has no key shop.", "Indent it below a `services:`"),
        ("empty compose file", "The file has no services.", "Write `services:`, below it a name such as `web:`"),
        ('service "web" refers to undefined secret k', 'Service "web" refers', "`secrets: {k: {file: ./k}}`"),
        ("something new", "Something new.", "Correct the file"),
    ],
)
def test_a_message_becomes_a_sentence_and_the_smallest_change(message: str, problem: str, fix: str) -> None:
    found = find_compose_error(Refusal(message, ("compose.yml", 3)), FOLDER)
    assert (found.file, found.line) == ("compose.yml", 3)
    assert problem in found.problem
    assert fix in found.fix
    assert str(FOLDER) not in str(found)
