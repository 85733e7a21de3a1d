"""A page instead of an app, while it is worked on."""

from __future__ import annotations

import urllib.error
import urllib.request

from tests.apps import make_app
from tests.support import Server
from tests.support import server as started_server

APP = "resting"


def ask(server: Server) -> tuple[int, str]:
    port = (server.apps / APP / ".ikoma" / "port").read_text()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ok", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def put(server: Server, on: bool) -> None:
    done = server.do("apps.maintenance", {"appName": APP, "on": on}, role="operator")
    assert done["maintenance"] is on
    assert server.do("apps.status", {"appName": APP})["maintenance"] is on


def shows_the_page(server: Server) -> bool:
    status, text = ask(server)
    return status == 503 and "worked on" in text


def test_people_see_a_page_until_it_ends_whatever_is_done_meanwhile() -> None:
    with started_server() as server:
        folder = make_app(server, APP)
        assert server.call("apps.maintenance", {"appName": APP, "on": True}).code == "not_deployed"
        server.do("deploy.up", {"appName": APP})
        assert not server.do("apps.status", {"appName": APP})["maintenance"]
        put(server, False)
        assert ask(server) == (200, "ok\n")
        put(server, True)
        put(server, True)
        assert shows_the_page(server)
        assert server.do("apps.health", {"appName": APP})["health"] == "healthy"

        (folder / "src" / "ok").write_text("second\n")
        server.do("deploy.up", {"appName": APP})
        assert shows_the_page(server)
        server.do("deploy.restart", {"appName": APP})
        server.stop()
        server.start()
        assert shows_the_page(server)
        put(server, False)
        assert ask(server) == (200, "second\n")

        put(server, True)
        server.do("deploy.down", {"appName": APP})
        assert shows_the_page(server)
        put(server, False)
        assert ask(server)[0] == 503
        assert not shows_the_page(server)
        put(server, True)
        server.do("deploy.up", {"appName": APP})
        assert shows_the_page(server)
        assert server.cli("maintenance", APP, "--off").returncode == 0
        assert ask(server) == (200, "second\n")


def test_an_app_that_answers_no_requests_has_no_page() -> None:
    with started_server() as server:
        make_app(
            server,
            "silent",
            compose="services: {{web: {{image: '{image}', command: [sleep, infinity], init: true}}}}\n",
        )
        server.do("deploy.up", {"appName": "silent"})
        assert server.call("apps.maintenance", {"appName": "silent", "on": True}).code == "no_web_service"
