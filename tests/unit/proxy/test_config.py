from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ikoma.model import AppName
from ikoma.ports.proxy import Route
from ikoma.proxy.config import ProxySetup, build, format_site
from ikoma.proxy.handlers import build_app_routes
from ikoma.proxy.listeners import Openings
from ikoma.proxy.platform_site import PlatformSite

PLACE = ProxySetup(Path("/state/proxy"), "", 80, 443, "acme", "me@example.com", Path("/log/access"))
ALL = Openings(http=True, https=True, http3=True)
SHOP = Route(AppName("shop"), 20001, domains=("shop.example.com",), redirects={"www.example.com": "shop.example.com"})
BLOG = Route(AppName("blog"), 20002)


def servers(routes: list[Route], openings: Openings = ALL, place: ProxySetup = PLACE) -> dict[str, Any]:
    found: dict[str, Any] = build(routes, place, openings)["apps"]["http"]["servers"]
    return found


def reverse_proxy(route: Route) -> dict[str, Any]:
    return next(part for part in build_app_routes(route)[1]["handle"] if part["handler"] == "reverse_proxy")


def hosts(server: dict[str, Any]) -> list[list[str]]:
    return [route["match"][0]["host"] for route in server["routes"] if "match" in route]


def test_each_app_has_a_listener_of_its_own_on_loopback() -> None:
    assert {name: server["listen"] for name, server in servers([SHOP, BLOG]).items()} == {
        "app-shop": ["127.0.0.1:20001"],
        "app-blog": ["127.0.0.1:20002"],
        "http": [":80"],
        "https": [":443"],
    }


def test_listeners_that_cannot_be_had_are_left_out() -> None:
    assert servers([SHOP, BLOG], Openings(closed=frozenset({20001}))).keys() == {"app-blog"}


def test_the_control_plane_is_served_encrypted_alone_and_within_limits() -> None:
    place = replace(PLACE, platform=PlatformSite("ikoma.example.com", Path("/state/proxy/run/ikoma.sock")))
    found = servers([SHOP], place=place)
    assert hosts(found["https"])[-1] == hosts(found["http"])[-1] == ["ikoma.example.com"]
    [passed_on] = [
        route for route in found["https"]["routes"] if route.get("match") == [{"host": ["ikoma.example.com"]}]
    ]
    headers, body, onwards = passed_on["handle"][0]["routes"][0]["handle"]
    assert headers["response"]["set"] == {"Strict-Transport-Security": ["max-age=31536000"]}
    assert body["max_size"] == 33 << 20
    assert onwards["upstreams"] == [{"dial": "unix//state/proxy/run/ikoma.sock"}]
    assert found["http"]["routes"][-2]["handle"][0]["status_code"] == 308
    assert hosts(servers([SHOP], Openings(http=True), place)["http"])[-1] != ["ikoma.example.com"]
    errors = found["https"]["errors"]["routes"]
    assert [route["match"][0].get("host") for route in errors[:2]] == [["ikoma.example.com"]] * 2


def test_private_names_are_signed_by_our_own_authority() -> None:
    place = replace(PLACE, platform=PlatformSite("ikoma.corp.internal", Path("/s")))
    policies = build([SHOP], place, ALL)["apps"]["tls"]["automation"]["policies"]
    assert [(item["subjects"], item["issuers"][0]["module"]) for item in policies] == [
        (["ikoma.corp.internal", "shop.localhost"], "internal"),
        (["shop.example.com", "www.example.com"], "acme"),
    ]


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert servers([], ALL, replace(PLACE, host="::1"))["http"]["listen"] == ["[::1]:80"]


def test_domains_are_served_encrypted_and_only_led_there_in_the_open() -> None:
    found = servers([SHOP])
    assert hosts(found["https"]) == [["shop.localhost", "shop.example.com"], ["www.example.com"]]
    assert hosts(found["http"]) == [["shop.localhost"], ["shop.example.com"], ["www.example.com"]]
    assert [route["handle"][0]["handler"] for route in found["http"]["routes"]] == [
        "subroute",
        "static_response",
        "static_response",
        "subroute",
    ]


