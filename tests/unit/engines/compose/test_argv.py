from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.engines.compose import argv
from ikoma.model import AppName

APP = AppName("my-app")
FOLDER = Path("/srv/apps/my-app")
FILE = FOLDER / ".ikoma/releases/one/compose.json"
PROGRAM = str(argv.find_compose_program())
PROJECT = ["-p", "my-app", "--project-directory", "/srv/apps/my-app", "-f", str(FILE)]
QUIET = ["--env-file", "/dev/null"]


def test_config_reads_the_files_it_is_given_from_the_folder_of_the_first() -> None:
    own, over, env = FOLDER / "deploy/compose.yaml", FOLDER / "deploy/over.yaml", FOLDER / ".env"
    assert argv.print_model(APP, [own, over], [env]) == [
        *[PROGRAM, "-p", "my-app", "--project-directory", f"{FOLDER}/deploy", "-f", str(own), "-f", str(over)],
        *["--env-file", str(env), "config", "--format", "json"],
    ]


def test_building_and_pulling_name_their_services() -> None:
    command = [PROGRAM, "--progress", "json", *PROJECT, *QUIET]
    assert argv.build(APP, FOLDER, FILE, ["web", "worker"]) == [*command, "build", "--", "web", "worker"]
    assert argv.pull(APP, FOLDER, FILE, ["db"]) == [*command, "pull", "--", "db"]


def test_creating_replaces_nothing_and_fetches_nothing() -> None:
    assert argv.create(APP, FOLDER, FILE, {"web": 2, "db": 1}) == [
        *[PROGRAM, "--progress", "json", *PROJECT, *QUIET],
        *["create", "--no-build", "--no-recreate", "--pull", "never"],
        *["--scale", "web=2", "--scale", "db=1"],
    ]


def test_stopping_needs_no_file() -> None:
    assert argv.stop(APP) == [PROGRAM, "--progress", "json", "-p", "my-app", "stop"]


@pytest.mark.parametrize(("volumes", "more"), [(False, []), (True, ["--volumes"])])
def test_down_removes_volumes_only_when_asked(volumes: bool, more: list[str]) -> None:
    assert argv.take_down(APP, volumes=volumes) == [
        *[PROGRAM, "--progress", "json", "-p", "my-app", "down", "--remove-orphans", *more]
    ]


def test_the_program_is_the_one_that_came_with_ikoma() -> None:
    assert argv.find_compose_program().name == "docker-compose"
    assert argv.find_compose_program() in [Path(PROGRAM), *argv._of_the_package()]


def test_every_setting_of_compose_is_taken_but_profiles() -> None:
    environment = argv.make_environment("unix:///x")
    assert environment["DOCKER_HOST"] == "unix:///x"
    assert "COMPOSE_PROFILES" not in environment
    assert {name for name, value in environment.items() if value} == {
        "DOCKER_HOST",
        "COMPOSE_ANSI",
        "COMPOSE_DISABLE_ENV_FILE",
        "COMPOSE_EXPERIMENTAL_GIT_REMOTE",
        "COMPOSE_EXPERIMENTAL_OCI_REMOTE",
        "COMPOSE_IGNORE_ORPHANS",
        "COMPOSE_MENU",
        "COMPOSE_PARALLEL_LIMIT",
        "COMPOSE_REMOVE_ORPHANS",
    }
