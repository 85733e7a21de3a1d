from __future__ import annotations

import pytest
import yaml

from ikoma.apps.adapting.editor import ComposeText
from ikoma.errors import NotAdaptable

WEB = "  web:\n    image: a\n"
FILE = """# My shop
services:
  # in front
  caddy:
    image: caddy:2
    ports:
      - "80:80"
      - "443:443"   # HTTPS
    command: |
      run
      --config x

    # of caddy
  web:  # the shop
    image: shop   # ours
    depends_on:
      - caddy
      - db

  db: {image: postgres, depends_on: [caddy]}

volumes:
  data:   # rows
"""


def test_a_service_is_cut_out_and_all_else_stays_as_it_was() -> None:
    file = ComposeText("compose.yml", FILE)
    file.take_out(["caddy"])
    file.set_lines({"service": "web", "port": 3000, "domains": ["a.example.com", "b.example.com"]})
    assert (
        file.text
        == """# My shop
services:
  # in front
  web:  # the shop
    image: shop   # ours
    depends_on:
      - db

  db: {image: postgres}

volumes:
  data:   # rows

x-ikoma:
  service: web
  port: 3000
  domains: [a.example.com, b.example.com]
"""
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "services: {web: {image: a}}\nx-ikoma:\n    drain: 1s  # short\n",
            "x-ikoma:\n    port: 80\n    drain: 1s  # short\n",
        ),
        ("services: {web: {image: a}}\nx-ikoma: {drain: 1s}\n", 'x-ikoma: {"port": 80, drain: 1s}\n'),
        ("services: {web: {image: a}}\nx-ikoma: {}\n", 'x-ikoma: {"port": 80}\n'),
        ("services: {web: {image: a}}\nx-ikoma:\n  port: 1\n  drain: 1s\n", "x-ikoma:\n  port: 80\n  drain: 1s\n"),
        ("services: {web: {image: a}}\nx-ikoma:\nvolumes: {}\n", "volumes: {}\n\nx-ikoma:\n  port: 80\n"),
        ("services: {web: {image: a}}", "\n\nx-ikoma:\n  port: 80\n"),
        ("services: {web: {image: a}}\r\n", "\r\n\r\nx-ikoma:\r\n  port: 80\r\n"),
        ('{"services": {"web": {"image": "a"}}}', ', "x-ikoma": {"port": 80}}'),
    ],
)
def test_lines_are_put_under_the_block_however_it_is_written(before: str, after: str) -> None:
    file = ComposeText("compose.yml", before)
    file.set_lines({"port": 80})
    assert file.text.endswith(after)
    assert yaml.safe_load(file.text)["x-ikoma"]["port"] == 80


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{services: {caddy: {image: c}, web: {image: a}}}", "{services: {web: {image: a}}}"),
        ("{services: {web: {image: a}, caddy: {image: c}}}", "{services: {web: {image: a}}}"),
        (
            f"services:\n{WEB}    depends_on:\n      caddy: {{condition: service_started}}\n  caddy:\n    image: c\n",
            "services:\n  web:\n    image: a\n",
        ),
        (
            f"services:\n{WEB}    depends_on: [db, caddy]\n    links: ['caddy:front']\n  caddy:\n    image: c\n",
            "services:\n  web:\n    image: a\n    depends_on: [db]\n",
        ),
    ],
)
def test_services_go_from_every_form_and_from_what_waits_for_them(before: str, after: str) -> None:
    file = ComposeText("compose.yml", before)
    file.take_out(["caddy", "not-there"])
    assert file.text == after


@pytest.mark.parametrize(
    "text",
    [
        "services:\n  caddy: &c\n    image: c\n  web: *c\n",
        "services:\n  caddy:\n    environment: &e {A: b}\n  web:\n    environment: *e\n",
        "services:\n  caddy: {image: c}\n  web: !reset null\n",
        "- a\n",
        "a: [",
        "",
    ],
)
def test_what_cannot_be_cut_safely_is_refused(text: str) -> None:
    with pytest.raises(NotAdaptable):
        ComposeText("compose.yml", text).take_out(["caddy"])
