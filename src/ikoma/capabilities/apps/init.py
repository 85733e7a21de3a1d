"""apps.init: the folder of a new app."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from ikoma.apps import template
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import AppName, Effect, Role


class Init(AppRequest):
    template: Literal["node", "python", "static", "dockerfile"] = "node"

    @field_validator("app_name")
    @classmethod
    def is_no_preview(cls, name: AppName) -> AppName:
        if name.previewed is not None:
            raise ValueError("names with -- are those of previews: choose another")
        return name


class Details(Result):
    path: str
    files: list[str]
    """What was made now, relative to path."""


class Initialised(Result):
    success: bool
    message: str
    details: Details


@capability("apps.init", role=Role.BUILDER, effect=Effect.CHANGES, idempotent=True)
async def init(call: Call, request: Init) -> Initialised:
    """Create an app's folder from a template: node, python, static or dockerfile.

    Calling it again adds what is missing and touches nothing that is there.

    Use it first for a new app. Next: files.write or source.clone, then apps.validate.
    """
    app = call.platform.apps.at(request.app_name)
    made = template.write(app, request.template)
    message = f"{app.name} is ready: put its source into {app.source}." if made else f"{app.name} had all its files."
    return Initialised(success=True, message=message, details=Details(path=str(app.path), files=made))
