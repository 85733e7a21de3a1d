"""Compose files as people bring them: several that are merged, names of their own, networks and volumes of others."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.policy.fetched import IMAGE as FETCHES
from ikoma.engines.compose.argv import find_compose_program
from tests.images import busybox_image
from tests.support import Server

WEB = """services:
  web:
    image: {image}
    command: [httpd, -f, -p, "3000", -h, /www]
    volumes: ["./src:/www:ro"]
    init: true
"""
BLOCK = "x-ikoma: {service: web, port: 3000, health: /ok}\n"


def docker(*words: str) -> str:
    return subprocess.check_output(["docker", *words], text=True)


def make(server: Server, name: str, **files: str) -> Path:
    """An app of these files, named with _ for what stands in no Python name."""
    folder = server.apps / name
    for path, text in ({"src/ok": "ok\n"} | files).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text.replace("{image}", busybox_image()))
    return folder


def warnings(report: dict[str, Any]) -> list[tuple[str, int | None]]:
    told = [item for item in report["warnings"] if not item["problem"].startswith("Nothing is routed")]
    return sorted((item["file"], item["line"]) for item in told)


def test_a_file_with_an_override_and_names_of_its_own_is_deployed_as_the_apps_own(server: Server) -> None:
    text = (
        f"name: shop\n{WEB}    networks: [proxy, inner]\n"
        "networks:\n  proxy: {external: true}\n  inner: {name: shop_inner}\n"
    )
    over = f"services: {{web: {{environment: {{A: b}}}}}}\n{BLOCK}"
    make(server, "brought", **{"compose.yaml": text, "docker-compose.override.yml": over})
    report = server.do("apps.validate", {"appName": "brought"})
    assert report["errors"] == []
    assert warnings(report) == [("compose.yaml", 1), ("compose.yaml", 10), ("compose.yaml", 11)]
    server.do("deploy.up", {"appName": "brought"})
    [made] = json.loads(docker("inspect", *docker("ps", "-q", "--filter", "label=ikoma.app=brought").split()))
    assert "A=b" in made["Config"]["Env"]
    assert {network.rsplit("-", 1)[0] for network in made["NetworkSettings"]["Networks"]} == {
        "brought_proxy",
        "brought_inner",
    }
    (server.apps / "brought" / ".env").write_text("COMPOSE_PROJECT_NAME=brought\n")  # as the warning says
    command = [str(find_compose_program()), "-f", str(server.apps / "brought" / "compose.yaml"), "ps", "-q"]
    assert subprocess.check_output(command, text=True).split() == [made["Id"]]


def test_a_compose_file_in_a_folder_builds_what_lies_above_it(server: Server) -> None:
    build = "services:\n  web:\n    build: {context: .., dockerfile: deploy/Dockerfile}\n    init: true\n"
    folder = make(
        server,
        "below",
        **{
            ".env": "COMPOSE_FILE=deploy/compose.yml:deploy/live.yml\nSAID=above\n",
            "deploy/.env": "SAID=beside\nMORE=beside\n",
            "deploy/compose.yml": build + BLOCK,
            "deploy/live.yml": (
                "services:\n  web:\n    environment: ['SAID=${SAID}', 'MORE=${MORE}']\n    volumes: [./data:/d]\n"
            ),
            "deploy/Dockerfile": (
                f'FROM {busybox_image()}\nCOPY src /www\nCMD ["httpd", "-f", "-p", "3000", "-h", "/www"]\n'
            ),
        },
    )
    assert server.do("apps.validate", {"appName": "below"})["errors"] == []
    server.do("deploy.up", {"appName": "below"})
    [made] = json.loads(docker("inspect", *docker("ps", "-q", "--filter", "label=ikoma.app=below").split()))
    assert {"SAID=above", "MORE=beside"} <= set(made["Config"]["Env"])
    assert (folder / "deploy" / "data").is_dir()
    assert server.do("artifact.verify_release", {"appName": "below"})["verified"] in (True, False)


def test_a_block_in_an_included_file_counts(server: Server) -> None:
    make(
        server,
        "includes",
        **{"compose.yml": "include: [web/web.yml]\n", "web/web.yml": WEB.replace("./src", "../src") + BLOCK},
    )
    report = server.do("apps.validate", {"appName": "includes"})
    assert (report["errors"], report["warnings"]) == ([], [])
    server.do("deploy.up", {"appName": "includes"})
    [app] = [item for item in server.do("apps.list")["apps"] if item["name"] == "includes"]
    assert app["urls"]


def test_an_error_in_a_block_of_an_included_file_names_that_file(server: Server) -> None:
    block = BLOCK.replace("service: web", "service: nobody")
    make(server, "wrongly", **{"compose.yml": "include: [web.yml]\n", "web.yml": WEB + block})
    [error] = server.do("apps.validate", {"appName": "wrongly"})["errors"]
    assert (error["file"], error["line"]) == ("web.yml", 7)


def test_an_external_volume_is_brought_over_as_the_error_says(server: Server) -> None:
    outside = "    external: true\n    name: t-old-uploads\n"
    volumes = f"    volumes: ['uploads:/uploads', './src:/www:ro']\nvolumes:\n  uploads:\n{outside}"
    text = WEB.replace('    volumes: ["./src:/www:ro"]\n', "") + volumes + BLOCK
    folder = make(server, "moves", **{"docker-compose.yml": text})
    docker("volume", "create", "t-old-uploads")
    try:
        fill = "head -c 70000 /dev/urandom > /to/picture; md5sum /to/picture"
        before = docker("run", "--rm", "-v", "t-old-uploads:/to", busybox_image(), "sh", "-c", fill).split()[0]
        [error] = server.do("apps.validate", {"appName": "moves"})["errors"]
        assert (error["rule"], error["line"]) == ("foreign-volume", 8)
        for command in re.findall(r"`(docker [^`]*)`", error["fix"]):
            subprocess.check_call(shlex.split(command.replace(" busybox ", f" {busybox_image()} ")))
        (folder / "docker-compose.yml").write_text(text.replace(outside, "").replace("{image}", busybox_image()))
        server.do("deploy.up", {"appName": "moves"})
        [made] = docker("ps", "-q", "--filter", "label=ikoma.app=moves").split()
        assert docker("exec", made, "md5sum", "/uploads/picture").split()[0] == before
    finally:
        docker("volume", "rm", "t-old-uploads")


def test_a_volume_with_a_name_is_the_apps_own_unless_one_of_that_name_holds_something(server: Server) -> None:
    volumes = "    volumes: ['data:/d']\nvolumes:\n  data: {name: t-named-data}\n"
    text = WEB.replace('    volumes: ["./src:/www:ro"]\n', "") + volumes
    make(server, "named", **{"docker-compose.yml": text})
    report = server.do("apps.validate", {"appName": "named"})
    assert (report["errors"], warnings(report)) == ([], [("docker-compose.yml", 8)])
    docker("volume", "create", "t-named-data")
    try:
        [error] = server.do("apps.validate", {"appName": "named"})["errors"]
        assert error["rule"] == "foreign-volume"
        assert "cp -a /from/. /to/" in error["fix"]
    finally:
        docker("volume", "rm", "t-named-data")


@pytest.mark.parametrize(("image", "valid"), [("{image}", True), ("t-nobody-has-this:1", False)])
def test_a_build_that_would_be_fetched_gives_way_to_the_image_beside_it(
    image: str, valid: bool, server: Server
) -> None:
    text = f"services:\n  web:\n    image: {image}\n    build: https://git.example.com/shop.git#main\n"
    make(server, "fetched", **{"docker-compose.yml": text})
    report = server.do("apps.validate", {"appName": "fetched"})
    assert report["valid"] is valid
    assert [item["rule"] for item in report["errors"]] == ([] if valid else ["remote-source"])
    assert warnings(report) == ([("docker-compose.yml", 4)] if valid else [])


def test_capabilities_that_docker_gives_give_nothing_more(server: Server) -> None:
    given = ["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"]
    given += ["SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"]
    make(server, "given", **{"docker-compose.yml": f"{WEB}    cap_add: [{', '.join(given)}]\n"})
    assert server.do("apps.validate", {"appName": "given"})["errors"] == []
    words = [word for name in given for word in ("--cap-add", name)]
    show = [busybox_image(), "grep", "Cap", "/proc/self/status"]
    assert docker("run", "--rm", *words, *show) == docker("run", "--rm", *show)


def test_all_that_is_wrong_is_told_in_one_answer(server: Server) -> None:
    web = "services:\n  web:\n    image: {image}\n    colour: red\n    env_file: ../secrets.env\n    privileged: true\n"
    over = "services:\n  web:\n    pid: host\n    depends_on: [gone]\n    build: {context: ./nowhere}\n"
    make(server, "all", **{"compose.yaml": web, "compose.override.yaml": f"{over}x-ikoma: {{serivce: web}}\n"})
    report = server.do("apps.validate", {"appName": "all"})
    assert report["valid"] is False
    assert [(item["file"], item["line"], item["rule"]) for item in report["errors"]] == [
        ("compose.override.yaml", 3, "host-namespace"),
        ("compose.override.yaml", 4, None),
        ("compose.override.yaml", 5, None),
        ("compose.override.yaml", 6, None),
        ("compose.yaml", 4, None),
        ("compose.yaml", 5, "reads-outside"),
        ("compose.yaml", 6, "privileged"),
    ]
    assert all(item["fix"] for item in report["errors"])


FETCHER = """FROM {image}
COPY curl /bin/curl
"""
CURL = """#!/bin/sh
while [ $# -gt 1 ]; do test "$1" = -o && out=$2; shift; done
mkdir -p $(dirname $out)
echo $1 from $(hostname -i) > $out
"""


def test_what_add_would_fetch_is_fetched_by_a_container(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(FETCHER.replace("{image}", busybox_image()))
    (tmp_path / "curl").write_text(CURL)
    (tmp_path / "curl").chmod(0o755)
    docker("build", "-q", "-t", FETCHES, str(tmp_path))  # stands in for the real one, which no test reaches
    build = "services:\n  web:\n    build: {context: ./src, args: {V: '7'}}\n    init: true\n"
    lines = [f"FROM {busybox_image()}", "ARG V", "ADD https://example.com/v${V}/ok /www/ok"]
    lines.append('CMD ["httpd", "-f", "-p", "3000", "-h", "/www"]')
    make(server, "adds", **{"docker-compose.yml": build + BLOCK, "src/Dockerfile": "\n".join(lines)})
    assert server.do("apps.validate", {"appName": "adds"})["errors"] == []
    server.do("deploy.up", {"appName": "adds"})
    [made] = docker("ps", "-q", "--filter", "label=ikoma.app=adds").split()
    address, _, fetched_by = docker("exec", made, "cat", "/www/ok").split()
    assert address == "https://example.com/v7/ok"
    assert fetched_by.startswith("172.")
