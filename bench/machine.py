"""The machine the figures were measured on, without names of machines or folders."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from bench.load import generator
from bench.world import postgres_program
from ikoma import __version__
from ikoma.engines.compose.argv import find_compose_program


def facts() -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB",
        "kernel": platform.release().split("-")[0],
        "IKOMA": __version__,
        "Python": platform.python_version(),
        "PostgreSQL": _said([postgres_program("postgres"), "--version"]).split()[-1],
        "Docker Engine": _said(["docker", "version", "--format", "{{.Server.Version}}"]),
        "Docker Compose": _said([str(find_compose_program()), "version", "--short"]),
        "load": generator(),
    }


def _said(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
