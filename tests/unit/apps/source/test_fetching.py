"""Addresses that a repository, or a host that keeps its large files, names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ikoma.apps.source import fetching, lfs
from ikoma.apps.source.url import SourceReach
from ikoma.errors import HostNotListed, IkomaError, SourceUnavailable

ANY_HOST = SourceReach(("*",), Path("known_hosts"), Path("helpers"))


def error_of(url: str) -> IkomaError:
    with pytest.raises(IkomaError) as raised:
        asyncio.run(fetching.request(ANY_HOST, "GET", url, timeout=5))
    return raised.value


@pytest.mark.parametrize(
    "url",
    [
        *("https://[::1", "https://[x]/", "https://h:99999/", "https://h:x/", "https://h:0/", "https:///path"),
        *("http://h/", "file:///etc/passwd", "https://me:pw@h/", "https://h/\r\nX: y", "https://127.0.0.1/"),
        *("https://[::ffff:127.0.0.1]/", "https://169.254.169.254/latest"),
    ],
)
def test_an_address_that_nothing_may_be_fetched_from_is_refused(url: str) -> None:
    assert isinstance(error_of(url), HostNotListed)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", ".example"])
def test_a_name_that_no_host_can_have_is_told(host: str) -> None:
    assert isinstance(error_of(f"https://{host}/"), SourceUnavailable)


def test_a_redirect_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(HostNotListed):
        lfs._join("https://h/objects/", "https://[::1")
