"""`ikoma doctor`: is this machine fit, and what is missing where it is not."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ikoma.cli import output, verbs
from ikoma.cli.blocks import Block, CheckList, Message
from ikoma.cli.client import load_settings_or_exit
from ikoma.cli.doctor import network, upkeep
from ikoma.cli.doctor.finding import DoctorFinding
from ikoma.cli.words import Phrase, Size, write_value
from ikoma.settings import Settings

_GIB = 1 << 30
_OLDEST_API = (1, 41)
_PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex


@click.command()
@verbs.JSON_OPTION
def doctor(as_json: bool) -> None:
    """Check this machine and say what is missing. Ends with 1 when something is."""
    findings = list(_examine(load_settings_or_exit()))
    rows = [
        {
            "check": item.check,
            "ok": item.ok,
            "details": write_value(item.details, people=False),
            "fix": item.fix if item.ok is not True else "",
        }
        for item in findings
    ]
    output.show(rows, as_json, _lay_out_page(findings))
    sys.exit(1 if any(item.ok is False for item in findings) else 0)


def _lay_out_page(findings: list[DoctorFinding]) -> list[Block]:
    rows = [(item.ok, item.check, item.details, item.fix if item.ok is not True else "") for item in findings]
    bad = [item.check for item in findings if item.ok is False]
    if bad:
        return [CheckList(rows), Message(""), Message(f"Not well: {', '.join(bad)}.", "bad")]
    return [CheckList(rows), Message(""), Message("This machine is fit.", "good")]


def _examine(settings: Settings) -> Iterator[DoctorFinding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield DoctorFinding("python", sys.version_info >= (3, 11), version, "apt-get install python3.11")
    root = os.geteuid() == 0
    yield DoctorFinding("user", root, "root" if root else "not root", "sudo ikoma up")
    yield _check_docker(settings)
    yield _check_compose()
    yield _check_program("git", "git", "--version")
    yield _check_program("setpriv", "util-linux", "--version")
    yield _check_secrets(settings)
    yield from (_check_folder(name, path) for name, path in _list_folders(settings))
    yield _check_clock()
    yield from network.check_ports(settings)
    yield network.check_resolver(settings)
    yield from upkeep.check_networks(settings)
    yield _check_server(settings)
    yield from upkeep.check_upgrades(settings)
    yield from upkeep.check_databases(settings)
    yield from upkeep.check_versions(settings)
    yield from upkeep.check_keys(settings)
    yield from upkeep.check_offsite(settings)
    yield from network.check_domains(settings)


def _check_docker(settings: Settings) -> DoctorFinding:
    from ikoma.engines.compose.engine import ComposeEngine
    from ikoma.errors import IkomaError
    from ikoma.kernel.redaction.redaction import find_nothing

    async def ask() -> tuple[str, str]:
        engine = ComposeEngine(settings.docker_host, find_nothing)
        try:
            found = await engine.read_version()
        finally:
            await engine.close()
        return found.version, found.api

    try:
        version, api = asyncio.run(ask())
    except IkomaError as error:
        return DoctorFinding("docker", False, error.message, f"systemctl start docker — {error.hint}")
    new = tuple(int(part) for part in api.split(".")) >= _OLDEST_API
    return DoctorFinding("docker", new, f"{version} (API {api})", "apt-get install docker.io: 20.10 or newer")


def _check_compose() -> DoctorFinding:
    from ikoma.engines.compose.argv import find_compose_program
    from ikoma.errors import IkomaError

    try:
        program = find_compose_program()
    except IkomaError as error:
        return DoctorFinding("compose", False, error.message, error.hint)
    return _check_version("compose", [str(program), "version", "--short"], "make setup")


def _check_program(name: str, package: str, *arguments: str) -> DoctorFinding:
    found = shutil.which(name, path=_PROGRAMS) or shutil.which(name)
    if found is None:
        return DoctorFinding(name, False, "not installed", f"apt-get install {package}")
    return _check_version(name, [found, *arguments], f"apt-get install --reinstall {package}")


def _check_version(name: str, argv: list[str], fix: str) -> DoctorFinding:
    """A program by what it says of itself."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return DoctorFinding(name, False, f"{argv[0]} does not run: {type(error).__name__}", fix)
    words = (done.stdout.splitlines() or [""])[0].split()
    version = next((word for word in words if word.lstrip("v")[:1].isdigit()), argv[0])
    return DoctorFinding(name, True, f"{version}, {argv[0]}")


def _check_secrets(settings: Settings) -> DoctorFinding:
    from ikoma.apps.environment.file_permissions import describe_remedy, find_exposed

    found = find_exposed(settings)
    if not found:
        return DoctorFinding("secrets", True, "keys and passwords are closed to other users")
    return DoctorFinding("secrets", False, f"open to other users: {', '.join(map(str, found))}", describe_remedy(found))


def _list_folders(settings: Settings) -> list[tuple[str, Path]]:
    return [
        ("APPS_ROOT", settings.apps_root),
        ("IKOMA_STATE", settings.ikoma_state),
        ("BACKUPS_ROOT", settings.backups_root),
        ("AUDIT_LOG", settings.audit_log.parent),
    ]


def _check_folder(name: str, path: Path) -> DoctorFinding:
    existing = next(folder for folder in (path, *path.parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        return DoctorFinding(name, False, f"{existing} is not writable", f"chown root {existing}, or set {name}")
    seen = [str(path), Phrase((Size(free), "free"))]
    return DoctorFinding(name, free > _GIB, seen, "docker system prune, or another disk: at least 1 GiB must be free")


def _check_clock() -> DoctorFinding:
    """Ask the kernel whether its clock is kept right: certificates, tokens and expiries go by it."""
    import ctypes

    buffer = (ctypes.c_int * 128)()
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(buffer))
    told = ctypes.cast(ctypes.byref(buffer, 5 * ctypes.sizeof(ctypes.c_long)), ctypes.POINTER(ctypes.c_int))[0]
    return _judge_clock(state, told)


def _judge_clock(state: int, told: int) -> DoctorFinding:
    """Judge what adjtimex returns, and the bits of its status."""
    if state < 0 or told & _UNSYNCHRONISED:
        return DoctorFinding(
            "time", None, "nothing says that this machine's clock is kept right", "timedatectl set-ntp true"
        )
    return DoctorFinding("time", True, "the clock is kept right")


def _check_server(settings: Settings) -> DoctorFinding:
    where = f"{settings.http_host}:{settings.http_port}"
    try:
        with socket.create_connection((settings.http_host, settings.http_port), timeout=2):
            return DoctorFinding("server", True, f"something answers at {where}")
    except OSError:
        return DoctorFinding("server", None, f"nothing answers at {where}", "ikoma up")


COMMANDS = {"doctor": doctor}
