"""Findings of apps.validate on source that the templates for Python and Node would not start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikoma.app_folder import App
from ikoma.apps.source import template
from ikoma.apps.validation.starts import find_starts
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.model import AppName

FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"
EXPRESS = 'const express = require("express");\nconst app = express();\n'


def made(folder: Path, kind: str, files: dict[str, str]) -> App:
    app = App(AppName("shop"), folder / "shop")
    app.path.mkdir()
    template.write(app, kind)
    for name, text in files.items():
        (app.path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (app.path / "src" / name).write_text(text)
    return app


def model(app: App, **more: Any) -> ComposeModel:
    """The web service of a template, resolved as Compose does it."""
    build = {"context": str(app.path / "src"), "dockerfile": "../config/Dockerfile"}
    mount = {"type": "bind", "source": str(app.path / "config/start.py"), "target": "/opt/start.py", "read_only": True}
    web = {"build": build, "volumes": [mount], "environment": {"PORT": "3000"}, **more}
    return parse_model({"services": {"web": web}})


@pytest.mark.parametrize(
    ("kind", "files", "file", "problem"),
    [
        ("python", {"notes.txt": ""}, "src", "Nothing here is understood"),
        ("python", {"main.py": FASTAPI, "requirements.txt": "fastapi\n"}, "src/main.py", "main:app needs a server"),
        (
            "python",
            {"app.py": "app = Flask(__name__)\n", "requirements.txt": "flask\n"},
            "src/app.py",
            "development server",
        ),
        ("python", {"main.py": "print(1)\n", "Pipfile": ""}, "src/Pipfile", "It is not read"),
        ("node", {"readme.md": ""}, "src", "Nothing here is understood"),
        ("node", {"app.js": EXPRESS + "app.listen(4000);\n"}, "src/app.js", "It listens at 4000, and PORT is 3000"),
        ("node", {"app.js": EXPRESS + 'app.listen(3000, "localhost");\n'}, "src/app.js", "It listens on localhost"),
        ("node", {"app.js": EXPRESS + "module.exports = app;\n"}, "src/app.js", "nothing listens"),
        ("node", {"server.js": "", "yarn.lock": ""}, "src/yarn.lock", "It is not read"),
    ],
)
def test_what_is_not_understood_is_told(
    tmp_path: Path, kind: str, files: dict[str, str], file: str, problem: str
) -> None:
    app = made(tmp_path, kind, files)
    (finding,) = find_starts(app, model(app))
    assert finding.file == file
    assert problem in finding.problem
    assert finding.fix


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("python", {"main.py": FASTAPI, "requirements.txt": "fastapi[standard]\n"}),
        ("python", {"main.py": FASTAPI, "pyproject.toml": '[project]\ndependencies = ["fastapi", "uvicorn"]\n'}),
        ("python", {"main.py": "print('no framework')\n"}),
        ("node", {"server.js": EXPRESS + "app.listen(process.env.PORT || 4000);\n"}),
        ("node", {"package.json": '{"scripts": {"start": "node ./bin/www"}}', "app.js": EXPRESS}),
        ("node", {"app.js": EXPRESS + "app.listen(3000);\n"}),
    ],
)
def test_what_is_understood_is_passed_in_silence(tmp_path: Path, kind: str, files: dict[str, str]) -> None:
    app = made(tmp_path, kind, files)
    assert find_starts(app, model(app)) == []


def test_a_service_with_a_command_of_its_own_is_not_looked_at(tmp_path: Path) -> None:
    app = made(tmp_path, "python", {})
    assert find_starts(app, model(app, command=["python", "-m", "shop"])) == []


def test_links_and_what_is_no_file_are_not_read(tmp_path: Path) -> None:
    app = made(tmp_path, "python", {})
    (tmp_path / "main.py").write_text(FASTAPI)
    (app.path / "src" / "main.py").symlink_to(tmp_path / "main.py")
    (app.path / "src" / "package").symlink_to("/")
    (finding,) = find_starts(app, model(app))
    assert "Nothing here is understood" in finding.problem
