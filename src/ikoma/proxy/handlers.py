"""Handlers of one app's requests, in Caddy's words. Pure: a route in, Caddy's routes out."""

from __future__ import annotations

from typing import Any

from ikoma.ports.proxy import Route, Side
from ikoma.proxy import pages
from ikoma.proxy.pages import Routes
from ikoma.proxy.sides import SERVING, make_side_template, make_upstream_template

_SIDE = "ikoma_side"
_TRY_INTERVAL = "100ms"
_DIAL_TIMEOUT = "2s"
# App servers close a connection that is idle for 2 to 75 seconds, and a request that is sent just then is lost, unless
# it may be sent twice. So ours are given up first; a new one on the same machine takes a tenth of a millisecond.
_IDLE_TIMEOUT = "1500ms"
_IDLE_CONNECTIONS = 256
# What reload of the configuration does: requests under way are finished by the old one, however long they take;
# websockets go on for this long; connections that idle are closed, and a client that sends on one just then must send
# again. That is why nothing that a deploy does is a reload.
_STREAM_CLOSE_DELAY = "168h"


def build_app_routes(route: Route) -> Routes:
    """Routes that answer the app's requests: the side that serves, or the page that says why none does."""
    # The file is read once for each request: read again, it could have been switched in between and match nothing.
    return [
        {"handle": [{"handler": "vars", _SIDE: make_side_template(route.app)}]},
        *({"match": [_is(side)], "handle": _pass_on(route, side), "terminal": True} for side in SERVING),
        {
            "match": [_is(Side.MAINTENANCE)],
            "handle": [build_subroute(pages.MAINTENANCE.build_routes())],
            "terminal": True,
        },
        {"handle": [build_subroute(pages.DOWN.build_routes())]},
    ]


def build_error_routes() -> Routes:
    """Routes that answer when passing on has failed."""
    return [
        _build_error_handler(["413"], pages.TOO_LARGE),
        _build_error_handler(["502", "503", "504"], pages.SILENT),
        {"handle": [build_subroute(pages.FAILED.build_routes())]},
    ]


def build_subroute(routes: Routes) -> dict[str, Any]:
    return {"handler": "subroute", "routes": routes}


def format_duration(seconds: float) -> str:
    """In Caddy's words."""
    return f"{round(seconds * 1000)}ms"


def _is(side: Side) -> dict[str, Any]:
    return {"vars": {_SIDE: [side.value]}}


def _build_error_handler(statuses: list[str], page: pages.Page) -> dict[str, Any]:
    matcher = {"vars": {"{http.error.status_code}": statuses}}
    return {"match": [matcher], "handle": [build_subroute(page.build_routes())], "terminal": True}


def _pass_on(route: Route, side: Side) -> list[dict[str, Any]]:
    largest = route.largest_body
    return [
        # Caddy tells everyone that it is there; the app's answers are to reach people as they are.
        {"handler": "headers", "response": {"deferred": True, "delete": ["Via"]}},
        {"handler": "log_append", "key": "user_agent", "value": "{http.request.header.User-Agent}"},
        *([{"handler": "request_body", "max_size": largest}] if largest is not None else []),
        _build_reverse_proxy(route, side),
    ]


def _build_reverse_proxy(route: Route, side: Side) -> dict[str, Any]:
    transport: dict[str, Any] = {
        "protocol": "http",
        "versions": ["1.1"],
        "dial_timeout": _DIAL_TIMEOUT,
        "compression": False,  # what the client accepts is between it and the app
        "keep_alive": {"idle_timeout": _IDLE_TIMEOUT, "max_idle_conns_per_host": _IDLE_CONNECTIONS},
    }
    if route.timeout is not None:
        transport["response_header_timeout"] = format_duration(route.timeout)
    # No flush_interval: Caddy sends on server-sent events and answers of unknown length at once by itself, and with -1
    # it would go on with a request whose client is gone.
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": make_upstream_template(route.app, side, number)} for number in range(route.upstreams)],
        "load_balancing": _build_balancing(route),
        # Web servers behind it compress less for who comes through a proxy.
        "headers": {"request": {"delete": ["Via"]}},
        "stream_close_delay": _STREAM_CLOSE_DELAY,
        "transport": transport,
    }


def _build_balancing(route: Route) -> dict[str, Any]:
    """A try that found no connection is repeated for every request, one that lost it only where that is harmless."""
    balancing: dict[str, Any] = {"selection_policy": {"policy": "round_robin" if route.upstreams > 1 else "first"}}
    if route.hold > 0:
        balancing |= {
            "try_duration": format_duration(route.hold),
            "try_interval": _TRY_INTERVAL,
            "retry_match": [{"method": ["GET", "HEAD", "OPTIONS"], **_match_younger_than(route.timeout)}],
        }
    return balancing


def _match_younger_than(timeout: float | None) -> dict[str, Any]:
    """Matches while a request is younger than `timeout`: what ran out of time must not be tried again.

    Told by the number of digits of its age in milliseconds, since Caddy compares texts here. (Its expressions, which
    know numbers, would be asked about answers as well, and repeat good ones.)
    """
    if timeout is None:
        return {}
    digits = max(1, len(str(round(timeout * 1000))) - 1)
    return {"vars_regexp": {"{http.request.duration_ms}": {"pattern": rf"^\d{{1,{digits}}}(\.|$)"}}}
