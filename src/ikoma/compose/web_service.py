"""Chooses the service that answers an app's HTTP: by x-ikoma, else by what the compose file tells without a doubt.

In this order: the x-ikoma block; the one service with a port published beyond this machine's loopback; the one service
whose healthcheck asks a URL of its own. A service that is published on loopback only is meant for nobody outside, and a
database never is: neither is chosen. Where a doubt is left nothing is routed, and the candidates are named.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ikoma.compose.compose_file import Web, is_port
from ikoma.compose.model import ComposeModel, Port, Service
from ikoma.compose.roles.backing_services import is_backing_service, is_tool, list_exposed_ports, speaks_fastcgi
from ikoma.errors import InvalidCompose

DEFAULT_PATH = "/health"

_LOCAL = r"localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]|\$+\{?HOSTNAME\}?|\$+\(hostname\)"
_AFTER_HOST = r"(?![\w.-])(?::(?P<port>[0-9]+|\$+\{?[A-Za-z_]\w*\}?))?(?!:)(?P<path>/[^\s\"'`|;&)<>]*)?"
_PATH = re.compile(r"/[!-#%-~]*")
_FETCHES = re.compile(r"\b(?:curl|wget)\b")
_ASKS_MORE = re.compile(r"(?:^|\s)(?:-[HuXd]\b|--(?:header|user|request|data|post-data|post-file|method)\b)")
"""A request with a header, a login or another method: the same path asked without it may well be refused."""
_TAKES_ANY = re.compile(r"\bcurl\b(?!.*(?:\s-[A-Za-z]*f|\s--fail))", re.DOTALL)
"""curl that takes any answer for a good one."""
# fmt: off
_NO_HTTP = frozenset((
    *(20, 21, 22, 23, 25, 53, 69, 110, 111, 119, 123, 135, 139, 143, 161, 179, 389, 445, 465, 514, 515),
    *(554, 587, 636, 873, 989, 990, 993, 995, 1025, 1194, 1433, 1521, 1723, 1883, 1935, 2049, 2181, 2222),
    *(3306, 3389, 3478, 4222, 5060, 5061, 5349, 5432, 5671, 5672, 5900, 6379, 6432, 6667, 7687, 8883, 9042),
    *(4317, 7233, 9092, 9229, 11211, 25565, 27017, 50051, 51820),
    *(443, 4443, 8443, 9443),  # with TLS, which the proxy in front ends
))
# fmt: on
"""Ports that by their meaning speak something else than plain HTTP."""
_FIRST = ("web", "app", "frontend")
_FASTCGI = 9000
"""Where php-fpm listens, unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service that may answer HTTP, and its port where that can be told."""

    service: str
    port: int | None
    is_bound: bool = False
    """Whether it is published on loopback only."""

    def __str__(self) -> str:
        if self.is_bound:
            return f"{self.service} (port {self.port}, published for this machine only)"
        return f"{self.service} (port {self.port})" if self.port else self.service


@dataclass(frozen=True, slots=True)
class Choice:
    """The service that is routed, and why; or those that could be."""

    web: Web | None
    reason: str = ""
    """Why this one, as the end of a sentence."""
    candidates: tuple[Candidate, ...] = ()
    """Where none was chosen: those that could be meant."""
    likely: str | None = None
    """Where there is no such one: the service that would be meant if any is."""
    others: tuple[int, ...] = ()
    """Further ports of the chosen service that could be meant as well."""
    declined: bool = False
    """Whether x-ikoma says that the app answers no HTTP."""

    @property
    def advice(self) -> str:
        """The two lines that say which service answers."""
        first, *others = self.candidates or (Candidate(self.likely or "SERVICE", None),)
        instead = f"; or {', '.join(map(str, others))} instead" if others else ""
        return (
            f"Add two lines under `x-ikoma:`: `service: {first.service}` and `port: {first.port or 'PORT'}`{instead}. "
            "`service: false` says that the app answers no HTTP."
        )

    @property
    def problem(self) -> str:
        """The reason why nothing is routed."""
        if not self.candidates:
            return "Nothing is routed to the app: no service is seen to answer HTTP."
        named = " and ".join(map(str, self.candidates))
        could = "could be the one that answers" if len(self.candidates) == 1 else "could each be the one that answers"
        return f"Nothing is routed to the app: {named} {could}."


@dataclass(frozen=True, slots=True)
class _Asked:
    """The URL that a healthcheck asks of its own container."""

    port: int
    path: str | None
    """None where an answer to the bare path need not be a good one."""


def find_web(model: ComposeModel) -> Web | None:
    """The settings by which the app answers HTTP; None where nothing says so.

    Raises:
        InvalidCompose: the x-ikoma block is there and wrong.
    """
    return choose(model).web


def choose(model: ComposeModel, dockerfiles: Mapping[str, str] | None = None, without: Collection[str] = ()) -> Choice:
    """The service of a resolved model that answers HTTP.

    Args:
        dockerfiles: service → text of its Dockerfile, where that is no part of the model.
        without: services that are not guessed.

    Raises:
        InvalidCompose: the x-ikoma block is there and wrong.
    """
    block = model.block
    if block is None:
        return _guess(model, dockerfiles, without)
    _ = model.x_ikoma  # refuses a block that is wrong
    if block.get("service") is False:
        return Choice(None, declined=True)
    if block.get("port") is not None or block.get("health") is not None:
        return Choice(_read_block(model, block, dockerfiles), "x-ikoma says so")
    service = block.get("service")
    if isinstance(service, str) and service in model.services:
        return _choose_named_port(model.services[service])
    return _guess(model, dockerfiles, without)


def pin(model: ComposeModel, found: Web | None) -> ComposeModel:
    """A model whose x-ikoma block says what was chosen, so that every later look at it sees the same."""
    block = {key: value for key, value in model.said.items() if key not in ("service", "port", "health")}
    if found is None:
        return model.replace_block({"service": False, **block})
    said: dict[str, Any] = {"service": found.service, "port": found.port}
    if found.path is None:
        said["health"] = False
    elif found.named:
        said["health"] = found.path
    return model.replace_block({**said, **block})


def is_loopback(port: Port) -> bool:
    """Whether a port is published for this machine alone."""
    address = port.host_ip.strip("[]")
    try:
        return bool(address) and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def find_port(service: Service) -> int | None:
    """The port at which a service answers HTTP, as far as it says one; None where it does not."""
    found = _choose_named_port(service).web
    return None if found is None else found.port


def _read_block(model: ComposeModel, block: Mapping[str, Any], dockerfiles: Mapping[str, str] | None) -> Web:
    """Read a block that has a port or a health path."""
    services = model.services
    service = block.get("service") or _find_usual(services) or _guess_service(model, dockerfiles) or "web"
    if not isinstance(service, str) or service not in services:
        raise InvalidCompose(f"x-ikoma: there is no service {str(service)[:80]!r}.")
    port = block.get("port")
    if port is None and (told := _choose_named_port(services[service]).web) is not None:
        port = told.port
    if not is_port(text := str("" if port is None else port)):
        raise InvalidCompose(f"x-ikoma: port is {text[:40]!r}; it takes the port the service listens on.")
    health = block.get("health")
    if health is False:
        return Web(service, int(text), None)
    if health is None:
        asked = _read_asked(services[service])
        if asked is not None and asked.port == int(text) and asked.path is not None:
            return Web(service, int(text), asked.path)
        return Web(service, int(text), DEFAULT_PATH, named=False)
    if not re.fullmatch(r"/[!-~]*", str(health)):
        raise InvalidCompose(f"x-ikoma: health is {str(health)[:200]!r}; it takes a path that begins with /, or false.")
    return Web(service, int(text), str(health))


def _find_usual(services: Mapping[str, Service]) -> str | None:
    """The service that is meant where a block names none."""
    return next(iter(services)) if len(services) == 1 else "web" if "web" in services else None


def _guess_service(model: ComposeModel, dockerfiles: Mapping[str, str] | None) -> str | None:
    found = _guess(model, dockerfiles).web
    return found.service if found else None


def _choose_named_port(service: Service) -> Choice:
    """The port of a service that x-ikoma names without one."""
    asked = _read_asked(service)
    ports = _list_ports(service, beyond=True) or _list_ports(service, beyond=False)
    port = _choose_port(ports, service, asked) if ports else asked.port if asked else _find_exposed(service)
    if port is None:
        return Choice(None, candidates=(Candidate(service.name, None),))
    others = tuple(item for item in ports if item != port) if asked is None else ()
    return Choice(_make_web(service.name, port, asked), "x-ikoma names it", others=others)


def _guess(model: ComposeModel, dockerfiles: Mapping[str, str] | None, without: Collection[str] = ()) -> Choice:
    """Guess from the file alone, without a block."""
    services = model.services
    possible = {
        name: service
        for name, service in services.items()
        if name not in without
        and service.has_address
        and not _is_on_loopback_only(service)
        and not is_backing_service(model, name, dockerfiles)
    }
    if any(not is_tool(service) for service in possible.values()):
        possible = {name: service for name, service in possible.items() if not is_tool(service)}
    asked = {name: found for name, service in possible.items() if (found := _read_asked(service))}
    texts = dockerfiles or {}
    published = {
        name: ports
        for name, service in possible.items()
        if (ports := _list_ports(service, texts.get(name, ""), beyond=True))
    }
    if len(published) == 1:
        ((name, ports),) = published.items()
        return _choose_published(services[name], ports, asked.get(name))
    if len(asked) == 1:
        ((name, url),) = asked.items()
        if not published:
            return Choice(_make_web(name, url.port, url), "its healthcheck asks a URL")
        if name in published:
            return _choose_published(services[name], published[name], url, "its healthcheck asks a URL")
    bound = {
        name: Candidate(name, ports[0], is_bound=True)
        for name, service in services.items()
        if _is_on_loopback_only(service) and (ports := _list_ports(service, beyond=False))
        if name not in without and not is_backing_service(model, name, dockerfiles)
    }
    candidates = tuple(_list_candidates(possible, published, asked, texts))
    candidates = candidates or tuple(bound[name] for name in sorted(bound, key=_rank))
    return Choice(None, candidates=candidates, likely=_find_usual(possible) or _find_usual(services))


def _choose_published(
    service: Service,
    ports: tuple[int, ...],
    asked: _Asked | None,
    reason: str = "it is the one service with a port published beyond this machine",
) -> Choice:
    port = _choose_port(ports, service, asked)
    told = asked is not None and asked.port == port
    others = () if told else tuple(item for item in ports if item != port)
    return Choice(_make_web(service.name, port, asked), reason, others=others)


def _list_candidates(
    possible: Mapping[str, Service],
    published: Mapping[str, tuple[int, ...]],
    asked: Mapping[str, _Asked],
    dockerfiles: Mapping[str, str],
) -> Iterator[Candidate]:
    """Services to name where none can be chosen: the published ones, else those asked, else those that expose one."""
    for name in sorted(published or asked, key=_rank):
        ports = published.get(name)
        url = asked.get(name)
        yield Candidate(name, _choose_port(ports, possible[name], url) if ports else url.port if url else None)
    if not published and not asked:
        for name in sorted(possible, key=_rank):
            service = possible[name]
            text = (service.build.inline if service.build else None) or dockerfiles.get(name, "")
            if (port := _find_exposed(service, text)) is not None:
                yield Candidate(name, port)


def _rank(name: str) -> tuple[int, str]:
    """The place of a service among those that could be meant: names of what people look at go first."""
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST)), name


def _choose_port(ports: tuple[int, ...], service: Service, asked: _Asked | None) -> int:
    """The port among those published that is meant for people."""
    if asked is not None and asked.port in ports:
        return asked.port
    wanted = str(service.environment.get("PORT") or "")
    if is_port(wanted) and int(wanted) in ports:
        return int(wanted)
    return 80 if 80 in ports else ports[0]


def _make_web(name: str, port: int, asked: _Asked | None) -> Web:
    return Web(name, port, asked.path if asked is not None and asked.port == port else None)


def _list_ports(service: Service, dockerfile: str = "", *, beyond: bool) -> tuple[int, ...]:
    """Container ports that may speak HTTP and are published beyond loopback, or on it; in order."""
    found = [
        int(port.target)
        for port in service.ports
        if port.protocol == "tcp" and is_port(port.target) and is_loopback(port) is not beyond
    ]
    return tuple(dict.fromkeys(port for port in found if _may_be_http(port, service, dockerfile)))


def _may_be_http(port: int, service: Service, dockerfile: str = "") -> bool:
    return port not in _NO_HTTP and not (port == _FASTCGI and speaks_fastcgi(service, dockerfile))


def _is_on_loopback_only(service: Service) -> bool:
    return bool(service.ports) and all(map(is_loopback, service.ports))


def _find_exposed(service: Service, dockerfile: str = "") -> int | None:
    """The first port that a service says it listens on, published or not."""
    said = [str(item).partition("/") for item in (*service.expose, *list_exposed_ports(dockerfile))]
    texts = [port for port, _, protocol in said if protocol in ("", "tcp")]
    texts += [str(service.environment.get(name) or "") for name in ("PORT", "HTTP_PORT")]
    return next((int(text) for text in texts if is_port(text) and _may_be_http(int(text), service, dockerfile)), None)


def _read_asked(service: Service) -> _Asked | None:
    if not service.healthcheck.is_on:
        return None
    text = service.healthcheck.text
    own = [host for host in (service.name, service.container_name, service.hostname) if host]
    begin = rf"http://(?:{'|'.join([_LOCAL, *map(re.escape, own)])})"
    if _FETCHES.search(text):
        begin = rf"(?:{begin}|(?<!=)(?:{_LOCAL}))"
    for found in re.finditer(rf"(?<![\w./:@-]){begin}{_AFTER_HOST}", text):
        port, path = _read_number(found["port"] or "80", service), found["path"] or "/"
        if port is not None:
            lenient = _ASKS_MORE.search(text) or _TAKES_ANY.search(text) or not _PATH.fullmatch(path)
            return _Asked(port, None if lenient else path)
    return None


def _read_number(text: str, service: Service) -> int | None:
    """A port as a healthcheck writes it: a number, or a variable of the container's own."""
    if text.startswith("$"):
        text = str(service.environment.get(text.strip("${}")) or "")
    return int(text) if is_port(text) else None
