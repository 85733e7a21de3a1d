"""Impossible deploys: each is refused with a clear error, and what serves goes on as it was."""

from __future__ import annotations

from typing import Any

import pytest

from tests.images import busybox_image
from tests.rollouts.live_app import LiveApp, compose, docker, new_app
from tests.support import Server

X_IKOMA = {
    "unknown key": ("prot: 3000", "x-ikoma: prot is unknown; it takes service, port"),
    "watch": ("watch: soon", "watch is 'soon'; it takes a time such as 10s or 2m"),
    "drain": ("drain: 2d", "drain is '2d'; it takes a time"),
    "hold": ("hold: -1s", "hold is '-1s'; it takes a time"),
    "max_body": ("max_body: much", "max_body is 'much'; it takes a size such as 10m"),
    "strategy": ("strategy: fast", "strategy is 'fast'; it takes rolling or recreate"),
    "strategy of nobody": ("strategy: {wb: rolling}", "strategy: there is no service 'wb'"),
    "database of nobody": ("database: [wb]", "database: there is no service 'wb'"),
    "data elsewhere": ("data: uploads", "data: 'uploads' is not inside src/ or config/"),
    "domains": ("domains: shop.example.com", "domains takes a list of domains"),
    "no domain": ("domains: ['shop_example']", "domains: 'shop_example' is not"),
    "redirects": ("redirects: [a.example.com]", "redirects takes a mapping"),
    "data": ("data: ../elsewhere", "data: '../elsewhere' is no folder inside the app's"),
    "no mapping": (None, "x-ikoma must be a mapping"),
}


@pytest.fixture(scope="module")
def app(server: Server) -> LiveApp:
    """An app that serves, and has served nothing else."""
    made = new_app(server, "live-refusing", compose_file=compose())
    made.deploy("1")
    return made


def refused(app: LiveApp, capability: str, **arguments: Any) -> tuple[str, str]:
    """The code and the sentence that a call is refused with; nothing has changed."""
    before, releases = app.settle().remains(), app.releases()
    answer = app.call(capability, **arguments)
    assert answer.body["hint"]
    assert app.remains() == before
    assert app.releases() == releases
    return answer.code, str(answer.body["error"])


@pytest.mark.parametrize("kind", X_IKOMA)
def test_a_wrong_key_says_what_it_takes(app: LiveApp, kind: str) -> None:
    line, says = X_IKOMA[kind]
    right = compose()
    block = right[right.index("x-ikoma: ") :]
    others = [
        part for part in block[len("x-ikoma: {") : -2].split(", ") if not (line or "").startswith(part.split(":")[0])
    ]
    wrong = "x-ikoma: [web, 3000]\n" if line is None else f"x-ikoma: {{{', '.join([*others, line])}}}\n"
    app.write("1", right.replace(block, wrong))
    code, error = refused(app, "deploy.up")
    app.write("1", right)
    assert code == "invalid_compose"
    assert says in error


def test_there_must_be_something_to_go_back_to(app: LiveApp) -> None:
    current = app.releases()[0]["id"]
    assert refused(app, "deploy.rollback")[0] == "nothing_to_go_back_to"
    assert refused(app, "deploy.rollback", to=current) == (
        "already_serving",
        f"live-refusing serves {current} now.",
    )
    code, error = refused(app, "deploy.rollback", to="20250101-000000-abcd")
    assert (code, error) == ("release_not_found", "live-refusing has no release 20250101-000000-abcd.")
    assert refused(app, "deploy.rollback", to="../../etc")[0] == "invalid_arguments"


def test_a_release_that_never_served_is_nothing_to_go_back_to(server: Server) -> None:
    app = new_app(server, "live-never", compose_file=compose())
    app.deploy("1")
    app.write("2", compose(command="[sh, -c, exit 3]"))
    app.call("deploy.up")
    failed = app.releases()[0]
    assert failed["state"] == "failed"
    code, error = refused(app, "deploy.rollback", to=failed["id"])
    assert code == "nothing_to_go_back_to"
    assert f"The release {failed['id']} never served" in error


def test_a_domain_that_another_app_has_is_refused_and_nothing_changes(server: Server) -> None:
    first = new_app(server, "live-first", compose_file=wanting("shop.example.com"))
    first.deploy("1")
    second = new_app(server, "live-second", compose_file=compose())
    second.deploy("1")
    second.write("2", wanting("shop.example.com"))
    with second.loaded("1", rate=50):
        before, running = second.remains(), second.running()
        answer = second.call("deploy.up")
        assert answer.code == "domain_taken"
        assert "shop.example.com" in answer.body["error"]
        assert second.remains() == before
        assert second.running() == running
        for found in (second.do("apps.validate")["errors"], second.do("deploy.plan")["findings"]):
            assert "The domain shop.example.com belongs to another app." in str(found)


def test_a_way_back_to_a_domain_that_another_app_has_by_now_begins_with_nothing(server: Server) -> None:
    first = new_app(server, "live-moved", compose_file=wanting("moved.example.com"))
    first.deploy("1")
    first.deploy("2", compose())
    second = new_app(server, "live-mover", compose_file=wanting("moved.example.com"))
    second.deploy("1")
    before, running = first.settle().remains(), first.running()
    assert refused(first, "deploy.rollback") == ("domain_taken", "moved.example.com belongs to another app.")
    assert (first.remains(), first.running()) == (before, running)


def test_an_app_that_was_never_deployed_can_neither_restart_nor_go_back(server: Server) -> None:
    app = new_app(server, "live-new")
    assert app.call("deploy.restart").code == "not_deployed"
    assert app.call("deploy.rollback").code == "nothing_to_go_back_to"


def wanting(domain: str) -> str:
    return compose().replace("x-ikoma: {", f"x-ikoma: {{domains: [{domain}], ")


@pytest.mark.parametrize(
    ("more", "name", "line"),
    [("container_name: live-door", "live-door", 6), ("", "live-refusing-web-1000", 2)],
)
def test_a_name_that_a_container_of_others_has_is_refused(app: LiveApp, more: str, name: str, line: int) -> None:
    app.write("2", compose(more=more))
    foreign = docker("create", "--name", name, busybox_image(), "true").strip()
    try:
        code, said = refused(app, "deploy.up")
        [error] = app.do("apps.validate")["errors"]
    finally:
        docker("rm", foreign)
        app.write("1", compose())
    assert code == "invalid_compose"
    assert name in said
    assert (error["line"], error["problem"].endswith("is taken by a container that IKOMA has not made.")) == (
        line,
        True,
    )
