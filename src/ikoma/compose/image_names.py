"""Names of the images that are built here, under which none can pass for another's."""

from __future__ import annotations

import hashlib
import re

IMAGES = "ikoma-app"
"""The name under which all images that are built here stand: ikoma-app/APP/SERVICE."""

_COMPONENT = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")


def name_image(app: str, service: str) -> str:
    """The name of the image that a service of an app is built as."""
    return f"{name_images_prefix(app)}{_encode_component(service)}"


def name_images_prefix(app: str) -> str:
    """Make the prefix of the names of all images that are built for an app."""
    return f"{IMAGES}/{_encode_component(app)}/"


def _encode_component(name: str) -> str:
    """Encode a name as a part of an image's, which takes fewer; two names never become the same."""
    if _COMPONENT.fullmatch(name) and not name.startswith("x-"):
        return name
    return f"x-{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def name_release_image(app: str, service: str, release: str) -> str:
    """The name of the image that a service of a release runs."""
    return f"{name_image(app, service)}:{release}"
