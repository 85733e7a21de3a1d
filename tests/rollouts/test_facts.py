"""Facts said of an app are so: before anything serves, while a release comes up, and where it is broken."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.faults.server_observations import Background
from tests.images import busybox_image
from tests.rollouts.live_app import SERVE, TIMES, UNTIL_TOLD, LiveApp, compose, docker, new_app, tell
from tests.support import Answer, Server, eventually

HEALTHCHECK = f'healthcheck: {{test: [CMD, wget, -q, --spider, "http://127.0.0.1:3000/version"], {TIMES}}}'


def script(text: str) -> str:
    return f"[sh, -c, {shlex.quote(text)}]"


def checks(app: LiveApp) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in app.do("artifact.verify_release")["checks"]}


def answering(app: LiveApp, body: str) -> None:
    """Let the next release answer /cgi-bin/health with 500 and this body."""
    cgi = app.folder / "src" / "cgi-bin"
    cgi.mkdir(exist_ok=True)
    (cgi / "body").write_text(body)
    (cgi / "health").write_text("#!/bin/sh\nprintf 'HTTP/1.0 500 No\\r\\n\\r\\n'\ncat /www/cgi-bin/body\n")
    (cgi / "health").chmod(0o755)


def tell_all(app: LiveApp) -> None:
    for container in app.running("web"):
        tell(container)


def refused(app: LiveApp, compose_file: str) -> Answer:
    app.write("bad", compose_file)
    answer = app.call("deploy.up")
    assert answer.code == "deploy_failed", answer.body
    return answer


def details(answer: Answer) -> Mapping[str, Any]:
    return dict(answer.body["details"])


def test_before_anything_serves_nothing_is_said_to_be_well(server: Server) -> None:
    app = new_app(server, "facts-before", compose_file=compose())
    app.do("db.create")
    app.do("db.backup")
    found = checks(app)
    assert (found["healthPath"]["passed"], found["healthPath"]["details"]) == (False, "Nothing serves yet.")
    assert found["containers"]["details"] == "Nothing is deployed yet."
    assert app.do("artifact.verify_release")["next"]["capability"] == "apps.validate"
    assert "older than" not in json.dumps(found)
    assert "nothing is deployed yet" in found["backup"]["details"]
    seen = app.do("apps.health")
    assert (seen["health"], seen["details"]["healthPath"]["passed"]) == ("stopped", False)
    app.deploy("one")
    assert checks(app)["healthPath"]["passed"] is True
    app.do("deploy.down")
    assert checks(app)["healthPath"]["details"] == "Nothing serves."


def test_an_app_in_maintenance_is_not_verified_without_a_word(server: Server) -> None:
    app = new_app(server, "facts-maintained", compose_file=compose())
    app.deploy("one")
    assert "maintenance" not in checks(app)
    app.do("apps.maintenance", on=True)
    verified = app.do("artifact.verify_release")
    assert verified["summary"].startswith("In maintenance: ")
    assert checks(app)["maintenance"]["passed"] is False
    assert app.do("apps.health")["maintenance"] is True
    [listed] = [item for item in server.do("apps.list")["apps"] if item["name"] == app.name]
    assert listed["maintenance"] is True
    app.do("apps.maintenance", on=False)
    assert app.do("apps.health")["maintenance"] is False


def test_a_password_that_the_database_takes_no_longer_is_found_at_once_by_a_new_login(server: Server) -> None:
    app = new_app(server, "facts-login", compose_file=compose())
    app.do("db.create")
    app.deploy("one")
    assert checks(app)["database"]["passed"] is True
    app.do("db.migrate", sql="ALTER ROLE CURRENT_USER PASSWORD 'another one'")
    said = checks(app)["database"]
    assert said["passed"] is False, "a session of before may go on, and is no proof"
    assert "password authentication failed" in said["details"]
    app.do("db.create")
    assert checks(app)["database"]["passed"] is True


def test_a_release_that_crashes_at_its_start_leaves_its_lines(server: Server) -> None:
    app = new_app(server, "facts-crash", compose_file=compose())
    good = app.deploy("one")
    broken = compose(command=script("echo starting; echo no such table >&2; sleep 1; exit 7"))
    beside = (
        f"  beside:\n    image: {busybox_image()}\n    command: {script('echo beside; sleep 1000')}\n    init: true\n"
    )
    answer = refused(app, broken.replace("x-ikoma:", f"{beside}x-ikoma:"))
    assert details(answer)["exitCode"] == 7
    [failed] = [item["id"] for item in app.releases() if item["state"] == "failed"]
    lines = app.do("apps.logs", release=failed)["lines"]
    assert {"web | starting", "web | no such table", "beside | beside"} <= set(lines)
    assert app.do("apps.logs", release=failed, service="beside")["lines"] == ["beside"]
    assert app.do("apps.logs", release=failed, grep="TABLE", tail=1)["lines"] == ["web | no such table"]
    assert app.call("apps.logs", release=failed, service="besides").code == "service_not_found"
    assert "no such table" not in app.do("apps.logs", release=good)["lines"]
    assert app.call("apps.logs", release="20200101000000-aaaaaa").status in (404, 422)


@pytest.mark.parametrize(
    ("listens", "says"),
    [
        ("8080", "It listens on 8080, and requests go to 3000: say `port: 8080` under x-ikoma"),
        ("127.0.0.1:3000", "It listens on 127.0.0.1:3000, inside its container only: let it listen on 0.0.0.0."),
        ("127.0.0.1:8080", "It listens on 127.0.0.1:8080 only: let it listen on 0.0.0.0:3000."),
    ],
)
def test_the_port_that_a_container_listens_on_is_told(server: Server, listens: str, says: str) -> None:
    app = new_app(server, f"facts-port-{listens.replace('.', '-').replace(':', '-')}", compose_file=compose())
    started = compose(command=SERVE.replace("3000", listens)).replace(HEALTHCHECK, "healthcheck: {disable: true}")
    answer = refused(app, started)
    assert says in answer.body["error"]


def test_an_app_that_listens_late_is_waited_for_as_long_as_the_deploy_may_last(server: Server) -> None:
    app = new_app(server, "facts-slow", compose_file=compose())
    starts = compose(command="[sh, -c, 'sleep 18; exec httpd -f -p 3000 -h /www']")
    app.write("slow", starts.replace(HEALTHCHECK, "healthcheck: {disable: true}"))
    failed = app.call("deploy.up", timeout=5)
    assert failed.code == "deploy_failed"
    assert failed.body["error"].endswith("It listens on no port.")
    assert "`timeout` gives it longer" in failed.body["hint"]
    assert app.do("deploy.up", timeout=60)["success"]


def test_a_failing_healthcheck_tells_the_port_and_the_end_of_what_it_said(server: Server) -> None:
    app = new_app(server, "facts-check", compose_file=compose())
    asks = "i=0; while [ $$i -lt 300 ]; do echo line $$i; i=$$((i+1)); done; echo it is the end; exit 1"
    check = f"healthcheck: {{test: [CMD-SHELL, {json.dumps(asks)}], interval: 1s, retries: 2}}"
    answer = refused(app, compose(command=SERVE.replace("3000", "8080")).replace(HEALTHCHECK, check))
    assert "It listens on 8080, and requests go to 3000" in answer.body["error"]
    [failed] = [item for item in app.releases() if item["state"] == "failed"]
    assert "It listens on 8080" in failed["cause"]
    said = details(answer)["healthcheck"]
    assert app.do("release.show", release=failed["id"])["healthcheck"] == said
    assert said.endswith("it is the end")
    assert len(said) < 2100


@pytest.mark.parametrize("length", [0, 100_000])
def test_what_a_failing_health_path_answers_is_told_within_bounds(server: Server, length: int) -> None:
    app = new_app(server, f"facts-500-{length}", compose_file=compose())
    app.do("env.set", name="API_TOKEN", value="zk4Jq9vPw2LmXt7b")
    answering(app, "relation orders is missing, zk4Jq9vPw2LmXt7b " + "x" * length)
    answer = refused(app, compose(health="/cgi-bin/health"))
    assert "/cgi-bin/health answers 500." in answer.body["error"]
    said = details(answer)["answer"]
    assert said.startswith("relation orders is missing, ")
    assert "zk4Jq9" not in json.dumps(answer.body)
    assert len(said) < 2100
    assert details(answer)["answerStatus"] == 500
    shown = app.do("release.show", release=details(answer)["releaseId"])
    assert (shown["answer"], shown["answerStatus"]) == (said, 500)
    page = server.cli("release", app.name, details(answer)["releaseId"]).stdout
    assert "500" in page
    assert "relation orders is missing, " in page


def test_an_app_that_turns_bad_later_shows_its_answer(server: Server) -> None:
    app = new_app(server, "facts-later", compose_file=compose())
    app.deploy("one")
    assert "answer" not in app.do("apps.health")
    loose = compose(
        health="/cgi-bin/health", command=script("mkdir -p /tmp; cp -r /www /tmp/www; httpd -f -p 3000 -h /tmp/www")
    )
    answering(app, "all is lost")
    (app.folder / "src" / "cgi-bin" / "health").write_text(
        "#!/bin/sh\n[ -e /tmp/bad ] && printf 'HTTP/1.0 500 No\\r\\n\\r\\n' || printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'\n"
        "cat /www/cgi-bin/body\n"
    )
    app.deploy("two", loose)
    docker("exec", app.serving()[0], "touch", "/tmp/bad")
    seen = app.do("apps.health")
    assert seen["health"] == "unhealthy"
    assert seen["details"]["healthPath"]["details"] == "/cgi-bin/health answers 500."
    assert seen["answer"] == "all is lost"


def test_a_deploy_under_way_shows_what_starts_and_then_how_long_it_is_watched(server: Server) -> None:
    app = new_app(server, "facts-starting", compose_file=compose(watch="5m"))
    first = app.deploy("one")
    assert not app.do("apps.status").keys() & {"operation", "starting", "watch"}
    slow = compose(command=script(f"echo warming up; {UNTIL_TOLD}; httpd -f -p 3000 -h /www"), watch="5m")
    app.write("two", slow.replace("retries: 3", "retries: 999"))
    deploying = Background(server, "deploy.up", {"appName": app.name})
    eventually(lambda: app.do("apps.status").get("starting"), "its container starts")
    shown = app.do("apps.status")
    assert shown["operation"]["capability"] == "deploy.up"
    assert shown["operation"]["step"]
    [starting] = shown["starting"]
    assert starting["service"] == "web"
    assert shown["release"] == first != starting["release"]
    eventually(
        lambda: app.do("apps.logs", release=starting["release"])["lines"] == ["warming up"], "its first line is there"
    )
    assert starting["release"] in app.do("apps.logs")["more"]
    tell_all(app)
    answer = deploying.wait()
    assert answer is not None
    assert shown["operation"]["id"] == answer.body["requestId"]
    after = app.do("apps.status")
    assert not after.keys() & {"operation", "starting"}
    assert (after["watch"]["release"], after["watch"]["backTo"]) == (starting["release"], first)
    assert after["watch"]["until"] > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def test_a_first_release_that_starts_shows_its_lines(server: Server) -> None:
    slow = compose(command=script(f"echo warming up; {UNTIL_TOLD}; httpd -f -p 3000 -h /www"))
    app = new_app(server, "facts-first", compose_file=slow.replace("retries: 3", "retries: 999"))
    app.write("one")
    deploying = Background(server, "deploy.up", {"appName": app.name})
    eventually(lambda: app.do("apps.logs")["lines"] == ["warming up"], "its first line is there")
    tell_all(app)
    answer = deploying.wait()
    assert answer is not None
    assert answer.status == 200


def test_a_watched_release_that_crashes_after_a_while_leaves_its_reason_and_its_lines(server: Server) -> None:
    app = new_app(server, "facts-left", compose_file=compose(watch="5m"))
    good = app.deploy("one")
    dies = compose(
        command=script(f"httpd -p 3000 -h /www; echo serving; {UNTIL_TOLD}; echo out of ideas; exit 3"), watch="5m"
    )
    bad = app.deploy("two", dies)
    tell(app.serving()[0])
    eventually(lambda: app.release(good)["current"], "the release before serves again")
    shown = app.do("release.show", release=bad)
    assert shown["state"] == "failed"
    assert "web exited with code 3" in shown["cause"]
    assert shown["logs"][:2] == ["serving", "out of ideas"]
    eventually(lambda: len(app.containers()) == 1, "its container is gone")
    assert app.do("apps.logs", release=bad)["lines"][:2] == ["serving", "out of ideas"]


def test_health_says_how_services_are_that_are_to_end_and_nothing_twice(server: Server) -> None:
    prepare = f"""  prepare:
    image: {busybox_image()}
    command: {script("echo prepared")}
"""
    needs = (
        "init: true\n    depends_on: {prepare: {condition: service_completed_successfully}}\n    deploy: {replicas: 2}"
    )
    app = new_app(server, "facts-jobs", compose_file=compose())
    app.deploy("one", compose().replace("init: true", needs, 1).replace("x-ikoma:", f"{prepare}x-ikoma:"))
    seen = app.do("apps.health")["details"]["containers"]["details"]
    assert seen == "2 running as deployed; prepare has ended well."
    for container in app.running("web"):
        docker("kill", container)
    seen = app.do("apps.health")["details"]["containers"]["details"]
    assert seen == "web is exited (exit code 137) (2 containers); prepare has ended well."
