"""Contents of a release: it runs from what it holds."""

from __future__ import annotations

from tests.apps import COMPOSE, make_app
from tests.images import busybox_image
from tests.support import Server

BUILT = "build: {{context: ./src, dockerfile: ../config/Dockerfile}}"


def test_a_build_uses_the_dockerfile_of_its_release_and_what_it_ignores(server: Server) -> None:
    """A Dockerfile outside its context, with a list of its own of what the build must not see."""
    folder = make_app(server, "rel-built", compose=COMPOSE.replace("image: {image}", BUILT))
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "Dockerfile").write_text(f"FROM {busybox_image()}\nENV PRICE=\\$5\nCOPY ok /www/ok\n")
    (folder / "config" / "Dockerfile.dockerignore").write_text("secret\n")
    release = server.do("deploy.up", {"appName": "rel-built"})["details"]["release"]
    kept = folder / ".ikoma" / "releases" / release
    assert (kept / "build-web" / "Dockerfile").read_text() == (folder / "config" / "Dockerfile").read_text()
    assert (kept / "build-web" / "Dockerfile.dockerignore").read_text() == "secret\n"
    assert server.do("artifact.verify_release", {"appName": "rel-built"})["verified"]
    server.do("apps.remove", {"appName": "rel-built"})


def test_secrets_and_configs_can_come_from_variables(server: Server) -> None:
    compose = (
        COMPOSE.replace(
            'volumes: ["./src:/www:ro"]', "secrets: [token]\n    configs: [{{source: page, target: /www/ok}}]"
        )
        + "secrets: {{token: {{environment: TOKEN}}}}\nconfigs: {{page: {{environment: PAGE}}}}\n"
    )
    command = '[sh, -c, "grep -q hunter2 /run/secrets/token && exec httpd -f -p 3000 -h /www"]'
    make_app(server, "rel-given", compose=compose, command=command)
    for name, value in (("TOKEN", "it's $hunter2"), ("PAGE", "a page")):
        server.do("env.set", {"appName": "rel-given", "name": name, "value": value})
    server.do("deploy.up", {"appName": "rel-given"})
    server.do("deploy.restart", {"appName": "rel-given"})
    assert server.do("artifact.verify_release", {"appName": "rel-given"})["verified"]
    server.do("apps.remove", {"appName": "rel-given"})
