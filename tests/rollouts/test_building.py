"""Builds: no work is done twice that was done before, not after a failed deploy either, and not for two services."""

from __future__ import annotations

import subprocess

from tests.images import busybox_image
from tests.rollouts.live_app import LiveApp, compose, docker_json, new_app
from tests.support import Server

DOCKERFILE = """FROM {image} AS base
COPY packages /packages
RUN cat /proc/sys/kernel/random/uuid > /installed
COPY version /made-of

FROM base AS other
RUN echo other > /which

FROM base
"""
BUILT = compose(watch="0s").replace(f"image: {busybox_image()}", "build: ./src")
WORKERS = """  worker:
    build: ./src
    command: [sleep, infinity]
    init: true
  other:
    build: {context: ./src, target: other}
    command: [sleep, infinity]
    init: true
"""


def new_built_app(server: Server, name: str, text: str) -> LiveApp:
    app = new_app(server, name, compose_file=text)
    (app.folder / "src" / "Dockerfile").write_text(DOCKERFILE.format(image=busybox_image()))
    (app.folder / "src" / "packages").write_text("one\n")
    return app


def images(app: LiveApp, service: str = "web") -> dict[str, str]:
    """Releases that have an image for a service, and its id."""
    return {item["Tag"]: item["ID"] for item in docker_json("images", f"ikoma-app/{app.name}/{service}")}


def installed(app: LiveApp, release: str, service: str = "web") -> str:
    """Return what the step that installs left in an image: another text each time that it runs."""
    argv = ["docker", "run", "--rm", f"ikoma-app/{app.name}/{service}:{release}", "cat", "/installed"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_a_deploy_after_a_failed_one_uses_the_layers_that_were_built_for_it(server: Server) -> None:
    app = new_built_app(server, "live-layers", BUILT)
    app.write("broken", BUILT.replace("command:", "entrypoint: [/nowhere]\n    command:", 1))
    assert app.call("deploy.up").code == "deploy_failed"
    (failed,) = images(app)
    before = installed(app, failed)
    again = app.deploy("mended", BUILT)
    assert installed(app, again) == before
    assert set(images(app)) == {again}  # those of the failed release are let go of
    (app.folder / "src" / "packages").write_text("two\n")
    assert installed(app, app.deploy("mended", BUILT)) != before


def test_images_of_many_failed_deploys_do_not_gather(server: Server) -> None:
    app = new_built_app(server, "live-layers-gone", BUILT)
    for number in range(3):
        app.write(str(number), BUILT.replace("command:", "entrypoint: [/nowhere]\n    command:", 1))
        assert app.call("deploy.up").code == "deploy_failed"
    assert len(images(app)) == 1


def test_two_services_with_one_build_share_what_is_built_once(server: Server) -> None:
    text = BUILT.replace("x-ikoma:", f"{WORKERS}x-ikoma:")
    app = new_built_app(server, "live-shared", text)
    release = app.deploy("first", text)
    web, worker, other = (images(app, service)[release] for service in ("web", "worker", "other"))
    assert web == worker != other
    again = app.deploy("second", text)
    assert images(app)[again] == images(app, "worker")[again] != web
