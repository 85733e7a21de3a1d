"""All that is wrong with files that are refused while they are read: what Compose would say of them part by part.

What is refused is taken out, in memory alone, and the rest read again: so one answer tells everything, and not only
what comes first. Each round passes the same checks before Compose gets anything. What comes of it is judged, never run.
"""

from __future__ import annotations

import asyncio
import difflib
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ikoma.apps.resolution.compose_errors import IMAGE, Part, find_parts, find_places, split_messages
from ikoma.apps.yaml import form
from ikoma.apps.yaml.lines import Place, Source
from ikoma.apps.yaml.reading import Gathered
from ikoma.apps.yaml.violation import Violation
from ikoma.compose.model import ComposeModel
from ikoma.ports.runtime import Resolved

_MOST_ROUNDS, _MOST_SECONDS = 12, 20
_LEAST_STEPS = 3
"""Steps to a place in which something was taken out: what is said of it then says that it is missing."""
_SERVICES = frozenset(("services", "include", "extends"))
_MADE_OF = ("image", "build", "extends")
_UNKNOWN_KEY = re.compile(r"services\.([\w.-]+?)(?:\.([\w-]+) false schema|\.? additional properties '([\w.-]+)')")
_UNDEFINED = re.compile(r"undefined (service|network|volume|config|secret)")
_NOTHING = "NOTHING"
"""A variable that stands for the content of a file that is refused."""
_WHOLE = frozenset(("too-large", "alias-bomb"))
"""Rules whose breach is of all that a file says."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One message of Compose, and where what it is about stands: (file, line)."""

    message: str
    at: tuple[str, int | None]


@dataclass(slots=True)
class Remainder:
    """All that is wrong, and what is left without it; `model` is None where nothing could be made of the rest."""

    source: Source
    violations: list[Violation] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    model: ComposeModel | None = None
    taken: set[str] = field(default_factory=set)
    """Kinds of parts that were taken out."""
    places: set[Place] = field(default_factory=set)
    """Where they stood."""

    @property
    def is_whole(self) -> bool:
        """Whether no service is missing in it."""
        return self.taken.isdisjoint(_SERVICES)


async def find_remainder(
    gathered: Gathered,
    resolved: Resolved | None,
    ask: Callable[[Gathered], Awaitable[tuple[Resolved, ComposeModel | None]]],
    gather: Callable[[Mapping[str, bytes]], Awaitable[Gathered]],
) -> Remainder:
    """Take out what is refused until the rest is taken.

    Args:
        gathered: the app's files as they are.
        resolved: why Compose refused them; None where violations kept it from them.
        ask: lets Compose read files: its answer, and the model in it.
        gather: reads the app's files, those with other contents given apart.
    """
    found = Remainder(await asyncio.to_thread(_get_source, gathered), list(gathered.violations))
    contents: dict[str, bytes] = {}
    ends = time.monotonic() + _MOST_SECONDS
    for _ in range(_MOST_ROUNDS):
        if gathered.violations:
            refused = _list_of_violations(gathered)
        else:
            model = None
            if resolved is None:
                resolved, model = await ask(gathered)
            if model is not None:
                found.model, found.source = _remove_stand_ins(model), await asyncio.to_thread(_get_source, gathered)
                found.refusals = _select_causes(found.refusals)
                return found
            error = resolved.error or "Compose refused the file."
            refused = await asyncio.to_thread(_list_of_messages, found, gathered, error)
        if not refused or time.monotonic() > ends:
            return found
        found.taken |= {_name_kind(part) for part in refused if part.put is None}
        found.places |= {part.place for part in refused if part.put is None}
        contents |= await asyncio.to_thread(_remove_parts, gathered, refused)
        resolved = None
        gathered = await gather(contents)
        found.violations += [item for item in gathered.violations if item not in found.violations]
    return found


def _get_source(gathered: Gathered) -> Source:
    return gathered.source


