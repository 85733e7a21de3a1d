"""PostgreSQL's programs are taken of the version that belongs to the server."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from ikoma.errors import ToolMissing
from ikoma.postgres.server.tools import find_bundled, find_tool, read_bundled_version


def test_the_servers_own_version_comes_with_ikoma() -> None:
    major = int(read_bundled_version().split(".")[0])
    assert asyncio.run(find_tool("pg_dump", major)) == find_bundled() / "bin" / "pg_dump"


def test_another_version_is_the_machines() -> None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))
    for program in installed:
        major = int(program.parent.parent.name)
        found = asyncio.run(find_tool("pg_dump", major))
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
        assert f"(PostgreSQL) {major}" in said


def test_a_version_that_is_not_there_is_named_with_its_package() -> None:
    with pytest.raises(ToolMissing, match="pg_dump of PostgreSQL 99") as caught:
        asyncio.run(find_tool("pg_dump", 99))
    assert "postgresql-client-99" in caught.value.hint
