from __future__ import annotations

from typing import Any

import pytest

from ikoma.compose.compose_file import Web
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.compose.web_service import Candidate, choose, find_web, pin
from ikoma.errors import InvalidCompose

LOOPBACK = {"host_ip": "127.0.0.1"}


def model(block: Any = None, **services: Any) -> ComposeModel:
    return parse_model({"services": services or {"web": {}}, "x-ikoma": block})


def port(target: int, published: str = "", **more: Any) -> dict[str, Any]:
    return {"mode": "ingress", "target": target, "published": published or str(target), "protocol": "tcp", **more}


def service(*ports: dict[str, Any], check: Any = None, image: str = "app", **more: Any) -> dict[str, Any]:
    described = {"image": image, "ports": list(ports), **more}
    return {**described, "healthcheck": {"test": check}} if check else described


def asks(url: str) -> dict[str, Any]:
    return {"image": "app", "healthcheck": {"test": ["CMD", "wget", "-q", "--spider", url]}}


# --- the block


def test_the_block_says_how_the_app_answers() -> None:
    assert find_web(model({"service": "web", "port": "8080", "health": "/up"})) == Web("web", 8080, "/up")
    assert find_web(model({"port": 80})) == Web("web", 80, "/health", named=False)
    assert find_web(model({"port": 80, "health": False})) == Web("web", 80, None)


def test_the_block_wins_over_everything_else() -> None:
    services = {"adb": service(port(8123, **LOOPBACK), image="clickhouse"), "web": service(port(3000))}
    assert find_web(model({"service": "adb", "port": 8123}, **services)) == Web("adb", 8123, "/health", named=False)


def test_a_block_with_only_a_service_takes_its_port_from_that_service() -> None:
    published = service(port(9000, **LOOPBACK))
    assert find_web(model({"service": "api"}, api=published, web=service(port(3000)))) == Web("api", 9000, None)
    assert find_web(model({"service": "api"}, api=asks("http://localhost:81/up"), web={})) == Web("api", 81, "/up")
    assert find_web(model({"service": "api"}, api={"expose": ["7000"]}, web={})) == Web("api", 7000, None)
    assert choose(model({"service": "api"}, api={}, web={})).candidates == (Candidate("api", None),)


def test_a_block_with_a_health_path_takes_the_port_that_the_service_publishes() -> None:
    assert find_web(model({"health": "/up"}, web=service(port(3000)))) == Web("web", 3000, "/up")


def test_a_port_without_a_path_takes_the_path_of_the_healthcheck() -> None:
    assert find_web(model({"port": 80}, web=asks("http://127.0.0.1/ready"))) == Web("web", 80, "/ready")


def test_a_block_without_service_port_and_health_leaves_the_choice() -> None:
    block = {"domains": ["a.example.com"], "service": None, "port": None, "health": None}
    assert find_web(model(block, web=service(port(3000)), db={"image": "postgres"})) == Web("web", 3000, None)


def test_an_app_can_say_that_it_answers_no_http() -> None:
    found = choose(model({"service": False}, game=service(port(8080))))
    assert (found.web, found.declined) == (None, True)


@pytest.mark.parametrize(
    "block",
    [
        "x",
        {"service": "api", "port": 1},
        {"port": 0},
        {"port": "x"},
        {"port": 1, "health": "up"},
        {"port": 1, "health": True},
        {"prot": 1},
        {"health": "/up"},
        {"service": True, "port": 1},
    ],
)
def test_a_wrong_block_is_refused(block: Any) -> None:
    with pytest.raises(InvalidCompose):
        find_web(model(block))


# --- a port that is published


def test_the_one_service_published_beyond_loopback_is_routed_and_not_the_first_by_alphabet() -> None:
    adb = {**asks("http://localhost:8123/ping"), "image": "clickhouse/clickhouse-server"}
    found = choose(model(None, adb={**adb, "ports": [port(8123, **LOOPBACK)]}, web=service(port(3000))))
    assert found.web == Web("web", 3000, None)
    assert found.reason == "it is the one service with a port published beyond this machine"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_what_is_published_on_loopback_only_is_never_routed(address: str) -> None:
    alone = service(port(3000, host_ip=address), check="curl -f http://localhost:3000/")
    assert choose(model(None, web=alone)).web is None
    assert find_web(model(None, admin=alone, web=service(port(80)))) == Web("web", 80, None)


