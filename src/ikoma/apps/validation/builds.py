"""Findings of builds: contexts and Dockerfiles that are not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ikoma.app_folder import App, can_be_a_path, is_empty_folder
from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.compose.model import ComposeModel


def find_builds(app: App, source: Source, model: ComposeModel) -> Iterator[Finding]:
    for name, service in model.services.items():
        if (build := service.build) is None:
            continue
        context = build.context
        at = source.locate("services", name, "build", "context")
        if "://" in context or context.startswith("git@"):
            continue
        if not (can_be_a_path(context) and can_be_a_path(build.dockerfile)):
            continue  # said elsewhere
        folder = Path(context)
        shown = os.path.relpath(folder, app.path)
        if not folder.is_dir():
            yield Finding(*at, f"The build context {shown} is not there.", "Create the folder.")
            continue
        if app.path not in (folder, *folder.parents):
            continue  # the policy says so
        if is_empty_folder(folder):
            fix = "Copy the app's source into it."
            yield Finding(*at, f"The build context {shown} is empty.", fix)
        elif build.inline is None:
            dockerfile = folder / build.dockerfile
            if not dockerfile.is_file():
                at = source.locate("services", name, "build", "dockerfile")
                problem = f"The Dockerfile {os.path.relpath(dockerfile, app.path)} is not there."
                yield Finding(*at, problem, "Write one, or correct `dockerfile:`.")
