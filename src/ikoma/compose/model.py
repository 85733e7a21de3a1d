"""The resolved compose file as plain data: parsed here once from what Compose made of it, and read everywhere else.

`raw` is the same file as Compose wrote it. Only two read it: the policy, whose list of allowed keys must see every key,
and what makes the file that runs. Both get at parts of it through the model, so that nothing is looked for twice.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ikoma.compose import x_ikoma
from ikoma.compose.x_ikoma import Extension

SHARED_NAMESPACES = ("network_mode", "ipc", "pid")
"""Keys by which a service runs in the namespace of another."""
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_RESTARTS = {"none": "no", "on-failure": "on-failure"}


@dataclass(frozen=True, slots=True)
class Mount:
    """One of a service's `volumes`. `source` is "" where it has none, as an anonymous volume."""

    kind: str
    source: str
    target: str
    read_only: bool
    raw: Mapping[str, Any]

    @property
    def is_bind(self) -> bool:
        return self.kind == "bind"

    @property
    def is_volume(self) -> bool:
        return self.kind == "volume"


@dataclass(frozen=True, slots=True)
class Port:
    """One of a service's `ports`, as text: both ends can be ranges, and `published` is "" where none is said."""

    target: str
    published: str
    protocol: str
    host_ip: str
    raw: Mapping[str, Any]

    @property
    def is_chosen(self) -> bool:
        """Whether the file chooses the host port: with 0 the engine takes a free one."""
        return self.published not in ("", "0")


@dataclass(frozen=True, slots=True)
class Build:
    """The build of an image. `inline` is the text of its Dockerfile where that is a part of the model."""

    context: str
    dockerfile: str
    inline: str | None
    target: str
    args: Mapping[str, Any]
    additional_contexts: Mapping[str, str]
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """The command by which a service says that it is well."""

    test: tuple[str, ...]
    disabled: bool

    @property
    def is_on(self) -> bool:
        return bool(self.test) and self.test != ("NONE",) and not self.disabled

    @property
    def text(self) -> str:
        return " ".join(self.test)


@dataclass(frozen=True, slots=True)
class Service:
    """One service. What the file does not say is "", empty or None."""

    name: str
    image: str
    build: Build | None
    mounts: tuple[Mount, ...]
    mounts_from: Mapping[str, bool]
    """Services whose mounts this one has too (`volumes_from`), and whether it may write what they may."""
    ports: tuple[Port, ...]
    expose: tuple[str, ...]
    networks: Mapping[str, Mapping[str, Any]]
    network_mode: str
    shares_with: str | None
    """The service in whose namespace this one runs."""
    environment: Mapping[str, Any]
    labels: Mapping[str, Any]
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    healthcheck: Healthcheck
    depends_on: Mapping[str, str]
    """Services that it waits for before it starts, each with the condition."""
    restart: str | None
    """When Docker starts its containers again: no, on-failure, always, unless-stopped; None where nothing is said."""
    scale: int
    """How many containers it is to have."""
    container_name: str
    hostname: str
    user: str
    privileged: bool
    configs: tuple[Mapping[str, Any], ...]
    secrets: tuple[Mapping[str, Any], ...]
    raw: Mapping[str, Any]

    @property
    def binds(self) -> list[Mount]:
        return [mount for mount in self.mounts if mount.is_bind]

    @property
    def contents(self) -> Mapping[str, tuple[Mapping[str, Any], ...]]:
        """The configs and secrets that it is given, by these words."""
        return {"configs": self.configs, "secrets": self.secrets}

    @property
    def has_address(self) -> bool:
        """Whether its containers are in networks of their own, not in another's, the server's or in none."""
        mode = self.network_mode
        return mode not in ("none", "host") and not mode.startswith(("service:", "container:"))