@pytest.mark.parametrize("address", ["", "0.0.0.0", "::", "192.168.1.10"])
def test_every_other_address_is_beyond_loopback(address: str) -> None:
    assert find_web(model(None, web=service(port(3000, host_ip=address)), worker={})) == Web("web", 3000, None)


def test_a_port_without_a_host_port_of_its_own_is_published_too() -> None:
    assert find_web(model(None, web=service({"target": 3000, "protocol": "tcp"}))) == Web("web", 3000, None)


def test_a_service_with_one_port_on_loopback_is_reached_at_the_other() -> None:
    both = service(port(9090, **LOOPBACK), port(3000), check=["CMD", "curl", "-f", "http://localhost:9090/-/ready"])
    assert find_web(model(None, web=both)) == Web("web", 3000, None)


def test_the_healthcheck_gives_the_path_where_it_asks_the_published_port() -> None:
    assert find_web(model(None, web=service(port(3000), check="curl -f http://localhost:3000/up"))) == Web(
        "web", 3000, "/up"
    )


@pytest.mark.parametrize(
    "other",
    [
        port(53, protocol="udp"),
        port(22, "2222"),
        port(5432),
        port(443),
        port(3000, protocol="udp"),
    ],
)
def test_ports_that_speak_no_plain_http_count_for_nothing(other: dict[str, Any]) -> None:
    assert choose(model(None, web=service(other))).web is None
    assert find_web(model(None, other=service(other), web=service(port(8080)))) == Web("web", 8080, None)


@pytest.mark.parametrize("ports", [(3000, 9100), (8080, 80), (3000, 3001, 3002, 3003)])
def test_of_several_ports_of_the_service_one_is_taken_and_the_others_are_told(ports: tuple[int, ...]) -> None:
    found = choose(model(None, web=service(*map(port, ports))))
    assert found.web is not None
    assert found.web.port == (80 if 80 in ports else 3000)
    assert set(found.others) == set(ports) - {found.web.port}


def test_of_several_ports_the_one_of_the_healthcheck_or_of_the_variable_port_is_taken() -> None:
    checked = service(port(9100), port(3000), check="wget -qO- localhost:3000/up")
    assert choose(model(None, web=checked)).web == Web("web", 3000, "/up")
    assert choose(model(None, web=checked)).others == ()
    assert find_web(model(None, web=service(port(9100), port(3000), environment={"PORT": "3000"}))) == Web(
        "web", 3000, None
    )


def test_of_several_published_services_none_is_guessed() -> None:
    found = choose(model(None, api=service(port(8000)), web=service(port(3000)), worker={}))
    assert found.web is None
    assert found.candidates == (Candidate("web", 3000), Candidate("api", 8000))
    assert "web (port 3000) and api (port 8000)" in found.problem
    assert "`service: web` and `port: 3000`; or api (port 8000) instead" in found.advice


def test_of_several_published_services_the_one_whose_healthcheck_asks_a_url_is_routed() -> None:
    api = service(port(8000), check="curl --fail http://localhost:8000/up")
    assert find_web(model(None, api=api, mail=service(port(8025)))) == Web("api", 8000, "/up")
    both = model(None, api=api, web=service(port(3000), check="curl -f http://localhost:3000/"))
    assert choose(both).web is None
    unpublished = {"studio": asks("http://localhost:3000/")}
    assert choose(model(None, api=api, mail=service(port(8025)), **unpublished)).web is None


def test_a_service_that_is_published_is_not_passed_over_for_one_that_is_not() -> None:
    found = choose(model(None, a=service(port(8000)), b=service(port(3000)), inside=asks("http://localhost:9000/up")))
    assert found.web is None
    assert [item.service for item in found.candidates] == ["a", "b"]