def _list_of_violations(gathered: Gathered) -> list[Part]:
    """The parts that are to go; none where one violation is of a whole file."""
    refused = []
    for item in gathered.violations:
        if item.rule in _WHOLE or not item.place or item.file is None or not gathered.written.get(item.file):
            return []
        if item.place[-2:] == ("extends", "file"):  # without it, a service of the same file would be meant
            refused.append(Part(item.file, item.place[:-1]))
            continue
        refused.append(Part(item.file, item.place))
        if item.place[0] in ("configs", "secrets") and item.place[2:] == ("file",):  # it takes the one or the other
            refused.append(Part(item.file, (*item.place[:2], "environment"), put=_NOTHING))
    return refused


def _list_of_messages(found: Remainder, gathered: Gathered, error: str) -> list[Part]:
    source, refused = gathered.source, []
    values = {file: form.read(content, file).value for file, content in gathered.written.items()}
    for message in split_messages(error):
        of_it = find_parts(message, source, values)
        refused += of_it
        if not _follows_from(found, message, source):
            found.refusals.append(Refusal(message, _locate(source, message, of_it)))
    return refused


def _locate(source: Source, message: str, of_it: Sequence[Part]) -> tuple[str, int | None]:
    for part in of_it:
        return part.file, source.find_line_in(part.file, *part.place)
    named = next((place for place in find_places(message, source) if place), None)
    return source.locate(*named) if named else source.locate_message(message)


def _follows_from(found: Remainder, message: str, source: Source) -> bool:
    """Whether Compose misses only what was taken out."""
    if "mpty compose file" in message or "has no services" in message:
        return bool(found.taken or found.refusals)
    if "neither an image" in message:
        return not found.taken.isdisjoint(_MADE_OF)
    if missing := _UNDEFINED.search(message):
        return not found.taken.isdisjoint((f"{missing[1]}s", *_SERVICES))
    if "cannot extend" in message:
        return not found.is_whole
    named = [place for place in find_places(message, source) if len(place) >= _LEAST_STEPS]
    return any(gone[: len(place)] == place != gone for gone in found.places for place in named)


def _select_causes(refusals: Sequence[Refusal]) -> list[Refusal]:
    """The refusals without those that follow from a misspelt key: a service with `imagee` has no image."""
    unknown = [match for refusal in refusals for match in _UNKNOWN_KEY.finditer(refusal.message)]
    misspelt = {match[1] for match in unknown if difflib.get_close_matches(match[2] or match[3], _MADE_OF, 1)}
    follows = {f'service "{name}" has neither an image' for name in misspelt}
    return [item for item in refusals if not any(text in item.message for text in follows)]


def _name_kind(part: Part) -> str:
    """Tell what is missing where this part is: something of the top level, or what makes a service."""
    if part.place[0] != "services" or len(part.place) <= 2:
        return str(part.place[0])
    return f"{part.place[2]}" if part.place[2] in _MADE_OF else ""


def _remove_stand_ins(model: ComposeModel) -> ComposeModel:
    """The model without the image that was put in the place of images that are refused."""
    made = {name: service.raw for name, service in model.services.items() if service.image == IMAGE}
    return model.replace_services(
        {name: {key: value for key, value in raw.items() if key != "image"} for name, raw in made.items()}
    )


def _remove_parts(gathered: Gathered, refused: Sequence[Part]) -> dict[str, bytes]:
    """The files that these parts are of, without them."""
    contents = {}
    for file in {part.file for part in refused}:
        of_it = [part for part in refused if part.file == file]
        # The last of a list first, so that the places of the others stay what they are.
        gone = sorted((part.place for part in of_it if part.put is None), key=_rank_steps, reverse=True)
        put = {part.place: part.put for part in of_it if part.put is not None}
        contents[file] = form.read(gathered.written[file], file, without=gone, put=put).written
    return contents


def _rank_steps(place: tuple[str | int, ...]) -> list[tuple[bool, int, str]]:
    return [(isinstance(step, int), step if isinstance(step, int) else 0, str(step)) for step in place]
