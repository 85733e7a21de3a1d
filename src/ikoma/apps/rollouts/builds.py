"""The compose file that the images of a release are built with."""

from __future__ import annotations

import copy
from typing import Any

from ikoma.compose.image_names import name_release_image
from ikoma.compose.model import ComposeModel
from ikoma.compose.release_folder import ReleaseFolder


def render_builds(model: ComposeModel, folder: ReleaseFolder) -> dict[str, Any]:
    """The compose file that the images of a release are built with: from its own copy of the source."""
    services = {}
    for name, service in model.services.items():
        if service.build is None:
            continue
        build = copy.deepcopy(dict(service.build.raw))
        if service.build.context and (inside := folder.find_inside(service.build.context)):
            build["context"] = str(inside)
        for key, context in service.build.additional_contexts.items():
            if context.startswith("/") and (inside := folder.find_inside(context)):
                build["additional_contexts"][key] = str(inside)
        services[name] = {"build": build, "image": name_release_image(folder.app, name, folder.release)}
    secrets: dict[str, Any] = copy.deepcopy(dict(model.secrets))
    for item in secrets.values():
        if item.get("file") and (inside := folder.find_inside(item["file"])):
            item["file"] = str(inside)
    return {"name": model.raw["name"], "services": services, **({"secrets": secrets} if secrets else {})}
