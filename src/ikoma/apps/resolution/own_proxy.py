"""Reverse proxies that apps bring with them, and what takes their place: IKOMA's own proxy has the ports 80 and 443.

A proxy that asks for certificates, or learns its routes from Docker, cannot do so here. Where it leads to one service
that one is routed instead, and the proxy is left out. Where it leads to several it has to stay, as the service that
answers, without HTTPS of its own. A plain web server such as nginx simply stays, unless it sends people to HTTPS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ikoma.compose.dockerfiles import find_stage
from ikoma.compose.model import ComposeModel, Port, Service, parse_published
from ikoma.compose.roles.backing_services import is_backing_service
from ikoma.compose.web_service import Candidate, find_port, is_loopback
from ikoma.model import DomainName

_KINDS = {
    "caddy": "Caddy",
    "traefik": "Traefik",
    "nginx-proxy-manager": "Nginx Proxy Manager",
    "npmplus": "Nginx Proxy Manager",
    "nginx-proxy": "nginx-proxy",
    "swag": "SWAG",
    "https-portal": "HTTPS-PORTAL",
    "haproxy": "HAProxy",
    "envoy": "Envoy",
    "bunkerweb": "BunkerWeb",
    "nginx": "nginx",
    "openresty": "nginx",
    "angie": "nginx",
}
"""A word of an image's name → what it is; the first that fits."""
_HELPERS = re.compile(
    r"acme-companion|letsencrypt-nginx-proxy-companion|docker-gen|docker-socket-proxy|certbot|socket-proxy"
)
_FROM_DOCKER = ("Traefik", "nginx-proxy", "Nginx Proxy Manager", "HTTPS-PORTAL")
"""Proxies that cannot do without the Docker socket, or whose routes stand in no file that could be changed."""
_PORTS = (80, 443)
_SERVES_FILES = re.compile(
    r"(?:^|[{;])\s*(?:file_server|php_fastcgi|fastcgi_pass|uwsgi_pass|try_files|root)\b", re.MULTILINE
)
_FILES = re.compile(r"/usr/share/nginx/html|/usr/local/apache2/htdocs|/srv|/var/www")
_TO_HTTPS = re.compile(r"\b(?:return\s+30[1278]|rewrite\s+\S+)\s+https://|redirect\s+scheme\s+https", re.IGNORECASE)
_HOW_THEY_CAME = re.compile(
    r"\bif\b[^\n]*x[-_]forwarded[-_]proto|x[-_]forwarded[-_]proto[^\n]*\bhttps?\b", re.IGNORECASE
)
_PASSES = re.compile(r"\b(?:reverse_proxy|proxy_pass|upstream|server|url|balancer)\b[^\n]*")
_RULE = re.compile(r"Host(?:SNI)?\s*(?:\(|:)\s*([^)]*)")
_NAME = re.compile(r"(?<![\w.*-])[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_CADDY_SITE = re.compile(r"^([^\s#{}(@][^{}\n]*?)\s*\{\s*$", re.MULTILINE)
_VARIABLE = re.compile(r"\{\$([A-Za-z_]\w*)(?::([^{}\n]*))?\}|\$\{([A-Za-z_]\w*)\}")
"""A variable as Caddy writes it, or as the image of nginx does in its templates."""
_SERVER_NAME = re.compile(r"^\s*server_name\s+([^;]+);", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OwnProxy:
    """A reverse proxy among the services of an app.

    Args:
        kind: what it is called.
        helpers: services that are there for it alone.
        leads: what it passes requests on to.
        domains: the names that it answers to.
        serves_files: whether it answers some requests itself.
        must_change: whether it cannot stay as it is; else it is only not needed.
    """

    service: str
    kind: str
    helpers: tuple[str, ...] = ()
    leads: tuple[Candidate, ...] = ()
    domains: tuple[str, ...] = ()
    serves_files: bool = False
    must_change: bool = True

    @property
    def behind(self) -> Candidate | None:
        """The one service that is routed instead; None where there is no such one."""
        return self.leads[0] if len(self.leads) == 1 and not self.serves_files else None

    @property
    def can_stay(self) -> bool:
        """Whether it can answer the app's requests without HTTPS of its own."""
        return self.kind not in _FROM_DOCKER

    @property
    def leaves(self) -> tuple[str, ...]:
        """The services to leave out."""
        return (self.service, *self.helpers)

    @property
    def stays(self) -> bool:
        """Whether it goes on as the service that answers, instead of being left out."""
        return self.behind is None and self.can_stay and bool(self.leads)

    @property
    def gone(self) -> tuple[str, ...]:
        """Services of which nothing else need be said, as they are to be left out."""
        return () if self.stays else self.leaves

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines under x-ikoma that take its place."""
        if self.stays:
            return (f"service: {self.service}", "port: 80")
        behind = self.behind or Candidate("SERVICE", None)
        lines = (f"service: {behind.service}", f"port: {behind.port or 'PORT'}")
        return (*lines, f"domains: [{', '.join(self.domains)}]") if self.domains else lines

    @property
    def by_hand(self) -> str:
        """The change of its own configuration where it stays; nobody but its author can."""
        return f"Let {self.service} listen on `:80` for all names, without certificates, and redirect nobody to HTTPS."

    @property
    def problem(self) -> str:
        """The reason why it cannot stay as it is, or need not be there."""
        if not self.must_change:
            return f"{self.service} ({self.kind}) only passes requests on to {self.behind}, as IKOMA's proxy does."
        return (
            f"{self.service} is a reverse proxy of the app's own ({self.kind}), and IKOMA's has the ports 80 and 443, "
            "with certificates."
        )

    @property
    def fix(self) -> str:
        """The change that mends it."""
        lines = " and ".join(f"`{line}`" for line in self.lines)
        if not self.must_change:
            return f"It works as it is; it can be left out with, under `x-ikoma:`, {lines}."
        if self.stays:
            named = " and ".join(item.service for item in self.leads)
            leads = f"it leads to {named}" if len(self.leads) > 1 else "it answers some requests itself"
            return (
                f"As {leads}, keep it without HTTPS: let it listen on `:80` for all names and redirect nobody, and add "
                f"under `x-ikoma:` {lines}. apps.adapt writes these lines."
            )
        out = " and ".join(self.leaves)
        if len(self.leads) > 1:
            named = ", ".join(map(str, self.leads))
            return f"Leave out {out}. One service of an app answers: of {named}, name it under `x-ikoma:`, {lines}."
        last = "apps.adapt shows and writes it." if self.behind and self.behind.port else "PORT is where it listens."
        return f"Leave out {out}, and add under `x-ikoma:` {lines}. {last}"


def find_own_proxies(model: ComposeModel, texts: Mapping[str, str], dockerfiles: Mapping[str, str]) -> list[OwnProxy]:
    """The reverse proxies of a resolved model on the ports of the web.

    Args:
        texts: service → all that it mounts of the app's folder and that may be its configuration.
        dockerfiles: service → text of its Dockerfile.
    """
    services = model.services
    chosen = model.said.get("service")
    helpers = tuple(name for name, service in services.items() if _HELPERS.search(service.image))
    found = []
    for name, service in services.items():
        kind = find_kind(service, dockerfiles.get(name, ""))
        if kind is None or name == chosen or not _takes_the_ports(service):
            continue
        others = [other for other in services if other not in (name, *helpers)]
        others = [other for other in others if not is_backing_service(model, other, dockerfiles)]
        if others:
            text = _fill(texts.get(name, ""), service.environment)
            made = _describe_proxy(name, kind, helpers, services, others, text)
            found.append(replace(made, must_change=_needs_replacing(kind, service, text)))
    return found


def sends_to_https(text: str) -> bool:
    """Whether a configuration redirects to HTTPS whoever asks, without a look at how they came to IKOMA's proxy."""
    return bool(_TO_HTTPS.search(text)) and not _HOW_THEY_CAME.search(text)


def find_kind(service: Service, dockerfile: str) -> str | None:
    """Tell what kind of reverse proxy a service may be, by its image; None where it is none."""
    image = find_stage(service.build, dockerfile).base if service.build else service.image
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
    return next((kind for word, kind in _KINDS.items() if re.search(rf"(?:^|[-_.]){word}(?:$|[-_.])", last)), None)


def _fill(text: str, environment: Mapping[str, Any]) -> str:
    """A configuration with the proxy's variables in it, and with what of it stands in one of them."""
    given = {key: str(value or "") for key, value in environment.items()}
    whole = [value for value in given.values() if "\n" in value and _PASSES.search(value)]
    return _VARIABLE.sub(lambda use: given.get(use[1] or use[3]) or use[2] or use[0], "\n".join([text, *whole]))


def _takes_the_ports(service: Service) -> bool:
    return any(_meets(port, number) for port in service.ports for number in _PORTS)


def _meets(port: Port, number: int) -> bool:
    wanted = parse_published(port.published) or range(0)
    return number in wanted and port.protocol == "tcp" and not is_loopback(port)


def _needs_replacing(kind: str, service: Service, text: str) -> bool:
    """Whether it asks for certificates, learns from Docker, or sends everybody to HTTPS."""
    if kind in _FROM_DOCKER or _TO_HTTPS.search(text):
        return True
    return kind != "nginx" and any(_meets(port, 443) for port in service.ports)


def _describe_proxy(
    name: str, kind: str, helpers: tuple[str, ...], services: Mapping[str, Service], others: list[str], text: str
) -> OwnProxy:
    labelled = list(_find_labelled(services, others))
    leads = {item.service: item for item, _ in labelled} or _find_written(services, others, text)
    if not leads:
        given = services[name].environment.values()
        leads = _find_written(services, others, "\n".join(f"url {value}" for value in given if value))
    if not leads:
        leads = _find_likely(services[name], services, others)
    domains = [domain for _, said in labelled for domain in said] or _list_sites(kind, text)
    domains = domains or re.findall(r"([\w.-]+)\s*->", str(services[name].environment.get("DOMAINS") or ""))
    mounted = any(_FILES.match(mount.target) for mount in services[name].mounts)
    return OwnProxy(
        service=name,
        kind=kind,
        helpers=tuple(helper for helper in helpers if helper in services),
        leads=tuple(leads.values()),
        domains=tuple(dict.fromkeys(domain for said in domains if (domain := _parse_domain(said)))),
        serves_files=kind not in _FROM_DOCKER
        and bool(_SERVES_FILES.search(text) or mounted or (services[name].build and not text)),
    )


def _find_labelled(services: Mapping[str, Service], others: list[str]) -> Iterator[tuple[Candidate, list[str]]]:
    """Services that say in labels or variables how a proxy is to reach them, with the names that they want."""
    for name in others:
        labels = {str(key): str(value) for key, value in services[name].labels.items()}
        given = {key: str(value or "") for key, value in services[name].environment.items()}
        said = {key: value for key, value in labels.items() if key.startswith(("traefik.", "caddy"))}
        if labels.get("traefik.enable", "").lower() == "false" or not (said or "VIRTUAL_HOST" in given):
            continue
        ports = [value for key, value in said.items() if key.endswith((".server.port", "traefik.port"))]
        ports += [
            number for key, value in said.items() if "reverse_proxy" in key for number in re.findall(r"\d+", value)
        ]
        ports += [given.get("VIRTUAL_PORT", "")]
        port = next((int(text) for text in ports if text.isdigit()), None) or find_port(services[name])
        if port is None and "VIRTUAL_HOST" in given:  # nginx-proxy asks there
            port = 80
        names = [value for key, value in said.items() if re.fullmatch(r"caddy(_\d+)?", key)]
        names += [part for key, value in said.items() if "rule" in key for part in _RULE.findall(value)]
        yield Candidate(name, port), _NAME.findall(" ".join([*names, given.get("VIRTUAL_HOST", "")]))


def _find_written(services: Mapping[str, Service], others: list[str], text: str) -> dict[str, Candidate]:
    """Services that a configuration passes requests on to."""
    found: dict[str, Candidate] = {}
    plain = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    for line in _PASSES.findall(plain):
        for name in others:
            if match := re.search(rf"(?<![\w.-]){re.escape(name)}:(\d{{1,5}})", line):
                found.setdefault(name, Candidate(name, int(match[1])))
            elif re.search(rf"http://{re.escape(name)}(?![\w.-])", line):
                found.setdefault(name, Candidate(name, 80))
    return found


def _find_likely(proxy: Service, services: Mapping[str, Service], others: list[str]) -> dict[str, Candidate]:
    """Services it may lead to where nothing is written: those that it waits for and that listen, else all that do."""
    waits = [name for name in others if name in proxy.depends_on]
    for names in (waits, others):
        found = {name: Candidate(name, port) for name in names if (port := find_port(services[name]))}
        if found:
            return found
    return {waits[0]: Candidate(waits[0], None)} if len(waits) == 1 else {}


def _list_sites(kind: str, text: str) -> list[str]:
    pattern = _CADDY_SITE if kind == "Caddy" else _SERVER_NAME
    return _NAME.findall(" ".join(pattern.findall(text)))


def _parse_domain(text: str) -> str | None:
    """A name that can be one of the app's domains; None for addresses, and names that only this machine has."""
    try:
        name = DomainName.parse(text)
    except ValueError:
        return None
    return None if name.endswith((".localhost", ".local", ".internal", ".test")) else str(name)
