"""Takes known secrets out of whatever leaves: answers, errors, progress, log lines, records.

Secrets are known by their exact value. Text comes line by line and often quoted, so each line of a value is a secret
too, and each in the form that JSON gives it. API keys are kept as hashes: they are known by their form.

A secret may be a plain word, such as `shop` or `hunter22`. Names, addresses and IKOMA's own words are made of such.
It is hidden where it stands as a whole, and only in what others wrote: logs, rows, files, messages of programs.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import orjson

from ikoma.errors import IkomaError
from ikoma.kernel.redaction.own_words import is_own
from ikoma.kernel.redaction.places import Path, change_at
from ikoma.model import AppName, Secret, make_printable

HIDDEN = "***"
KEY_PREFIX = "ikoma_"
"""Prefix of API keys."""

_KEY_BYTES = KEY_PREFIX.encode()
_KEY = re.compile(KEY_PREFIX + r"[A-Za-z0-9_-]{30,}")
"""A key, or so much of it that the rest could be guessed: refusals quote what they were given only in part."""
_KEY_IN_BYTES = re.compile(_KEY.pattern.encode())
_GO_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    **{chr(code): f"\\{letter}" for code, letter in zip(range(7, 14), "abtnvfr", strict=True)},
}
_UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Lines of logs and of programs are shown without these."""
_SHORTEST = 4
_SHORTEST_LINE = 8
"""Shortest of several lines: `}` and `end` are in it too."""
_WORD = re.compile(r"[A-Za-z]{0,15}[0-9]{0,4}")
_NUMBERS = re.compile(r"[0-9]{1,14}(?:[-_.:/@][0-9]{1,14})*+")
_WORDS = re.compile(r"[A-Za-z]*+[0-9]{0,4}(?:[-_.:/@][A-Za-z]*+[0-9]{0,4})*+")
_LONGEST_WORDS = 11
QUOTING = frozenset({"answer", "logs", "healthcheck", "sql", "detail", "serverHint", "output"})
"""Details of errors that hold what others wrote."""


def scrub(text: str, secrets: Iterable[Secret]) -> str:
    """The text with each secret's value replaced by ***. Values under four characters would hide nothing but sense."""
    return redact(text, list_encodings(secrets))


@lru_cache(maxsize=20_000)
def is_plain(text: str) -> bool:
    """Whether a text could be a word, a name, a number or an address just as well."""
    if len(text) <= _LONGEST_WORDS and _WORDS.fullmatch(text):
        return True
    return bool(_WORD.fullmatch(text) or _NUMBERS.fullmatch(text))


def select_certain(texts: Iterable[str]) -> tuple[str, ...]:
    """The encodings that are hidden also where names and IKOMA's own words stand."""
    return tuple(text for text in texts if not is_plain(text) and not is_own(text))


@lru_cache(maxsize=20_000)
def _match_whole(text: str) -> re.Pattern[str]:
    """Finds a plain text where it is no part of a longer word, name, path or address."""
    before = r"(?<!\w)(?<!\w[-.])(?<!/)" if text[0].isalnum() else ""
    after = r"(?!\w)(?![-./]\w)(?!:\d)(?!://)" if text[-1].isalnum() else ""
    return re.compile(before + re.escape(text) + after)


def list_encodings(secrets: Iterable[Secret]) -> tuple[str, ...]:
    """Every way in which these secrets may be written, the longest first: one may hold another."""
    found = {part for secret in secrets for part in _encode(secret.reveal()) if len(part.strip()) >= _SHORTEST}
    return tuple(sorted(found, key=lambda part: (-len(part), part)))


@dataclass(frozen=True)
class KnownSecrets:
    """Secrets in every form, ready to be looked for."""

    texts: tuple[str, ...] = ()
    raw: tuple[bytes, ...] = ()
    """As encoded JSON has them."""
    names: frozenset[str] = frozenset()
    """Values that are names too."""

    @cached_property
    def certain(self) -> tuple[str, ...]:
        """Texts that can be nothing but secrets: they are hidden everywhere."""
        return tuple(text for text in select_certain(self.texts) if text not in self.names)

    @classmethod
    def of(cls, texts: Sequence[str], names: Iterable[str] = ()) -> KnownSecrets:
        return cls(tuple(texts), tuple(map(_encode_in_json, texts)), frozenset(names) & {*texts})

    def __add__(self, more: KnownSecrets) -> KnownSecrets:
        return KnownSecrets(self.texts + more.texts, self.raw + more.raw, self.names | more.names)


class FindSecrets(Protocol):
    """Gives what is known now."""

    def __call__(self, app: str | None, reach: tuple[str, ...] = (), /) -> KnownSecrets:
        """
        Args:
            app: what the call is about: its secrets are looked at anew.
            reach: globs of the apps that whoever reads it reaches; none means all.
        """
        ...


FindAppSecrets = Callable[[AppName], KnownSecrets]
"""Gives what is known now of one app. What quotes its programs has this from the start, and asks as work begins."""


def find_nothing(app: str | None, reach: tuple[str, ...] = ()) -> KnownSecrets:
    return KnownSecrets()


