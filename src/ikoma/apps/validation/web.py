"""Findings of the x-ikoma block, and of what is routed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ikoma.apps.resolution.routed_service import Settled
from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.compose.model import ComposeModel
from ikoma.compose.web_service import choose
from ikoma.compose.x_ikoma import KEYS
from ikoma.compose.x_ikoma_check import check
from ikoma.errors import InvalidCompose

_OF_PARTS = ("domains", "redirects", "data", "source", "database", "strategy", "watch_paths")
"""Keys of which each part can be right or wrong by itself."""
_MOST_PARTS = 100
_WRONG_KEY = re.compile(r"x-ikoma: ([^\s:]+)")


def find_web(source: Source, model: ComposeModel) -> Iterator[Finding]:
    """Errors of the x-ikoma block, all of them."""
    for problem in dict.fromkeys(_find_problems(model)):
        key = _find_key(problem)
        at = source.locate("x-ikoma", key) if key else source.locate("x-ikoma")
        yield Finding(*at, problem, _word_fix(problem, key, model))


def _find_problems(model: ComposeModel) -> Iterator[str]:
    """Find what is wrong with the block: each look finds one fault, and the next is at the block without its key."""
    told: set[str | None] = set()
    for look in (check, choose):
        while (problem := _find_problem(look, model)) is not None:
            key = _find_key(problem)
            if key in told:  # it is for want of what was taken out
                break
            told.add(key)
            yield from _find_problems_of_parts(model, key) or (problem,)
            if key is None or key not in model.said:
                break
            model = model.replace_block({name: value for name, value in model.said.items() if name != key})


def _find_problems_of_parts(model: ComposeModel, key: str | None) -> list[str]:
    """Find what is wrong with the parts of a key's value, each looked at alone."""
    value = model.said.get(key) if key in _OF_PARTS else None
    parts: list[Any] = [[item] for item in value] if isinstance(value, list) else []
    parts += [{name: item} for name, item in value.items()] if isinstance(value, Mapping) else []
    alone = (model.replace_block({str(key): part}) for part in parts[:_MOST_PARTS])
    return [found for part in alone if (found := _find_problem(check, part)) is not None]


def _find_problem(look: Callable[[ComposeModel], object], model: ComposeModel) -> str | None:
    try:
        look(model)
    except InvalidCompose as error:
        return error.message
    return None


def _find_key(problem: str) -> str | None:
    found = _WRONG_KEY.match(problem)
    return found[1] if found else None


def _word_fix(problem: str, key: str | None, model: ComposeModel) -> str:
    """The smallest change to the x-ikoma block."""
    if key is None:
        return f"The block takes {', '.join(KEYS)}."
    if "is unknown; it takes" in problem:
        return "Correct the key's name, or remove it."
    if "there is no service" in problem and model.services:
        return f"Name one that is there: {', '.join(model.services)}."
    return f"Correct the value of {key}, or remove it."


def find_own_proxies(source: Source, settled: Settled) -> Iterator[Finding]:
    """Errors: reverse proxies of the app's own, with the lines that replace them."""
    for item in settled.own_proxies:
        yield Finding(*source.locate("services", item.service), item.problem, item.fix)


def find_routing(source: Source, settled: Settled) -> Iterator[Finding]:
    """Warnings: that nothing is routed, that another port could be meant, and which ports are not published."""
    choice = settled.choice
    if choice is None or choice.declined or (choice.web is None and settled.own_proxies):
        return
    if choice.web is None:
        place = ("services", *(item.service for item in choice.candidates[:1]))
        yield Finding(*source.locate(*place), choice.problem, choice.advice)
        return
    name, port = choice.web.service, choice.web.port
    if choice.others:
        others = " and ".join(map(str, choice.others))
        problem = f"Requests go to port {port} of {name}, which publishes {others} too."
        fix = f"If another one answers them, say so under `x-ikoma:`: `service: {name}` and `port: {choice.others[0]}`."
        yield Finding(*source.locate("services", name, "ports"), problem, fix)
    if front := settled.in_front:
        yield Finding(*source.locate("services", front.service), front.problem, front.fix)
    if settled.goes_round:
        problem = f"{name} sends people to HTTPS, and IKOMA's proxy passes on to it what comes by HTTPS: they go round."
        fix = f"Let {name} answer on port {port} for all names, and redirect nobody; IKOMA's proxy does for domains."
        yield Finding(*source.locate("services", name), problem, fix)
    for item in settled.unpublished:
        problem = f"Host port {item.port} of {name} is not published: {item.reason}."
        fix = f"Requests reach {name} at the app's own address and its domains; remove the port."
        yield Finding(*source.locate(*item.place), problem, fix)
