"""Take apart what Compose refuses: each message by itself, and the parts of the files that one is about.

Compose stops at what it cannot take. Without those parts it goes on, and tells what else there is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ikoma.apps.yaml.lines import Place, Source

Values = Mapping[str, Any]
"""Each compose file → what it says."""

_SEVERAL = re.compile(r"(?=error while interpolating )|(?='(?:services|networks|volumes|configs|secrets)\[)")
_DECODING = re.compile(r"^\W*\d* ?(decoding failed due to the following error\(s\):|error\(s\) decoding:)\s*")
_WHERE = re.compile(r"(?<![\w/.-])(services|networks|volumes|configs|secrets|include|x-ikoma)((?:[.\[][^\s:']*)?)")
_EXTRA = re.compile(r"dditional propert(?:y|ies) ((?:'[^']+'(?:, | and )?)+)")
_RANGES = re.compile(r"[iI]nvalid ranges specified for container and host Ports: (\S+) and (\S+)")
_IMAGELESS = re.compile(r'service "([^"]+)" has neither an image')
_UNDEFINED = re.compile(r'service "([^"]+)" (?:depends on|refers to) undefined (\w+) "?([^":\s]+)"?')
_EXCLUSIVE = re.compile(r'service "?([\w.-]+)"? declares mutually exclusive `(\w+)` and `(\w+)`')
_CIRCLE = re.compile(r"dependency cycle detected: (\S+)")
_NOT_FOUND = re.compile(r"(env|label) file (.+?) not found")
_NO_FILE = re.compile(r"open (.+?): no such file or directory")
_NOT_EXTENDED = re.compile(r'cannot extend service "([^"]+)" in ')
_DISTINCT = re.compile(r"services\.(\S+): can't set distinct values on '(\w+)'")
_TEXT = re.compile(
    r"(?:[iI]nvalid (?:\w*[pP]ort|IP address|spec|proto)|[nN]o port specified)[^:]*: (.+?)(?:: too many colons|$)"
)
IMAGE = "ikoma-instead-of-none"
"""Image given to a service that has none, so that Compose goes on."""
_OF_OTHERS = ("depends_on", "links", "volumes_from", "network_mode", "pid", "ipc")
_LISTS = ("ports", "volumes", "expose", "extra_hosts", "devices")
_BY_NAME = {"network": "networks", "volume": "volumes", "config": "configs", "secret": "secrets"}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of one file. `put` is what the file then says there instead; None where it says nothing."""

    file: str
    place: Place
    put: str | None = None


def split_messages(error: str) -> list[str]:
    """Split what Compose said into its messages."""
    text = _DECODING.sub("", error.strip())
    found = [part.strip() for part in _SEVERAL.split(text)]
    return [part for part in found if part] or [error]


def find_parts(message: str, source: Source, values: Values) -> list[Part]:
    """The parts of the files that a message is about; none where that cannot be told."""
    for pattern, find in _KNOWN:
        if (found := pattern.search(message)) and (known := list(find(found, values))):
            return known
    return [part for place in find_places(message, source) for part in _select_owned(source, place)]


def find_places(message: str, source: Source) -> list[Place]:
    """The places that a message names, as far as they are there."""
    extra = [name for found in _EXTRA.finditer(message) for name in re.findall(r"'([^']+)'", found[1])]
    found = _WHERE.search(message)
    if found is None:
        return [(name,) for name in extra]
    place = source.follow(f"{found[1]}{found[2]}".rstrip("."))
    return [(*place, name) for name in extra] if extra else [place]


def _select_owned(source: Source, place: Place) -> Iterator[Part]:
    if len(place) > 1 or (place and place[0] not in ("services", "networks", "volumes", "configs", "secrets")):
        yield from (Part(file, own) for file, own in source.find_places_of(place))


def _list_services(values: Values) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for file, value in values.items():
        services = value.get("services") if isinstance(value, Mapping) else None
        for name, service in services.items() if isinstance(services, Mapping) else ():
            if isinstance(service, Mapping):
                yield file, name, service


def _list_items(service: Mapping[str, Any], key: str) -> list[tuple[str | int, Any]]:
    value = service.get(key)
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _find_imageless(found: re.Match[str], values: Values) -> Iterator[Part]:
    yield from (
        Part(file, ("services", name, "image"), IMAGE) for file, name, _ in _list_services(values) if name == found[1]
    )


