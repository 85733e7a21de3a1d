"""The sources of an app's images: registries, builds, and what a Dockerfile builds on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy import dockerfile
from ikoma.apps.policy.containers import check_labels, check_ulimits
from ikoma.apps.yaml.violation import Place, Violation, quote
from ikoma.compose.image_names import IMAGES, name_images_prefix
from ikoma.compose.paths import locate
from ikoma.errors import IkomaError

_HEX = re.compile(r"[0-9a-f]+")
_ALIASES = ("docker.io/", "index.docker.io/", "registry-1.docker.io/", "library/")
_BUILD = frozenset(
    (
        *("context", "dockerfile", "dockerfile_inline", "args", "target", "labels", "cache_from", "cache_to", "tags"),
        *("secrets", "additional_contexts", "extra_hosts", "no_cache", "no_cache_filter", "platforms", "pull"),
        *("shm_size", "ulimits", "network", "entitlements", "privileged", "ssh", "provenance", "sbom"),
    )
)
REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|git@|github\.com/")
"""How the context of a build begins that is fetched."""
_INSTEAD_OF_ADD = (
    "Let a program of the image fetch it, such as `RUN wget -O FILE ADDRESS`; "
    "or bring the file, and begin its path with ./."
)
_CACHE = re.compile(r"[a-z-]+")
_MOST_BYTES = 1 << 20


def check_reference(facts: HostFacts, place: Place, text: str) -> Iterator[Violation]:
    """A reference to an image, as a registry would be asked for it."""
    name = text
    for alias in _ALIASES:
        name = name.removeprefix(alias)
    if name.startswith(f"{IMAGES}/") and not name.startswith(name_images_prefix(facts.app.name)):
        yield Violation("foreign-image", place, f"{text} was built by another app.")
    elif name.startswith("sha256:") or _HEX.fullmatch(name):
        yield Violation("foreign-image", place, f"{quote(text)} may be the id of an image that is on the server.")
    elif re.split("[:@]", name, maxsplit=1)[0] not in facts.built:
        yield from _check_registry(facts, place, text)


def _check_registry(facts: HostFacts, place: Place, text: str) -> Iterator[Violation]:
    first, slash, _ = text.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    if not facts.allows_registry(first if named else "docker.io"):
        # Not by its name: that is a piece of the text, and could be one of a secret.
        where = "the registry that it names" if named else "docker.io"
        yield Violation("image-registry", place, f"{quote(text)} comes from {where}.")
    if facts.pinned and "@sha256:" not in text:
        yield Violation("image-digest", place, f"{quote(text)} has no digest.")


def _check_image(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    yield from check_reference(facts, place, str(value))


def _build(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for name, chosen in value.items():
        if name not in _BUILD and not name.startswith("x-"):
            yield Violation("unknown-key", (*place, name), f"{name} is not allowed.")
        elif name in ("entitlements", "privileged", "ssh") and chosen:
            yield Violation("build-privileges", (*place, name), f"The build has {name}.")
        elif name in ("provenance", "sbom") and str(chosen).lower() not in ("true", "false"):
            yield Violation("build-privileges", (*place, name), "Only true and false are taken.")
    if str(value.get("network") or "default") not in ("default", "none"):
        yield Violation(
            "build-privileges",
            (*place, "network"),
            f"The build joins the network {value['network']}; a build has none of the app's, and no database.",
        )
    yield from check_labels(facts, (*place, "labels"), value.get("labels") or {})
    yield from check_ulimits(facts, (*place, "ulimits"), value.get("ulimits") or {})
    yield from _check_caches(facts, place, value)
    yield from _check_contexts(facts, place, value)
    for index, tag in enumerate(value.get("tags") or []):
        if not str(tag).startswith(name_images_prefix(facts.app.name)):
            yield Violation("foreign-image", (*place, "tags", index), f"The build takes the name {tag}.")


def _check_caches(facts: HostFacts, place: Place, value: Mapping[str, Any]) -> Iterator[Violation]:
    for key in ("cache_from", "cache_to"):
        for index, text in enumerate(value.get(key) or []):
            inside = (*place, key, index)
            kind = _parse_cache(str(text)) if "=" in str(text) else None
            if kind is None and key == "cache_from":
                yield from check_reference(facts, inside, str(text))
            elif kind is not None and kind.get("type") == "registry" and key == "cache_from":
                yield from check_reference(facts, inside, kind.get("ref", ""))
            elif kind is None or kind.get("type") != "inline":
                yield Violation("build-outside", inside, f"{text} reads or writes a place outside the build.")


def _parse_cache(text: str) -> Mapping[str, str]:
    """Read the options of a cache; none where BuildKit, which takes quotes and capitals, could read it otherwise."""
    parts = [part.partition("=")[::2] for part in text.split(",")]
    plain = all(_CACHE.fullmatch(name) and '"' not in value for name, value in parts)
    return dict(parts) if plain and len(dict(parts)) == len(parts) else {}


def _check_contexts(facts: HostFacts, place: Place, value: Mapping[str, Any]) -> Iterator[Violation]:
    context = str(value.get("context") or facts.app.path)
    yield from _check_folder(facts, (*place, "context"), context)
    for name, text in (value.get("additional_contexts") or {}).items():
        inside = (*place, "additional_contexts", name)
        if str(text).startswith("docker-image://"):
            yield from check_reference(facts, inside, str(text).removeprefix("docker-image://"))
        elif not str(text).startswith(("service:", "target:")):
            yield from _check_folder(facts, inside, str(text))
    if REMOTE.match(context):
        return
    name, file = "dockerfile_inline" if "dockerfile_inline" in value else "dockerfile", None
    text = value.get("dockerfile_inline")
    if text is None:
        path = Path(context) / str(value.get("dockerfile") or "Dockerfile")
        if not facts.is_inside(locate(str(path)).path):
            yield Violation("build-outside", (*place, name), f"{path} is outside the app's folder.")
            return
        try:
            text = facts.app.read_inside(path, _MOST_BYTES).decode(errors="replace")
        except IkomaError:
            return  # that it is not there is said elsewhere
        file = os.path.relpath(path, facts.app.path)
    text = text.replace("$$", "$") if "dockerfile_inline" in value else text  # as Compose spells it
    for rule, line, what, image in dockerfile.find_problems(text, read_arguments(value)):
        inside = (*place, name, line)
        instead = _INSTEAD_OF_ADD if rule == "remote-source" else None
        found = (
            [Violation(rule, inside, what, instead=instead)] if image is None else check_reference(facts, inside, image)
        )
        yield from (replace(each, file=file, line=line if file else None) for each in found)


def read_arguments(build: Mapping[str, Any]) -> dict[str, str]:
    """The arguments that a build is given, as its Dockerfile sees them."""
    return {key: str(item).replace("$$", "$") for key, item in (build.get("args") or {}).items() if item is not None}


def _check_folder(facts: HostFacts, place: Place, text: str) -> Iterator[Violation]:
    if REMOTE.match(text) or not text.startswith("/"):
        yield Violation("remote-source", place, f"{quote(text)} is fetched from elsewhere.")
        return
    path = locate(text).path
    if not facts.is_inside(path) or (facts.is_state(path) and path != facts.root):
        yield make_outside_violation(facts, "build-outside", place, text)


def make_outside_violation(facts: HostFacts, rule: str, place: Place, source: str) -> Violation:
    """The violation of what leads out of the app's folder; nobody waives it where that is others'."""
    if facts.is_platforms(locate(source).path):
        what = f"{source} is outside the app's folder, where the platform or another app is; no waiver lets it pass."
        return Violation(rule, place, what, waivable=False)
    return Violation(rule, place, f"{source} is outside the app's folder.")


CHECKS: Mapping[str, Any] = {"image": _check_image, "build": _build}
