"""The images of a release: built from its own copy of the source or pulled, and named by it, so that none is lost.

A release runs the images it was deployed with, whatever their tags stand for later; pruning never takes one, because
each has a name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from ikoma.apps.policy import dockerfile
from ikoma.apps.rollouts.builds import render_builds
from ikoma.apps.rollouts.injection import write_dockerfiles
from ikoma.compose.compose_file import encode
from ikoma.compose.image_names import name_image, name_images_prefix, name_release_image
from ikoma.compose.model import ComposeModel, Service
from ikoma.compose.release_folder import ReleaseFolder
from ikoma.durable import write_file
from ikoma.errors import DeployFailed, ImageGone
from ikoma.model import AppName
from ikoma.ports.images import Image, Images
from ikoma.ports.progress import Progress

_IMAGE = "docker-image://"


async def provide(
    store: Images,
    model: ComposeModel,
    folder: ReleaseFolder,
    *,
    progress: Progress,
) -> dict[str, str]:
    """Build and pull what a new release needs, and name it; service → id of its image.

    Raises:
        DeployFailed: an image could not be built or pulled; what was named is forgotten again.
    """
    described = render_builds(model, folder)
    makers = _find_makers(described["services"], model)
    built = {name: service for name, service in described["services"].items() if makers[name] == name}
    await _check_bases(store, model, built, folder, progress=progress)
    pull = [name for name in _list_pulled(model) if await _is_wanted(store, model.services[name])]
    if built or pull:
        compose_file = folder.path / "build.json"
        whole = {**described, "services": {**built, **_list_pulled(model)}}
        write_file(compose_file, encode(write_dockerfiles(folder.path, whole)), mode=0o600)
        await store.prepare(folder.app, compose_file, build=list(built), pull=pull, progress=progress)
    own = {name_image(folder.app, name): name for name in makers}
    found = {}
    for name, service in model.services.items():
        reference = service.image
        built_as = name if name in makers else own.get(reference)
        source = reference if built_as is None else name_release_image(folder.app, makers[built_as], folder.release)
        found[name] = await _find_named(store, source, name_release_image(folder.app, name, folder.release), name)
    return found


async def provide_one(
    store: Images,
    service: str,
    model: ComposeModel,
    folder: ReleaseFolder,
    *,
    kept: Mapping[str, str],
    progress: Progress,
) -> dict[str, str]:
    """Pull the image of one service of a new release, and name it with those that the release has from another.

    Args:
        kept: service → id of the image that it ran until now.

    Raises:
        DeployFailed: it could not be pulled.
        ImageGone: one of the others is not here any more.
    """
    described = model.services[service]
    others = {name: identity for name, identity in kept.items() if name != service}
    await require_and_name(store, folder.app, folder.release, others)
    if await _is_wanted(store, described):
        wanted = {"image": described.image, **_get_platform(described)}
        await _pull(store, service, wanted, folder, progress=progress)
    name = name_release_image(folder.app, service, folder.release)
    return {**others, service: await _find_named(store, described.image, name, service)}


async def require_and_name(store: Images, app: AppName, release: str, images: Mapping[str, str]) -> None:
    """See that these images are still here, and name them by a release; ImageGone, naming the first that is not."""
    await require(store, release, images)
    for name, identity in images.items():
        await store.tag(identity, name_release_image(app, name, release))


async def require(store: Images, release: str, images: Mapping[str, str]) -> None:
    """Raises ImageGone, naming the first image of a release that is not here any more."""
    for name, identity in images.items():
        if await store.find(identity) is None:
            raise ImageGone(f"The image of {name} in the release {release} is not on this machine any more.")


async def forget(store: Images, app: AppName, which: Callable[[str], bool] = lambda release: True) -> None:
    """Forget the names that those of the app's releases gave to their images; where no others are left, the images."""
    for name in await store.list_names(name_images_prefix(app)):
        if which(name.rpartition(":")[2]):
            await store.forget(name)


