"""Names by which apps are reached, beside those of their compose files."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps import COMPOSE, make_app
from tests.mcp.client import do, over_http, talk
from tests.support import Server

APP = "named"
NAMED = COMPOSE + "  domains: [shop.example.com]\n  redirects: {{www.example.com: shop.example.com}}\n"


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[str]:
    make_app(server, APP, compose=NAMED)
    added = server.do("domain.add", {"appName": APP, "domain": "early.example.com"}, role="builder")
    assert facts(added) == [("early.example.com", "added", None, "domain")]
    [early] = added["domains"]
    assert early["certificate"] == "None: named has not been deployed yet."
    server.do("deploy.up", {"appName": APP})
    yield APP
    server.do("apps.remove", {"appName": APP})


def names(server: Server) -> dict[str, tuple[str, str]]:
    found = server.do("domain.list", {"appName": APP}, role="observer")["domains"]
    return {item["name"]: (item["source"], item["kind"]) for item in found}


def facts(result: dict[str, Any]) -> list[tuple[str, str, str | None, str]]:
    """Select of each name what does not depend on when a name server answers."""
    return [(item["name"], item["source"], item["url"], item["kind"]) for item in result["domains"]]


def ask(server: Server, host: str) -> str:
    """Return the proxy's answer to a request for a name."""
    url = f"http://127.0.0.1:{server.env['PROXY_HTTP_PORT']}/ok"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=60) as answer:
        return answer.read().decode()


def test_names_of_the_compose_file_and_added_ones_are_listed_and_served(server: Server, app: str) -> None:
    assert names(server) == {
        "shop.example.com": ("compose", "domain"),
        "www.example.com": ("compose", "redirect"),
        "early.example.com": ("added", "domain"),
    }
    assert ask(server, "early.example.com") == "ok\n"
    added = server.do("domain.add", {"appName": app, "domain": "More.Example.com."})
    [more] = [item for item in added["domains"] if item["name"] == "more.example.com"]
    assert more["url"].startswith("http://more.example.com")
    assert facts(server.do("domain.add", {"appName": app, "domain": "more.example.com"})) == facts(added)
    assert ask(server, "more.example.com") == "ok\n"
    left = server.do("domain.remove", {"appName": app, "domain": "more.example.com"})
    assert "more.example.com" not in {item["name"] for item in left["domains"]}
    assert left["message"] == f"{app} is served no longer under more.example.com."
    with pytest.raises(OSError, match=r"404|421|503"):
        ask(server, "more.example.com")


def test_a_name_is_one_apps_only_and_what_the_compose_file_names_is_changed_there(server: Server, app: str) -> None:
    make_app(server, "named-too")
    for taken in ("shop.example.com", "www.example.com", "early.example.com"):
        refused = server.call("domain.add", {"appName": "named-too", "domain": taken})
        assert (refused.status, refused.code) == (409, "domain_taken"), taken
    same = server.do("domain.add", {"appName": app, "domain": "shop.example.com"})
    assert facts(same) == facts(server.do("domain.list", {"appName": app}))
    for name in ("shop.example.com", "www.example.com"):
        refused = server.call("domain.remove", {"appName": app, "domain": name})
        assert (refused.status, refused.code) == (409, "domain_in_compose")
        assert "compose file" in refused.body["hint"]
    assert server.call("domain.add", {"appName": app, "domain": "www.example.com"}).code == "domain_in_compose"
    unknown = server.call("domain.remove", {"appName": app, "domain": "erly.example.com"})
    assert (unknown.status, unknown.code) == (404, "domain_not_found")
    assert "domain.list" in unknown.body["hint"]
    for wrong in ("https://x.example.com", "x", "-a.example.com", "named.localhost", "x.example.com/"):
        assert server.call("domain.add", {"appName": app, "domain": wrong}).code == "invalid_arguments", wrong
    server.do("apps.remove", {"appName": "named-too"})


def test_a_model_is_told_where_names_point_and_what_to_set(server: Server, app: str) -> None:
    async def conversation(client: Any) -> None:
        found = await do(client, "domain_list", appName=app)
        [shop] = [item for item in found["domains"] if item["name"] == "shop.example.com"]
        assert shop["certificate"].startswith("None: ")
        assert "shop.example.com" in shop["pointing"]

    talk(over_http(server, role="observer"), conversation)


def test_a_name_that_the_proxy_refuses_is_not_kept(server: Server, app: str) -> None:
    before = facts(server.do("domain.list", {"appName": app}))
    kept = server.apps / app / ".ikoma" / "port"
    port = kept.read_text()
    kept.write_text("70000")  # a route that no proxy takes
    try:
        refused = server.call("domain.add", {"appName": app, "domain": "late.example.com"})
    finally:
        kept.write_text(port)
    assert (refused.status, refused.code) == (422, "proxy_refused")
    assert facts(server.do("domain.list", {"appName": app})) == before


def test_removing_an_added_name_says_where_the_compose_file_still_names_it(server: Server, app: str) -> None:
    server.do("domain.add", {"appName": app, "domain": "twice.example.com"})
    make_app(server, app, compose=NAMED.replace("[shop.example.com]", "[shop.example.com, twice.example.com]"))
    server.do("deploy.up", {"appName": app})
    removed = server.do("domain.remove", {"appName": app, "domain": "twice.example.com"})
    assert "the compose file still names it" in removed["message"]
    assert names(server)["twice.example.com"] == ("compose", "domain")
    assert ask(server, "twice.example.com") == "ok\n"
