"""Findings of what the templates for Python and Node start: what they do not understand of an app's source.

They count where a service is built and started as the template has it; whoever says the command is not looked at.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.apps.templates.python.config import start as python
from ikoma.apps.validation.finding import Finding
from ikoma.compose.model import ComposeModel, Service
from ikoma.errors import IkomaError

_DOCKERFILE = Path("config/Dockerfile")
_STARTER = "config/start.py"
_PYTHON_CMD = '"/opt/start.py"'
_NODE_CMD = "Nothing to start in src/"
_MOST_ENTRIES = 1000
_MOST_BYTES = 4 << 20
_PYTHON_READ = re.compile(
    r"Procfile|requirements[^/]*\.txt|requirements/[^/]+\.txt|pyproject\.toml|[^/]+(?:/[^/]+){0,2}\.py"
)
_NODE_READ = re.compile(r"package\.json|(?:(?:src|bin|lib|app|server)/)?[^/]+\.[cm]?[jt]s|bin/www")
_NOT_READ = {
    "Pipfile": "`pipenv requirements > requirements.txt` writes one.",
    "environment.yml": "Write the packages into requirements.txt.",
    "setup.py": "Write the packages into requirements.txt.",
    "poetry.lock": "`poetry export -o requirements.txt` writes one.",
}
_NODE_MAIN = tuple(
    f"{folder}{name}.js" for folder in ("", "src/") for name in ("server", "app", "index", "main")
) + tuple(f"{name}.mjs" for name in ("server", "app", "index"))
_LISTENS = re.compile(r"\.listen\(\s*(?P<port>\d{2,5}\b)?(?:[^)\n]{0,200}?['\"](?P<host>localhost|127\.0\.0\.1)['\"])?")


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of a build's context that count, with their content, and the names of all."""

    shown: str
    content: Mapping[str, str]
    names: frozenset[str]

    def make_finding(self, name: str, problem: str, fix: str) -> Finding:
        return Finding(f"{self.shown}/{name}" if name else self.shown, None, problem, fix)


def find_starts(app: App, model: ComposeModel) -> list[Finding]:
    """Find what is not understood of the source of services that a template starts."""
    return list(_check_services(app, model))


def _check_services(app: App, model: ComposeModel) -> Iterator[Finding]:
    for service in model.services.values():
        if service.build is None or service.command or service.entrypoint:
            continue
        context = Path(service.build.context)
        dockerfile = Path(os.path.normpath(context / service.build.dockerfile))
        if dockerfile != app.path / _DOCKERFILE:
            continue
        text = _read_text(app, dockerfile)
        if _PYTHON_CMD in text and _uses_starter(app, service):
            yield from _check_python(_read(app, context, _PYTHON_READ))
        elif _NODE_CMD in text:
            port = str(service.environment.get("PORT") or "3000")
            yield from _check_node(_read(app, context, _NODE_READ), port)


def _uses_starter(app: App, service: Service) -> bool:
    return any(mount.source == str(app.path / _STARTER) for mount in service.mounts)


def _check_python(files: _Files) -> Iterator[Finding]:
    needed = "\n".join(text for name, text in files.content.items() if name.endswith((".txt", ".toml")))
    yield from _find_unread_packages(files, needed)
    found = python.find(
        {name: text for name, text in files.content.items() if name.endswith(".py") or name == "Procfile"}
    )
    if found is None:
        fix = "Add main.py, app.py or server.py, a Procfile with a `web:` line, or say the `command:` of the service."
        yield files.make_finding("", "Nothing here is understood as what is to be started.", fix)
        return
    words = python.command(found, "3000", lambda name: _has_module(needed, name))
    if words is None and (needed or found.kind == "asgi"):
        server = "gunicorn" if found.kind == "wsgi" else "uvicorn"
        problem = f"{found.target} needs a server, and requirements.txt names none that is known."
        yield files.make_finding(found.file, problem, f"Add {server} to requirements.txt.")
    elif words is not None and {"runserver", "flask"} & set(words):
        problem = "It would be started by its framework's development server."
        yield files.make_finding(found.file, problem, "Add gunicorn to requirements.txt.")