# --- databases


@pytest.mark.parametrize(
    "image",
    [
        "postgres",
        "postgres:18-alpine",
        "docker.io/library/postgres@sha256:0123",
        "localhost:5000/mirror/postgres:16",
        "registry.example.com:5000/postgres",
        "bitnami/postgresql:16",
        "postgis/postgis",
        "timescale/timescaledb-ha:pg16",
        "pgvector/pgvector:pg17",
        "supabase/postgres",
        "mysql/mysql-server:8",
        "mariadb",
        "percona/percona-server-mongodb",
        "mongo:7",
        "redis/redis-stack:latest",
        "valkey/valkey:8",
        "clickhouse/clickhouse-server:24",
        "docker.elastic.co/elasticsearch/elasticsearch:8.15.0",
        "opensearchproject/opensearch",
        "rabbitmq:3-management",
        "minio/minio",
        "quay.io/minio/minio:RELEASE.2025",
        "mcr.microsoft.com/mssql/server:2022-latest",
        "cockroachdb/cockroach",
        "neo4j:5",
        "getmeili/meilisearch:v1.8",
        "qdrant/qdrant",
        "influxdb:2",
        "nats:2",
        "apache/kafka",
    ],
)
def test_a_database_is_never_routed_by_a_guess(image: str) -> None:
    database = service(port(8080), check="curl -f http://localhost:8080/", image=image)
    assert choose(model(None, data=database)).web is None
    assert find_web(model(None, data=database, web=service(port(3000)))) == Web("web", 3000, None)


@pytest.mark.parametrize(
    "image",
    [
        "mongo-express",
        "dpage/pgadmin4",
        "phpmyadmin",
        "provectuslabs/kafka-ui",
        "rediscommander/redis-commander",
        "ghost:5",
    ],
)
def test_what_people_open_beside_a_database_can_be_routed(image: str) -> None:
    assert find_web(model(None, data=service(port(8081), image=image))) == Web("data", 8081, None)


def test_a_database_under_another_name_is_known_by_where_its_data_lies() -> None:
    volumes = [{"type": "volume", "source": "data", "target": "/var/lib/clickhouse"}]
    found = find_web(
        model(None, adb=service(port(8123), image="acme/store:1", volumes=volumes), web=service(port(3000)))
    )
    assert found == Web("web", 3000, None)


@pytest.mark.parametrize(
    ("dockerfile", "is_database"),
    [
        ("FROM clickhouse/clickhouse-server:24\nCOPY conf /etc\n", True),
        ("ARG BASE=postgres:16\nFROM ${BASE}\n", True),
        ("FROM postgres:16 AS data\nFROM data\n", True),
        ("FROM postgres:16 AS dump\nFROM node:22\nCOPY --from=dump /usr/bin/pg_dump /usr/bin/\n", False),
        ("FROM node:22 AS build\nFROM --platform=linux/amd64 redis:7\n", True),
        ("FROM node:22\n", False),
    ],
)
def test_what_an_image_is_built_on_tells_whether_it_is_a_database(dockerfile: str, is_database: bool) -> None:
    data = {"build": {"context": "/x"}, "image": "shop", "ports": [port(8123)]}
    expected = None if is_database else Web("data", 8123, None)
    assert choose(model(None, data=data), {"data": dockerfile}).web == expected
    assert find_web(model(None, data={**data, "build": {"context": "/x", "dockerfile_inline": dockerfile}})) == expected


def test_a_stage_that_is_asked_for_is_the_one_that_counts() -> None:
    build = {"context": "/x", "target": "web"}
    dockerfile = "FROM node:22 AS web\nFROM postgres:16 AS db\n"
    assert choose(model(None, a={"build": build, "ports": [port(80)]}), {"a": dockerfile}).web == Web("a", 80, None)


