"""The values everyone shares, parsed once at the edge and frozen.

Parse, don't sanitise: a wrong value is refused with the right one as hint, and no character is ever dropped.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = [
    "AppName",
    "BackupName",
    "DomainName",
    "Effect",
    "FilePath",
    "GitRef",
    "ImageReference",
    "ReleaseId",
    "RequestPath",
    "Role",
    "Secret",
    "SqlFileName",
]


class Role(IntEnum):
    """A caller's rights; each role includes the ones before it."""

    OBSERVER = 1
    OPERATOR = 2
    BUILDER = 3
    ADMIN = 4

    @classmethod
    def parse(cls, text: str) -> Role:
        """The role of that name; ValueError when there is none."""
        try:
            return cls[text.strip().upper()]
        except KeyError:
            raise ValueError(f"{text[:40]!r} is no role: use observer, operator, builder or admin") from None

    def __str__(self) -> str:
        return self.name.lower()


class Effect(Enum):
    """The effect of a capability on the world."""

    READS = "reads"
    CHANGES = "changes"
    DESTROYS = "destroys"


class ParsedText(str):
    """Text of one fixed form: `pattern` accepts it whole, `advice` tells a person the form."""

    pattern: re.Pattern[str]
    advice: str
    example: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The value, or ValueError with the advice."""
        if not cls.pattern.fullmatch(text):
            raise ValueError(cls.advice)
        return cls(text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return make_text_schema(cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{cls.pattern.pattern}$", "examples": [cls.example]}


class AppName(ParsedText):
    """An app's name; also its folder, its Compose project, its database and its database role.

    The mapping to database and role is the identity, so two apps never share one. Names that PostgreSQL or
    IKOMA itself owns are reserved. APP--SLUG is a preview of APP: who reaches an app reaches its previews.
    """

    pattern = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
    advice = "1 to 63 of a-z, 0-9, - and _, beginning and ending with a letter or digit"
    example = "myapp"
    reserved = frozenset({"ikoma", "postgres", "template0", "template1", "public", "none", "replication"})

    @classmethod
    def parse(cls, text: str) -> Self:
        if not cls.pattern.fullmatch(text):
            lowered = text.lower()
            near = f"; did you mean {lowered!r}?" if cls.pattern.fullmatch(lowered) else ""
            raise ValueError(f"{cls.advice}{near}")
        if text in cls.reserved or text.startswith(("pg_", "ikoma-", "ikoma_")):
            raise ValueError(f"{text!r} is reserved for the platform: choose another name")
        return cls(text)

    @property
    def previewed(self) -> AppName | None:
        """The app that this is a preview of; None where it is an app itself."""
        app, dashes, _ = self.partition("--")
        return AppName(app) if dashes else None

    @property
    def host(self) -> str:
        """The name that the app has on this machine without any DNS; SLUG.APP.localhost for a preview."""
        app, dashes, slug = self.partition("--")
        return f"{slug}.{app}.localhost" if dashes else f"{app}.localhost"

    @property
    def database(self) -> str:
        """Name of the app's PostgreSQL database."""
        return str(self)

    @property
    def role(self) -> str:
        """Name of the app's PostgreSQL login role."""
        return str(self)

    @property
    def project(self) -> str:
        """Name of the app's Compose project."""
        return str(self)


class BackupName(ParsedText):
    """The file name of a dump under BACKUPS_ROOT: no folder, no hidden file, never an option."""

    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,123}\.sql(\.zst)?")
    advice = (
        "a file name ending .sql, or .sql.zst for a packed one, of letters, digits, '.', '-' and '_', beginning with a"
        " letter or digit"
    )
    example = "myapp-20260101.sql"


DUMP_ENDINGS = (".sql", ".sql.zst")
"""How names of dumps end: plain, and packed by zstd."""


class SqlFileName(ParsedText):
    """The name of a file directly inside migrations/ or seeds/."""

    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,123}\.sql")
    advice = "the name of a .sql file directly inside the folder, without a path"
    example = "001_init.sql"


_LONGEST_PART = 250
"""Bytes between two slashes of a git ref: it is the name of a file, and .lock is put behind it."""


class GitRef(ParsedText):
    """A branch, tag or commit of a git repository."""

    pattern = re.compile(
        r"(?!.*(\.\.|@\{|//|/\.|\.lock(/|$)))(?!@$)[^\x00-\x20\x7f~^:?*\[\\./+-][^\x00-\x20\x7f~^:?*\[\\]{0,399}(?<![./])"
    )
    advice = (
        "a branch, tag or commit as git takes it: no space, no '..', none of ~^:?*[\\, not beginning with . / + or -"
    )
    example = "main"

    @classmethod
    def parse(cls, text: str) -> Self:
        if not text.isprintable() or any(len(part.encode()) > _LONGEST_PART for part in text.split("/")):
            raise ValueError(cls.advice)
        return super().parse(text)


