"""Deploys, restarts and ways back under load: no request fails, and each is answered by one of the two releases."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.rollouts.lasting import lasting
from tests.rollouts.live import answers, compose, new_app
from tests.support import Server

ROUNDS = int(os.environ.get("IKOMA_ROUNDS", "3"))


def test_deploys_restarts_and_ways_back_in_a_row_lose_no_request(server: Server) -> None:
    """With connections that are kept, and always a slow answer, one in pieces and a websocket under way."""
    app = new_app(
        server, "live-many", compose_file=compose(image="node:22-alpine", command="[node, /www/server.js]", watch="1m")
    )
    shutil.copy(Path(__file__).with_name("server.js"), app.folder / "src")
    app.deploy("0")
    serving, before = "0", ""

    def deploy(number: int) -> str:
        app.deploy(str(number))
        return str(number)

    def restart(number: int) -> str:
        app.do("deploy.restart")
        return serving

    def go_back(number: int) -> str:
        app.do("deploy.rollback")
        return before

    steps: tuple[Callable[[int], str], ...] = (deploy, restart, go_back)
    with lasting(app.url) as long_ones, app.loaded(*map(str, range(ROUNDS + 1))) as traffic:
        for number in range(1, ROUNDS + 1):
            for step in steps:
                with answers(traffic) as found:
                    now = step(number)
                assert set(found) <= {serving, now}, f"{step.__name__} from {serving} to {now}: {found}"
                before, serving = (serving, now) if now != serving else (before, serving)
                assert long_ones.failures == []
    assert long_ones.failures == []
    assert min(long_ones.whole.values()) >= ROUNDS
    print(f"{traffic.count} requests, the slowest {traffic.slowest:.2f} s; {dict(long_ones.whole)} that last")
