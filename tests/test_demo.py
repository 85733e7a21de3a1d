from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_demo_ends_on_a_verified_release_and_leaves_nothing() -> None:
    script = Path(__file__).parents[1] / "scripts" / "demo.py"
    before = subprocess.check_output(["docker", "ps", "-aq"], text=True)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified: true" in done.stdout
    assert subprocess.check_output(["docker", "ps", "-aq"], text=True) == before
