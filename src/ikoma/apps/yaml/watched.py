"""Finds `x-ikoma: watch_paths` in an app's compose files as they are written, before Compose reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ikoma.apps.yaml import form
from ikoma.compose import watch_paths
from ikoma.errors import InvalidCompose


def find_globs(contents: Sequence[bytes]) -> tuple[str, ...] | None:
    """The globs of an app's compose files, the later before the earlier, before Compose reads them.

    None where it cannot be told from them alone.
    """
    found = [_find_globs(content) for content in contents]
    return next((globs for globs in reversed(found) if globs), None if None in found or not found else ())


def _find_globs(content: bytes) -> tuple[str, ...] | None:
    document = form.read(content, "").value
    block = document.get("x-ikoma") if isinstance(document, Mapping) else None
    if not isinstance(block, Mapping) or block.get("watch_paths") is None:
        return () if isinstance(document, Mapping) and "include" not in document else None
    try:
        return watch_paths.parse(block["watch_paths"])
    except InvalidCompose:
        return None
