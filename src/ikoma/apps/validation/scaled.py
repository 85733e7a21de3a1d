"""Findings of services that were scaled and now cannot run twice."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from ikoma.app_folder import App
from ikoma.apps.releases.scale import read_scale
from ikoma.apps.releases.scaling import explain_too_many
from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.compose.model import ComposeModel


def find_scaled(app: App, source: Source, model: ComposeModel) -> Iterator[Finding]:
    """Services that were scaled and now cannot run twice."""
    for name, reason in explain_too_many(app, model).items():
        problem = f"{name} was scaled to {read_scale(app)[name]} containers, and gets one: {reason}."
        one = orjson.dumps({"service": name, "replicas": 1}).decode()
        fix = f"Take away what stands in the way, or give up the number: deploy.scale {one}."
        yield Finding(*source.locate("services", name), problem, fix)
