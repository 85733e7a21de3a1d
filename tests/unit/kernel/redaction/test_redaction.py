from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikoma.kernel.access.callers import Callers
from ikoma.kernel.audit.entry import AuditEntry
from ikoma.kernel.redaction.redaction import KnownSecrets, Scrubber, is_plain, list_encodings, scrub
from ikoma.kernel.state.store import Store
from ikoma.model import Role, Secret
from ikoma.readable import make_readable


def hidden(text: str, *values: str) -> str:
    return scrub(text, [Secret(value) for value in values])


def test_every_place_of_a_secret_is_starred() -> None:
    assert hidden("a=hunt3r!2 b=hunt3r!2hunt3r!2", "hunt3r!2") == "a=*** b=******"


def test_a_plain_word_is_starred_where_it_stands_as_a_whole() -> None:
    text = "a=hunter2, 'hunter2' hunter2. /hunter2 hunter22 my-hunter2 hunter2.io hunter2:80 :hunter2@"
    left = "a=***, '***' ***. /hunter2 hunter22 my-hunter2 hunter2.io hunter2:80 :***@"
    assert hidden(text, "hunter2") == left


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert hidden("postgres://me:pass@db/x", "pass", "postgres://me:pass@db/x") == "***"


@pytest.mark.parametrize("short", ["", "a", "abc", "   ", "\n\n\n\n\n"])
def test_values_of_under_four_characters_stay(short: str) -> None:
    assert hidden("abc a     b\n\n\n\n\nc", short) == "abc a     b\n\n\n\n\nc"


def test_each_line_of_a_secret_is_one() -> None:
    key = "-----BEGIN KEY-----\nbm90IGEga2V5\n-----END KEY-----\n"
    assert hidden("got bm90IGEga2V5!", key) == "got ***!"


def test_a_secret_is_one_also_where_a_line_is_shown_without_its_control_characters() -> None:
    secret = "tall\x85trees\u2028bend\x1b"
    assert hidden(f"KEY={secret} KEY={make_readable(secret)}", secret) == "KEY=*** KEY=***"


def test_a_quoted_secret_is_one() -> None:
    value = 'say "hello"\tthere'
    assert hidden(json.dumps({"password": value}), value) == '{"password": "***"}'


@given(st.text(), st.text(), st.text(min_size=4).filter(lambda value: len(value.strip()) >= 4))
def test_no_secret_is_left(before: str, after: str, secret: str) -> None:
    if "***" not in secret and secret not in "***" and not is_plain(secret):
        assert secret not in hidden(f"{before}{secret}{after}", secret).replace("***", "\0")


def test_api_keys_go_by_their_form_also_where_they_were_cut(tmp_path: Path) -> None:
    callers = Callers(Store(tmp_path / "state.db"), tmp_path / ".env", None)
    key = callers.create("someone", Role.OBSERVER)[1]
    assert hidden(f"a {key}, '{key[:40]}'") == "a ***, '***'"
    body = orjson.dumps({"id": key, key: [key]})
    assert Scrubber().scrub_json(body, None) == b'{"id":"***","***":["***"]}'
    line = AuditEntry("1", f"[unknown] {key}", caller=key, arguments={"id": key}, error=f"no {key[:40]!r}").encode_line(
        1, ""
    )
    assert key[6:40].encode() not in line
    assert orjson.loads(line)["arguments"] == {"id": "***"}


@pytest.mark.parametrize("harmless", ["ikoma_", "ikoma_restore_0123456789ab", "the network ikoma_default of shop"])
def test_what_only_begins_like_a_key_stays(harmless: str) -> None:
    body = orjson.dumps([harmless])
    assert hidden(harmless) == harmless
    assert Scrubber().scrub_json(body, None) is body


@pytest.mark.parametrize(
    ("secret", "quoted"),
    [
        ("ünïcödé-sécret-€-\u00a0x", '"ünïcödé-sécret-€-\\u00a0x"'),
        ("tab\tand\x7fdelete", '"tab\\tand\\x7fdelete"'),
        ('quo"ted\\back', '"quo\\"ted\\\\back"'),
        ("beyond-\U000e0001-it", '"beyond-\\U000e0001-it"'),
    ],
)
def test_what_go_has_quoted_is_hidden_also_inside_json(secret: str, quoted: str) -> None:
    scrubber = Scrubber(lambda *_: KnownSecrets.of(list_encodings([Secret(secret)])))
    assert scrubber.scrub_text(f"invalid value {quoted}", None) == 'invalid value "***"'
    body = orjson.dumps({"error": f"invalid value {quoted}", "twice": orjson.dumps(quoted).decode()})
    hidden = orjson.loads(scrubber.scrub_json(body, None))
    assert hidden["error"] == 'invalid value "***"'
    assert secret not in str(hidden)