# --- a healthcheck's URL


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (["CMD-SHELL", "curl -f http://localhost:8080/up || exit 1"], (8080, "/up")),
        ("curl -f http://localhost:8080/up || exit 1", (8080, "/up")),
        ("wget --no-verbose --tries=1 --spider http://127.0.0.1:8080/up || exit 1", (8080, "/up")),
        ("wget -qO- localhost:8080/up", (8080, "/up")),
        ("curl -sSf localhost", (80, "/")),
        (["CMD", "curl", "--fail", "http://[::1]:8080/up?full=1"], (8080, "/up?full=1")),
        (
            ["CMD", "node", "-e", "fetch('http://localhost:8080/up').then(r => process.exit(r.ok ? 0 : 1))"],
            (8080, "/up"),
        ),
        ("python -c \"import urllib.request as r; r.urlopen('http://api:8080/up')\"", (8080, "/up")),
        ("curl -f http://$$HOSTNAME:8080/up", (8080, "/up")),
        ("curl -f http://localhost:$$PORT/up", (7000, "/up")),
        ("curl -f http://localhost:$${PORT}/up", (7000, "/up")),
        ("curl http://localhost:8080/up", (8080, None)),
        ("curl -f -H 'Host: shop' http://localhost:8080/up", (8080, None)),
        ("wget --header='X-Token: 1' -q http://localhost:8080/up", (8080, None)),
    ],
)
def test_the_url_of_a_healthcheck_is_understood(test: Any, expected: tuple[int, str | None]) -> None:
    api = {"image": "app", "environment": {"PORT": "7000"}, "healthcheck": {"test": test}}
    assert find_web(model(None, api=api, worker={})) == Web("api", *expected)


@pytest.mark.parametrize(
    "test",
    [
        ["NONE"],
        "pg_isready -h localhost -p 5432",
        "redis-cli -h localhost ping",
        "curl -fk https://localhost:8443/up",
        "curl -f http://other:3000/up",
        "curl -f http://localhost.example.com/",
        "curl -f http://localhost:$$UNKNOWN/up",
        "curl -f http://example.com/localhost/",
        "nc -z localhost 3000",
    ],
)
def test_other_healthchecks_tell_nothing(test: Any) -> None:
    assert find_web(model(None, api={"image": "app", "healthcheck": {"test": test}})) is None


def test_of_several_healthchecks_none_is_guessed() -> None:
    found = choose(model(None, api=asks("http://localhost:8000/up"), web=asks("http://localhost:3000/")))
    assert found.web is None
    assert found.candidates == (Candidate("web", 3000), Candidate("api", 8000))


@pytest.mark.parametrize("mode", ["none", "host", "service:tunnel", "container:other"])
def test_a_service_without_an_address_is_not_guessed(mode: str) -> None:
    inside = {**asks("http://localhost:8080/up"), "network_mode": mode, "ports": [port(8080)]}
    assert choose(model(None, inside=inside, tunnel={})).web is None


@pytest.mark.parametrize("image", ["adminer", "dpage/pgadmin4:9", "axllent/mailpit", "prom/node-exporter:v1"])
def test_what_those_look_into_who_run_an_app_is_not_taken_for_the_app(image: str) -> None:
    tool = service(port(8080), image=image)
    assert find_web(model(None, tool=tool, web=service(port(3000)))) == Web("web", 3000, None)
    assert choose(model(None, tool=tool, web={"image": "app"})).web is None
    assert find_web(model(None, tool=tool, db={"image": "postgres"})) == Web("tool", 8080, None)


def test_a_port_that_a_dockerfile_exposes_is_named_and_not_routed() -> None:
    services = model(None, web={"build": {"context": "/x"}}, worker={"build": {"context": "/y"}})
    found = choose(services, {"web": "FROM node\nEXPOSE 5432/tcp 8000/tcp\n", "worker": "FROM node\n"})
    assert (found.web, found.candidates) == (None, (Candidate("web", 8000),))


def test_what_is_only_exposed_is_named_and_not_routed() -> None:
    found = choose(model(None, web={"expose": ["3000"]}, db={"image": "postgres", "expose": ["5432"]}))
    assert found.web is None
    assert found.candidates == (Candidate("web", 3000),)