def _find_unread_packages(files: _Files, needed: str) -> Iterator[Finding]:
    if any(name.startswith("requirements") for name in files.content):
        return
    if "pyproject.toml" in files.content and re.search(r"^dependencies\s*=", needed, re.MULTILINE):
        return
    for name, way in _NOT_READ.items():
        if name in files.names:
            problem = "It is not read: packages are installed from requirements.txt or pyproject.toml."
            yield files.make_finding(name, problem, way)
            return


def _has_module(needed: str, module: str) -> bool:
    """Whether a list of packages brings a module."""
    if module == "uvicorn" and re.search(r"fastapi(?:-slim)?\[[^]]*(?:standard|all)", needed, re.IGNORECASE):
        return True
    return re.search(rf"(?<![\w.-]){module}(?![\w-])", needed, re.IGNORECASE) is not None


def _check_node(files: _Files, port: str) -> Iterator[Finding]:
    package: dict[str, Any] = {}
    with suppress(orjson.JSONDecodeError):
        loaded = orjson.loads(files.content.get("package.json", "{}"))
        package = loaded if isinstance(loaded, dict) else {}
    for name in ("yarn.lock", "pnpm-lock.yaml", "bun.lock"):
        if name in files.names and "package-lock.json" not in files.names:
            fix = "`npm install --package-lock-only` writes a package-lock.json; or change config/Dockerfile."
            yield files.make_finding(name, "It is not read: npm installs what package.json names.", fix)
    scripts = package.get("scripts")
    started = scripts.get("start") if isinstance(scripts, dict) else None
    candidates = [os.path.normpath(str(package.get("main") or "")), *_NODE_MAIN]
    main = next((name for name in candidates if name in files.names), None)
    if not started and main is None:
        fix = 'Add a "start" script to package.json, or server.js, or index.js.'
        yield files.make_finding("", "Nothing here is understood as what is to be started.", fix)
        return
    yield from _check_listening(files, port, main, started=bool(started))


def _check_listening(files: _Files, port: str, main: str | None, *, started: bool) -> Iterator[Finding]:
    """An app listens at PORT, and for others than itself."""
    programs = {name: text for name, text in files.content.items() if name != "package.json"}
    uses_port = any("env.PORT" in text or "env['PORT']" in text or 'env["PORT"]' in text for text in programs.values())
    listening = [(name, found) for name, text in programs.items() for found in _LISTENS.finditer(text)]
    fix = "Say `.listen(process.env.PORT || 3000)`, without a host."
    for name, found in listening:
        if found["host"]:
            yield files.make_finding(
                name, f"It listens on {found['host']}: nothing outside its container reaches it.", fix
            )
        elif found["port"] and found["port"] != port and not uses_port:
            yield files.make_finding(name, f"It listens at {found['port']}, and PORT is {port}.", fix)
    is_express = any(re.search(r"(?:require\(|from\s+)['\"]express['\"]", text) for text in programs.values())
    if is_express and not listening and not started and main is not None:
        yield files.make_finding(main, "It makes an Express application, and nothing listens.", fix)


def _read(app: App, context: Path, wanted: re.Pattern[str]) -> _Files:
    """The files at the top of a folder and in the folders of the next two levels, as far as they count."""
    content: dict[str, str] = {}
    names: set[str] = set()
    size = 0
    for path in itertools.islice(_list_paths(app, context), _MOST_ENTRIES):
        relative = str(path.relative_to(context))
        names.add(relative)
        if wanted.fullmatch(relative) and size < _MOST_BYTES:
            content[relative] = _read_text(app, path)
            size += len(content[relative])
    return _Files(os.path.relpath(context, app.path), content, frozenset(names))


def _list_paths(app: App, folder: Path, depth: int = 2) -> Iterator[Path]:
    try:
        app.check_inside(folder)
        with os.scandir(folder) as entries:
            found = sorted(itertools.islice(entries, _MOST_ENTRIES), key=lambda entry: (entry.is_dir(), entry.name))
    except (OSError, IkomaError):
        return
    for entry in found:
        if entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        elif (
            depth
            and entry.is_dir(follow_symlinks=False)
            and entry.name not in ("node_modules", "venv", ".venv", ".git")
        ):
            yield from _list_paths(app, Path(entry.path), depth - 1)


def _read_text(app: App, path: Path) -> str:
    with suppress(IkomaError, OSError):
        return app.read_inside(path, python.LARGEST).decode(errors="replace")
    return ""