class Scrubber:
    """Scrubs with what is known at that moment. `app` and `reach` are those of `FindSecrets`.

    Args:
        knows: gives what is known.
    """

    def __init__(self, knows: FindSecrets = find_nothing) -> None:
        self._knows = knows

    def scrub_text(self, text: str, app: str | None, reach: tuple[str, ...] = ()) -> str:
        """Text that others wrote."""
        return redact(text, self._knows(app, reach).texts)

    def scrub_own(self, text: str, app: str | None, reach: tuple[str, ...] = ()) -> str:
        """Text of IKOMA's own, in which there may be something that others wrote."""
        return redact(text, self._knows(app, reach).certain)

    def scrub_value(self, value: Any, app: str | None, reach: tuple[str, ...] = ()) -> Any:
        """JSON-ready facts of IKOMA's own, names of fields included."""
        return redact_all(value, self._knows(app, reach).certain)

    def scrub_json(
        self, body: bytes, app: str | None, reach: tuple[str, ...] = (), *, quoting: Sequence[Path] | None = None
    ) -> bytes:
        """An encoded answer. It is taken apart only where there is something to hide in it.

        Args:
            quoting: where in it stands what others wrote; by default all of it is that.
        """
        known = self._knows(app, reach)
        # JSON may spell a letter by its number: bytes that hold such a spelling are looked at in any case.
        if b"\\u" not in body and not any(secret in body for secret in known.raw) and redact_keys(body) is body:
            return body
        answer = orjson.loads(body)
        if quoting is None:
            return orjson.dumps(redact_all(answer, known.texts))
        for path in quoting:
            answer = change_at(answer, path, lambda part: redact_all(part, known.texts))
        return orjson.dumps(redact_all(answer, known.certain))

    def scrub_error(self, error: IkomaError, app: str | None, reach: tuple[str, ...] = ()) -> None:
        """An error, in place: message, hint and details.

        A message that the audit log does not get quotes others; so do some details.
        """
        known = self._knows(app, reach)
        own, texts = known.certain, known.texts
        if error.quotes:
            ours = f"{error.audit_message} {error.hint}"
            said = [text for text in texts if text in own or not _match_whole(text).search(ours)]
        else:
            said = list(own)
        error.message, error.hint = redact(error.message, said), redact(error.hint, own)
        error.audit_message = redact(error.audit_message, own)
        error.details = {
            name: redact_all(item, texts if name in QUOTING else own) for name, item in error.details.items()
        }
        error.args = (error.message,)


class ScrubbingFormatter(logging.Formatter):
    """Formats log records, tracebacks included, without what is secret."""

    def __init__(self, inner: logging.Formatter, scrubber: Scrubber) -> None:
        super().__init__()
        self._inner = inner
        self._scrubber = scrubber

    def format(self, record: logging.LogRecord) -> str:
        text = self._inner.format(record)
        # A traceback ends in what a library said.
        return self._scrubber.scrub_text(text, None) if record.exc_info else self._scrubber.scrub_own(text, None)


def _encode_in_json(text: str) -> bytes:
    try:
        return orjson.dumps(text)[1:-1]
    except orjson.JSONEncodeError:  # half a character: no answer holds it
        return text.encode("utf-8", "surrogatepass")


def redact_keys(line: bytes) -> bytes:
    """Hide in these bytes all that looks like one of our API keys."""
    return _KEY_IN_BYTES.sub(HIDDEN.encode(), line) if _KEY_BYTES in line else line


def redact(text: str, texts: Sequence[str]) -> str:
    """Text that others wrote, each of these forms and each API key in it replaced by ***, as it can be written down."""
    text = text if text.isascii() else make_printable(text)
    if KEY_PREFIX in text:
        text = _KEY.sub(HIDDEN, text)
    for secret in texts:
        if secret in text:
            text = _match_whole(secret).sub(HIDDEN, text) if is_plain(secret) else text.replace(secret, HIDDEN)
    return text


def withhold_if_long(text: str, most: int, what: str = "text") -> str:
    """The text, or how long it is: one that was cut could end in a part of a secret, which nobody finds any more."""
    return text if len(text) <= most else f"[{what}, {len(text)} characters]"


def redact_all(value: Any, texts: Sequence[str]) -> Any:
    """JSON-ready facts, each text in them as `replaced` gives it."""
    if isinstance(value, str):
        return redact(value, texts)
    if isinstance(value, dict):
        # Names of fields are IKOMA's own, but for those of tables and variables: a short secret must not break them.
        long = [secret for secret in texts if len(secret) >= _SHORTEST_LINE]
        return {redact(str(name), long): redact_all(item, texts) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(item, texts) for item in value]
    return value


def _encode(value: str) -> Iterator[str]:
    for part in (value, *(line for line in value.splitlines() if len(line.strip()) >= _SHORTEST_LINE)):
        yield part
        yield _UNSHOWN.sub("", part)
        yield json.dumps(part, ensure_ascii=False)[1:-1]
        yield json.dumps(part)[1:-1]
        yield "".join(map(_quote_like_go, part))


def _quote_like_go(character: str) -> str:
    """Quote a value as Compose and Docker do in what they say: what prints stays, whatever the language."""
    if character in _GO_ESCAPES or character.isprintable():
        return _GO_ESCAPES.get(character, character)
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
