"""People get the app's own answers or a page, names and certificates; and a log without secrets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from ikoma.errors import ProxyRefused
from ikoma.model import AppName
from ikoma.ports.proxy import Route, Side
from ikoma.proxy.caddy import CaddyProxy
from tests.contract.conftest import Do
from tests.contract.proxy import http3
from tests.contract.proxy.backend import Backend
from tests.contract.proxy.conftest import APP, Place, get
from tests.support import free_port

Serve = Callable[..., Route]
Start = Callable[..., Backend]


def test_answers_reach_people_as_the_app_gives_them(serve: Serve, backend: Start, place: Place) -> None:
    route = serve(backend("blue"))
    head, _, body = place.curl(f"http://127.0.0.1:{route.port}/").partition("\n\n")
    names = {line.partition(":")[0].lower() for line in head.splitlines()[1:]}
    assert body == "blue"
    assert names == {"content-type", "content-length", "date", "server", "set-cookie", "x-app"}
    assert "Server: the-app" in head


def test_the_app_learns_who_asks_and_for_what(serve: Serve, backend: Start, place: Place) -> None:
    serve(backend("blue"), domains=("shop.example.com",))
    forged = ("-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Forwarded-Proto: gopher")
    told = json.loads(body_of(curl_until(place, f"https://shop.example.com:{place.https}/headers", *forged)))
    assert told["Host"] == told["X-Forwarded-Host"] == f"shop.example.com:{place.https}"
    assert (told["X-Forwarded-For"], told["X-Forwarded-Proto"]) == ("127.0.0.1", "https")
    assert "Via" not in told


@pytest.mark.parametrize(
    ("side", "words", "code"),
    [(Side.DOWN, "Out of service", "app_down"), (Side.MAINTENANCE, "Back soon", "app_maintenance")],
)
def test_an_app_out_of_service_has_a_page(
    side: Side, words: str, code: str, serve: Serve, backend: Start, place: Place, proxy: CaddyProxy
) -> None:
    route = serve(backend("blue"))
    proxy.switch(APP, side)
    for_people = place.curl(f"http://127.0.0.1:{route.port}/any/path", "-H", "Accept: text/html,*/*;q=0.8")
    assert for_people.startswith("HTTP/1.1 503")
    assert "Retry-After: " in for_people
    assert "Content-Type: text/html" in for_people
    assert "<h1 style" in for_people and words in for_people
    assert "http" not in body_of(for_people)  # nothing is loaded from anywhere
    for_programs = place.curl(f"http://127.0.0.1:{route.port}/", "-H", "Accept: application/json")
    assert json.loads(body_of(for_programs)) | {"hint": ""} == {
        "success": False,
        "error": f"{words}.",
        "code": code,
        "hint": "",
    }


def test_a_body_that_is_too_large_is_refused(do: Do[Any], serve: Serve, backend: Start) -> None:
    route = serve(backend("blue"), largest_body=1000)
    assert do(get(route.port, "/size", method="POST", data=b"x" * 1000)) == (200, "1000")
    assert do(get(route.port, "/size", method="POST", data=b"x" * 1001))[0] == 413
    assert do(get(route.port, "/size", method="POST", data=chunks()))[0] == 413


async def chunks() -> Any:
    for _ in range(20):
        yield b"x" * 100


def test_a_large_body_passes_where_none_is_too_large(do: Do[Any], serve: Serve, backend: Start) -> None:
    route = serve(backend("blue"))
    assert do(get(route.port, "/size", method="POST", data=b"x" * (40 << 20))) == (200, str(40 << 20))


# --- names ---


def test_every_app_has_a_name_on_this_machine(serve: Serve, backend: Start, place: Place, proxy: CaddyProxy) -> None:
    route = serve(backend("blue"), domains=("shop.example.com", "preview.app.localhost"))
    assert body_of(place.curl(f"http://app.localhost:{place.http}/")) == "blue"
    assert body_of(place.curl(f"http://preview.app.localhost:{place.http}/")) == "blue"
    assert body_of(curl_until(place, f"https://app.localhost:{place.https}/")) == "blue"
    assert proxy.list_urls(route) == (
        f"https://shop.example.com:{place.https}",
        f"http://app.localhost:{place.http}",
        f"http://127.0.0.1:{route.port}",
    )


@pytest.mark.parametrize(("option", "version"), [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")])
def test_a_domain_is_served_encrypted(option: str, version: str, serve: Serve, backend: Start, place: Place) -> None:
    serve(backend("blue"), domains=("shop.example.com",))
    answer = curl_until(place, f"https://shop.example.com:{place.https}/", option)
    assert answer.startswith(version)
    assert f'alt-svc: h3=":{place.https}"' in answer.lower()
    assert body_of(answer) == "blue"


def test_a_domain_is_served_over_http3(do: Do[Any], serve: Serve, backend: Start, place: Place) -> None:
    serve(backend("blue"), domains=("shop.example.com",))
    curl_until(place, f"https://shop.example.com:{place.https}/")
    assert do(http3.get(place.https, "shop.example.com", place.authority)) == (b"200", b"blue")


def test_a_domain_is_led_to_https_and_another_name_to_the_domain(serve: Serve, backend: Start, place: Place) -> None:
    serve(backend("blue"), domains=("shop.example.com",), redirects={"www.example.com": "shop.example.com"})
    target = f"location: https://shop.example.com:{place.https}/a/b?c=d&e={{x}}"
    for url in (
        f"http://shop.example.com:{place.http}/a/b?c=d&e={{x}}",
        f"http://www.example.com:{place.http}/a/b?c=d&e={{x}}",
        f"https://www.example.com:{place.https}/a/b?c=d&e={{x}}",
    ):
        answer = curl_until(place, url, "-g")
        assert "308" in answer.splitlines()[0]
        assert target in answer.lower().splitlines()


def test_a_name_that_nobody_has_is_not_found(serve: Serve, backend: Start, place: Place) -> None:
    serve(backend("blue"))
    answer = place.curl(f"http://other.example.com:{place.http}/")
    assert answer.startswith("HTTP/1.1 404")
    assert "app" not in body_of(answer).replace("No app is", "")


def test_without_encryption_a_domain_is_served_plainly(
    do: Do[Any], places: Callable[..., Place], backend: Start
) -> None:
    place = places(PROXY_TLS="off")
    proxy = place.proxy()
    do(proxy.start())
    route = Route(APP, free_port(), domains=("shop.example.com",))
    do(proxy.apply([route]))
    proxy.set_upstreams(APP, Side.BLUE, [backend("blue").address])
    proxy.switch(APP, Side.BLUE)
    assert body_of(place.curl(f"http://shop.example.com:{place.http}/")) == "blue"
    assert proxy.list_urls(route)[0] == f"http://shop.example.com:{place.http}"
    assert proxy.listeners == {"http": True}


# --- what is refused ---


@pytest.mark.parametrize(
    "wrong",
    [
        {"domains": ("{env.HOME}.example.com",)},
        {"domains": ("*.example.com",)},
        {"domains": ("a..example.com",)},
        {"domains": ("localhost",)},
        {"domains": ("Upper.example.com",)},
        {"domains": ("same.example.com", "same.example.com")},
        {"domains": ("other.localhost",)},
        {"redirects": {"www.example.com": "evil.com/{http.request.uri}"}},
        {"redirects": {"app.localhost": "example.com"}},
        {"port": 70000},
        {"upstreams": 0},
        {"hold": -1},
        {"timeout": 0},
        {"largest_body": 0},
    ],
)
def test_a_wrong_route_is_refused_and_the_old_ones_go_on(
    wrong: dict[str, Any], do: Do[Any], serve: Serve, backend: Start, proxy: CaddyProxy
) -> None:
    route = serve(backend("blue"))
    other = Route(AppName("other"), free_port())
    with pytest.raises(ProxyRefused):
        do(proxy.apply([Route(APP, **{"port": route.port, **wrong}), other]))
    assert do(get(route.port)) == (200, "blue")
    proxy.forget(other.app)


def test_what_caddy_refuses_changes_nothing(
    do: Do[Any], serve: Serve, backend: Start, proxy: CaddyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = serve(backend("blue"))
    monkeypatch.setattr("ikoma.proxy.handlers._DIAL_TIMEOUT", "not a duration")
    with pytest.raises(ProxyRefused, match=r"transport\.http: "):
        do(proxy.apply([Route(APP, route.port)]))
    assert do(get(route.port)) == (200, "blue")


# --- the access log ---


def test_requests_are_logged_without_what_opens_doors(do: Do[Any], serve: Serve, backend: Start, place: Place) -> None:
    route = serve(backend("blue"), domains=("shop.example.com",))
    secrets = {"Authorization": "Bearer s3cret", "Cookie": "id=s3cret", "X-Api-Key": "s3cret", "X-Whatever": "s3cret"}
    do(get(route.port, "/logged", headers={**secrets, "User-Agent": "a browser"}))
    curl_until(place, f"https://shop.example.com:{place.https}/encrypted")
    lines = logged(place, "/encrypted")
    entry = next(line for line in lines if line["request"]["uri"] == "/logged")
    assert (entry["status"], entry["request"]["method"], entry["user_agent"]) == (200, "GET", "a browser")
    assert "s3cret" not in place.access_log.read_text()
    assert [path.name for path in place.access_log.parent.iterdir()] == ["app.log"]  # no domain is a file's name
    assert place.access_log.stat().st_mode & 0o007 == 0


def logged(place: Place, uri: str) -> list[dict[str, Any]]:
    """The lines of the access log, once it has this request."""
    deadline = time.monotonic() + 60
    while True:
        lines = [json.loads(line) for line in place.access_log.read_text().splitlines()]
        if any(line["request"]["uri"] == uri for line in lines):
            return lines
        assert time.monotonic() < deadline, lines
        time.sleep(0.02)


def body_of(answer: str) -> str:
    return answer.partition("\n\n")[2]


def curl_until(place: Place, url: str, *options: str) -> str:
    """The answer of an address whose certificate is perhaps still being made."""
    deadline = time.monotonic() + 60
    while not (answer := place.curl(url, *options)).startswith("HTTP/"):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer
