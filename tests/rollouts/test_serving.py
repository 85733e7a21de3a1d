"""Deploys, restarts and ways back under load: no request fails, and each is answered by one of the two releases."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.images import busybox_image
from tests.rollouts.live_app import SERVE, TIMES, LiveApp, answers, compose, docker, inspected, new_app
from tests.rollouts.long_requests import lasting
from tests.support import Server, eventually, free_port
from tests.traffic import steady

ROUNDS = int(os.environ.get("IKOMA_ROUNDS", "20"))
LONG_ROUNDS = 3


@pytest.mark.timeout(1800)
def test_deploys_restarts_and_ways_back_in_a_row_lose_no_request(server: Server) -> None:
    """With connections that are kept, and always a slow answer, one in pieces and a websocket under way.

    Each step waits for what is under way: five seconds in the first rounds, then half of one.
    """
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
            long_ones.tenths = 50 if number <= LONG_ROUNDS else 5
            for step in steps:
                with answers(traffic) as found:
                    now = step(number)
                assert set(found) <= {serving, now}, f"{step.__name__} from {serving} to {now}: {found}"
                before, serving = (serving, now) if now != serving else (before, serving)
                assert long_ones.failures == []
    assert long_ones.failures == []
    assert min(long_ones.whole.values()) >= ROUNDS
    print(f"{traffic.count} requests, the slowest {traffic.slowest:.2f} s; {dict(long_ones.whole)} that last")


def story(app: LiveApp, first: str, second: str) -> None:
    """Under load: deploy a second version, restart it, and go back; no request fails."""
    with app.loaded(first, second, rate=100):
        app.deploy(second)
        assert answered(app) == second
        app.do("deploy.restart")
        assert answered(app) == second
        app.do("deploy.rollback")
        assert answered(app) == first


def answered(app: LiveApp) -> str:
    with urllib.request.urlopen(app.url, timeout=150) as response:
        return str(response.read().decode().strip())


def test_of_two_replicas_all_are_replaced_and_all_answer(server: Server) -> None:
    app = new_app(server, "live-scaled", compose_file=compose(more="scale: 2", watch="5m"))
    app.deploy("1")
    before = app.running("web")
    assert len(before) == 2
    story(app, "1", "2")
    assert set(app.running("web")) == set(before), "those in standby start again"
    app.deploy("3")
    now = app.running("web")
    assert len(now) == 2
    assert not set(now) & set(before)


ONE_AT_A_TIME = {
    "host-port": 'ports: ["127.0.0.1:{port}:3000"]',
    "volume": 'volumes: ["./src:/www:ro", "store:/store"]',
    "folder": 'volumes: ["./src:/www:ro", "./store:/store"]',
}


@pytest.mark.parametrize("kind", ONE_AT_A_TIME)
def test_requests_wait_while_one_container_replaces_another(server: Server, kind: str) -> None:
    more = ONE_AT_A_TIME[kind].format(port=free_port())
    text = compose(watch="1m", more=more).replace('    volumes: ["./src:/www:ro"]\n', "", int("volumes" in more))
    app = new_app(server, f"live-{kind}", compose_file=text + ("volumes: {store: {}}\n" if kind == "volume" else ""))
    app.deploy("1")
    if kind != "host-port":
        docker("exec", app.running()[0], "sh", "-c", "echo kept > /store/note")
    story(app, "1", "2")
    eventually(lambda: len(app.running()) == 1, "the one before has ended")
    if kind != "host-port":
        assert docker("exec", app.serving()[0], "cat", "/store/note") == "kept\n"


def test_requests_wait_also_where_the_route_changes_meanwhile(server: Server) -> None:
    """A new route is a new configuration of the proxy, which would end the wait of those that are held."""
    text = compose(command="[sh, -c, 'sleep 2; exec httpd -f -p 3000 -h /www']")
    text = text.replace("x-ikoma: {", "x-ikoma: {strategy: recreate, ")
    app = new_app(server, "live-moves", compose_file=text)
    app.deploy("1")
    text = text.replace("recreate, ", "recreate, domains: [moved.example.com], ")
    app.write("2", text)
    with asked_while_nothing_runs(app) as found:
        app.do("deploy.up")
    assert found == {"2": 10}
    text = text.replace("moved", "broken").replace("exec httpd", "exit 1; httpd")
    app.write("3", text)
    with asked_while_nothing_runs(app) as found:
        assert app.call("deploy.up", timeout=5).code == "deploy_failed"
    assert found == {"2": 10}
    assert [item["name"] for item in app.do("domain.list")["domains"] if item["url"]] == ["moved.example.com"]


@contextlib.contextmanager
def asked_while_nothing_runs(app: LiveApp) -> Iterator[Counter[str]]:
    """Answer ten requests that are sent once the old container has stopped and before there is a new one."""
    found: Counter[str] = Counter()
    old = app.running()

    def ask() -> None:
        eventually(lambda: not set(old) & set(app.running()), "the old container has stopped")
        try:
            found[answered(app)] += 1
        except OSError as error:
            found[repr(error)] += 1

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        for thread in threads:
            thread.join()


def test_a_container_with_a_name_of_its_own_has_it_after_each_deploy(server: Server) -> None:
    app = new_app(server, "live-named", compose_file=compose(more="container_name: live-named-door"))
    app.deploy("1")
    assert inspected(app.serving()[0])["Name"] == "/live-named-door"
    story(app, "1", "2")
    eventually(lambda: len(app.running()) == 1, "the one before has ended")
    assert inspected(app.serving()[0])["Name"] == "/live-named-door"
    assert app.call("deploy.scale", service="web", replicas=2).code == "cannot_run_twice"
    docker("rename", app.serving()[0], "live-named-away")
    foreign = docker("create", "--name", "live-named-door", busybox_image(), "true").strip()
    try:  # somebody took the name meanwhile
        app.do("deploy.restart")
        assert urllib.request.urlopen(app.url, timeout=30).read() == b"1\n"
    finally:
        docker("rm", foreign)


@pytest.mark.parametrize("declares", ["image", "file"])
def test_what_a_volume_without_a_name_holds_is_carried_on(server: Server, declares: str) -> None:
    text = compose(watch="1m").replace(f"image: {busybox_image()}", "build: ./src")
    if declares == "file":
        text = text.replace('"./src:/www:ro"', '"./src:/www:ro", /store')
    app = new_app(server, f"live-carried-{declares}", compose_file=text)
    image = "VOLUME /store\n" if declares == "image" else ""
    (app.folder / "src" / "Dockerfile").write_text(f"FROM {busybox_image()}\n{image}")
    app.deploy("1")
    docker("exec", app.running()[0], "sh", "-c", "echo kept > /store/note")
    story(app, "1", "2")
    assert docker("exec", app.serving()[0], "cat", "/store/note") == "kept\n"
    app.do("deploy.restart")
    assert docker("exec", app.serving()[0], "cat", "/store/note") == "kept\n"
    app.do("deploy.down")
    app.deploy("3")
    assert docker("exec", app.serving()[0], "cat", "/store/note") == "kept\n"


SERVICE = """  {name}:
    image: {image}
    command: {command}
    volumes: ["./{folder}:/www:ro"]
    healthcheck: {{test: [CMD, wget, -q, --spider, "http://127.0.0.1:3000/version"], {times}}}
    init: true
