"""platform.check: whether what IKOMA stands on is there."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from ikoma.capabilities.context import Call, Platform
from ikoma.errors import IkomaError
from ikoma.kernel.registry import Request, Result, capability, listed
from ikoma.kernel.sentences import Fields
from ikoma.model import Effect, Role


class PlatformCheckChecks(Result):
    docker: bool
    postgres: bool
    apps_root: bool


class PlatformCheckResult(Result):
    healthy: bool
    checks: PlatformCheckChecks
    details: dict[str, dict[str, Any]]


def _say_usable(fields: Fields) -> str:
    if fields.get("healthy"):
        return "Docker, PostgreSQL and the apps' folder are usable."
    away = [name for name, passed in fields["checks"].items() if not passed]
    return f"Not usable: {', '.join(away)}."


@capability("platform.check", role=Role.OBSERVER, effect=Effect.READS)
@listed(
    "server",
    "check",
    "Check Docker, PostgreSQL and the apps' folder.",
    well=("healthy", True),
    not_in_text=("healthy", "checks"),
    says=_say_usable,
)
async def check(call: Call, request: Request) -> PlatformCheckResult:
    """Whether Docker, PostgreSQL and the apps' folder are usable, and what is wrong where they are not.

    Use it when several apps fail at once, or before blaming an app.
    """
    platform = call.platform
    docker, postgres = await asyncio.gather(_ask(_check_engine(call)), _ask(_check_postgres(call)))
    apps_root = _check_folder(platform.settings.apps_root)
    details = {"docker": docker, "postgres": postgres, "appsRoot": apps_root}
    passed = {name: "error" not in facts for name, facts in details.items()}
    if failing := platform.supervisor.failing:
        details["background"] = {"error": f"These failed, and are started again: {', '.join(sorted(failing))}."}
    if platform.point_in_time.is_on:
        details["pointInTime"] = await _ask(_check_archive(call))
    if platform.offsite.is_on:
        details["offsite"] = await asyncio.to_thread(_describe_offsite, platform)
    details["proxy"] = platform.routes.describe_condition()  # apps are reached by their own ports in any case
    checks = PlatformCheckChecks(docker=passed["docker"], postgres=passed["postgres"], apps_root=passed["appsRoot"])
    return PlatformCheckResult(healthy=all(passed.values()), checks=checks, details=details)


async def _check_engine(call: Call) -> dict[str, Any]:
    version = await call.platform.runtime.read_version()
    return {"version": version.version, "api": version.api}


async def _check_postgres(call: Call) -> dict[str, Any]:
    return {"version": await call.platform.databases.read_version()}


async def _check_archive(call: Call) -> dict[str, Any]:
    window = await call.platform.point_in_time.read_window()
    assert window is not None
    facts = {"since": window.since, "until": window.until, "lagSeconds": window.lag_seconds}
    return {**facts, "error": f"{window.problem}."} if window.problem else facts


def _describe_offsite(platform: Platform) -> dict[str, Any]:
    """The place of copies as it was last looked at; an error where it fails, or where copies are too old."""
    known = platform.offsite.read_known()
    facts = {"place": known.place, "copies": len(known.copies), "lookedAt": known.looked_at}
    if known.problem is not None:
        return {**facts, "failingSince": known.failing_since, "error": known.problem}
    behind = platform.offsite_keeper.list_behind()
    if behind:
        return {**facts, "error": f"The newest proven backup has not left this machine for a day: {', '.join(behind)}."}
    return facts


async def _ask(question: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    try:
        return await question
    except IkomaError as error:
        return {"error": error.message, "hint": error.hint}


def _check_folder(path: Path) -> dict[str, Any]:
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return {"path": str(path), "error": f"{path} is not a folder that the server can write to."}
    usage = shutil.disk_usage(path)
    return {"path": str(path), "freeBytes": usage.free, "totalBytes": usage.total}
