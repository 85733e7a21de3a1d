"""The templates and source as it is found: what is built again, and what is told beforehand."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.frameworks.packages import write_wheels
from tests.support import Server

FLASK = """from flask import Flask

app = Flask(__name__)


@app.get("/")
def page():
    return "{version}"
"""
NODE = """const http = require("http");
http.createServer((request, response) => response.end("{version}")).listen(process.env.PORT);
"""


def layers(app: str, release: str) -> list[str]:
    argv = ["docker", "image", "inspect", f"ikoma-app/{app}/web:{release}"]
    found: list[str] = json.loads(subprocess.check_output(argv, text=True))[0]["RootFS"]["Layers"]
    return found


def test_a_change_of_the_source_installs_no_packages_again(server: Server) -> None:
    app = {"appName": "layers-python"}
    server.do("apps.init", {**app, "template": "python"})
    source = server.apps / "layers-python" / "src"
    (source / "requirements.txt").write_text("flask\n")
    write_wheels(source / "requirements.txt", source / "wheels")
    made = []
    for version in ("one", "two"):
        (source / "app.py").write_text(FLASK.format(version=version))
        made.append(layers("layers-python", server.do("deploy.up", app)["details"]["release"]))
    same = [first for first, second in zip(*made, strict=True) if first == second]
    changed = [second for first, second in zip(*made, strict=True) if first != second]
    assert len(changed) <= 2, made  # the source, and what is made of it
    assert made[0][: len(same)] == same
    server.do("deploy.down", app)


@pytest.mark.parametrize(
    ("template", "files", "problem"),
    [
        ("python", {"app.py": FLASK, "requirements.txt": "flask\n"}, "development server"),
        ("python", {"notes.txt": ""}, "Nothing here is understood"),
        ("node", {"app.js": NODE.replace("process.env.PORT", "4000")}, "It listens at 4000, and PORT is 3000"),
    ],
)
def test_validate_tells_what_of_the_source_is_not_understood(
    server: Server, template: str, files: dict[str, str], problem: str
) -> None:
    name = f"told-{template}-{len(problem)}"
    server.do("apps.init", {"appName": name, "template": template})
    for path, text in files.items():
        (server.apps / name / "src" / path).write_text(text)
    report = server.do("apps.validate", {"appName": name})
    assert report["errors"] == []
    (found,) = [item for item in report["warnings"] if problem in item["problem"]]
    assert found["file"].startswith("src")
    assert found["fix"]
