"""Answers to a compose file that cannot be read: never a part of a secret, which nobody would find again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.environment import nesting
from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy import model as policy
from ikoma.apps.policy.rules import word_problem
from ikoma.apps.resolution.resolver import Resolution, Resolutions, leave_out_parts
from ikoma.apps.validation.variables import find_blank
from ikoma.apps.yaml.violation import quote
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.runtime import assemble
from ikoma.kernel.redaction.redaction import find_nothing, scrub
from ikoma.model import AppName, Secret
from tests.support import DOCKER_HOST

pytestmark = pytest.mark.engine

TOKEN = "Zq9kLm2PwX7vB4nT8sR1dF6gH3jY5cA0eU"


def said(folder: Path, service: str, *files: tuple[str, str]) -> str:
    """All that is said of an app with this in its service, once whole secrets are taken out."""
    app = App(AppName("shop"), folder)
    (folder / "docker-compose.yml").write_text(f"services:\n  web:\n    {service}\n")
    app.env_file.write_text(f"APP_TOKEN={TOKEN}\n")
    for name, text in files:
        (folder / name).write_text(text)

    async def resolve() -> list[str]:
        engine = ComposeEngine(DOCKER_HOST, find_nothing)
        try:
            resolution = await Resolutions(assemble(engine)).resolve(app)
        finally:
            await engine.close()
        if resolution.model is None:
            return [resolution.error or ""]
        found = policy.check(resolution.model, HostFacts(app=app, registries=("docker.io",), pinned=True))
        return [word_problem(violation) for violation in found]

    problems = asyncio.run(resolve())
    assert problems
    return scrub("\n".join(problems), [Secret(TOKEN)])


def shows_a_part(text: str) -> bool:
    return any(TOKEN[begin : begin + 6].lower() in text.lower() for begin in range(len(TOKEN) - 5))


@pytest.mark.parametrize("size", [0, 25, 40, 45, 55, 70, 130, 200])
@pytest.mark.parametrize(
    "line",
    [
        'image: "sha256:FILL${APP_TOKEN}"',
        'image: "other.example/FILL${APP_TOKEN}"',
        "image: a\n    network_mode: FILL${APP_TOKEN}",
        "image: a\n    pid: FILL${APP_TOKEN}",
        "image: a\n    userns_mode: FILL${APP_TOKEN}",
        "image: a\n    security_opt: ['FILL${APP_TOKEN}']",
        'image: a\n    labels: ["ikoma.FILL${APP_TOKEN}=a"]',
        'image: a\n    ports: [{target: 80, published: "FILL${APP_TOKEN}"}]',
        "image: a\n    volumes: [{type: image, source: 'sha256:FILL${APP_TOKEN}', target: /a}]",
        "build: {context: ., args: {BUILDKIT_SYNTAX: 'FILL${APP_TOKEN}'}, dockerfile_inline: FROM a}",
        "build: {context: ., additional_contexts: {a: 'https://FILL${APP_TOKEN}'}}",
    ],
)
def test_what_the_policy_quotes_shows_no_part_of_a_secret(line: str, size: int, tmp_path: Path) -> None:
    text = said(tmp_path, line.replace("FILL", "1" * size), ("Dockerfile", "FROM scratch\n"))
    assert not shows_a_part(text), text


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('mem_limit: "${APP_TOKEN}"', 'parsing "***"'),
        ('mem_limit: "12${APP_TOKEN}"', 'parsing "12***"'),
        ('shm_size: "${APP_TOKEN}kk"', 'parsing "***"'),
        ("volumes: [{type: tmpfs, target: /a, tmpfs: {size: '${APP_TOKEN}'}}]", 'parsing "***"'),
        ('ports: ["80/${APP_TOKEN}"]', "invalid proto: ***"),
        ('cpus: "${APP_TOKEN}"', 'parsing "***"'),
        ('depends_on: ["${APP_TOKEN}"]', 'service "web" depends on undefined service "***"'),
    ],
)
def test_what_compose_quotes_shows_no_part_of_a_secret(line: str, what: str, tmp_path: Path) -> None:
    text = said(tmp_path, f"image: a\n    {line}")
    assert what in text
    assert not shows_a_part(text), text


@pytest.mark.parametrize(
    "message",
    [
        'service "web" depends on undefined service "db": invalid compose project',
        "services.web.mem_limit: 'Zq9kL' is no size",  # five characters could be anything
        "a 'kLm2Pw",
        "",
    ],
)
def test_a_message_is_left_as_it_is_where_it_shows_nothing(message: str) -> None:
    other = "another-secret-of-the-app"
    assert leave_out_parts(message, [other]) == message


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("read 'kLm2Pw' here", "read '***' here"),
        ('read "Y5cA0eU-and-more"', 'read "***-and-more"'),
        (f'read "{TOKEN[9:]}and{TOKEN[:9]}"', 'read "***and***"'),
        (f'read "{TOKEN[9:]}{TOKEN[:9]}"', 'read "***"'),
        ("it ends with Zq9kLm", "it ends with ***"),
    ],
)
def test_parts_are_hidden_where_a_value_was_taken_apart(message: str, left: str) -> None:
    assert leave_out_parts(message, ["short", TOKEN]) == left


def test_a_text_is_quoted_whole_or_not_at_all() -> None:
    assert quote("a" * 150) == "a" * 150
    assert quote("a" * 151) == "a text of 151 characters"


def examined(folder: Path, env: str, compose: str) -> Resolution:
    """Examine an app with this .env and compose file."""
    app = App(AppName("shop"), folder)
    (folder / "docker-compose.yml").write_text(compose)
    app.env_file.write_text(env)

    async def resolve() -> Resolution:
        engine = ComposeEngine(DOCKER_HOST, find_nothing)
        try:
            return await Resolutions(assemble(engine)).resolve(app)
        finally:
            await engine.close()

    return asyncio.run(resolve())


DEEP = "${B:-" * 3000 + "x" + "}" * 3000
PLAIN = "services:\n  web:\n    image: x\n"


def test_variables_too_deep_in_each_other_are_refused_before_compose_reads_them(tmp_path: Path) -> None:
    found = examined(tmp_path, "", f"{PLAIN}    command: '{DEEP}'\n")
    assert found.resolved is None
    [violation] = found.violations
    assert (violation.rule, violation.place) == ("too-large", ("services", "web", "command"))
    assert violation.instead == nesting.FIX

    found = examined(tmp_path, f"A=1\nB={DEEP}\n", PLAIN)
    assert found.resolved is None
    assert [(fault.line, fault.name) for fault in found.faults] == [(2, "B")]
    assert "too many levels deep" in found.faults[0].problem

    for key in ("env_file", "label_file"):
        (tmp_path / "more").write_text(f"A=1\nB={DEEP}\n")
        found = examined(tmp_path, "", f"{PLAIN}    {key}: [more]\n")
        assert [(item.rule, item.place) for item in found.violations] == [("too-large", ("services", "web", key, 0))]

    many = "".join(f"A{number}='${{B:-'\nC{number}=${{B:-1}}\n" for number in range(50))
    assert examined(tmp_path, many, PLAIN).model is not None, "they do not stand in each other"
    found = examined(tmp_path, "A=1\n", f"{PLAIN}    command: '{'${B:-' * 19}$${{{'}' * 19}'\n")
    assert found.model is not None


def test_of_a_compose_file_outside_nothing_but_that_is_said(tmp_path: Path) -> None:
    for outside in ("../x/compose.yml", "/etc/compose.yml", ".."):
        found = examined(tmp_path, f"COMPOSE_FILE={outside}\n", PLAIN)
        assert [violation.what for violation in found.violations] == [f"{outside} is outside the app's folder."]


def test_a_secret_that_is_the_value_of_a_variable_which_is_not_set_is_told(tmp_path: Path) -> None:
    compose = f"{PLAIN}    secrets: [key]\nsecrets:\n  key:\n    environment: API_TOKEN\n"
    [warning] = find_blank(examined(tmp_path, "", compose))[1]
    assert (warning.line, warning.place) == (7, "secrets.key.environment")
    assert "API_TOKEN, which is not set" in warning.problem
    assert find_blank(examined(tmp_path, "API_TOKEN=\n", compose)) == ([], [])
