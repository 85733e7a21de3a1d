"""Findings of disks that are nearly full."""

from __future__ import annotations

import shutil

from ikoma.app_folder import App
from ikoma.apps.validation.finding import Finding, Report
from ikoma.ports.engine_facts import EngineTraits

_LEAST_FREE = 512 << 20
_LITTLE_FREE = 2 << 30


def look_at_disks(traits: EngineTraits, app: App, report: Report) -> None:
    for folder in dict.fromkeys((app.path, *traits.folders)):
        if not folder.is_dir():  # the engine may run on another machine
            continue
        free = shutil.disk_usage(folder).free
        fix = "Remove old backups and unused images (`docker system df` shows them)."
        if free < _LEAST_FREE:
            report.errors.append(Finding(str(folder), None, f"Only {free >> 20} MiB of disk are free.", fix))
        elif free < _LITTLE_FREE:
            report.warnings.append(Finding(str(folder), None, f"Only {free >> 20} MiB of disk are free.", fix))
