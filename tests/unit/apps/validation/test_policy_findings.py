from __future__ import annotations

from ikoma.apps.validation.policy_findings import find_violations
from ikoma.apps.yaml.lines import Source
from ikoma.apps.yaml.violation import Violation

TEXT = b"""\
services:
  db:
    volumes: ["./docker/first:/first"]
  web:
    security_opt:
      - seccomp:unconfined
      - apparmor:unconfined
    volumes: &volumes
      - ./docker:/docker
    env_file:
      - ../.env
  work:
    security_opt:
      - seccomp:unconfined
    volumes: *volumes
    env_file:
      - ../.env
"""
SOURCE = Source("docker-compose.yml", TEXT)


def weak(service: str, index: int, what: str) -> Violation:
    return Violation("security-options", ("services", service, "security_opt", index), what)


def mounted(service: str, index: int, rule: str, folder: str) -> Violation:
    return Violation(rule, ("services", service, "volumes", index), f"{folder} is mounted.", because="/shop/docker")


def said(*violations: Violation) -> list[tuple[int | None, str]]:
    return [(found.line, found.fix) for found in find_violations(SOURCE, violations)]


def test_the_first_of_several_that_the_same_change_mends_names_the_lines_of_the_others() -> None:
    (first, fix), *others = said(weak("work", 0, "seccomp"), weak("web", 0, "seccomp"), weak("web", 1, "apparmor"))
    assert (first, [line for line, _ in others]) == (6, [7, 14])
    assert fix.endswith("The same holds for lines 7, 14.")
    assert not any("The same" in other for _, other in others)


def test_what_is_refused_for_different_reasons_is_not_told_as_one() -> None:
    outside = Violation("reads-outside", ("services", "web", "env_file", 0), "../.env is outside the app's folder.")
    assert not any("The same" in fix for _, fix in said(outside, weak("web", 0, "seccomp")))


def test_one_line_that_two_services_share_is_told_once() -> None:
    twice = (mounted("web", 0, "own-state", "docker"), mounted("work", 0, "own-state", "docker"))
    assert [line for line, _ in said(*twice)] == [9]


def test_a_folder_that_is_written_says_which_lines_need_nothing_once_it_is_not() -> None:
    below = Violation("bind-nested", ("services", "web", "security_opt", 0), "It lies below.", because="/shop/docker")
    own = Violation("own-state", ("services", "db", "volumes", 0), "It is written.", because="/shop/docker")
    assert said(below, own)[0][1].endswith("Mending it mends line 6.")


def test_what_lies_below_promises_nothing_for_the_folder_itself() -> None:
    below = Violation("bind-nested", ("services", "db", "volumes", 0), "It lies below.", because="/shop/docker")
    fixes = said(below, mounted("web", 0, "own-state", "docker"))
    assert not any("mends line" in fix or "The same" in fix for _, fix in fixes)


def test_many_lines_are_counted() -> None:
    text = "services:\n  web:\n    ports:\n" + "".join(f"      - {number}:80\n" for number in range(30))
    many = [Violation("low-port", ("services", "web", "ports", index), "It is low.") for index in range(30)]
    found = list(find_violations(Source("docker-compose.yml", text.encode()), many))
    assert found[0].fix.endswith("The same holds for lines 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 and 19 more.")
