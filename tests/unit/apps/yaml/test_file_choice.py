"""Which compose files are an app's: those that `docker compose` reads in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.yaml.file_choice import choose
from ikoma.apps.yaml.reading import gather
from ikoma.errors import FileMissing
from ikoma.model import AppName

TEXT = "services: {web: {image: x}}\n"


def app_of(folder: Path, *names: str, env: str = "") -> App:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TEXT)
    if env:
        (folder / ".env").write_text(env)
    return App(AppName("shop"), folder)


@pytest.mark.parametrize(
    ("there", "env", "read", "passed_over"),
    [
        (["docker-compose.yml"], "", ["docker-compose.yml"], []),
        (["docker-compose.yaml"], "", ["docker-compose.yaml"], []),
        (["compose.yml", "docker-compose.yml"], "", ["compose.yml"], ["docker-compose.yml"]),
        (["compose.yaml", "compose.yml"], "", ["compose.yaml"], ["compose.yml"]),
        (
            ["docker-compose.yml", "compose.override.yaml", "docker-compose.override.yml"],
            "",
            ["docker-compose.yml", "compose.override.yaml"],
            ["docker-compose.override.yml"],
        ),
        (["compose.yaml", "docker-compose.override.yml"], "", ["compose.yaml", "docker-compose.override.yml"], []),
        (["compose.yaml", "a/b.yml", "c.yml"], "COMPOSE_FILE=a/b.yml:c.yml\n", ["a/b.yml", "c.yml"], []),
        (["a.yml", "b.yml"], "COMPOSE_FILE='a.yml;b.yml'\nCOMPOSE_PATH_SEPARATOR=;\n", ["a.yml", "b.yml"], []),
        (["compose.yaml", "compose.override.yml", "a.yml"], "COMPOSE_FILE=./a.yml\n", ["a.yml"], []),
        (["compose.yaml"], "COMPOSE_FILE=\n", ["compose.yaml"], []),
    ],
)
def test_the_files_are_chosen_as_compose_chooses_them(
    there: list[str], env: str, read: list[str], passed_over: list[str], tmp_path: Path
) -> None:
    gathered = gather(app_of(tmp_path, *there, env=env))
    assert gathered.violations == []
    assert list(gathered.compose_files) == read
    assert [notice.file for notice in gathered.notices] == passed_over


def test_a_file_that_is_named_and_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match=r"deploy/live\.yml is not there, and COMPOSE_FILE in \.env names it"):
        gather(app_of(tmp_path, "compose.yaml", env="COMPOSE_FILE=deploy/live.yml\n"))


def test_a_compose_file_in_a_folder_is_found_for_the_hint(tmp_path: Path) -> None:
    app = app_of(tmp_path, "src/docker/compose.yml", "src/node_modules/x/compose.yaml")
    with pytest.raises(FileMissing) as missing:
        choose(app, {})
    assert missing.value.hint == "COMPOSE_FILE=src/docker/compose.yml in .env makes that file the app's."
