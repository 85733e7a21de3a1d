"""The secrets among an app's values, and where they are known from.

A variable is secret by its name (DB_PASSWORD, API_TOKEN) or by its value (a password inside an address, a private key,
text that looks drawn by lot). What names, counts, times, switches, places and addresses say is none, whatever the name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.environment import dotenv, variable_history
from ikoma.apps.environment.entries import parse_entries
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.source import access, webhook
from ikoma.compose.model import ComposeModel
from ikoma.errors import IkomaError
from ikoma.kernel.redaction.redaction import is_plain
from ikoma.model import Secret
from ikoma.rollout_state import RolloutState

_UNREADABLE = (IkomaError, OSError, ValueError)
_SHORT = 4
_LONG_WORD = 8
_USUAL_PLACES = ("/run/", "/etc/", "./")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_CERTAIN = frozenset(
    (
        *("PASS", "PASSWORD", "PASSWD", "PASSPHRASE", "PASSCODE", "PWD", "PW", "SECRET", "SECRETS", "TOKEN", "TOKENS"),
        *("APIKEY", "CREDENTIAL", "CREDENTIALS", "CREDS", "PIN", "OTP", "PEPPER", "MNEMONIC", "HTPASSWD"),
    )
)
"""Words after which a word or a number is a secret too."""
_LIKELY = frozenset(
    (
        *("KEY", "KEYS", "PRIVATE", "SALT", "AUTH", "JWT", "HMAC", "DSN", "WEBHOOK", "COOKIE", "SEED", "TOTP"),
        *("BEARER", "SIGNATURE", "CERT", "LICENSE", "ENCRYPTION", "ENCRYPT", "SIGNING", "NONCE", "HASH", "BASICAUTH"),
    )
)
"""Words after which what is no word and no number is one."""
_CERTAIN_ENDS = ("PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "PASS", "PWD", "KEY")
_OTHER_WORDS = frozenset(
    (
        "COMPASS",
        "ENCOMPASS",
        "BYPASS",
        "SURPASS",
        "TRESPASS",
        "MONKEY",
        "TURKEY",
        "DONKEY",
        "HOCKEY",
        "JOCKEY",
        "HOTKEY",
    )
)
_HARMLESS_ENDS = frozenset(
    (
        *("HOST", "HOSTNAME", "PORT", "USER", "USERNAME", "DB", "DATABASE", "ENV", "MODE", "LEVEL", "NAME", "NAMES"),
        *("FILE", "FILES", "PATH", "DIR", "FOLDER", "URL", "URI", "DOMAIN", "DOMAINS", "ADDRESS", "EMAIL", "ISSUER"),
        *("TTL", "EXPIRY", "EXPIRES", "EXPIRATION", "LIFETIME", "AGE", "TIMEOUT", "DURATION", "DAYS", "HOURS"),
        *("MINUTES", "SECONDS", "ENABLED", "DISABLED", "REQUIRED", "ALLOWED", "TYPE", "KIND", "PROVIDER", "METHOD"),
        *("ALGORITHM", "ALG", "SIZE", "LENGTH", "LEN", "MIN", "MAX", "COUNT", "LIMIT", "ROUNDS", "COST", "HEADER"),
        *("PREFIX", "SUFFIX", "FORMAT", "VERSION", "REGION", "SCOPE", "SCOPES", "AUDIENCE", "DRIVER", "STORE", "ID"),
    )
)
_HARMLESS_VALUE = re.compile(
    r"(?i)true|false|yes|no|on|off|none|null|enabled|disabled|required|optional|"
    r"[0-9]+(?:\.[0-9]+)?\s*(?:ms|s|m|h|d|w|y|k|m|g|[kmg]i?b|%)|"  # times and sizes
    r"(?:\[?[0-9a-f]*:[0-9a-f:.]+\]?|[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?::[0-9]{1,5}|/[0-9]{1,3})?|"  # addresses
    r"[^\s@]+@[^\s@]+\.[a-z]{2,}"  # of mail
)
_PLACE = re.compile(r"\.{0,2}(?:/[\w.@+-]*)+|[a-z][a-z0-9+.-]*://[^\s@]*", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_IN_QUERY = re.compile(r"[?&](?:[\w.-]*(?:key|token|secret|password|signature|sig))=([^&\s#]+)", re.IGNORECASE)
_KNOWN_FORM = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\$(?:2[abxy]|5|6|1|argon2\w*|scrypt|pbkdf2\S*)\$|eyJ[\w-]{8,}\.|"
    r"(?:sk|rk|whsec|gh[posu]|glpat|xox[abprs]|AKIA|ASIA|AIza|npm|dop_v1|SG|hf|github_pat)[_\-.A-Z0-9]\S{12}"
)
_RUN = re.compile(r"[A-Za-z0-9]{16,}")
_JOINED_RUN = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_URL_SAFE = re.compile(r"[A-Za-z0-9_-]{40,}")
_LONG_RUN, _FEW, _MANY = 20, 2, 4
"""The length from which a run of letters and digits is judged, and how often it must change between them."""
_LINE = re.compile(
    r"^[^\S\n]*(?:export\s+)?(?P<name>[A-Za-z_][\w.-]*)\s*[=:][^\S\n]*(?P<written>[^\n]+)$", re.MULTILINE
)
_KINDS = str.maketrans(
    dict.fromkeys(digits, "d") | dict.fromkeys(ascii_uppercase, "u") | dict.fromkeys(ascii_lowercase, "l")
)
_PAIRS = tuple("".join(pair) for pair in permutations("dul", 2))
_ESCAPE = re.compile(r"\\([\\'\"$nrt])")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_PUBLIC = frozenset(
    ("PUBLIC", "PUBLISHABLE", "SHA", "GIT", "COMMIT", "REVISION", "DIGEST", "BUILD", "CHECKSUM", "UUID")
)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable's value is worth hiding."""
    value = value.strip()
    if len(value) < _SHORT or _HARMLESS_VALUE.fullmatch(value):
        return False
    if _IN_ADDRESS.search(value) or _IN_QUERY.search(value) or _KNOWN_FORM.match(value):
        return True
    words = [word.upper() for word in _WORDS.findall(name)]
    if _PUBLIC & {*words}:
        return False
    certain = any(_is_certain(word) for word in words)
    if not (certain or _LIKELY & {*words}) or words[-1] in _HARMLESS_ENDS:
        return _looks_drawn(value)
    if _PLACE.fullmatch(value):
        return words[-1] in ("WEBHOOK", "DSN") or (certain and not value.startswith(_USUAL_PLACES))
    return certain or not is_plain(value) or (words[-1] == "KEY" and len(value) >= _LONG_WORD)


