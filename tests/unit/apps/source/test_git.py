"""Source comes from listed hosts: addresses are parsed, and `*` is no way into a private network."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikoma.apps.source.git import SourceReach, SourceUrl
from ikoma.errors import HostNotListed, InvalidArguments


def reach(*hosts: str) -> SourceReach:
    return SourceReach(hosts=hosts, known_hosts=Path("/nowhere"), helpers=Path("/nowhere"))


@pytest.mark.parametrize(
    ("text", "host", "given_to_git"),
    [
        ("https://github.com/a/b.git", "github.com", "https://github.com/a/b.git"),
        ("https://git.example.org:8443/a/b", "git.example.org", "https://git.example.org:8443/a/b"),
        ("git@github.com:a/b.git", "github.com", "ssh://git@github.com/a/b.git"),
        ("ssh://git@git.example.org:2222/a/b", "git.example.org", "ssh://git@git.example.org:2222/a/b"),
    ],
)
def test_addresses_are_parsed(text: str, host: str, given_to_git: str) -> None:
    url = SourceUrl.parse(text)
    assert (url.host, url.text) == (host, given_to_git)


@given(st.text())
def test_whatever_is_taken_is_https_or_ssh_and_no_option(text: str) -> None:
    try:
        url = SourceUrl.parse(text)
    except InvalidArguments:
        return
    assert url.text.startswith(("https://", "ssh://"))
    assert url.host
    assert not url.host.startswith("-")


def test_hosts_that_are_not_listed_are_refused() -> None:
    url = SourceUrl.parse("https://github.com/a/b")
    assert asyncio.run(reach("github.com").check(url)) == {}
    with pytest.raises(HostNotListed):
        asyncio.run(reach("gitlab.com").check(url))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "100.64.0.1"])
def test_any_host_is_no_private_one(host: str) -> None:
    with pytest.raises(HostNotListed):
        asyncio.run(reach("*").check(SourceUrl.parse(f"https://{host}/a/b")))


def test_git_goes_to_the_address_that_was_looked_at() -> None:
    pinned = asyncio.run(reach("*").check(SourceUrl.parse("https://1.1.1.1/a/b")))
    assert pinned == {"http.curloptResolve": "1.1.1.1:443:1.1.1.1"}
    with pytest.raises(HostNotListed):
        asyncio.run(reach("*").check(SourceUrl.parse("git@1.1.1.1:a/b")))
