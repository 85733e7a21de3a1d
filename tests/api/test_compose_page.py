"""docs/compose.md: each of its files is brought as it stands there, and what it says of them is what is said."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.images import busybox_image
from tests.support import Server

PAGE = (Path(__file__).parents[2] / "docs" / "compose.md").read_text()
BLOCKS = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
IMAGES = ("ghcr.io/example/shop:1", "redis:8", "FROM busybox")


def bring(server: Server, name: str, *files: str) -> Path:
    """The app of these files of the page, with an image that is on this machine."""
    folder = server.apps / name
    for file in files:
        text = BLOCKS[file]
        for image in IMAGES:
            text = text.replace(image, f"{'FROM ' * image.startswith('FROM')}{busybox_image()}")
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


def test_the_first_file_passes_with_the_warnings_that_are_shown(server: Server) -> None:
    bring(server, "shop", "compose.yaml")
    report = server.do("apps.validate", {"appName": "shop"})
    assert report["errors"] == []
    said = [f"warning: {item['file']}:{item['line']}: {item['problem']}" for item in report["warnings"]]
    [shown] = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert set(shown.strip().splitlines()) <= set(said)


def test_the_compose_file_of_a_repository_is_deployed_from_its_folder(server: Server) -> None:
    folder = bring(server, "kept", ".env", "deploy/compose.yml", "deploy/Dockerfile")
    (folder / "page").mkdir()
    (folder / "page" / "index.html").write_text("hello\n")
    assert server.do("apps.validate", {"appName": "kept"})["errors"] == []
    server.do("deploy.up", {"appName": "kept"})
    assert server.do("apps.health", {"appName": "kept"})["health"] == "healthy"


def test_what_a_volume_holds_is_brought_over_by_the_commands(server: Server) -> None:
    volumes = "volumes:\n  uploads: {external: true, name: old-uploads}\n"
    text = f"services: {{web: {{image: '{busybox_image()}', volumes: ['uploads:/u']}}}}\n{volumes}"
    (server.apps / "shop").mkdir(exist_ok=True)
    (server.apps / "shop" / "compose.yaml").write_text(text)
    subprocess.check_call(["docker", "volume", "create", "old-uploads"])
    try:
        [error] = server.do("apps.validate", {"appName": "shop"})["errors"]
        commands = BLOCKS["commands"].strip().splitlines()
        assert re.findall(r"`(docker [^`]*)`", error["fix"]) == commands
        show = ["docker", "run", "--rm", "-v", "old-uploads:/v", busybox_image()]
        subprocess.check_call([*show, "sh", "-c", "echo kept > /v/file"])
        for command in commands:
            subprocess.check_call(shlex.split(command.replace(" busybox ", f" {busybox_image()} ")))
        show[4] = "shop_uploads:/v"
        assert subprocess.check_output([*show, "cat", "/v/file"], text=True) == "kept\n"
    finally:
        for name in ("old-uploads", "shop_uploads"):
            subprocess.run(["docker", "volume", "rm", name], check=False)


@pytest.mark.parametrize("heading", re.findall(r"\]\(#([\w-]+)\)", PAGE))
def test_links_inside_the_page_lead_to_a_heading(heading: str) -> None:
    headings = [line.lstrip("# ").replace(" ", "-").lower() for line in PAGE.splitlines() if line.startswith("#")]
    assert heading in headings
