"""Runs PostgreSQL's programs of both versions: on this machine, or somewhere that sees the same folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ikoma.errors import MajorUpgradeFailed
from ikoma.run import ProcessResult, run

SECONDS = 24 * 3600.0
_LINES = 12


class Runner(Protocol):
    """Runs a program as the user whose data it is."""

    async def run(self, argv: Sequence[str], env: Mapping[str, str]) -> ProcessResult: ...


@dataclass(frozen=True, slots=True)
class LocalRunner:
    user: str | None
    cwd: Path

    async def run(self, argv: Sequence[str], env: Mapping[str, str]) -> ProcessResult:
        return await run(argv, env=env, user=self.user, cwd=self.cwd, timeout=SECONDS)


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of two versions; `old` and `new` are folders that hold bin/."""

    runner: Runner
    old: Path
    new: Path

    async def do(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
        """Run a program, and return what it says; MajorUpgradeFailed, with its last words, where it fails."""
        done = await self.runner.run(argv, env or {})
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.code != 0:
            lines = [line.rstrip() for line in said.splitlines() if line.strip()]
            raise MajorUpgradeFailed(f"{Path(argv[0]).name} failed: " + " / ".join(lines[-_LINES:]))
        return said
