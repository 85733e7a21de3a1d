"""`ikoma doctor`: is this machine fit, and what is missing where it is not."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from ikoma.cli.client import settings_or_exit
from ikoma.cli.output import show
from ikoma.settings import Settings

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    ok: bool
    details: str
    fix: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Check this machine and say what is missing. Ends with 1 when something is."""
    findings = list(_examine(settings_or_exit()))
    rows = [{"check": item.check, "ok": item.ok, "details": item.details, "fix": item.fix} for item in findings]
    show(rows if as_json else {"checks": rows}, as_json)
    sys.exit(0 if all(item.ok for item in findings) else 1)


def _examine(settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), version, "Install Python 3.11 or newer.")
    root = os.geteuid() == 0
    yield Finding("user", root, "root" if root else "not root", "" if root else "Run the server as root.")
    yield _docker(settings)
    yield _setpriv()
    yield _secrets(settings)
    yield from (_folder(name, path) for name, path in _folders(settings))
    yield _server(settings)


def _docker(settings: Settings) -> Finding:
    from ikoma.engines.compose import ComposeEngine
    from ikoma.errors import IkomaError

    async def ask() -> str:
        engine = ComposeEngine(settings.docker_host)
        try:
            version = await engine.version()
        finally:
            await engine.close()
        return f"{version.version} (API {version.api})"

    try:
        return Finding("docker", True, asyncio.run(ask()))
    except IkomaError as error:
        return Finding("docker", False, error.message, error.hint)


def _setpriv() -> Finding:
    found = shutil.which("setpriv", path="/usr/sbin:/usr/bin:/sbin:/bin")
    return Finding("setpriv", found is not None, found or "not installed", "" if found else "Install util-linux.")


def _secrets(settings: Settings) -> Finding:
    from ikoma.apps.exposure import exposed, remedy

    found = exposed(settings)
    if not found:
        return Finding("secrets", True, "keys and passwords are closed to other users")
    return Finding("secrets", False, f"open to other users: {', '.join(map(str, found))}", f"Run `{remedy(found)}`.")


def _folders(settings: Settings) -> list[tuple[str, Path]]:
    return [
        ("APPS_ROOT", settings.apps_root),
        ("IKOMA_STATE", settings.ikoma_state),
        ("BACKUPS_ROOT", settings.backups_root),
        ("AUDIT_LOG", settings.audit_log.parent),
    ]


def _folder(name: str, path: Path) -> Finding:
    existing = next(folder for folder in (path, *path.parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free / _GIB
    if not os.access(existing, os.W_OK):
        return Finding(name, False, f"{existing} is not writable", f"Correct its permissions, or set {name}.")
    return Finding(name, free > 1, f"{path}, {free:.1f} GiB free", "" if free > 1 else "Free some space.")


def _server(settings: Settings) -> Finding:
    where = f"{settings.http_host}:{settings.http_port}"
    try:
        with socket.create_connection((settings.http_host, settings.http_port), timeout=2):
            return Finding("server", True, f"something answers at {where}")
    except OSError:
        return Finding("server", True, f"not running; `ikoma up` starts it at {where}")


COMMANDS = {"doctor": doctor}
