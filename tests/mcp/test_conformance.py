"""The protocol's own conformance suite against our adapter: over its fixtures whole, and over the product."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mcp import conformance
from tests.mcp.key_proxy import keyed_proxy
from tests.support import Server, free_port

HERE = Path(__file__).parent
CHECKS = {"2025-11-25": 84, "2026-07-28": 196}


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, log = free_port(), tmp_path_factory.mktemp("mounted") / "log"
    with log.open("wb") as file:
        argv = [sys.executable, "-m", "tests.mcp.mounted_fixtures", str(port)]
        process = subprocess.Popen(argv, cwd=HERE.parents[1], stdout=file, stderr=file)
    try:
        for _ in range(900):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/mcp", timeout=30)
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(90)


@pytest.mark.parametrize("revision", conformance.REVISIONS)
def test_the_adapter_passes_all_of_the_suite(mounted: str, revision: str, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = conformance.check(mounted, revision)
    with capsys.disabled():
        print(f"\nadapter: {verdict}")
    assert verdict.exit_code == 0, verdict.output
    assert (verdict.problems, verdict.failed, verdict.passed) == ((), 0, CHECKS[revision])


@pytest.mark.parametrize("revision", conformance.REVISIONS)
def test_the_product_passes_all_that_needs_no_fixture(
    house: Server, revision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with keyed_proxy(house.url, house.key) as url:
        listed = HERE / "expected_failures" / f"{revision}.yaml"
        verdict = conformance.check(f"{url}/mcp", revision, expected_failures=listed)
    with capsys.disabled():
        print(f"\nikoma up: {str(verdict).splitlines()[0]}")
    assert verdict.exit_code == 0, verdict.output[-4000:]
