"""A finding names the file and the line that a person has to change, wherever Compose took the thing from."""

from __future__ import annotations

import pytest

from ikoma.apps.yaml.lines import Parts, Source

BASE = b"""services:
  web:
    image: nginx
    environment:
      A: "1"
      B: "2"
    ports:
      - 80:80
      - 81:81
    volumes: ["./a:/a", "./b:/b"]
"""
OVER = b"""services:
  web:
    privileged: true
    environment: [B=3]
    ports: ["82:82"]
    volumes:
      - ./other:/b:ro
      - ./c:/c
"""


def of(base: bytes, *others: tuple[str, bytes], parts: Parts | None = None) -> Source:
    return Source("base.yml", base, dict(others), parts or Parts(("base.yml", *(name for name, _ in others))))


@pytest.mark.parametrize(
    ("place", "at"),
    [
        (("services", "web", "image"), ("base.yml", 3)),
        (("services", "web"), ("base.yml", 2)),
        (("services", "web", "privileged"), ("over.yml", 3)),
        (("services", "web", "environment", "A"), ("base.yml", 5)),
        (("services", "web", "environment", "B"), ("over.yml", 4)),
        (("services", "web", "ports", 1), ("base.yml", 9)),
        (("services", "web", "ports", 2), ("over.yml", 5)),
        (("services", "web", "volumes", 0), ("base.yml", 10)),
        (("services", "web", "volumes", 1), ("over.yml", 7)),
        (("services", "web", "volumes", 2, "source"), ("over.yml", 8)),
        (("services", "web", "nothing"), ("base.yml", 2)),
        (("networks", "a"), ("base.yml", None)),
    ],
)
def test_what_an_override_says_stands_in_the_override(place: tuple[str | int, ...], at: tuple[str, int | None]) -> None:
    assert of(BASE, ("over.yml", OVER)).locate(*place) == at


def test_a_list_that_is_written_afresh_counts_from_its_own_beginning() -> None:
    over = b"services:\n  web:\n    ports: !override\n      - 82:82\n"
    assert of(BASE, ("over.yml", over)).locate("services", "web", "ports", 0) == ("over.yml", 4)


def test_a_range_of_ports_counts_as_so_many() -> None:
    base = (
        b"services:\n  web:\n    ports:\n      - 3000\n      - 3001-3003\n      - 8000-8001:80-81/udp\n      - 22:22\n"
    )
    lines = [of(base).locate("services", "web", "ports", index) for index in range(8)]
    assert [line for _, line in lines] == [4, 5, 5, 5, 6, 6, 7, 3]


def test_what_an_included_file_brings_stands_there() -> None:
    parts = Parts(("base.yml",), included=["db.yml"])
    source = of(b"include: [db.yml]\n", ("db.yml", b"services:\n  db:\n    privileged: true\n"), parts=parts)
    assert source.locate("services", "db", "privileged") == ("db.yml", 3)


def test_what_a_service_extends_stands_where_it_is_extended_from() -> None:
    parts = Parts(("base.yml",), extended={("base.yml", "./common.yml"): "common.yml"})
    base = b"services:\n  web:\n    extends: {file: ./common.yml, service: app}\n    volumes: ['./own:/own']\n"
    common = b"services:\n  app:\n    extends: root\n    volumes: ['./x:/x']\n  root:\n    privileged: true\n"
    source = of(base, ("common.yml", common), parts=parts)
    assert source.locate("services", "web", "privileged") == ("common.yml", 6)
    assert source.locate("services", "web", "volumes", 0) == ("common.yml", 4)
    assert source.locate("services", "web", "volumes", 1) == ("base.yml", 4)


def test_services_that_extend_each_other_end_nobody() -> None:
    source = of(b"services:\n  a: {extends: b}\n  b: {extends: a}\n")
    assert source.locate("services", "a", "image") == ("base.yml", 2)
    assert source.locate("services", "a", "ports", 0) == ("base.yml", 2)


def test_what_is_merged_in_stands_at_its_anchor() -> None:
    source = of(b"x-a: &a\n  privileged: true\nservices:\n  web:\n    <<: *a\n    image: x\n")
    assert source.locate("services", "web", "privileged") == ("base.yml", 2)
