"""Names the steps of work that must survive being killed, so that tests can end the process at each of them."""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger("ikoma")


def _log_step(step: str) -> None:
    log.debug("reached: %s", step)


on_step: Callable[[str], None] = _log_step
"""Called at each step; tests put their own in its place."""


def checkpoint(step: str) -> None:
    """Say that the step is done: if the process ends now, the next start goes on from here."""
    on_step(step)
