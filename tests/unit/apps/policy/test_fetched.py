"""Files that ADD would fetch come by a container; what cannot be told stays as it is, and the policy refuses it."""

from __future__ import annotations

import pytest

from ikoma.apps.policy.fetched import IMAGE, fetches, rewrite


def test_an_address_becomes_a_stage_that_fetches_it() -> None:
    text = "ARG V=2\nFROM alpine:3 AS app\nARG V\nADD --chown=1:1 https://example.com/v${V}/tool.tar /opt/\nCMD x\n"
    assert rewrite(text, {"V": "3"}).split("\n") == [
        "ARG V=2",
        f"FROM {IMAGE} AS ikoma-fetched",
        'RUN ["curl", "-fsSL", "--create-dirs", "-o", "/tmp/0/tool.tar", "https://example.com/v3/tool.tar"]',
        "FROM alpine:3 AS app",
        "ARG V",
        "COPY --chown=1:1 --from=ikoma-fetched /tmp/0/tool.tar /opt/",
        "CMD x",
        "",
    ]


@pytest.mark.parametrize("flags", ["--checksum=sha256:{} --chmod=755", "--chmod=755 --checksum=sha256:{}"])
def test_what_is_fetched_must_have_the_checksum_that_the_file_names(flags: str) -> None:
    checksum = "ab" * 32
    text = rewrite(f"FROM a\nADD {flags.format(checksum)} https://example.com/tool /opt/\n", {})
    assert text.split("\n")[2:5] == [
        f'RUN ["sh", "-c", "echo \\"$1\\" | sha256sum -c -", "sh", "{checksum}  /tmp/0/tool"]',
        "FROM a",
        "COPY --chmod=755 --from=ikoma-fetched /tmp/0/tool /opt/",
    ]


def test_a_file_of_the_app_that_a_variable_names_stands_there_by_itself() -> None:
    assert rewrite("FROM a\nARG F=app.tar\nADD $F /x", {}) == "FROM a\nARG F=app.tar\nADD ./app.tar /x"


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nADD http://example.com/x /x",
        "FROM a\nADD https://10.0.0.1/x /x",
        "FROM a\nADD https://localhost/x /x",
        "FROM a\nADD https://me@example.com/x /x",
        "FROM a\nADD https://example.com:444/x /x",
        "FROM a\nADD https://example.com/x#main /x",
        "FROM a\nADD https://example.com/ /x",
        "FROM a\nADD https://example.com/.. /x",
        "FROM a\nADD $URL /x",
        "FROM a\nARG URL\nADD $URL /x",
        "FROM a\nARG URL=https://example.com/x\nARG URL=https://example.com/y\nADD $URL /x",
        "FROM a\nARG URL=https://example.com/x\nENV URL=y\nADD $URL /x",
        "FROM a\nARG X=com/foo/bar\nADD github.$X /x",
        "FROM a\nARG F=../bank/x\nADD $F /x",
        "FROM a\nRUN true \\\nADD https://example.com/x /x",
        "FROM a\nRUN <<E\nADD https://example.com/x /x\nE",
        "FROM a\nCOPY --from=0 /a /b\nADD https://example.com/x /x",
        'FROM a\nADD ["https://example.com/x", "/x"]',
        "FROM a\nADD https://example.com/x https://example.com/y /x",
        "FROM a AS ikoma-fetched\nADD https://example.com/x /x",
        "ADD https://example.com/x /x",
        "FROM a\nADD --checksum=sha256:12 https://example.com/x /x",
        f"FROM a\nARG F=x\nADD --checksum=sha256:{'ab' * 32} $F /x",
    ],
)
def test_what_cannot_be_told_is_left_to_the_policy(text: str) -> None:
    assert fetches(text, {}) == []
    assert rewrite(text, {}) == text