def _find_undefined(found: re.Match[str], values: Values) -> Iterator[Part]:
    keys = (_BY_NAME[found[2]],) if found[2] in _BY_NAME else _OF_OTHERS
    for file, name, service in _list_services(values):
        for key in keys if name == found[1] else ():
            for index, item in _list_items(service, key):
                said = item.get("source") if isinstance(item, Mapping) and isinstance(index, int) else item
                if found[3] in (index, str(said).split(":")[0]):
                    yield Part(file, ("services", name, key, index))
            if str(service.get(key)).endswith(f":{found[3]}") and isinstance(service.get(key), str):
                yield Part(file, ("services", name, key))


def _find_exclusive(found: re.Match[str], values: Values) -> Iterator[Part]:
    yield from (
        Part(file, ("services", name, found[3])) for file, name, _ in _list_services(values) if name == found[1]
    )


def _find_circle(found: re.Match[str], values: Values) -> Iterator[Part]:
    for file, name, service in _list_services(values):
        if name == found[1]:
            yield from (Part(file, ("services", name, key)) for key in _OF_OTHERS if key in service)


def _find_not_found(found: re.Match[str], values: Values) -> Iterator[Part]:
    key = f"{found[1]}_file"
    for file, name, service in _list_services(values):
        said = service.get(key)
        if isinstance(said, str) and _is_file(said, found[2]):
            yield Part(file, ("services", name, key))
        for index, item in _list_items(service, key):
            if _is_file(str(item.get("path") if isinstance(item, Mapping) else item), found[2]):
                yield Part(file, ("services", name, key, index))


def _find_no_file(found: re.Match[str], values: Values) -> Iterator[Part]:
    for file, value in values.items():
        included = value.get("include") if isinstance(value, Mapping) else None
        for index, item in enumerate(included if isinstance(included, list) else []):
            said = item.get("path") if isinstance(item, Mapping) else item
            if any(_is_file(str(path), found[1]) for path in (said if isinstance(said, list) else [said])):
                yield Part(file, ("include", index))
    for file, name, service in _list_services(values):
        extends = service.get("extends")
        if isinstance(extends, Mapping) and _is_file(str(extends.get("file")), found[1]):
            yield Part(file, ("services", name, "extends"))


def _is_file(said: str, path: str) -> bool:
    return path.endswith(posixpath.normpath(said).lstrip("./"))


def _find_not_extended(found: re.Match[str], values: Values) -> Iterator[Part]:
    for file, name, service in _list_services(values):
        if name == found[1] and "extends" in service:
            yield Part(file, ("services", name, "extends"))


def _find_distinct(found: re.Match[str], values: Values) -> Iterator[Part]:
    for file, name, service in _list_services(values):
        if name == found[1] and found[2] in service:
            yield Part(file, ("services", name, found[2]))


def _find_text(found: re.Match[str], values: Values) -> Iterator[Part]:
    for file, name, service in _list_services(values):
        for key in _LISTS:
            for index, item in _list_items(service, key):
                if isinstance(item, str) and found[1].strip() in item:
                    yield Part(file, ("services", name, key, index))


def _find_ranges(found: re.Match[str], values: Values) -> Iterator[Part]:
    for file, name, service in _list_services(values):
        for index, item in _list_items(service, "ports"):
            if isinstance(item, str) and f"{found[2]}:{found[1]}" in item:
                yield Part(file, ("services", name, "ports", index))


def _find_test(found: re.Match[str], values: Values) -> Iterator[Part]:
    for file, name, service in _list_services(values):
        check = service.get("healthcheck")
        test = check.get("test") if isinstance(check, Mapping) else None
        if isinstance(test, list) and test[:1] not in (["CMD"], ["CMD-SHELL"], ["NONE"]):
            yield Part(file, ("services", name, "healthcheck", "test"))


_KNOWN: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Values], Iterator[Part]]], ...] = (
    (_IMAGELESS, _find_imageless),
    (_UNDEFINED, _find_undefined),
    (_EXCLUSIVE, _find_exclusive),
    (_CIRCLE, _find_circle),
    (_NOT_FOUND, _find_not_found),
    (_NO_FILE, _find_no_file),
    (_NOT_EXTENDED, _find_not_extended),
    (_DISTINCT, _find_distinct),
    (_RANGES, _find_ranges),
    (_TEXT, _find_text),
    (re.compile(r"healthcheck\.test must start"), _find_test),
)