"""


def two_services(*, command: str = SERVE, web: str = "") -> str:
    """A web whose /api passes on what the service api answers."""
    api = SERVICE.format(times=TIMES, name="api", image=busybox_image(), command=command, folder="src/api")
    whole = compose(image="node:22-alpine", command="[node, /www/server.js]", more=web, watch="1m")
    return whole.replace("x-ikoma:", f"{api}x-ikoma:")


def new_two(server: Server, name: str) -> LiveApp:
    """An app of two services, deployed."""
    app = new_app(server, name, compose_file=two_services())
    shutil.copy(Path(__file__).with_name("server.js"), app.folder / "src")
    write_api(app, "api-1")
    app.deploy("1")
    return app


def write_api(app: LiveApp, version: str) -> None:
    (app.folder / "src" / "api").mkdir(exist_ok=True)
    (app.folder / "src" / "api" / "version").write_text(version + "\n")


def test_each_release_talks_to_its_own_services_also_where_the_next_is_broken(server: Server) -> None:
    app = new_two(server, "live-two")
    through = app.url.replace("/version", "/api")
    with steady(through, rate=20, clients=4) as traffic:
        write_api(app, "api-2")
        app.write("2", two_services(command="[sh, -c, 'sleep 2; exit 1']"))
        assert app.call("deploy.up").code == "deploy_failed"
        assert set(traffic.answers) == {"api-1"}
        app.deploy("2", two_services())
        with answers(traffic) as found:
            eventually(lambda: traffic.answers["api-2"] > 20, "the new api answers")
        assert found["api-1"] <= 4  # those that were under way
        app.do("deploy.rollback")
    assert not traffic.failures, Counter(traffic.failures)
    assert set(traffic.answers) == {"api-1", "api-2"}


def test_services_that_did_not_change_keep_their_containers_and_are_found(server: Server) -> None:
    app = new_two(server, "live-kept")
    api, web = app.running("api"), app.running("web")
    through = app.url.replace("/version", "/api")
    with steady(through, rate=20, clients=4) as traffic:
        app.deploy("2", two_services(web="environment: {CHANGED: '1'}"))
        assert app.running("api") == api
        assert app.running("web") != web
        app.deploy("3", two_services(web="environment: {CHANGED: '2'}"))
        assert app.running("api") == api
    assert not traffic.failures, Counter(traffic.failures)
    assert set(traffic.answers) == {"api-1"}
    app.deploy("4", compose(watch="0s"))
    eventually(lambda: {item.service for item in app.containers()} == {"web"}, "the service that is gone has none")


def test_what_runs_once_runs_at_each_deploy(server: Server) -> None:
    job = (
        f"  job: {{image: {busybox_image()}, command: [sh, -c, 'date >> /store/runs'], volumes: ['./store:/store']}}\n"
    )
    waits = "depends_on: {job: {condition: service_completed_successfully}}"
    app = new_app(server, "live-once", compose_file=compose(more=waits).replace("x-ikoma:", f"{job}x-ikoma:"))
    runs = app.folder / "store" / "runs"
    app.deploy("1")
    assert len(runs.read_text().splitlines()) == 1
    with app.loaded("1", "2", rate=100):
        app.deploy("2")
        app.deploy("2")
    assert len(runs.read_text().splitlines()) == 3
    assert app.do("apps.status")["health"] == "healthy"


def test_a_service_in_the_namespace_of_another_goes_with_it(server: Server) -> None:
    side = SERVICE.format(times=TIMES, name="side", image=busybox_image(), command="[sleep, '1000']", folder="src")
    text = compose(watch="1m").replace("x-ikoma:", f"{side}    network_mode: service:web\nx-ikoma:")
    app = new_app(server, "live-inside", compose_file=text)
    app.deploy("1")
    story(app, "1", "2")
    [web], [side_id] = app.serving(), app.serving("side")
    assert inspected(side_id)["HostConfig"]["NetworkMode"] == f"container:{web}"
    assert docker("exec", side_id, "wget", "-q", "-O", "-", "http://127.0.0.1:3000/version") == "1\n"


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_editing_the_source_changes_nothing_before_the_next_deploy(server: Server, mode: str) -> None:
    """A folder that containers may write is source where the file says so; else it is data."""
    text = compose(watch="1m").replace("/www:ro", f"/www:{mode}")
    if mode == "rw":
        text = text.replace("x-ikoma: {", "x-ikoma: {source: [src], ")
    app = new_app(server, f"live-edit-{mode}", compose_file=text)
    app.deploy("1")
    app.write("edited")
    assert answered(app) == "1"
    app.do("deploy.restart")
    assert answered(app) == "1"
    app.deploy("2")
    assert answered(app) == "2"


def test_going_back_brings_variables_config_and_images_back(server: Server) -> None:
    """Also where the tag of an image stands for another one by then."""
    tag = f"ikoma-test-moving-{free_port()}:1"
    more = "env_file: [.env, ./config/more.env]\nconfigs: [{source: page, target: /page}]"
    text = compose(more=more, image=tag) + "configs: {page: {file: ./config/page}}\n"
    app = new_app(server, "live-back", compose_file=text)

    def write(number: str) -> None:
        docker("build", "-q", "--label", f"number={number}", "-t", tag, str(app.folder / "build"))
        app.do("env.set", name="GIVEN", value=f"given-{number}")
        (app.folder / "config").mkdir(exist_ok=True)
        (app.folder / "config" / "more.env").write_text(f"MORE=more-{number}\n")
        (app.folder / "config" / "page").write_text(f"page-{number}\n")

    (app.folder / "build").mkdir()
    (app.folder / "build" / "Dockerfile").write_text(f"FROM {busybox_image()}\nLABEL ikoma.test=true\n")
    write("1")
    app.deploy("1")
    write("2")
    with app.loaded("1", "2", rate=100):
        app.deploy("2")
        app.do("deploy.rollback")
    eventually(lambda: len(app.running()) == 1, "the one before has ended")
    container = app.running()[0]
    shown = inspected(container)
    assert {"GIVEN=given-1", "MORE=more-1"} <= set(shown["Config"]["Env"])
    assert shown["Config"]["Labels"]["number"] == "1"
    assert docker("exec", container, "cat", "/page") == "page-1\n"
    docker("rmi", tag)


def test_an_app_that_is_down_says_so_and_comes_back_at_the_same_place(server: Server) -> None:
    app = new_app(server, "live-down")
    app.deploy("1")
    url = app.url
    app.do("deploy.down")
    with pytest.raises(urllib.error.HTTPError) as refused:
        answered(app)
    assert refused.value.code == 503
    assert b"Out of service" in refused.value.read()
    assert app.containers() == []
    app.deploy("2")
    assert app.url == url
    assert answered(app) == "2"
