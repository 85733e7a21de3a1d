"""Find what Compose takes though no container can be made of it, or nothing here does it: else a deploy tells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ikoma.app_folder import can_be_a_path
from ikoma.apps.yaml.violation import Place, quote
from ikoma.compose import web_service
from ikoma.compose.model import SHARED_NAMESPACES, ComposeModel
from ikoma.errors import InvalidCompose

_LONGEST_NAME = 63
_NUMBER = re.compile(r"[0-9]{1,10}")
_DRIVE = re.compile(r"[A-Za-z]:/")
_RESTART = re.compile(r"no|always|unless-stopped|on-failure(:[0-9]+)?|")
_LARGEST_ID = (1 << 31) - 1
_INSTEAD_OF_HOOKS = (
    "Let the entrypoint do it, or a service of its own that this one waits for with service_completed_successfully; "
    "before it stops, let the program do it at its stop_signal."
)


class Obstacle(NamedTuple):
    """One thing that cannot be, and what to do instead."""

    place: Place
    problem: str
    fix: str


def find_unsupported(model: ComposeModel) -> Iterator[Obstacle]:
    """All of it in a resolved model."""
    for name, service in model.services.items():
        place = ("services", name)
        if len(name) > _LONGEST_NAME:
            problem = f"The name of a service is a host name, which takes {_LONGEST_NAME} characters."
            yield Obstacle(place, problem, "Give it a shorter one.")
        if not _RESTART.fullmatch(str(restart := service.raw.get("restart") or "")):
            fix = "Write no, always, unless-stopped, on-failure or on-failure:TIMES."
            yield Obstacle((*place, "restart"), f"{quote(str(restart))} is no way to restart.", fix)
        for index, mount in enumerate(service.mounts):
            yield from _check_target((*place, "volumes", index), mount.target)
            yield from _check_path((*place, "volumes", index), mount.source)
        if service.build is not None:
            yield from _check_path((*place, "build", "context"), service.build.context)
            yield from _check_path((*place, "build", "dockerfile"), service.build.dockerfile)
        for kind, contents in service.contents.items():
            for index, given in enumerate(contents):
                yield from _check_given((*place, kind, index), given)
        for key in ("post_start", "pre_stop"):
            if service.raw.get(key):
                yield Obstacle((*place, key), f"{name} has a {key} hook, and IKOMA runs none.", _INSTEAD_OF_HOOKS)
        named = (str(service.raw.get(key) or "") for key in SHARED_NAMESPACES)
        shared = {text for text in named if text.startswith("service:")}
        if len(shared) > 1:
            problem = f"{name} runs in the namespaces of {len(shared)} services."
            yield Obstacle(place, problem, "Let network_mode, ipc and pid name the same service.")

    yield from _check_web(model)


def _check_web(model: ComposeModel) -> Iterator[Obstacle]:
    try:
        web = web_service.find_web(model)
    except InvalidCompose:
        return  # that is said by itself
    if web is None:
        return
    service, place = model.services[web.service], ("services", web.service)
    if not service.has_address:
        problem = f"{web.service} answers the app's requests, and has no address with this network_mode."
        fix = f"Remove it; what {web.service} needs beside it can say `network_mode: service:{web.service}`."
        yield Obstacle((*place, "network_mode"), problem, fix)
    if service.scale == 0:
        problem = f"{web.service} answers the app's requests, and is to have no container."
        yield Obstacle(place, problem, "Give it one.")


def _check_path(place: Place, path: object) -> Iterator[Obstacle]:
    if not can_be_a_path(str(path or "")):
        yield Obstacle(place, f"Nothing can be called {quote(str(path))}.", "Name a file or folder that can be.")


def _check_target(place: Place, target: str) -> Iterator[Obstacle]:
    if not target.startswith("/") or not target.strip("/."):
        fix = "Name an absolute path other than / as its target; a folder's own begins with ./."
        if _DRIVE.match(target):
            fix = f"Give the volume {target[0]} a longer name: Compose takes one letter before a colon for a drive."
        yield Obstacle(place, f"Nothing can be mounted at {quote(target)}.", fix)


def _check_given(place: Place, given: Mapping[str, Any]) -> Iterator[Obstacle]:
    target = given.get("target")
    if target and not str(target).strip("/."):
        yield from _check_target(place, str(target))
    for key in ("uid", "gid"):
        chosen = str(given.get(key) or "0")
        if not _NUMBER.fullmatch(chosen) or int(chosen) > _LARGEST_ID:
            problem = f"{quote(chosen)} is no {key}."
            yield Obstacle((*place, key), problem, f"Give a number up to {_LARGEST_ID}, or leave it out.")