@dataclass(frozen=True)
class ComposeModel:
    """An app as Compose understands it."""

    services: Mapping[str, Service]
    volumes: Mapping[str, Mapping[str, Any]]
    networks: Mapping[str, Mapping[str, Any]]
    configs: Mapping[str, Mapping[str, Any]]
    secrets: Mapping[str, Mapping[str, Any]]
    block: Any
    """The `x-ikoma` block as it is written, which may be of any form."""
    raw: Mapping[str, Any]

    @cached_property
    def x_ikoma(self) -> Extension:
        """Parse the `x-ikoma` block.

        Raises:
            InvalidCompose: a key is unknown, or its value is not of its form.
        """
        return x_ikoma.parse(self.block, self.services)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the app's parts: services and their images, volumes, networks, domains."""
        of_parts = (self.services, self.volumes, self.networks, self.configs, self.secrets)
        images = (service.image for service in self.services.values())
        said = (name for key in ("domains", "redirects") for name in _list_names(self.said.get(key)))
        return frozenset((*(name for part in of_parts for name in part), *images, *said)) - {""}

    @property
    def said(self) -> Mapping[str, Any]:
        """The `x-ikoma` block where it has the form of one, not checked any further; else an empty one."""
        return _read_mapping(self.block)

    @property
    def top(self) -> Mapping[str, Any]:
        """All of the file but its services, as it is written."""
        return {key: value for key, value in self.raw.items() if key != "services"}

    @property
    def contents(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """All configs and secrets, by these words."""
        return {"configs": self.configs, "secrets": self.secrets}

    def copy_raw(self) -> dict[str, Any]:
        """A copy of all of it that may be changed."""
        return copy.deepcopy(dict(self.raw))

    @property
    def binds(self) -> Iterator[Mount]:
        """Every bind mount of every service."""
        return (mount for service in self.services.values() for mount in service.binds)

    @property
    def builds(self) -> list[Build]:
        return [service.build for service in self.services.values() if service.build is not None]

    @property
    def one_shot(self) -> frozenset[str]:
        """Services that run once: others wait for them with service_completed_successfully."""
        return self._list_awaited("service_completed_successfully")

    @property
    def needed_healthy(self) -> frozenset[str]:
        """Services that others wait for until they are healthy."""
        return self._list_awaited("service_healthy")

    def find_content(self, kind: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The config or secret that a service is given."""
        return self.contents[kind].get(str(given.get("source")), {})

    def replace_services(self, changed: Mapping[str, Mapping[str, Any]]) -> ComposeModel:
        """The model with these services in place of those of their names."""
        if not changed:
            return self
        parsed = {name: parse_service(name, service) for name, service in changed.items()}
        raw = {**self.raw, "services": {**(self.raw.get("services") or {}), **changed}}
        return replace(self, services={**self.services, **parsed}, raw=raw)

    def drop_services(self, names: Collection[str]) -> ComposeModel:
        """The model without some of its services."""
        kept = {name: service for name, service in self.services.items() if name not in names}
        raw = {**self.raw, "services": {name: service.raw for name, service in kept.items()}}
        return replace(self, services=kept, raw=raw)

    def replace_block(self, block: Mapping[str, Any]) -> ComposeModel:
        """The model with another `x-ikoma` block."""
        return replace(self, block=dict(block), raw={**self.raw, "x-ikoma": dict(block)})

    def drop_block(self) -> ComposeModel:
        return replace(self, block=None, raw={key: value for key, value in self.raw.items() if key != "x-ikoma"})

    def _list_awaited(self, condition: str) -> frozenset[str]:
        needs = (need for service in self.services.values() for need in service.depends_on.items())
        return frozenset(name for name, wanted in needs if wanted == condition)


def parse_model(raw: Mapping[str, Any]) -> ComposeModel:
    """The model of a resolved compose file, as Compose writes it in JSON and a release keeps it."""
    return ComposeModel(
        services={
            name: parse_service(name, service or {}) for name, service in _read_mapping(raw.get("services")).items()
        },
        volumes=_read_mappings(raw.get("volumes")),
        networks=_read_mappings(raw.get("networks")),
        configs=_read_mappings(raw.get("configs")),
        secrets=_read_mappings(raw.get("secrets")),
        block=raw.get("x-ikoma"),
        raw=raw,
    )


def parse_service(name: str, raw: Mapping[str, Any]) -> Service:
    deploy = _read_mapping(raw.get("deploy"))
    check = _read_mapping(raw.get("healthcheck"))
    return Service(
        name=name,
        image=_read_text(raw.get("image")),
        build=None if raw.get("build") is None else _build(raw["build"]),
        mounts=tuple(map(parse_mount, raw.get("volumes") or ())),
        mounts_from=_parse_mounts_from(raw.get("volumes_from") or ()),
        ports=tuple(map(_parse_port, raw.get("ports") or ())),
        expose=tuple(map(str, raw.get("expose") or ())),
        networks=_read_mappings(raw.get("networks")),
        network_mode=_read_text(raw.get("network_mode")),
        shares_with=_find_shared(raw),
        environment=_read_mapping(raw.get("environment")),
        labels=_read_mapping(raw.get("labels")),
        command=_read_words(raw.get("command")),
        entrypoint=_read_words(raw.get("entrypoint")),
        healthcheck=Healthcheck(_read_words(check.get("test")), bool(check.get("disable"))),
        depends_on={
            key: _read_text(need.get("condition")) or "service_started"
            for key, need in _read_mappings(raw.get("depends_on")).items()
        },
        restart=_restart(raw, deploy),
        scale=_scale(raw, deploy),
        container_name=_read_text(raw.get("container_name")),
        hostname=_read_text(raw.get("hostname")),
        user=_read_text(raw.get("user")),
        privileged=bool(raw.get("privileged")),
        configs=tuple(raw.get("configs") or ()),
        secrets=tuple(raw.get("secrets") or ()),
        raw=raw,
    )


def parse_mount(raw: Mapping[str, Any]) -> Mount:
    return Mount(
        kind=_read_text(raw.get("type")),
        source=_read_text(raw.get("source")),
        target=_read_text(raw.get("target")),
        read_only=bool(raw.get("read_only")),
        raw=raw,
    )


def _parse_port(raw: Mapping[str, Any]) -> Port:
    return Port(
        target=_read_text(raw.get("target")),
        published=_read_text(raw.get("published")),
        protocol=_read_text(raw.get("protocol")) or "tcp",
        host_ip=_read_text(raw.get("host_ip")),
        raw=raw,
    )


def _build(raw: Mapping[str, Any]) -> Build:
    inline = raw.get("dockerfile_inline")
    return Build(
        context=_read_text(raw.get("context")),
        dockerfile=_read_text(raw.get("dockerfile")) or "Dockerfile",
        inline=None if inline is None else str(inline),
        target=_read_text(raw.get("target")),
        args=_read_mapping(raw.get("args")),
        additional_contexts={key: str(path) for key, path in _read_mapping(raw.get("additional_contexts")).items()},
        raw=raw,
    )


def _parse_mounts_from(given: Collection[Any]) -> dict[str, bool]:
    words = [str(item).split(":") for item in given]
    return {parts[0]: parts[-1] != "ro" for parts in words if parts[0] != "container"}


def _find_shared(raw: Mapping[str, Any]) -> str | None:
    for key in SHARED_NAMESPACES:
        kind, _, name = _read_text(raw.get(key)).partition(":")
        if kind == "service":
            return name
    return None


def _restart(raw: Mapping[str, Any], deploy: Mapping[str, Any]) -> str | None:
    policy = deploy.get("restart_policy")
    if policy is not None:  # it wins, as Compose has it
        return _RESTARTS.get(str(policy.get("condition")), "always")
    said = raw.get("restart")
    if said is None or said == "":
        return None
    return "no" if said is False else str(said).partition(":")[0]


def _scale(raw: Mapping[str, Any], deploy: Mapping[str, Any]) -> int:
    given = raw.get("scale")
    given = deploy.get("replicas") if given is None else given
    return 1 if given is None else int(given)


def _read_words(given: Any) -> tuple[str, ...]:
    return tuple(map(str, given)) if isinstance(given, list) else tuple(_read_text(given).split())


def _read_text(given: Any) -> str:
    return "" if given is None else str(given)


def _list_names(value: Any) -> list[str]:
    """The names in a list of them, or before their values."""
    return [str(name) for name in value] if isinstance(value, list | Mapping) else []


def _read_mapping(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def _read_mappings(given: Any) -> Mapping[str, Mapping[str, Any]]:
    """Items by key; of one about which nothing is said, an empty one."""
    return {key: item or {} for key, item in _read_mapping(given).items()}


EMPTY = parse_model({})
"""The model where there is none: nothing serves, or nothing can be resolved."""


def parse_published(text: str) -> range | None:
    """The host ports that a published port such as 8080 or 8000-8010 is; None where that cannot be told."""
    found = _RANGE.fullmatch(text)
    return None if found is None else range(int(found[1]), int(found[2] or found[1]) + 1)