def find_in_variables(values: Mapping[str, str | None]) -> list[Secret]:
    """The secrets among variables, and the passwords inside addresses by themselves."""
    found: dict[str, None] = {}
    for name, value in values.items():
        if value and is_secret(name, value):
            found[value] = None
            for pattern in (_IN_ADDRESS, _IN_QUERY):
                found.update(dict.fromkeys(part for part in pattern.findall(value) if len(part) >= _SHORT))
    return [Secret(value) for value in found]


def find_in_model(model: ComposeModel) -> list[Secret]:
    """The secrets that a resolved model gives to containers and builds, as they get them."""
    found: dict[str, None] = {}
    for service in model.services.values():
        for values in (service.environment, service.build.args if service.build else {}):
            found.update(dict.fromkeys(secret.reveal() for secret in find_in_variables(_unescape(values))))
    return [Secret(value) for value in found]


def find_in_text(text: str) -> list[Secret]:
    """The secrets of a file of variables as they are written there, escapes included; also where it is malformed."""
    text = text.replace("\r\n", "\n")
    written = [(entry.name, entry.written) for entry in parse_entries(text)]
    written += [(line["name"], line["written"]) for line in _LINE.finditer(text)]
    found: dict[str, None] = {}
    for name, form in dict.fromkeys(written):
        for value in dict.fromkeys(_list_spellings(form.strip())):
            found.update(dict.fromkeys(secret.reveal() for secret in find_in_variables({name: value})))
    return [Secret(value) for value in found]


def find_names(app: App) -> frozenset[str]:
    """Find what parts of an app's releases are called: these names stay, secret or not."""
    releases, found = Releases(app), set[str]()
    with suppress(*_UNREADABLE):  # whoever needs what cannot be read says so
        recent = releases.list_recent()
        for release in recent:
            with suppress(*_UNREADABLE):
                found |= _read_model(app, release.id)[0]
    return frozenset(found)


def find_of_app(app: App) -> list[Secret]:
    """The secrets of an app as its files say: as they are written in `.env`, of its releases, database and webhook."""
    return [secret for source in _SOURCES for secret in _find(source, app)]


def find_of_release(app: App, release: Any) -> list[Secret]:
    """The secrets that a release was made with."""
    releases = Releases(app)
    found = find_in_variables(releases.read_variables(release))
    with suppress(IkomaError):
        found += _read_model(app, release.id)[1]
    return found


def _read_model(app: App, identity: str) -> tuple[frozenset[str], tuple[Secret, ...]]:
    """The names and the secrets in a release's model."""
    return _parse_model(app, identity, Releases(app).read_model_stamp(identity))


