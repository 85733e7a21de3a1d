"""Previews: another ref beside the app, with its own copy of the database, for a time."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.apps import COMPOSE, make_app
from tests.git_host import GitHost
from tests.images import busybox_image
from tests.support import Server

APP = "previewed"
ALONE = COMPOSE.replace(
    "    restart:",
    "    networks: {{default: {{ipv4_address: 10.213.45.7}}}}\n"
    '    container_name: the-only-one\n    ports: ["127.0.0.1:{{port}}:3000"]\n    restart:',
)
SUBNET = "networks: {{default: {{ipam: {{config: [{{subnet: 10.213.45.0/24}}]}}}}}}"
COMPOSE_ALONE = f"name: {APP}\n{SUBNET}\n{ALONE}  domains: [only.example.com]\n"


@pytest.fixture(scope="module")
def server(host: GitHost) -> Iterator[Server]:
    settings = {"SOURCE_HOSTS": "localhost", "SOURCE_CA_FILE": str(host.ca_file)}
    with support.server(**settings) as started:
        yield started


@pytest.fixture(scope="module")
def app(server: Server, host: GitHost) -> str:
    """An app with all that only one can have, deployed, with two rows in its database."""
    compose = COMPOSE_ALONE.replace("{{port}}", str(support.free_port()))
    folder = make_app(server, APP, compose=compose)
    host.make(APP, {"ok": "main"})
    host.branch(APP, "feature/New_look", {"ok": "new look"})
    (folder / "src" / "ok").unlink()
    server.do("source.clone", {"appName": APP, "url": host.url(APP)})
    server.do("db.create", {"appName": APP})
    (folder / "migrations" / "001_people.sql").write_text("CREATE TABLE people (name text);")
    (folder / "seeds" / "one.sql").write_text("INSERT INTO people VALUES ('Ada'), ('Grace');")
    server.do("deploy.up", {"appName": APP, "timeout": 60})
    server.do("db.seed", {"appName": APP})
    return APP


def make(server: Server, ref: str, **more: Any) -> Any:
    return server.do("deploy.preview", {"appName": APP, "ref": ref, "timeout": 60, **more})["details"]


def end(server: Server, ref: str) -> None:
    server.do("preview.remove", {"appName": APP, "ref": ref})


def served(server: Server, url: str) -> str:
    """Return what is served at an address of this machine, as any program asks for it."""
    host = url.removeprefix("http://").rstrip("/")
    if host.startswith("127."):
        asked = urllib.request.Request(f"{url}/ok")
    else:
        address = f"http://127.0.0.1:{server.env['PROXY_HTTP_PORT']}/ok"
        asked = urllib.request.Request(address, headers={"Host": host})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def container_env(app: str) -> dict[str, str]:
    argv = ["docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={app}"]
    [made] = json.loads(
        subprocess.check_output(["docker", "inspect", *subprocess.check_output(argv, text=True).split()])
    )
    return dict(item.split("=", 1) for item in made["Config"]["Env"])


def people(server: Server, app: str) -> int:
    found = server.do("db.query", {"appName": app, "sql": "SELECT count(*) FROM people"})
    return int(found["rows"][0][0])


def remains(server: Server, name: str) -> list[str]:
    """Whatever there is of a preview, on disk, in Docker, in PostgreSQL or in the proxy."""
    found = [str(path) for path in server.apps.glob(f"{name}*")]
    found += [str(path) for path in server.backups.glob(f"{name}*")]
    found += [str(path) for path in (server.apps / ".ikoma").glob("*preview*")]
    for kind in ("ps -a", "network ls", "volume ls"):
        argv = ["docker", *kind.split(), "-q", "--filter", f"label=com.docker.compose.project={name}"]
        found += subprocess.check_output(argv, text=True).split()
    found += subprocess.check_output(["docker", "images", "-q", f"ikoma-app/{name}/*"], text=True).split()
    found += [item["name"] for item in server.do("apps.list")["apps"] if item["name"] == name]
    state = server.call("db.status", {"appName": name})
    if state.status == 200:
        found.append(json.dumps(state.result))
    return found


def test_another_ref_runs_beside_the_app_with_its_own_copy_of_the_database(server: Server, app: str) -> None:
    before = server.do("apps.status", {"appName": app})
    pending = server.apps / app / "migrations" / "002_age.sql"
    pending.write_text("ALTER TABLE people ADD COLUMN age int;")
    made = make(server, "feature/New_look")
    pending.unlink()
    assert made["preview"].startswith(f"{APP}--feature-new-look-")
    assert made["database"] is True
    assert made["migrations"] == ["002_age.sql"]
    name = made["preview"]
    slug = name.removeprefix(f"{APP}--")
    local = next(url for url in made["urls"] if ".localhost" in url)
    assert local.startswith(f"http://{slug}.{APP}.localhost")
    assert [served(server, url) for url in made["urls"]] == ["new look"] * len(made["urls"])
    assert "only.example.com" not in json.dumps(made["urls"])

    assert people(server, name) == 2
    server.do("db.migrate", {"appName": name, "sql": "INSERT INTO people VALUES ('Linus', 1)"})
    assert (people(server, name), people(server, app)) == (3, 2)
    ledger = server.do("db.status", {"appName": app})["migrations"]["applied"]
    assert ledger == ["001_people.sql"]

    after = server.do("apps.status", {"appName": app})
    assert [item["container"] for item in after["services"]] == [item["container"] for item in before["services"]]
    assert after["services"][0]["container"] == "the-only-one"
    assert served(server, next(url for url in after["urls"] if "127." in url)) == "main"
    [listed] = server.do("preview.list", {"appName": app}, role="observer")["previews"]
    assert (listed["preview"], listed["ref"], listed["commit"]) == (name, "feature/New_look", made["commit"])
    assert (listed["health"], listed["expiresAt"]) == ("healthy", made["expiresAt"])
    end(server, "feature/New_look")
    assert remains(server, name) == []
    assert server.do("preview.list", {"appName": app})["previews"] == []
    assert people(server, app) == 2


def test_the_same_ref_again_brings_it_up_to_date_and_keeps_what_it_has(server: Server, host: GitHost, app: str) -> None:
    host.branch(APP, "again", {"ok": "first"})
    for variable in ("CHANGED", "DROPPED", "KEPT"):
        server.do("env.set", {"appName": app, "name": variable, "value": "before"})
    made = make(server, "again", hours=1)
    name = made["preview"]
    assert name == f"{APP}--again"
    server.do("db.migrate", {"appName": name, "sql": "INSERT INTO people VALUES ('Linus')"})
    for variable in ("OWN", "KEPT"):
        server.do("env.set", {"appName": name, "name": variable, "value": "its own"})
    for variable in ("CHANGED", "KEPT"):
        server.do("env.set", {"appName": app, "name": variable, "value": "after"})
    server.do("env.unset", {"appName": app, "name": "DROPPED"})
    server.do("env.set", {"appName": app, "name": "LATER", "value": "of the app"})
    odd = 'ODD_1="a\\$b"\nODD_2=a$$b\nODD_3: c\nODD_4="d"tail\nODD_5=${ODD_2}x\nODD_6=e\t# f\nODD_7="g\nh"\n'
    with (server.apps / app / ".env").open("a") as file:
        file.write(odd)
    commit = host.branch(APP, "again", {"ok": "second"})
    later = make(server, "again", hours=2)
    assert (later["preview"], later["commit"]) == (name, commit)
    assert later["expiresAt"] > made["expiresAt"]
    assert served(server, later["urls"][0]) == "second"
    assert people(server, name) == 3
    assert {"OWN", "LATER"} <= set(server.do("env.list", {"appName": name})["names"])
    updated = container_env(name)
    resolved = {
        f"ODD_{number + 1}": value for number, value in enumerate(("a$b", "a$b", "c", "d", "a$bx", "e\t# f", "g\nh"))
    }
    assert resolved == {key: value for key, value in updated.items() if key.startswith("ODD_")}
    assert (updated["OWN"], updated["LATER"]) == ("its own", "of the app")
    assert (updated["CHANGED"], updated["KEPT"], updated.get("DROPPED")) == ("after", "its own", None)
    make(server, "again", anew=True)
    assert people(server, name) == 2
    without = make(server, "main", database=False, env={"GREETING": "hello"})
    new = container_env(without["preview"])
    assert resolved == {key: value for key, value in new.items() if key.startswith("ODD_")}
    assert without["database"] is False
    container = subprocess.check_output(
        ["docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={without['preview']}"], text=True
    ).split()[0]
    variables = subprocess.check_output(["docker", "inspect", "-f", "{{json .Config.Env}}", container], text=True)
    assert {"GREETING=hello", f"IKOMA_PREVIEW_NAME={APP}--main"} <= set(json.loads(variables))
    assert "DATABASE_URL" not in variables
    for ref in ("again", "main"):
        end(server, ref)


BUILT = COMPOSE.replace(
    '    image: {image}\n    command: {command}\n    volumes: ["./src:/www:ro"]\n',
    "    build: {{context: ./src, dockerfile: ../config/Dockerfile}}\n    command: {command}\n"
    '    volumes: ["./config:/config", "./config/only.conf:/only.conf:ro"]\n',
)


def test_a_preview_is_built_by_the_apps_own_dockerfile_and_keeps_what_it_wrote(server: Server, host: GitHost) -> None:
    """As the templates for Node and Python have it: beside src/, which alone comes from the repository."""
    folder = make_app(server, "previewed-built", compose=BUILT)
    (folder / "config" / "Dockerfile").write_text(f"FROM {busybox_image()}\nCOPY . /www\n")
    (folder / "config" / "only.conf").write_text("of the app")
    host.make("previewed-built", {"ok": "built"})
    (folder / "src" / "ok").unlink()
    server.do("source.clone", {"appName": "previewed-built", "url": host.url("previewed-built")})
    arguments = {"appName": "previewed-built", "ref": "main", "timeout": 60}
    made = server.do("deploy.preview", arguments)["details"]
    assert served(server, made["urls"][0]) == "built"
    config = server.apps / made["preview"] / "config"
    assert (config / "only.conf").read_text() == "of the app"
    (config / "written").write_text("by its containers" * 1000)
    (folder / "config" / "Dockerfile").write_text(f"FROM {busybox_image()}\nCOPY . /www\nRUN echo again > /www/ok\n")
    (folder / "config" / "only.conf").write_text("changed in the app")
    later = server.do("deploy.preview", arguments)["details"]
    assert served(server, later["urls"][0]) == "again\n"
    assert (config / "only.conf").read_text() == "changed in the app"
    assert (config / "written").stat().st_size == len("by its containers") * 1000
    server.do("preview.remove", {"appName": "previewed-built", "ref": "main"})


def test_one_that_fails_leaves_nothing_and_one_that_served_serves_on(server: Server, host: GitHost, app: str) -> None:
    host.branch(APP, "broken", {"ok": None, "other": "no health here"})
    failed = server.call("deploy.preview", {"appName": APP, "ref": "broken", "timeout": 20})
    assert failed.code == "deploy_failed"
    assert remains(server, f"{APP}--broken") == []
    host.branch(APP, "goes-bad", {"ok": "good"})
    made = make(server, "goes-bad")
    host.branch(APP, "goes-bad", {"ok": None})
    failed = server.call("deploy.preview", {"appName": APP, "ref": "goes-bad", "timeout": 20})
    assert failed.code == "deploy_failed"
    assert served(server, made["urls"][0]) == "good"
    end(server, "goes-bad")


def test_it_ends_by_itself_and_with_its_app(server: Server, host: GitHost, app: str) -> None:
    host.branch(APP, "passing", {"ok": "passing"})
    name = make(server, "passing")["preview"]
    record = server.apps / name / ".ikoma" / "preview.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"expires_at": "2026-01-01T00:00:00Z"}))
    wait_for(lambda: remains(server, name) == [])

    def ended() -> tuple[str, str]:
        last = [entry for entry in server.audit() if entry["capability"] == "preview.remove"][-1]
        return last["caller"], last["result"]

    wait_for(lambda: ended() == ("ikoma", "success"))  # the last thing that a call does

    make_app(server, "previewed-too")
    (server.apps / "previewed-too" / "src" / "ok").unlink()
    server.do("source.clone", {"appName": "previewed-too", "url": host.url(APP)})
    made = server.do("deploy.preview", {"appName": "previewed-too", "ref": "main", "timeout": 60})["details"]
    asked = server.call("apps.remove", {"appName": "previewed-too"}, headers={"X-Confirm": "ask"})
    assert made["preview"] in json.dumps(asked.body)
    server.do("apps.remove", {"appName": "previewed-too"})
    wait_for(lambda: remains(server, made["preview"]) == [])


def wait_for(done: Any, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_one_whose_server_was_killed_is_done_again_or_ended(server: Server, host: GitHost, app: str) -> None:
    host.branch(APP, "cut-off", {"ok": "cut off"})
    arguments = {"appName": APP, "ref": "cut-off", "timeout": 60, "wait": 0}
    for pause in (0.1, 1.0, 2.5):
        assert server.call("deploy.preview", arguments).status in (200, 202)
        time.sleep(pause)
        server.kill()
        server.start()
    made = make(server, "cut-off")
    assert served(server, made["urls"][0]) == "cut off"
    assert people(server, made["preview"]) == 2
    end(server, "cut-off")
    assert remains(server, made["preview"]) == []


def test_who_reaches_an_app_reaches_its_previews_and_nobody_else_does(server: Server, host: GitHost, app: str) -> None:
    name = make(server, "main")["preview"]
    key = {}
    for scope in (APP, "other", f"{APP}-*"):
        arguments = {"name": scope.strip("-*"), "role": "builder", "apps": [scope]}
        key[scope] = server.do("keys.create", arguments)["key"]
    seen = server.do("apps.list", key=key[APP])["apps"]
    assert {item["name"] for item in seen} == {APP, name}
    assert server.call("apps.logs", {"appName": name}, key=key[APP]).status == 200
    assert server.call("apps.logs", {"appName": APP}, key=key[f"{APP}-*"]).code == "out_of_scope"
    for capability, arguments in (
        ("apps.logs", {"appName": name}),
        ("preview.list", {"appName": APP}),
        ("preview.remove", {"appName": APP, "ref": "main"}),
        ("deploy.preview", {"appName": APP, "ref": "main"}),
    ):
        assert server.call(capability, arguments, key=key["other"]).code == "out_of_scope", capability
    assert server.call("deploy.preview", {"appName": name, "ref": "main"}).code == "preview_of_preview"
    end(server, "main")


def test_what_cannot_be_previewed_is_explained_and_changes_nothing(server: Server, host: GitHost, app: str) -> None:
    before = sorted(path.name for path in server.apps.iterdir())
    for ref in ("--upload-pack=touch /tmp/x", "-b", "a..b", "", "a b"):
        assert server.call("deploy.preview", {"appName": APP, "ref": ref}).code == "invalid_arguments", ref
    assert server.call("deploy.preview", {"appName": APP, "ref": "nowhere"}).code == "source_unavailable"
    for hours in (0, 721, "3"):
        answer = server.call("deploy.preview", {"appName": APP, "ref": "main", "hours": hours})
        assert answer.code == "invalid_arguments"
    assert server.call("deploy.preview", {"appName": "nobody", "ref": "main"}).code == "app_not_found"
    assert server.call("preview.remove", {"appName": APP, "ref": "main"}).code == "preview_not_found"
    assert server.call("apps.init", {"appName": f"{APP}--mine"}).code == "invalid_arguments"
    assert sorted(path.name for path in server.apps.iterdir()) == before
    make_app(server, "previewed-by-hand")
    assert server.call("deploy.preview", {"appName": "previewed-by-hand", "ref": "main"}).code == "source_missing"
    server.do("apps.remove", {"appName": "previewed-by-hand"})


def test_a_folder_of_such_a_name_is_no_app_and_is_never_written_to(server: Server, app: str) -> None:
    folder: Path = server.apps / f"{APP}--main"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    answer = server.call("deploy.preview", {"appName": APP, "ref": "main"})
    assert (answer.status, answer.code) == (409, "preview_name_taken")
    assert [path.name for path in folder.iterdir()] == ["mine"]
    assert server.call("apps.status", {"appName": folder.name}).code == "app_not_found"
    assert folder.name not in {item["name"] for item in server.do("apps.list")["apps"]}
    (folder / "mine").unlink()
    folder.rmdir()
