"""Caddy's whole configuration, made of routes. Pure: the same routes, place and openings give the same document.

For each app a listener of its own on loopback; for everyone the public listeners, where the Host header tells apps
apart. Which side of an app serves is not in here: Caddy looks that up in files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikoma.model import AppName
from ikoma.ports.proxy import Route
from ikoma.proxy import pages
from ikoma.proxy.handlers import build_app_routes, build_error_routes, build_subroute
from ikoma.proxy.listeners import Openings, format_address
from ikoma.proxy.pages import Routes
from ikoma.proxy.platform_site import PlatformSite
from ikoma.proxy.routes import is_private, list_local_names, list_names, list_public_names

HTTP, HTTPS = "http", "https"
_STANDARD_PORTS = {HTTP: 80, HTTPS: 443}
_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
_HEADER_SECONDS = "30s"
_ROLL = {"roll_size_mb": 10, "roll_gzip": True, "mode": "0640"}


@dataclass(frozen=True, slots=True)
class ProxySetup:
    """The settings and places that do not depend on routes."""

    root: Path
    host: str
    http_port: int
    https_port: int
    tls: str
    email: str | None
    access_logs: Path | None
    """None where Caddy's user cannot write any."""
    platform: PlatformSite | None = None
    """The control plane's own site; None where it is not served by the proxy."""

    @property
    def socket(self) -> Path:
        return self.root / "run" / "admin.sock"


def build_bare(place: ProxySetup) -> dict[str, Any]:
    """A Caddy that serves nothing yet and can be told what."""
    return {
        "admin": {"listen": f"unix/{place.socket}|0600", "config": {"persist": False}},
        "logging": {"logs": {"default": _build_own_log(place)}},
        "storage": {"module": "file_system", "root": str(place.root / "data")},
    }


def build(routes: Sequence[Route], place: ProxySetup, openings: Openings) -> dict[str, Any]:
    """The configuration that serves exactly these routes, on the listeners that can be had."""
    config = build_bare(place)
    if place.access_logs is not None:
        config["logging"]["logs"] |= {
            f"access-{route.app}": _build_access_log(place.access_logs, route) for route in routes
        }
    config["apps"] = {
        "http": {"http_port": place.http_port or 80, "https_port": place.https_port or 443, "servers": {}},
        # Nobody's trust is to be changed: the authority's certificate is there for who wants it.
        "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
    }
    config["apps"]["http"]["servers"] = dict(_build_servers(routes, place, openings))
    if openings.https and (routes or place.platform):
        config["apps"]["tls"] = _build_tls(routes, place, openings)
    return config


def format_site(place: ProxySetup, scheme: str, name: str) -> str:
    """The address of a name on a public listener."""
    port = place.http_port if scheme == HTTP else place.https_port
    return f"{scheme}://{name}" + ("" if port == _STANDARD_PORTS[scheme] else f":{port}")


def _build_servers(
    routes: Sequence[Route], place: ProxySetup, openings: Openings
) -> Iterator[tuple[str, dict[str, Any]]]:
    for route in routes:
        if route.port not in openings.closed:
            yield f"app-{route.app}", _build_loopback_server(route)
    if openings.http:
        yield HTTP, _build_public_server(routes, place, openings, HTTP)
    if openings.https:
        yield HTTPS, _build_public_server(routes, place, openings, HTTPS)


def _build_loopback_server(route: Route) -> dict[str, Any]:
    return {
        **_build_server(format_address("127.0.0.1", route.port), ["h1"], build_app_routes(route)),
        "logs": {"default_logger_name": route.app},
    }


