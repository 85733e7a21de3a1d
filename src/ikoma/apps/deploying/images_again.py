"""Images of a release that are gone, made again: built of the source that the release kept, or pulled."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ikoma.app_folder import App
from ikoma.apps.deploying.release_tree import place_again
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.rollouts import images
from ikoma.ports.images import Images
from ikoma.ports.progress import Progress


async def provide_again(store: Images, app: App, release: Release, *, progress: Progress) -> Release:
    """Make the images of a release again where one of them is gone; returns its record, which names the new ones.

    They are made of the same files, and may differ all the same: a build can fetch what is newer by now.

    Raises:
        DeployFailed: one could not be built or pulled.
    """
    if all([await store.find(identity) is not None for identity in release.images.values()]):
        return release
    releases = Releases(app)
    model = releases.read_model(release.id)
    progress(f"make the images of {release.id} again")
    contents = await asyncio.to_thread(place_again, app, release, model, {}, ())
    found = await images.provide(store, model, contents.folder, progress=progress)
    services = {name: replace(record, image=found.get(name)) for name, record in release.services.items()}
    again = replace(release, services=services)
    releases.write(again)
    return again
