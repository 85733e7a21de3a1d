"""Starts what is in the folder it runs in. Of these, the first that is there:

1. the `web:` line of a Procfile;
2. Django: manage.py, by the WSGI or ASGI application of its project;
3. main.py, app.py, server.py or run.py that itself listens on 0.0.0.0 at PORT;
4. an application of FastAPI, Starlette, Litestar, Quart or Flask, or a function that makes one: create_app, make_app;
5. main.py, app.py, server.py or run.py.

WSGI is served by gunicorn or waitress, ASGI by uvicorn, hypercorn or daphne: what requirements.txt has. The file is
yours to edit; a `command:` in docker-compose.yml takes its place.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

LARGEST = 1 << 18
"""Bytes of a file that are read."""
MOST_FILES = 500

PROGRAMS = ("main.py", "app.py", "server.py", "run.py")
MODULES = (*PROGRAMS, "asgi.py", "wsgi.py", "api.py", "application.py", "index.py", "__init__.py")
FACTORIES = "create_app|make_app|get_app|build_app|create_application"

WSGI_SERVERS = ("gunicorn", "waitress")
ASGI_SERVERS = ("uvicorn", "hypercorn", "daphne")

_OBJECT = re.compile(
    r"^(?P<name>[A-Za-z_]\w*)[ \t]*(?::[^=\n]+)?=[ \t]*(?:[A-Za-z_]\w*\.)?"
    rf"(?P<what>FastAPI|Starlette|Litestar|Quart|Flask|{FACTORIES})\(",
    re.MULTILINE,
)
_FACTORY = re.compile(rf"^(?:async[ \t]+)?def[ \t]+(?P<name>{FACTORIES})\(", re.MULTILINE)
_FLASK = re.compile(r"^[ \t]*(?:from|import)[ \t]+flask\b", re.MULTILINE)
_ASGI = re.compile(r"^[ \t]*(?:from|import)[ \t]+(?:fastapi|starlette|litestar|quart)\b", re.MULTILINE)
_PORT = re.compile(r"""(?:environ(?:\.get)?|getenv)[ \t]*[\[(][ \t]*["']PORT["']""")
_EVERYWHERE = re.compile(r"""["'](?:0\.0\.0\.0|::)["']|\(\s*["']["']\s*,""")
_RUNS = re.compile(r"\b(?:run|run_app|run_simple|serve|serve_forever|start_server|create_server)\(")
_SETTINGS = re.compile(r"""DJANGO_SETTINGS_MODULE["'][ \t]*,\s*["']([\w.]+)["']""")
_WEB = re.compile(r"^web[ \t]*:[ \t]*(\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Start:
    """What is started. `kind` is one of procfile, django, program, wsgi and asgi."""

    kind: str
    file: str
    """Where it was found, relative to the folder."""
    target: str = ""
    """MODULE:NAME of what a server serves (of Django, by WSGI), a program's file, or a Procfile's command."""
    factory: bool = False
    """Whether the target is a function that makes the application."""
    asgi: str = ""
    """Django's ASGI application, where it has one."""

    @property
    def folder(self) -> str:
        """Where it is started; "" where the search began."""
        return os.path.dirname(self.file) if self.kind == "django" else ""


def find(files: Mapping[str, str]) -> Start | None:
    """What is to be started, of files with their content by path; None where nothing is understood."""
    if found := _WEB.search(files.get("Procfile", "")):
        return Start("procfile", "Procfile", found[1].strip())
    if django := _django(files):
        return django
    programs = [name for name in PROGRAMS if name in files]
    for name in programs:
        if all(sign.search(files[name]) for sign in (_PORT, _EVERYWHERE, _RUNS)):
            return Start("program", name, name)
    for name in _modules(files):
        if application := _application(name, files):
            return application
    return Start("program", programs[0], programs[0]) if programs else None


def command(start: Start, port: str, has: Callable[[str], bool]) -> list[str] | None:
    """The words to start it with; None where no server for it is installed.

    Args:
        has: whether a module is installed.
    """
    if start.kind == "procfile":
        return ["sh", "-c", start.target if re.match(r"\w+=", start.target) else f"exec {start.target}"]
    if start.kind == "program":
        return ["python", start.target]
    if start.kind == "django":
        kinds = [("wsgi", start.target), ("asgi", start.asgi)]
        kinds = [(kind, target) for kind, target in (reversed(kinds) if has("channels") else kinds) if target]
        ways = (_served(kind, target, port, has, factory=False) for kind, target in kinds)
        return next(filter(None, ways), ["python", "manage.py", "runserver", "--noreload", f"0.0.0.0:{port}"])
    if served := _served(start.kind, start.target, port, has, factory=start.factory):
        return served
    if start.kind == "wsgi" and has("flask"):
        return ["python", "-m", "flask", "--app", start.target, "run", "--host", "0.0.0.0", "--port", port]
    return None


def _served(kind: str, target: str, port: str, has: Callable[[str], bool], *, factory: bool) -> list[str] | None:
    """The words for the first installed server that can serve it."""
    address = f"0.0.0.0:{port}"
    if kind == "wsgi":
        known = {
            "gunicorn": ["--bind", address, "--threads", "4", f"{target}()" if factory else target],
            "waitress": [f"--listen={address}", *(["--call"] if factory else []), target],
        }
    else:
        made = ["--factory"] if factory else []
        known = {"uvicorn": ["--host", "0.0.0.0", "--port", port, *made, target]}
        known["hypercorn"] = ["--bind", address, f"{target}()" if factory else target]
        if not factory:
            known["daphne"] = ["-b", "0.0.0.0", "-p", port, target]
    return next((["python", "-m", name, *words] for name, words in known.items() if has(name)), None)


def _django(files: Mapping[str, str]) -> Start | None:
    for path in sorted(files, key=lambda path: (path.count("/"), path)):
        folder, name = os.path.split(path)
        if name != "manage.py" or "DJANGO_SETTINGS_MODULE" not in files[path]:
            continue
        settings = _SETTINGS.search(files[path])
        package = settings[1].split(".")[0] if settings else ""
        known = {item: os.path.relpath(item, folder or ".") for item in files if os.path.dirname(item) != folder}
        inside = sorted(known.values(), key=lambda item: (item.split("/")[0] != package, item))
        wsgi, asgi = (next((i for i in inside if i.count("/") == 1 and i.endswith(end)), "") for end in _ENTRIES)
        return Start("django", path, _target(wsgi, "application"), asgi=_target(asgi, "application"))
    return None


_ENTRIES = ("/wsgi.py", "/asgi.py")


def _modules(files: Mapping[str, str]) -> list[str]:
    """Files that may hold an application: those at the top first, then those of folders, by name."""
    known = [path for path in files if os.path.basename(path) in MODULES and path.count("/") < 2]
    return sorted(known, key=lambda path: (path.count("/"), MODULES.index(os.path.basename(path)), path))


def _application(path: str, files: Mapping[str, str]) -> Start | None:
    text = files[path]
    objects = [(found["name"], found["what"]) for found in _OBJECT.finditer(text)]
    objects.sort(key=lambda pair: pair[0] not in ("app", "application", "api"))
    for name, what in objects:
        kind = _kind(what, text, files)
        if kind:
            return Start(kind, path, _target(path, name))
    if (made := _FACTORY.search(text)) and (kind := _kind("", text, files)):
        return Start(kind, path, _target(path, made["name"]), factory=True)
    return None


def _kind(what: str, text: str, files: Mapping[str, str]) -> str:
    """wsgi or asgi; "" where a function makes the application and nobody says of which framework."""
    if what in ("FastAPI", "Starlette", "Litestar", "Quart"):
        return "asgi"
    if what == "Flask":
        return "wsgi"
    for place in (text, *(content for path, content in files.items() if path.endswith(".py"))):
        if _ASGI.search(place):
            return "asgi"
        if _FLASK.search(place):
            return "wsgi"
    return ""


def _target(path: str, name: str) -> str:
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"{module}:{name}" if path else ""


def read(folder: Path) -> dict[str, str]:
    """The files by which `find` decides: those of a folder, and of the folders in it."""
    found = {}
    for path in sorted([*folder.glob("*"), *folder.glob("*/*.py"), *folder.glob("*/*/*.py")])[:MOST_FILES]:
        if path.is_file() and (path.suffix == ".py" or path.name == "Procfile"):
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = file.read(LARGEST).decode(errors="replace")
    return found


def main() -> None:
    start = find(read(Path()))
    if start is None:
        sys.exit("Nothing to start is found: add main.py, app.py or server.py, or a Procfile with a `web:` line")
    words = command(start, os.environ.get("PORT", "3000"), lambda name: importlib.util.find_spec(name) is not None)
    if words is None:
        servers = ", ".join(ASGI_SERVERS if start.kind == "asgi" else WSGI_SERVERS)
        sys.exit(f"{start.file} needs a server: add one of {servers} to requirements.txt")
    print("Starting:", *words, flush=True)
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")  # requests come by way of the proxy, and only from there
    if not os.access(os.path.expanduser("~"), os.W_OK):  # some servers write there
        os.environ["HOME"] = "/tmp"
    os.chdir(start.folder or ".")
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