def _build_public_server(routes: Sequence[Route], place: ProxySetup, openings: Openings, scheme: str) -> dict[str, Any]:
    encrypted = openings.https
    served: Routes = []
    for route in routes:
        names = [*list_local_names(route), *(list_public_names(route) if scheme == HTTPS or not encrypted else [])]
        served.append(
            {"match": [{"host": names}], "handle": [build_subroute(build_app_routes(route))], "terminal": True}
        )
        if scheme == HTTP and encrypted and list_public_names(route):
            served.append(_build_redirect(list_public_names(route), format_site(place, HTTPS, "{http.request.host}")))
        served += [
            _build_redirect([name], format_site(place, HTTPS if encrypted else HTTP, target))
            for name, target in sorted(route.redirects.items())
        ]
    if place.platform is not None and encrypted:
        served.append(_build_platform_route(place.platform, place, scheme))
    served.append({"handle": [build_subroute(pages.NOBODY.build_routes())]})
    port = place.http_port if scheme == HTTP else place.https_port
    protocols = ["h1"] if scheme == HTTP else ["h1", "h2", *(["h3"] if openings.http3 else [])]
    errors = place.platform.build_error_routes() if place.platform is not None else []
    return {
        **_build_server(format_address(place.host, port), protocols, served, errors),
        **({"tls_connection_policies": [{}]} if scheme == HTTPS else {}),
        "logs": {"logger_names": dict(_list_logger_names(routes)), "skip_unmapped_hosts": True},
    }


def _build_platform_route(site: PlatformSite, place: ProxySetup, scheme: str) -> dict[str, Any]:
    """The control plane is never served unencrypted."""
    if scheme == HTTP:
        return _build_redirect([site.domain], format_site(place, HTTPS, site.domain))
    return {"match": [{"host": [site.domain]}], "handle": [build_subroute(site.build_routes())], "terminal": True}


def _build_server(
    listener: str, protocols: Sequence[str], routes: Routes, own_errors: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    return {
        "listen": [listener],
        "protocols": list(protocols),
        "automatic_https": {"disable": True},  # which names are redirected and get certificates is said here
        "read_header_timeout": _HEADER_SECONDS,
        "routes": routes,
        "errors": {"routes": [*own_errors, *build_error_routes()]},
    }


def _build_redirect(names: Sequence[str], target: str) -> dict[str, Any]:
    """A permanent redirect that keeps path, query and method."""
    headers = {"Location": [f"{target}{{http.request.uri}}"], "Server": []}
    answer = {"handler": "static_response", "status_code": 308, "headers": headers}
    return {"match": [{"host": list(names)}], "handle": [answer], "terminal": True}


def _list_logger_names(routes: Sequence[Route]) -> Iterator[tuple[str, list[AppName]]]:
    for route in routes:
        for name in list_names(route):
            yield name, [route.app]


# --- certificates ---


def _build_tls(routes: Sequence[Route], place: ProxySetup, openings: Openings) -> dict[str, Any]:
    names = {name for route in routes for name in list_names(route)}
    names |= {place.platform.domain} if place.platform is not None else set()
    inside = sorted(filter(is_private, names))
    outside = sorted(names.difference(inside))
    policies = [
        *([{"subjects": inside, "issuers": [{"module": "internal"}]}] if inside else []),
        *([{"subjects": outside, "issuers": [_build_issuer(place, openings)]}] if outside else []),
    ]
    return {"certificates": {"automate": [*inside, *outside]}, "automation": {"policies": policies}}


def _build_issuer(place: ProxySetup, openings: Openings) -> Mapping[str, Any]:
    if place.tls == "internal":
        return {"module": "internal"}
    over_http = {"alternate_port": place.http_port} if openings.http else {"disabled": True}
    return {
        "module": "acme",
        **({"ca": _STAGING} if place.tls == "staging" else {}),
        **({"email": place.email} if place.email else {}),
        "challenges": {"http": over_http, "tls-alpn": {"alternate_port": place.https_port}},
    }


# --- logs ---


def _build_access_log(folder: Path, route: Route) -> dict[str, Any]:
    return {
        "writer": {"output": "file", "filename": str(folder / f"{route.app}.log"), "roll_keep": 5, **_ROLL},
        "encoder": _omit_headers(),
        "include": [f"http.log.access.{route.app}"],
    }


def _build_own_log(place: ProxySetup) -> dict[str, Any]:
    path = place.root / "log" / "caddy.log"
    return {
        "writer": {"output": "file", "filename": str(path), "roll_keep": 3, **_ROLL},
        "encoder": _omit_headers(),
        "level": "INFO",
        "exclude": ["http.log.access", "admin.api"],
    }


def _omit_headers() -> dict[str, Any]:
    """Headers hold credentials under names that nobody can list, so that none is logged at all."""
    gone = {"filter": "delete"}
    fields = {"request>headers": gone, "resp_headers": gone, "request>tls": gone}
    return {"format": "filter", "wrap": {"format": "json"}, "fields": fields}
