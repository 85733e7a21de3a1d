"""Sessions by which IKOMA sees that an app's role can log in: how they end."""

from __future__ import annotations

import json
import subprocess
import sys

from ikoma.ports.databases import Credentials
from tests.contract.postgres import session_endings
from tests.contract.postgres.conftest import Postgres


def test_a_session_that_ends_while_a_check_waits_for_it_does_not_end_the_server(
    postgres: Postgres, owned: Credentials
) -> None:
    way = {name: str(value) for name, value in postgres.server.make_app_login(owned).items()}
    ended = subprocess.run(
        [sys.executable, "-m", session_endings.__name__],
        input=json.dumps(way),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.returncode}: {ended.stderr}"
