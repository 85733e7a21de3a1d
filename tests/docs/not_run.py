"""The commands of the documentation that no test of tests/docs runs, each with its reason."""

from __future__ import annotations

import re

NOT_RUN = {
    r"git clone ADDRESS ": "the address is the reader's",
    r"make (setup|test|check|demo|bench|lint)": "the tests themselves run from what it has made",
    r"make bundle": "asks the package index; `make installs` makes two",
    r"cd ikoma-|echo \"maker |ssh-keygen |sudo install ": "tests/install/test_signed_bundles.py signs and compares",
    r"sudo ./install.sh": "installs onto the machine itself",
    r"sudo ikoma upgrade": "tests/install upgrades a machine of its own",
    r"ikoma db-restore \w+ --time ": "an archive is off by default; tests/faults/test_point_in_time.py goes back",
}


def reason(command: str) -> str:
    """Why this command is not run; empty where it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, command)), "")
