"""Globs of the paths for whose changes a push deploys: those of a .gitignore."""

from __future__ import annotations

import time

import pytest

from ikoma.apps.yaml.watched import find_globs
from ikoma.compose.watch_paths import parse, select_touched
from ikoma.errors import InvalidCompose


@pytest.mark.parametrize(
    ("globs", "watched", "not_watched"),
    [
        (["src/**"], ["src/a", "src/a/b.py"], ["a", "lib/src.py", "source/a"]),
        (["src"], ["src/a", "src", "web/src/a"], ["srcs/a"]),
        (["/src/"], ["src/a/b"], ["web/src/a"]),
        (["*.py"], ["a.py", "src/deep/a.py"], ["a.pyc", "a.py.md"]),
        (["src/*.py"], ["src/a.py"], ["src/deep/a.py", "a.py"]),
        (["src/**/*.py"], ["src/a.py", "src/a/b/c.py"], ["lib/a.py"]),
        (["**/Dockerfile"], ["Dockerfile", "a/b/Dockerfile"], ["Dockerfile.md"]),
        (["**", "!docs/**"], ["a", "src/docs/a"], ["docs/a"]),
        (["**", "!*.md", "docs/keep.md"], ["a", "docs/keep.md"], ["README.md", "docs/other.md"]),
        (["apps/[ab]?/x"], ["apps/a1/x", "apps/b2/x/y"], ["apps/c1/x"]),
        (["größe/*"], ["größe/ä"], ["grösse/a"]),
        (["!src"], [], ["src/a", "a"]),
    ],
)
def test_globs_mean_what_they_mean_in_gitignore(globs: list[str], watched: list[str], not_watched: list[str]) -> None:
    assert select_touched(globs, [*watched, *not_watched]) == watched


def test_paths_count_from_the_repository_and_from_the_apps_folder() -> None:
    changed = ["apps/web/src/a", "packages/shared/a", "apps/api/src/a"]
    assert select_touched(["src/x/**", "/src/**"], changed, "apps/web") == ["apps/web/src/a"]
    assert select_touched(["packages/**"], changed, "apps/web") == ["packages/shared/a"]


def test_no_glob_takes_long() -> None:
    glob, path = "/".join(["**", "a*a*a*a*b"] * 30), "/".join(["a" * 200] * 60)
    began = time.monotonic()
    assert select_touched([glob], [path]) == []
    assert time.monotonic() - began < 20  # it would be years


@pytest.mark.parametrize("given", [{}, 1, [1], [""], ["!"], ["/"], ["a" * 501], [["a"]], ["a\nb"], ["a"] * 101])
def test_what_is_no_list_of_globs_is_refused(given: object) -> None:
    with pytest.raises(InvalidCompose, match="watch_paths"):
        parse(given)


def test_the_later_compose_file_says_what_is_watched() -> None:
    one, two = b"x-ikoma: {watch_paths: [a]}\n", b"x-ikoma: {watch_paths: b}\n"
    assert find_globs([one]) == ("a",)
    assert find_globs([one, two]) == ("b",)
    assert find_globs([one, b"services: {}\n"]) == ("a",)
    assert find_globs([b"services: {}\n"]) == ()
    assert find_globs([b"include: [other.yml]\n"]) is None
    assert find_globs([b"a: [\n"]) is None
    assert find_globs([]) is None
