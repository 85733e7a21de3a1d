"""`ikoma up` with short patience and few connections, so that tests see limits without waiting for them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from ikoma.cli.commands.server.up import stay_up
from ikoma.settings import load_settings
from ikoma.transports.protocol import ConnectionLimits

COMMAND = [sys.executable, "-P", str(Path(__file__).resolve())]  # -P: tests/mcp is not the package mcp
FEW_CONNECTIONS = [*COMMAND, "few"]
"""As few connections, each with the usual patience: a test can fill them all however slow its machine is."""
LIMITS = ConnectionLimits(
    header_seconds=1,
    body_seconds=2,  # many tests send what they should within it, and a machine that is busy is slow
    idle_seconds=1,
    write_seconds=0.4,
    linger_seconds=1,
    connections=20,
)

if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        few = sys.argv[1:] == ["few"]
        runner.run(stay_up(load_settings(), ConnectionLimits(connections=LIMITS.connections) if few else LIMITS))
