"""Keys and tokens open repositories: the longest place that fits, and no place that only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.source import access as source_access
from ikoma.apps.source.access import SourcePlace, SourceToken
from ikoma.apps.source.url import SourceUrl
from ikoma.model import AppName, Secret

SHOP = SourceUrl.parse("https://github.com/you/shop.git")


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = App(AppName("shop"), tmp_path / "shop")
    made.path.mkdir()
    return made


@pytest.mark.parametrize(
    ("place", "holds"),
    [
        *(("github.com", True), ("github.com/you", True), ("github.com/you/shop", True), ("github.com:443", True)),
        *(("github.com/you/sho", False), ("github.com/yo", False), ("github.com/you/shop/x", False)),
        *(
            ("hub.com", False),
            ("github.com:8443", False),
            ("github.com/you/shop.git", True),
            ("gist.github.com", False),
        ),
    ],
)
def test_a_place_holds_what_is_below_it(place: str, holds: bool) -> None:
    assert SourcePlace.parse(place).holds(SHOP) is holds


@pytest.mark.parametrize(
    "text", ["", "https://github.com", "a b", "../x", "github.com/../x", "-x", "a/%2e", "GitHub.com", "a/"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host"):
        SourcePlace.parse(text)


def test_the_nearest_token_is_used_and_none_of_another_host(app: App) -> None:
    for place, token in (
        ("github.com", "one-for-all"),
        ("github.com/you/lib", "one-for-lib"),
        ("gitlab.com", "other-host"),
    ):
        source_access.keep_token(app, SourcePlace(place), SourceToken(Secret(token)))
    access = source_access.read(app)

    def used(url: str) -> str | None:
        token = access.find_token(SourceUrl.parse(url))
        return token.secret.reveal() if token else None

    assert used("https://github.com/you/lib") == "one-for-lib"
    assert used("https://github.com/you/library") == "one-for-all"
    assert used("https://gitlab.com/you/lib") == "other-host"
    assert used("https://github.com.example.org/you/lib") is None
    assert source_access.keep_token(app, SourcePlace("github.com"), None) == ["github.com/you/lib", "gitlab.com"]
    assert "one-for" not in repr(access)


def test_a_token_of_a_call_goes_to_its_own_host_alone(app: App) -> None:
    access = source_access.read(app, (SHOP, Secret("of-the-call")))
    assert access.find_token(SourceUrl.parse("https://github.com/you/lib")) is not None
    assert access.find_token(SourceUrl.parse("https://github.com:8443/you/shop")) is None
    assert access.find_token(SourceUrl.parse("https://example.org/you/shop")) is None


def test_keys_stay_the_same_until_another_is_wanted(app: App) -> None:
    first, made = source_access.obtain_public_key(app, SourcePlace("github.com/you/shop"))
    assert made
    assert source_access.obtain_public_key(app, SourcePlace("github.com/you/shop")) == (first, False)
    second, made = source_access.obtain_public_key(app, SourcePlace("github.com/you/shop"), anew=True)
    assert (made, second == first) == (True, False)
    key = source_access.read(app).find_key(SourceUrl.parse("git@github.com:you/shop.git"))
    assert key is not None
    assert key.stat().st_mode & 0o777 == 0o600
    assert source_access.read(app).find_key(SourceUrl.parse("git@github.com:you/other.git")) is None
