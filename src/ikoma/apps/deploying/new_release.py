"""Makes the record of a release that begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from ikoma.app_folder import App
from ikoma.apps.releases.release import Release, Releases, ServiceRecord, format_now
from ikoma.apps.source import checkout
from ikoma.compose import web_service
from ikoma.compose.model import ComposeModel
from ikoma.compose.roles.jobs import find_jobs

if TYPE_CHECKING:
    from ikoma.apps.deploying.deployer import DeployOptions


def begin_release(app: App, model: ComposeModel, options: DeployOptions) -> Release:
    """Begin the record of a release."""
    web = web_service.find_web(model)
    one_shot, may_end = model.one_shot, find_jobs(model)
    brought = checkout.read_record(app)
    return Release(
        id=Releases(app).make_id(),
        caller=options.caller,
        started_at=format_now(),
        reason=options.reason,
        web=asdict(web) if web else None,
        extension=asdict(model.x_ikoma),
        commit=brought.commit if brought else None,
        services={
            name: ServiceRecord(one_shot=name in one_shot, scale=service.scale, is_job=name in may_end)
            for name, service in model.services.items()
        },
    )


def record_images(release: Release, found: Mapping[str, str]) -> Release:
    """Add the images that services run to a release."""
    services = {name: replace(record, image=found.get(name)) for name, record in release.services.items()}
    return replace(release, services=services)