async def _check_bases(
    store: Images,
    model: ComposeModel,
    built: Mapping[str, Any],
    folder: ReleaseFolder,
    *,
    progress: Progress,
) -> None:
    """Refuse builds that begin with images which would make more of them than their Dockerfiles say.

    The images are pulled for that. One that cannot be is left to the build, which cannot begin with it either.
    """
    own = {name_image(folder.app, name) for name in built}
    for service, described in built.items():
        for base in sorted(await asyncio.to_thread(_list_bases, described["build"]) - own):
            wanted = {"image": base, **_get_platform(model.services[service])}
            if described["build"].get("pull") or not await store.has(base):
                with suppress(DeployFailed):
                    await _pull(store, service, wanted, folder, progress=progress)
            if (image := await store.find(base)) is not None:
                await asyncio.to_thread(_check_image, image, base, service)


def _find_makers(described: Mapping[str, Any], model: ComposeModel) -> dict[str, str]:
    """Service → the one whose build makes its image: of services with the same build, the first."""
    first: dict[bytes, str] = {}
    return {
        name: first.setdefault(
            orjson.dumps([service["build"], _get_platform(model.services[name])], option=orjson.OPT_SORT_KEYS), name
        )
        for name, service in described.items()
    }


def _list_bases(build: Mapping[str, Any]) -> set[str]:
    """The images that a build names, in a Dockerfile as `freeze` left it."""
    args = {name: str(value).replace("$$", "$") for name, value in (build.get("args") or {}).items()}
    named = {
        image for *_, image in dockerfile.find_problems(build["dockerfile_inline"].replace("$$", "$"), args) if image
    }
    contexts = {name: str(context) for name, context in (build.get("additional_contexts") or {}).items()}
    others = {context.removeprefix(_IMAGE) for context in contexts.values() if context.startswith(_IMAGE)}
    return (named - contexts.keys()) | others


def _check_image(image: Image, base: str, service: str) -> None:
    if any(dockerfile.find_problems("\n".join(image.triggers), {})):
        what = "has ONBUILD instructions that take from other images, or fetch"
    elif image.passes_by:
        what = f"has the label {image.passes_by}, by which the containers of the build would pass for a project's"
    else:
        return
    raise _explain_unusable(
        service, f"The image {base}, with which {service} is built, {what}.", "Build it from another image."
    )


async def _pull(
    store: Images,
    service: str,
    described: Mapping[str, Any],
    folder: ReleaseFolder,
    *,
    progress: Progress,
) -> None:
    compose_file = folder.path / "build.json"
    write_file(compose_file, encode({"name": folder.app.project, "services": {service: described}}), mode=0o600)
    await store.prepare(folder.app, compose_file, build=[], pull=[service], progress=progress)


def _list_pulled(model: ComposeModel) -> dict[str, Any]:
    """The services whose images come from elsewhere."""
    own = {service.image for service in model.services.values() if service.build is not None}
    return {
        name: {"image": service.image, **_get_platform(service)}
        for name, service in model.services.items()
        if service.build is None and service.image not in own
    }


def _get_platform(service: Service) -> dict[str, Any]:
    return {"platform": platform} if (platform := service.raw.get("platform")) else {}


async def _is_wanted(store: Images, service: Service) -> bool:
    """Whether an image is to be asked of its registry: it is not here, or the file says to look each time."""
    policy = str(service.raw.get("pull_policy") or "missing")
    if policy == "never":
        return False
    return policy in ("always", "daily", "weekly") or policy.startswith("every_") or not await store.has(service.image)


async def _find_named(store: Images, source: str, name: str, service: str) -> str:
    image = await store.find(source)
    if image is None:
        raise _explain_unusable(service, f"The image of {service} is not on this machine.")
    if image.hidden_by:
        hint = "Take the label out of its Dockerfile, or use another image."
        raise _explain_unusable(
            service, f"The image of {service} has the label {image.hidden_by}, which hides its containers.", hint
        )
    if source != name:
        await store.tag(image.id, name)
    return image.id


def _explain_unusable(service: str, message: str, hint: str | None = None) -> DeployFailed:
    return DeployFailed(message, hint=hint, service=service, exitCode=None, logs=[])
