"""A server under load: many clients read, some of whom do not wait for the answer, while apps deploy.

`python -m bench.soak` is the same for an hour, and looks whether memory, descriptors and threads stay level.
"""

from __future__ import annotations

from bench.soak import soak
from bench.world import World
from tests.support import Server


def test_a_server_that_64_clients_read_from_while_three_apps_deploy_lives_and_answers_them(server: Server) -> None:
    *_, run = soak(World(server, rounds=1, seconds=1), seconds=10, readers=64, apps=3, every=1)
    assert run.lived, server.log()
    assert run.answers.keys() == {"200", "given up"}
    assert run.deploys.keys() <= {"deploy.up done", "db.backup done"}
    assert run.deploys["deploy.up done"] >= 3