@lru_cache(maxsize=500)
def _parse_model(app: App, identity: str, _: object) -> tuple[frozenset[str], tuple[Secret, ...]]:
    """Names and secrets, found once for each file: it is never written again."""
    model = Releases(app).read_model(identity)
    return model.names, tuple(find_in_model(model))


def _is_certain(word: str) -> bool:
    return word in _CERTAIN or (len(word) > _SHORT and word.endswith(_CERTAIN_ENDS) and word not in _OTHER_WORDS)


def _find(source: Any, app: App) -> list[Secret]:
    try:
        return list(source(app))
    except _UNREADABLE:  # what cannot be read now is read when it changes
        return []


def _find_in_env_file(app: App) -> list[Secret]:
    return find_in_text(dotenv.read_bytes(app).decode(errors="replace"))


def _find_in_former_env_files(app: App) -> Iterator[Secret]:
    for path in variable_history.list_files(app):
        yield from _read_former(path)


@lru_cache(maxsize=2000)
def _read_former(path: Path) -> tuple[Secret, ...]:
    """The secrets of a kept file: it is named by its moment, and never written again."""
    return tuple(find_in_text(path.read_text(encoding="utf-8", errors="replace")))


def _find_of_releases(app: App) -> Iterator[Secret]:
    for release in _list_in_use(app):
        with suppress(*_UNREADABLE):
            yield from find_of_release(app, release)


def _list_in_use(app: App) -> Collection[Release]:
    """List the releases whose containers run, or may again: the newest, and those that serve, come and stand by.

    One that cannot be read keeps nobody from finding the others.
    """
    releases, state = Releases(app), RolloutState(app)
    found = dict[str, Release]()
    for find in (releases.find_latest, releases.require_current):
        with suppress(*_UNREADABLE):
            if (release := find()) is not None:
                found[release.id] = release
    for read in (state.read_underway, state.read_standby):
        with suppress(*_UNREADABLE):
            if (rollout := read()) is not None:
                found[rollout.release] = releases.find(rollout.release)
    return found.values()


def _find_of_database(app: App) -> Iterator[Secret]:
    if (owned := credentials.find(app)) is not None:
        yield owned.password


def _find_of_hook(app: App) -> Iterator[Secret]:
    if (hook := webhook.find(app)) is not None:
        yield from hook.secrets


def _find_of_source(app: App) -> Iterator[Secret]:
    yield from (token.secret for token in access.read_tokens(app).values())


_SOURCES = (
    _find_in_env_file,
    _find_in_former_env_files,
    _find_of_releases,
    _find_of_database,
    _find_of_hook,
    _find_of_source,
)


def _unescape(values: Any) -> dict[str, str]:
    """Variables as a container gets them: in a model `$` is `$$`."""
    if not isinstance(values, Mapping):
        return {}
    return {str(name): str(value).replace("$$", "$") for name, value in values.items() if value is not None}


def _list_spellings(form: str) -> Iterator[str]:
    """List what a container may get of a value that is written so. One too many hides nothing that matters."""
    quote = form[:1] if form[:1] in ("'", '"') else ""
    bare = form.removeprefix(quote).removesuffix(quote)
    yield bare
    yield bare.replace("$$", "$")
    yield bare.replace("\\'", "'").replace('\\"', '"')
    yield _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), bare)


def _looks_drawn(value: str) -> bool:
    """Whether something in a value looks drawn by lot: letters and digits in one run, mixed as nobody writes them."""
    if _PLACE.fullmatch(value) and "://" not in value:
        return False
    return any(_is_mixed(run[0]) for run in _RUN.finditer(value)) or any(
        _is_mixed_and_joined(run[0]) for run in _JOINED_RUN.finditer(value)
    )


def _is_mixed_and_joined(run: str) -> bool:
    """Judge a run with signs between; also a long one, which could hold few digits or none by chance."""
    kinds, often = {*_classify(run)}, _count_changes(run)
    if {"d", "u", "l"} <= kinds and often * 4 >= len(run):
        return True
    return (
        _URL_SAFE.fullmatch(run) is not None and {"u", "l"} <= kinds and often * (6 if "d" in kinds else 4) >= len(run)
    )


def _is_mixed(run: str) -> bool:
    if "d" not in _classify(run):
        return {"u", "l"} <= {*_classify(run)} and _count_changes(run) * 3 >= len(run)
    return _count_changes(run) >= (_FEW if len(run) >= _LONG_RUN else _MANY)


def _classify(run: str) -> str:
    return run.translate(_KINDS)


def _count_changes(run: str) -> int:
    kinds = _classify(run)
    return sum(kinds.count(pair) for pair in _PAIRS)