def test_what_is_published_for_this_machine_is_named_and_not_routed() -> None:
    database = service(port(5432, **LOOPBACK), image="postgres")
    found = choose(model(None, web=service(port(3000, **LOOPBACK)), db=database))
    assert found.web is None
    assert found.candidates == (Candidate("web", 3000, is_bound=True),)
    assert "web (port 3000, published for this machine only) could be the one that answers" in found.problem


def test_an_app_of_workers_is_told_how_to_say_which_service_answers() -> None:
    assert "`service: worker` and `port: PORT`" in choose(model(None, worker={}, db={"image": "postgres"})).advice
    found = choose(model(None, worker={}, cron={}, db={"image": "postgres"}))
    assert found.problem == "Nothing is routed to the app: no service is seen to answer HTTP."
    assert "`service: SERVICE` and `port: PORT`" in found.advice


# --- written down


@pytest.mark.parametrize(
    "services",
    [
        {"web": service(port(3000))},
        {"web": service(port(3000), check="curl -f http://localhost:3000/up")},
        {"api": service(port(1000)), "web": service(port(3000))},
    ],
)
@pytest.mark.parametrize("block", [None, {"drain": "1s"}, {"port": 5}])
def test_what_was_chosen_is_chosen_again_when_the_ports_are_gone(services: Any, block: Any) -> None:
    before = model(block, **services)
    found = find_web(before)
    after = pin(before, found)
    bare = {name: {**described.raw, "ports": None} for name, described in after.services.items()}
    assert find_web(after.replace_services(bare)) == found
    assert after.said.get("drain") == (block or {}).get("drain")


# --- what speaks no HTTP, and what is nobody's business


def test_a_port_of_video_streams_is_no_candidate() -> None:
    services = {"videos": service(port(1935)), "site": service(port(80), port(443))}
    assert find_web(model(**services)) == Web("site", 80, None)


@pytest.mark.parametrize(
    "php",
    [
        {"image": "nextcloud:30-fpm-alpine"},
        {"image": "wordpress:php8.3-fpm"},
        {"image": "shop/php-fpm"},
        {"image": "shop", "command": ["php-fpm"]},
        {"image": "shop", "entrypoint": ["sh", "-c", "exec php-fpm8.3 -F"]},
        {"image": "shop", "build": {"context": "/shop", "dockerfile": "Dockerfile.fpm"}},
        {"image": "shop", "build": {"context": "/shop", "dockerfile_inline": "FROM php:8.3-fpm\nEXPOSE 9000"}},
    ],
)
def test_php_fpm_is_no_candidate_at_its_port(php: dict[str, Any]) -> None:
    assert choose(model(php={**php, "ports": [port(9000)]})).candidates == ()
    assert choose(model(php={**php, "expose": ["9000"]})).candidates == ()
    assert find_web(model(php={**php, "ports": [port(9000)]}, nginx=service(port(80)))) == Web("nginx", 80, None)


def test_php_fpm_is_told_by_its_dockerfile_too() -> None:
    services = {"php": {"build": {"context": "/shop"}, "ports": [port(9000)]}, "nginx": service(port(80))}
    assert choose(model(**services), {"php": "FROM monica:fpm\n"}).web == Web("nginx", 80, None)


@pytest.mark.parametrize("image", ["shop/fpmanager:1", "shop:1", "registry.example.com:9000/minifpm"])
def test_others_may_answer_at_the_port_of_php_fpm(image: str) -> None:
    assert find_web(model(shop=service(port(9000), image=image))) == Web("shop", 9000, None)


@pytest.mark.parametrize(
    "command",
    [["npx", "prisma", "studio"], "npx drizzle-kit studio --port 5555", ["celery", "-A", "shop", "flower"]],
)
def test_a_tool_in_the_apps_own_image_is_told_by_its_command(command: Any) -> None:
    services = {"shop": service(port(3000)), "tool": service(port(5555), command=command)}
    assert find_web(model(**services)) == Web("shop", 3000, None)
