from __future__ import annotations

from typing import Any

import pytest

from ikoma.apps.resolution.own_proxy import OwnProxy, find_own_proxies, sends_to_https
from ikoma.compose.model import parse_model
from ikoma.compose.web_service import Candidate

WEB = {"image": "app", "expose": ["3000"]}


def port(published: str, target: int | None = None, **more: Any) -> dict[str, Any]:
    return {"target": target or int(published), "published": published, "protocol": "tcp", **more}


def proxy(image: str, *ports: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"image": image, "ports": list(ports or (port("80"), port("443"))), **more}


def found(text: str = "", block: Any = None, **services: Any) -> list[OwnProxy]:
    model = {"services": services, **({"x-ikoma": block} if block else {})}
    return find_own_proxies(parse_model(model), dict.fromkeys(services, "") | {"proxy": text}, {})


def one(text: str = "", **services: Any) -> OwnProxy:
    [item] = found(text, **services)
    return item


def test_a_caddy_that_leads_to_one_service_is_left_out_for_it() -> None:
    sites = "shop.example.com, www.example.com {\n  encode gzip\n  reverse_proxy web:4000\n}\n"
    text = "{\n  email me@example.com\n}\n" + sites
    item = one(text, proxy=proxy("caddy:2"), web=WEB, db={"image": "postgres:18"})
    assert (item.kind, item.must_change, item.behind) == ("Caddy", True, Candidate("web", 4000))
    assert item.lines == ("service: web", "port: 4000", "domains: [shop.example.com, www.example.com]")
    assert "Leave out proxy" in item.fix
    assert "`service: web` and `port: 4000`" in item.fix


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("example.com\nreverse_proxy http://web:8000", 8000),
        (":443 {\n handle /* {\n reverse_proxy web:8000 {\n header_up Host {host}\n}\n}\n}", 8000),
        ("", 3000),
        ("# reverse_proxy old:1\nexample.com {\n reverse_proxy {$UPSTREAM}\n}", 3000),
    ],
)
def test_where_nothing_is_written_the_service_that_listens_is_meant(text: str, port: int) -> None:
    assert one(text, proxy=proxy("caddy:2-alpine"), web=WEB).behind == Candidate("web", port)


def test_a_proxy_of_several_services_stays_as_the_one_that_answers() -> None:
    text = "example.com {\n  handle /api/* {\n    reverse_proxy api:8000\n  }\n  reverse_proxy web:3000\n}\n"
    item = one(text, proxy=proxy("caddy:2"), web=WEB, api={"image": "api"})
    assert item.behind is None
    assert item.stays
    assert item.lines == ("service: proxy", "port: 80")
    assert "`:80`" in item.fix


def test_one_that_serves_files_itself_stays_too() -> None:
    text = "example.com {\n  root * /srv\n  file_server\n  reverse_proxy /api/* web:3000\n}\n"
    assert one(text, proxy=proxy("caddy:2"), web=WEB).stays
    mounted = proxy("caddy:2", volumes=[{"type": "bind", "source": "/a", "target": "/srv"}])
    assert one("example.com {\n reverse_proxy web:3000\n}", proxy=mounted, web=WEB).stays


def test_traefik_is_left_out_for_the_service_that_its_labels_name() -> None:
    labels = {
        "traefik.enable": "true",
        "traefik.http.routers.shop.rule": "Host(`shop.example.com`) || Host(`www.example.com`)",
        "traefik.http.services.shop.loadbalancer.server.port": "8080",
    }
    item = one(proxy=proxy("traefik:v3.5"), web={"image": "app", "labels": labels}, worker={"image": "app"})
    assert item.behind == Candidate("web", 8080)
    assert item.domains == ("shop.example.com", "www.example.com")


def test_traefik_of_several_services_cannot_stay() -> None:
    labels = {"traefik.http.services.a.loadbalancer.server.port": "8080"}
    item = one(proxy=proxy("traefik"), a={"labels": labels}, b={"labels": labels, "expose": ["9000"]})
    assert not item.stays
    assert "of a (port 8080), b (port 8080)" in item.fix


def test_nginx_proxy_goes_with_its_companions() -> None:
    given = {"VIRTUAL_HOST": "shop.example.com", "VIRTUAL_PORT": "5000", "LETSENCRYPT_HOST": "shop.example.com"}
    item = one(
        proxy=proxy("nginxproxy/nginx-proxy"),
        acme={"image": "nginxproxy/acme-companion"},
        web={"image": "app", "environment": given},
    )
    assert item.leaves == ("proxy", "acme")
    assert item.lines == ("service: web", "port: 5000", "domains: [shop.example.com]")


def test_a_manager_of_proxies_is_left_out_for_what_listens() -> None:
    item = one(proxy=proxy("jc21/nginx-proxy-manager:latest", port("80"), port("81"), port("443")), web=WEB)
    assert (item.kind, item.behind) == ("Nginx Proxy Manager", Candidate("web", 3000))


