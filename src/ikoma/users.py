"""System users that IKOMA's own servers run as, so that none of them holds more rights than it needs."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from ikoma.errors import StartRefused
from ikoma.run import run

NOBODY = 64_999
"""A user id that owns nothing on any usual machine."""


def use_when_root(name: str) -> str | None:
    """That user, or None for this process's own user when it is not root and can become nobody else."""
    return name if os.geteuid() == 0 else None


async def make_user(name: str) -> None:
    """Make the system user where there is none; nothing when we are not root."""
    if use_when_root(name) is None:
        return
    try:
        pwd.getpwnam(name)
    except KeyError:
        argv = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
        made = await run([*argv, "--user-group", name])
        if made.code not in (0, 9):  # 9: another start has made it meanwhile
            raise StartRefused(f"The system user {name} cannot be made: {made.stderr.decode().strip()}.") from None


def find_closed_folder(path: Path) -> Path | None:
    """The folder at or above this path that other users cannot pass through, if there is one."""
    return next((folder for folder in (path, *path.parents) if not folder.stat().st_mode & 0o001), None)
