"""Tells who may stand still while another process is waited for."""

from __future__ import annotations

import asyncio


def runs_loop() -> bool:
    """Whether an event loop runs in this thread: everything else in it would wait, too."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