def test_where_nothing_is_encrypted_domains_are_served_in_the_open() -> None:
    found = servers([SHOP], Openings(http=True))
    assert hosts(found["http"])[0] == ["shop.localhost", "shop.example.com"]
    assert found["http"]["routes"][1]["handle"][0]["headers"]["Location"] == [
        "http://shop.example.com{http.request.uri}"
    ]


def test_http3_is_offered_where_its_port_can_be_had() -> None:
    assert servers([], ALL)["https"]["protocols"] == ["h1", "h2", "h3"]
    assert servers([], Openings(https=True))["https"]["protocols"] == ["h1", "h2"]


@pytest.mark.parametrize(
    ("tls", "issuer"),
    [
        ("internal", {"module": "internal"}),
        ("acme", {"module": "acme", "email": "me@example.com"}),
        (
            "staging",
            {
                "module": "acme",
                "email": "me@example.com",
                "ca": "https://acme-staging-v02.api.letsencrypt.org/directory",
            },
        ),
    ],
)
def test_domains_are_signed_by_whom_the_setting_names_and_local_names_by_ourselves(
    tls: str, issuer: dict[str, Any]
) -> None:
    config = build([SHOP, BLOG], replace(PLACE, tls=tls), ALL)["apps"]["tls"]
    inside, outside = config["automation"]["policies"]
    assert inside == {"subjects": ["blog.localhost", "shop.localhost"], "issuers": [{"module": "internal"}]}
    assert outside["subjects"] == ["shop.example.com", "www.example.com"]
    assert {key: value for key, value in outside["issuers"][0].items() if key != "challenges"} == issuer
    assert config["certificates"]["automate"] == [*inside["subjects"], *outside["subjects"]]


def test_an_authority_looks_where_we_listen() -> None:
    place = replace(PLACE, http_port=0, https_port=8443)
    [_, policy] = build([SHOP], place, Openings(https=True))["apps"]["tls"]["automation"]["policies"]
    assert policy["issuers"][0]["challenges"] == {"http": {"disabled": True}, "tls-alpn": {"alternate_port": 8443}}


def test_addresses_leave_standard_ports_out() -> None:
    assert format_site(PLACE, "https", "a.example.com") == "https://a.example.com"
    assert format_site(replace(PLACE, http_port=8080), "http", "a.example.com") == "http://a.example.com:8080"


def test_the_configuration_names_no_side_and_no_address() -> None:
    """A deploy changes files only: were its changes in here, every deploy would be a reload."""
    text = json.dumps(build([replace(SHOP, upstreams=2)], PLACE, ALL))
    assert "{file.apps/shop/side}" in text
    assert [upstream["dial"] for upstream in reverse_proxy(replace(SHOP, upstreams=2))["upstreams"]] == [
        "{file.apps/shop/blue.0}",
        "{file.apps/shop/blue.1}",
    ]


def test_no_domain_is_part_of_a_path() -> None:
    logs = build([SHOP], PLACE, ALL)["logging"]["logs"]
    assert {log["writer"]["filename"] for log in logs.values()} == {
        "/state/proxy/log/caddy.log",
        "/log/access/shop.log",
    }


def test_limits_of_a_route_are_caddys() -> None:
    handle = build_app_routes(replace(SHOP, largest_body=1000, timeout=2.5, hold=7))[1]["handle"]
    assert {"handler": "request_body", "max_size": 1000} in handle
    assert handle[-1]["transport"]["response_header_timeout"] == "2500ms"
    assert handle[-1]["load_balancing"]["try_duration"] == "7000ms"


def test_without_limits_nothing_is_limited() -> None:
    handle = build_app_routes(SHOP)[1]["handle"]
    assert all(part["handler"] != "request_body" for part in handle)
    assert "response_header_timeout" not in handle[-1]["transport"]
    assert "try_duration" not in reverse_proxy(replace(SHOP, hold=0))["load_balancing"]


@pytest.mark.parametrize(("timeout", "pattern"), [(0.5, r"{1,2}"), (1, r"{1,3}"), (30, r"{1,4}"), (0.005, r"{1,1}")])
def test_what_ran_out_of_time_is_old_enough_never_to_be_tried_again(timeout: float, pattern: str) -> None:
    [matcher] = reverse_proxy(replace(SHOP, timeout=timeout))["load_balancing"]["retry_match"]
    assert pattern in matcher["vars_regexp"]["{http.request.duration_ms}"]["pattern"]
