"""Findings of folders: which are data, where that may surprise, and what is mounted and is not there."""

from __future__ import annotations

import os
from pathlib import Path

from ikoma.app_folder import App, list_folder
from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.compose.model import ComposeModel
from ikoma.compose.mounts import find_sources
from ikoma.rollout_state import RolloutState


def find_left_out(app: App, source: Source, model: ComposeModel) -> list[Finding]:
    """Data inside a build context that holds something before any container has written it: is it data?"""
    if RolloutState(app).read_serving() is not None:
        return []
    root, found = Path(os.path.realpath(app.path)), []
    for path in find_sources(app, model).left_out:
        if list_folder(path):
            folder = path.relative_to(root)
            problem = f"Containers write to {folder}, so it is data, and empty where an image is built."
            fix = (
                f"If it is source: `x-ikoma: {{source: [{folder}]}}`, or mount it read-only. If not, nothing is to do."
            )
            found.append(Finding(*source.locate_text(str(folder)), problem, fix))
    return found
