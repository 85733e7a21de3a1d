"""Findings of images that are not on this machine and cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.compose.model import ComposeModel
from ikoma.ports.images import Images

_SECONDS = 15.0
"""For all questions to registries together; a deploy finds out what is open then."""

_NOT_GIVEN = "Correct the image's name and tag, or log in to its registry on the server."
_OUT_OF_REACH = "Correct the registry's name, let this server reach it, or load the image with `docker load`."


async def find_missing_images(
    store: Images, source: Source, model: ComposeModel
) -> tuple[list[Finding], list[Finding]]:
    """Images that cannot be had, and those of which that was not found out in time."""
    wanted = {
        name: service.image for name, service in model.services.items() if service.build is None and service.image
    }
    asked = await _ask(store, set(wanted.values()))
    missing, unknown = [], []
    for name, image in wanted.items():
        at = source.locate("services", name, "image")
        if image not in asked:
            problem = f"Whether the image {image} can be had was not found out within {_SECONDS:g} s."
            unknown.append(Finding(*at, problem, "The deploy finds out; or ask again when its registry answers."))
        elif reason := asked[image]:
            problem = f"The image {image} is not on this machine: {reason}"
            missing.append(Finding(*at, problem, _OUT_OF_REACH if "cannot be reached" in reason else _NOT_GIVEN))
    return missing, unknown


async def _ask(store: Images, images: Collection[str]) -> dict[str, str | None]:
    """The reason why each image cannot be had, None where it can; without those that nobody answered for in time."""
    asking = {image: asyncio.ensure_future(_explain_missing(store, image)) for image in images}
    try:
        if asking:
            await asyncio.wait(asking.values(), timeout=_SECONDS)
    finally:
        for task in asking.values():
            task.cancel()
    return {image: task.result() for image, task in asking.items() if task.done() and not task.cancelled()}


async def _explain_missing(store: Images, image: str) -> str | None:
    return None if await store.has(image) else await store.check_obtainable(image)
