"""`ikoma up` whose clock is set while it runs: by as many seconds as the file `clock` in IKOMA_STATE says."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from ikoma.cli import run

COMMAND = (sys.executable, "-P", str(Path(__file__).resolve()), "up")
_right = time.time


def _skewed() -> float:
    try:
        return _right() + float((Path(os.environ["IKOMA_STATE"]) / "clock").read_text())
    except FileNotFoundError:
        return _right()


if __name__ == "__main__":
    time.time = _skewed
    run()
