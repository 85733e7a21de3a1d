"""One answer tells all that is wrong, with its file and line: what Compose refuses hides nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy import model as policy
from ikoma.apps.resolution.remaining_errors import Remainder
from ikoma.apps.resolution.resolver import Resolutions
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.runtime import assemble
from ikoma.kernel.redaction.redaction import find_nothing
from ikoma.model import AppName
from tests.support import DOCKER_HOST

pytestmark = pytest.mark.engine


def remainder(folder: Path, **files: str) -> Remainder:
    app = App(AppName("shop"), folder)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    async def look() -> Remainder:
        engine = ComposeEngine(DOCKER_HOST, find_nothing)
        try:
            resolutions = Resolutions(assemble(engine))
            resolution = await resolutions.resolve(app)
            assert resolution.model is None
            return await resolutions.find_remainder(app, resolution)
        finally:
            await engine.close()

    return asyncio.run(look())


def said(found: Remainder) -> list[tuple[str, int | None]]:
    return [refusal.at for refusal in found.refusals]


AFTER = "\n  bad: {image: x, privileged: true}\n"


@pytest.mark.parametrize(
    ("service", "line"),
    [
        ("image: x\n    colour: red", 4),
        ("restart: always", 2),
        ("image: x\n    depends_on: [db]", 4),
        ("image: x\n    depends_on: {db: {condition: service_started}}", 4),
        ("image: x\n    networks: [gone]", 4),
        ("image: x\n    volumes: ['./a:/a', 'gone:/d']", 4),
        ("image: x\n    secrets: [gone]", 4),
        ("image: x\n    network_mode: service:gone", 4),
        ("image: x\n    ports:\n      - 80:80\n      - a:b", 6),
        ("image: x\n    mem_limit: much", 4),
        ("image: x\n    healthcheck:\n      interval: 5", 5),
        ("image: x\n    healthcheck:\n      interval: 5x", 5),
        ("image: x\n    healthcheck:\n      test: [curl, x]", 5),
        ("image: x\n    environment:\n      A: [1]", 5),
        ("image: x\n    env_file: gone.env", 4),
        ("image: x\n    deploy:\n      replicas: two", 5),
        ("image: ${A", 3),
        ("extends: {service: gone}", 3),
        ("extends: {file: gone.yml, service: a}", 3),
        ("image: x\n    network_mode: none\n    networks: [default]", 5),
        ("image: x\n    volumes: ['/d:/e:zz:f']", 4),
        ("image: x\n    container_name: a", 4),
        ("image", 2),
    ],
)
def test_what_compose_refuses_has_its_line_and_hides_nothing(service: str, line: int, tmp_path: Path) -> None:
    web = f"  web: {service}" if "\n" not in service and ":" not in service else f"  web:\n    {service}"
    found = remainder(tmp_path, **{"docker-compose.yml": f"services:\n{web}{AFTER}"})
    assert said(found) == [("docker-compose.yml", line)], found.refusals
    assert found.model is not None
    rules = {violation.rule for violation in policy.check(found.model, HostFacts(app=App(AppName("shop"), tmp_path)))}
    assert "privileged" in rules


def test_all_mistakes_of_several_files_are_told_at_once(tmp_path: Path) -> None:
    found = remainder(
        tmp_path,
        **{
            "compose.yaml": (
                "include: [db.yml]\nservices:\n  web:\n    image: x\n    colour: red\n"
                "    env_file: [../out.env, gone.env]\n"
                "    extends: {file: base.yml, service: app}\n    command: ${NEEDED:?say it}\n"
            ),
            "compose.override.yml": "services:\n  web:\n    depends_on: [nobody]\n    shape: round\n    pid: host\n",
            "db.yml": "services:\n  db:\n    image: x\n    size: large\n",
            "base.yml": "services:\n  app:\n    image: x\n    weight: 5\n",
        },
    )
    assert [(violation.file, violation.rule) for violation in found.violations] == [("compose.yaml", "reads-outside")]
    assert sorted(said(found), key=str) == [
        ("base.yml", 4),
        ("compose.override.yml", 3),
        ("compose.override.yml", 4),
        ("compose.yaml", 5),
        ("compose.yaml", 6),
        ("compose.yaml", 8),
        ("db.yml", 4),
    ]
    assert found.model is not None
    assert found.source.locate("services", "web", "pid") == ("compose.override.yml", 5)


def test_what_is_missing_because_it_was_taken_out_is_no_mistake(tmp_path: Path) -> None:
    text = "include: [gone.yml]\nservices:\n  web: {image: x, depends_on: [db], networks: [inner]}\n"
    found = remainder(tmp_path, **{"docker-compose.yml": text})
    assert said(found) == [("docker-compose.yml", 1)]
    assert found.model is not None
    assert not found.is_whole


def test_a_service_that_would_extend_one_of_a_refused_file_is_not_said_to_extend_itself(tmp_path: Path) -> None:
    text = "services:\n  web:\n    extends: {file: ../other/compose.yml, service: web}\n    colour: red\n"
    found = remainder(tmp_path, **{"docker-compose.yml": text})
    assert [violation.place for violation in found.violations] == [("services", "web", "extends", "file")]
    assert not any("ircular" in refusal.message for refusal in found.refusals)
    assert said(found) == [("docker-compose.yml", 4)]


@pytest.mark.parametrize("kind", ["configs", "secrets"])
def test_a_file_that_is_refused_hides_nothing_of_what_uses_it(tmp_path: Path, kind: str) -> None:
    build = "build: {context: ., network: host, secrets: [k]}" if kind == "secrets" else "image: x\n    configs: [k]"
    text = f"services:\n  web:\n    {build}\n    privileged: true\n{kind}: {{k: {{file: /etc/shadow}}}}\n"
    found = remainder(tmp_path, **{"docker-compose.yml": text})
    assert [violation.place for violation in found.violations] == [(kind, "k", "file")]
    assert found.refusals == []
    assert found.model is not None
    rules = {item.rule for item in policy.check(found.model, HostFacts(app=App(AppName("shop"), tmp_path)))}
    assert rules >= ({"privileged", "build-privileges"} if kind == "secrets" else {"privileged"})
