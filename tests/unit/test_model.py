from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikoma.model import AppName, BackupName, ImageReference, ReleaseId, Role, Secret, SqlFileName
from ikoma.moments import EntryTime, FutureTime

HOSTILE = [
    "",
    "../x",
    "a/b",
    "-rf",
    "a" * 64,
    "a" * 300,
    "ünïcode",
    "; rm",
    "a b",
    "a\n",
    "\n",
    "a\0",
    "_a",
    "a-",
    "A",
    "$(id)",
    ".",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_app_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        AppName.parse(text)


@pytest.mark.parametrize(
    "text", ["ikoma", "postgres", "template0", "template1", "public", "pg_catalog", "ikoma-postgres"]
)
def test_names_of_the_platform_are_reserved(text: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        AppName.parse(text)


def test_an_upper_case_name_is_refused_with_the_lower_case_one_as_hint() -> None:
    with pytest.raises(ValueError, match="did you mean 'myapp'"):
        AppName.parse("MyApp")


@given(st.text(max_size=80))
def test_a_name_that_is_accepted_is_safe_everywhere(text: str) -> None:
    try:
        name = AppName.parse(text)
    except ValueError:
        return
    assert re.fullmatch(r"[a-z0-9_-]+", name)
    assert name == text
    assert not name.startswith(("-", "_", "."))
    assert len(name) <= 63


@given(st.from_regex(AppName.pattern, fullmatch=True), st.from_regex(AppName.pattern, fullmatch=True))
def test_two_apps_never_share_a_database_or_a_role(one: str, other: str) -> None:
    if one != other:
        assert AppName(one).database != AppName(other).database
        assert AppName(one).role != AppName(other).role


@given(st.text(max_size=140))
def test_names_of_files_never_hold_a_path_or_begin_an_option(text: str) -> None:
    for kind in (BackupName, SqlFileName):
        try:
            name = kind.parse(text)
        except ValueError:
            continue
        assert "/" not in name
        assert name[0] not in "-."
        assert name.endswith(".sql")


def test_release_ids_parse_as_they_are_made() -> None:
    assert ReleaseId.parse(ReleaseId.new())


@pytest.mark.parametrize(
    ("after", "new"),
    [
        ("20991231-235959-00fe", "20991231-235959-00ff"),
        ("20991231-235959-ffff", "21000101-000000-0000"),
    ],
)
def test_a_release_id_sorts_after_the_one_before_it(after: str, new: str) -> None:
    assert ReleaseId.parse(ReleaseId.new(after)) == new
    assert ReleaseId.new("20200101-000000-ffff") > "20260101"
    ids = [ReleaseId.new()]
    for _ in range(100):
        ids.append(ReleaseId.new(ids[-1]))
    assert ids == sorted(set(ids))


def test_a_role_includes_the_ones_before_it() -> None:
    assert Role.OBSERVER < Role.OPERATOR < Role.BUILDER < Role.ADMIN
    assert Role.parse("Builder") is Role.BUILDER
    with pytest.raises(ValueError, match="observer, operator, builder or admin"):
        Role.parse("root")


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r}"
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2")
    assert secret != Secret("hunter3")


@pytest.mark.parametrize(
    "text",
    [
        *("nginx", "nginx:1.27", "library/nginx", "ghcr.io/you/app:1.2", "localhost:5000/a/b_c:latest", "10.0.0.1/app"),
        f"app@sha256:{'0' * 64}",
        f"registry.example.org:5000/team/app:v1@sha256:{'a' * 64}",
    ],
)
def test_an_image_is_named_as_registries_take_it(text: str) -> None:
    assert ImageReference.parse(text) == text


@pytest.mark.parametrize(
    "text",
    [*HOSTILE[:2], *HOSTILE[6:], "--privileged", "a:${B}", "a:", "a@sha256:12", "a//", "/a", "https://a/b", "a:b:c"],
)
def test_what_is_no_image_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an image"):
        ImageReference.parse(text)


@pytest.mark.parametrize("kind", [FutureTime, EntryTime])
@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+12:00",
        "banana",
        "",
        "10000-01-01",
        "2026-13-01",
        "2026-01-01Z",
    ],
)
def test_what_is_no_time_is_refused(kind: type[FutureTime | EntryTime], text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        kind.parse(text)


def test_times_of_other_zones_compare_with_those_of_entries() -> None:
    assert EntryTime.parse("2026-11-26T20:10:00+02:00") == "2026-11-26T18:10:00.000Z"
    assert EntryTime.parse("2026-11-26") == "2026-11-26T00:00:00.000Z"
