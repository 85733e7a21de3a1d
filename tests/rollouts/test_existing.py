"""Volumes and networks that are there stay as they are, whatever the compose file says of them next."""

from __future__ import annotations

import re

import pytest

from tests.images import busybox_image
from tests.rollouts.live_app import LiveApp, compose, docker, docker_json, inspected, new_app
from tests.support import Server, eventually


def with_volume(settings: str, *, check: str = "/version") -> str:
    text = compose(check=check, watch="0s").replace('["./src:/www:ro"]', '["./src:/www:ro", "data:/data"]')
    return f"{text}volumes:\n  data: {settings}\n"


def with_network(settings: str, *, check: str = "/version") -> str:
    lines = (f"image: {busybox_image()}", "init: true", "command: [sleep, infinity]", "networks: [inner]")
    other = "  other:\n" + "".join(f"    {line}\n" for line in lines)
    text = compose(more="networks: [inner]", check=check).replace("x-ikoma: {", f"{other}x-ikoma: {{")
    return f"{text}networks:\n  inner: {settings}\n"


def data(app: LiveApp) -> str:
    [serving] = app.running("web")
    return docker("exec", serving, "cat", "/data/file")


def networks(app: LiveApp) -> set[str]:
    return {item["Name"] for item in docker_json("network", "ls", "--filter", f"name={app.name}")}


def test_a_volume_keeps_its_data_whatever_its_labels_are_called_now(server: Server) -> None:
    app = new_app(server, "live-volume-kept")
    first = app.deploy("1", with_volume("{}"))
    docker("exec", app.running("web")[0], "sh", "-c", "echo precious > /data/file")
    app.write("2", with_volume("{labels: {team: blue}}"))
    [warning] = [item for item in app.do("apps.validate")["warnings"] if "volume" in item["problem"]]
    assert "was made with other labels: it stays as it is" in warning["problem"]
    app.deploy("2")
    eventually(lambda: len(app.running("web")) == 1, "one container serves")
    assert data(app) == "precious\n"
    app.do("deploy.rollback", to=first)
    assert data(app) == "precious\n"
    before = app.settle().running()
    app.write("3", with_volume("{labels: {team: red}}", check="/nowhere"))
    assert app.call("deploy.up").code == "deploy_failed"
    assert app.running() == before
    assert data(app) == "precious\n"
    app.do("apps.remove")


def test_a_volume_is_not_given_to_who_asks_for_another_kind(server: Server) -> None:
    app = new_app(server, "live-volume-kind")
    app.deploy("1", with_volume("{}"))
    docker("exec", app.running("web")[0], "sh", "-c", "echo precious > /data/file")
    before = app.running()
    app.write("2", with_volume("{driver_opts: {type: tmpfs, device: tmpfs, o: size=1m}}"))
    refused = app.call("deploy.up")
    assert refused.code in ("invalid_compose", "policy_violation")
    assert "The volume data exists, and was made with other driver options" in str(refused.body)
    assert app.running() == before
    assert data(app) == "precious\n"
    app.do("apps.remove")


def subnet(third: int) -> str:
    return f"{{ipam: {{config: [{{subnet: 10.219.{third}.0/24}}]}}}}"


def test_a_network_with_another_subnet_is_made_beside_the_one_that_serves(server: Server) -> None:
    app = new_app(server, "live-subnet")
    first = app.deploy("1", with_network(subnet(1)))
    with app.loaded("1", "2") as traffic:
        app.deploy("2", with_network(subnet(2)))
        assert traffic.count
    eventually(lambda: len(networks(app)) == 1, "the former network is gone")
    before, remains = app.settle().running(), app.remains()
    app.write("3", with_network(subnet(3), check="/nowhere"))
    assert app.call("deploy.up").code == "deploy_failed"
    assert app.running() == before
    assert app.remains()["networks"] == remains["networks"]
    app.deploy("4", with_network(subnet(2)))
    assert app.remains()["networks"] == remains["networks"]
    app.do("deploy.rollback", to=first)
    eventually(lambda: len(app.running("web")) == 1, "one container serves")
    [joined] = inspected(app.running("web")[0])["NetworkSettings"]["Networks"].values()
    assert joined["IPAddress"].startswith("10.219.1.")
    app.do("deploy.down")
    assert networks(app) == set()


def test_a_network_that_was_not_named_after_its_subnets_is_used_on(server: Server) -> None:
    app = new_app(server, "live-subnet-former")
    label = ("--label", f"com.docker.compose.project={app.name}", "--label", "com.docker.compose.network=inner")
    docker("network", "create", "--subnet", "10.219.4.0/24", *label, f"{app.name}_inner")
    app.deploy("1", with_network(subnet(4)))
    assert networks(app) == {f"{app.name}_inner"}
    app.do("deploy.down")


@pytest.mark.parametrize("change", ["labels: {a: b}", "internal: true"])
def test_a_network_with_a_name_is_never_made_again_under_those_who_are_in_it(server: Server, change: str) -> None:
    app = new_app(server, f"live-named-{change[:3]}")
    app.deploy("1", with_network(f"{{name: {app.name}-shared}}"))
    [made] = docker_json("network", "ls", "--filter", f"name={app.name}-shared")
    before = app.running()
    app.write("2", with_network(f"{{name: {app.name}-shared, {change}}}", check="/nowhere"))
    assert app.call("deploy.up").code == ("deploy_failed" if "labels" in change else "invalid_compose")
    assert app.running() == before
    app.write("2", with_network(f"{{name: {app.name}-shared, labels: {{a: b}}}}"))
    with app.loaded("1", "2"):
        assert app.do("deploy.up")["details"]["downtimeMs"] == 0
    assert docker_json("network", "ls", "--filter", f"name={app.name}-shared")[0]["ID"] == made["ID"]
    app.do("deploy.down")


def test_data_that_a_service_would_leave_behind_is_told_with_the_way_to_take_it_along(server: Server) -> None:
    app = new_app(server, "live-left-behind")
    text = compose(check="/version", watch="0s")

    def told(mount: str, top: str = "") -> list[str]:
        app.write("2", text.replace('["./src:/www:ro"]', f'["./src:/www:ro", {mount}]') + top)
        found = app.do("apps.validate")["warnings"]
        return [item["problem"] + item["fix"] for item in found if "begins with nothing in /data" in item["problem"]]

    named = "volumes: {data: {}}\n"
    app.deploy("1", text.replace('["./src:/www:ro"]', '["./src:/www:ro", "/data"]'))
    docker("exec", app.running("web")[0], "sh", "-c", "echo precious > /data/file")
    assert told("/data/") == []
    [into_folder] = told("./new:/data")
    assert f":/from:ro -v {app.folder.resolve()}/new:/to" in into_folder
    [in_memory] = told("{type: tmpfs, target: /data}")
    assert "docker run" not in in_memory
    [into_volume] = told("data:/data/", named)
    create, copy = re.findall(r"`docker ([^`]+)`", into_volume)
    app.do("deploy.down")
    docker(*create.split())
    docker(*copy.replace(" busybox ", f" {busybox_image()} ").split())
    assert told("data:/data", named) == []
    app.deploy("2")
    assert data(app) == "precious\n"
    [into_other] = told("other:/data", "volumes: {other: {}}\n")
    assert "-v live-left-behind_data:/from:ro -v live-left-behind_other:/to" in into_other
    app.do("apps.remove")