class FilePath(str):
    """A file or folder inside an app, relative to it: `src/index.js`. `parts` are its steps."""

    example = "src/index.js"
    advice = "a path inside the app's folder, such as src/index.js: relative, without '..', '.' or empty parts"

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.split("/"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The path, or ValueError with the advice."""
        parts = text.split("/")
        if any(part in ("", ".", "..") or len(part.encode("utf-8", "surrogatepass")) > 255 for part in parts):
            raise ValueError(cls.advice)
        if len(text) > 1000 or not text.isprintable() or not _is_text(text):
            raise ValueError(f"{cls.advice}, of printable characters, and at most 1000 of them")
        if text == ".env":
            raise ValueError("'.env' holds secrets: use env.list, env.set and env.unset")
        if cls.is_hidden(parts):
            raise ValueError(f"{parts[0]!r} is IKOMA's own: choose another path")
        return cls(text)

    @staticmethod
    def is_hidden(parts: Sequence[str]) -> bool:
        """Whether this is IKOMA's own state, or secrets: not read, written or listed as a file."""
        return parts[0] in (".ikoma", ".env") or parts[-1].startswith(".ikoma-")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return make_text_schema(cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "examples": [cls.example]}


class RequestPath(str):
    """A path that an HTTP request asks a site for: `/search?q=shoes`. No more than that: it names no other host."""

    example = "/"
    advice = "the path on the site, such as /search?q=shoes: it begins with a slash, and holds no scheme, host or #"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The path, or ValueError with the advice."""
        if not text.startswith("/") or len(text) > 2000 or not text.isprintable() or "#" in text:
            raise ValueError(f"{cls.advice}, and at most 2000 printable characters")
        return cls(text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return make_text_schema(cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "examples": [cls.example]}


class DomainName(ParsedText):
    """A name on the internet by which an app is reached; kept in lower case, other scripts as xn--."""

    pattern = re.compile(r"(?=.{4,253})([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])")
    advice = "a domain such as shop.example.com: no scheme, port or path, other alphabets written as xn--"
    example = "shop.example.com"

    @classmethod
    def parse(cls, text: str) -> Self:
        lowered = text.lower().removesuffix(".")
        if not cls.pattern.fullmatch(lowered) or lowered == "localhost" or lowered.endswith(".localhost"):
            raise ValueError(cls.advice)
        return cls(lowered)


class ImageReference(ParsedText):
    """An image as a registry is asked for it: with registry, tag and digest where they are said."""

    pattern = re.compile(
        r"([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*"
        r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
    )
    advice = "an image such as nginx:1.27 or ghcr.io/you/app@sha256:…"
    example = "ghcr.io/you/app:1.2"


class ReleaseId(ParsedText):
    """Identifies one deployment of an app; an app's sort in their order: YYYYMMDD-HHMMSS-xxxx (UTC)."""

    pattern = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")
    advice = "a release id as release.list shows it"
    example = "20260102-150405-9f3a"

    @classmethod
    def new(cls, after: str | None = None) -> Self:
        """One of now, which sorts after another one whatever the clock says."""
        made = cls(time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + "-" + secrets.token_hex(2))
        if after is None or made > after:
            return made
        second, _, mark = after.rpartition("-")
        if mark != "ffff":
            return cls(f"{second}-{int(mark, 16) + 1:04x}")
        following = datetime.strptime(second, "%Y%m%d-%H%M%S") + timedelta(seconds=1)
        return cls(f"{following:%Y%m%d-%H%M%S}-0000")


def _is_text(text: str) -> bool:
    """Whether it can be written down at all: half of a surrogate pair can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def make_printable(text: str) -> str:
    """Text as people and JSON can take it: names of files may hold bytes that are no UTF-8."""
    if _is_text(text):
        return text
    try:
        return os.fsencode(text).decode(errors="backslashreplace")
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()


def quote_name(text: object) -> str:
    """A name that others gave, for a sentence of IKOMA's own: in quotes, unless it is one word such as a plain path.

    Whoever reads the sentence can tell the two apart, and a door marks what stands in quotes. A word that names a call
    too, such as a domain `apps.run`, stands in quotes as well: doors say names of calls in their own words.
    """
    said = make_printable(str(text))
    return said if is_name(said) and said not in NAMES_OF_CALLS else repr(said)


NAMES_OF_CALLS: set[str] = set()
"""The names of all capabilities; the registry keeps them here."""


def is_name(text: str) -> bool:
    """Whether a text is one word of ASCII, such as a name, a path or an address, which nobody takes for a sentence."""
    if not _ONE_WORD.fullmatch(text):
        return False
    return all(sum(map(str.isalpha, _BETWEEN.split(part))) < _SENTENCE for part in text.split("/"))


_ONE_WORD = re.compile("[!-~…]{0,300}")
_BETWEEN = re.compile(r"[^A-Za-z0-9]+")
_SENTENCE = 6
"""Words that are joined by something else than blanks: so many say something."""


class Secret:
    """Text that never shows itself: not in repr, str, JSON or logs. `reveal()` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


def make_text_schema(parse: Callable[[str], object]) -> CoreSchema:
    """The schema of text that `parse` turns into a value, or refuses."""
    from pydantic_core import core_schema  # where something is validated, and not in every command

    return core_schema.no_info_after_validator_function(parse, core_schema.str_schema(strict=True))
