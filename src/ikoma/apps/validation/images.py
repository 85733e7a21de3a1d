"""Findings of images that are not on this machine and cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ikoma.apps.compose_lines import Source
from ikoma.apps.validation.finding import Finding
from ikoma.ports import Engine


async def find_missing_images(engine: Engine, source: Source, model: Mapping[str, Any]) -> list[Finding]:
    wanted = {
        name: service["image"]
        for name, service in (model.get("services") or {}).items()
        if "build" not in service and service.get("image")
    }

    async def look(name: str, image: str) -> Finding | None:
        if await engine.image_present(image):
            return None
        reason = await engine.image_obtainable(image)
        if reason is None:
            return None
        at = source.at("services", name, "image")
        fix = "Correct the image's name and tag, or log in to its registry on the server."
        return Finding(*at, f"The image {image} is not on this machine: {reason}", fix)

    found = await asyncio.gather(*(look(name, image) for name, image in wanted.items()))
    return [finding for finding in found if finding]
