"""`ikoma up` that notes each step of a rollout, and kills itself with SIGKILL at the one that a file names.

The files are in IKOMA_STATE: `steps` has a line for each step that was reached, `kill-at` the one to die at, once, and
`wait-at` the one to stand still at for as long as the file is there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from ikoma import checkpoints
from ikoma.cli import run

COMMAND = (sys.executable, "-P", str(Path(__file__).resolve()), "up")


def reached(step: str) -> None:
    state = Path(os.environ["IKOMA_STATE"])
    with (state / "steps").open("a") as steps:
        steps.write(f"{step}\n")
    kill_at = state / "kill-at"
    if kill_at.is_file() and kill_at.read_text() == step:
        kill_at.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    wait_at = state / "wait-at"
    while wait_at.is_file() and wait_at.read_text() == step:
        time.sleep(0.02)


if __name__ == "__main__":
    checkpoints.on_step = reached
    run()
