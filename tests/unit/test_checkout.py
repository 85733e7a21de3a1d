"""Promises of a clone: one list of habits, and lock files that name no registry."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK_FILES = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("path", LOCK_FILES, ids=lambda path: path.name)
def test_a_lock_file_pins_by_hash_and_names_no_address(path: Path) -> None:
    text = path.read_text()

    assert not re.search(r"://|^-|find-links|^/", text, re.MULTILINE)
    requirements = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert requirements
    for requirement in requirements:
        assert re.match(r"[a-z0-9._-]+==\S+( ; .+)? \\$", requirement), requirement


def test_every_dependency_is_in_a_lock_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    named = [*project["project"]["dependencies"], *groups["build"], *groups["dev"]]
    locked = "\n".join(path.read_text() for path in LOCK_FILES)

    for requirement in named:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert name and re.search(rf"^{name[0].lower()}(\[.*\])?==", locked, re.MULTILINE), requirement


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert phony and all(f"make {target} " in listed for target in phony[1].split())