NGINX = """upstream app {
  server web:3000;
}
server {
  server_name shop.example.com _;
  location / {
    proxy_pass http://app;
  }
}
"""


def test_nginx_in_front_may_stay_unless_it_sends_people_to_https() -> None:
    item = one(NGINX, proxy=proxy("nginx:1.27"), web=WEB)
    assert (item.must_change, item.behind) == (False, Candidate("web", 3000))
    assert "It works as it is" in item.fix
    item = one(f"{NGINX}\nserver {{ listen 80; return 301 https://$host$request_uri; }}", proxy=proxy("nginx"), web=WEB)
    assert item.must_change
    assert item.lines == ("service: web", "port: 3000", "domains: [shop.example.com]")


@pytest.mark.parametrize(
    "services",
    [
        {"proxy": proxy("caddy:2"), "db": {"image": "postgres"}},
        {"proxy": proxy("caddy:2", port("8080", 80)), "web": WEB},
        {"proxy": proxy("caddy:2", port("80", host_ip="127.0.0.1")), "web": WEB},
        {"proxy": proxy("ghost:5"), "web": WEB},
        {"proxy": proxy("acme/caddyshack"), "web": WEB},
    ],
)
def test_other_services_are_no_concern(services: Any) -> None:
    assert found(**services) == []


def test_one_that_the_file_names_as_the_service_that_answers_is_meant_so() -> None:
    assert found(block={"service": "proxy", "port": 80}, proxy=proxy("caddy:2"), web=WEB) == []
    assert found(block={"service": "web", "port": 3000}, proxy=proxy("caddy:2"), web=WEB)


def test_names_that_only_this_machine_has_are_no_domains() -> None:
    names = "localhost, 192.168.1.5:443, shop.localhost, shop.internal, *.example.com, https://shop.example.com"
    text = f"{names} {{\n  reverse_proxy web:3000\n}}"
    assert one(text, proxy=proxy("caddy"), web=WEB).domains == ("shop.example.com",)


def test_a_web_server_in_front_of_a_program_that_speaks_no_http_is_needed() -> None:
    text = "server { location ~ \\.php$ { fastcgi_pass php:9000; } }"
    item = one(text, proxy=proxy("nginx", port("80")), php={"image": "php:8-fpm", "expose": ["9000"]})
    assert (item.must_change, item.behind) == (False, None)


def test_variables_of_the_proxy_say_where_it_leads() -> None:
    text = "{$SITES} {\n reverse_proxy {$BACKEND:localhost:8000}\n}\n"
    given = {"SITES": "shop.example.com", "BACKEND": "http://web:8000"}
    item = one(text, proxy=proxy("caddy:2", environment=given), web={"image": "app"})
    assert (item.behind, item.domains) == (Candidate("web", 8000), ("shop.example.com",))


def test_a_configuration_in_a_variable_counts_and_a_file_that_is_not_there_is_made_up_for() -> None:
    whole = {"CADDYFILE": "{\n debug\n}\n:80 {\n reverse_proxy web:8000\n}\n"}
    assert one(proxy=proxy("caddy:2", environment=whole), web={"image": "app"}).behind == Candidate("web", 8000)
    named = {"BACKEND_URL": "http://web:8000", "NOTHING": None}
    assert one(proxy=proxy("caddy:2", environment=named), web={"image": "app"}).behind == Candidate("web", 8000)


def test_a_blank_name_for_nginx_proxy_still_says_which_service_it_leads_to() -> None:
    services = {"app": {"image": "nextcloud:apache", "environment": {"VIRTUAL_HOST": ""}}, "cron": {"image": "cron"}}
    item = one(proxy=proxy("nginxproxy/nginx-proxy"), **services)
    assert (item.behind, item.domains) == (Candidate("app", 80), ())


def test_what_a_proxy_keeps_for_its_certificates_are_no_files_that_it_serves() -> None:
    folders = [{"type": "volume", "source": "html", "target": "/usr/share/nginx/html"}]
    app = {"image": "nextcloud:apache", "environment": {"VIRTUAL_HOST": "cloud.example.com"}}
    item = one(proxy=proxy("nginxproxy/nginx-proxy", volumes=folders), app=app)
    assert item.lines == ("service: app", "port: 80", "domains: [cloud.example.com]")


@pytest.mark.parametrize(
    ("text", "goes_round"),
    [
        ("server { listen 80; return 301 https://$host$request_uri; }", True),
        ("http-request redirect scheme https", True),
        ('if ($http_x_forwarded_proto = "http") { return 301 https://$host$request_uri; }', False),
        ("http-request redirect scheme https unless { hdr(X-Forwarded-Proto) https }", False),
        ("server { listen 80; root /srv; }", False),
    ],
)
def test_only_a_redirect_that_does_not_look_how_people_came_goes_round(text: str, goes_round: bool) -> None:
    assert sends_to_https(text) is goes_round
