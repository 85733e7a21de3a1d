"""Findings made of what Compose says of a file that it refuses: its words where they help, and the smallest change."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path

from ikoma.apps.policy import model as policy
from ikoma.apps.resolution.remaining_errors import Refusal
from ikoma.apps.validation.finding import Finding

_PLACE = re.compile(r"(services|networks|volumes|configs|secrets)\b")
_FILE = re.compile(r"^validating [^:]+: *")
_DECODED = re.compile(r"^'services\[([^\]]+)\](\S*)' ")
_TOP = (*policy.TOP, "services", "include")
_LIST = "Write a list: put it in [ ], or each item on a line of its own that begins with a dash."
_PORT = "Write a port as a number, or HOST:CONTAINER such as 8080:80."
_SIZE = "Write a size such as 512m or 2g."
_NOWHERE = "Correct the file; `docker compose config` shows the same error."
_OTHER_NAMES = {
    "cmd": "command",
    "depends": "depends_on",
    "env": "environment",
    "envs": "environment",
    "mem": "mem_limit",
    "memory": "mem_limit",
    "name": "container_name",
    "variables": "environment",
}
"""Keys of other tools → those of Compose."""

Words = str | Callable[[re.Match[str]], str]
"""A text in which groups of the pattern may stand, as `re` expands them; or what makes one."""


def _word_key_change(found: re.Match[str]) -> str:
    """The change of a key that no service has, or no file."""
    key, known = found[2], _TOP if not found[1] else policy.SERVICE
    meant = _OTHER_NAMES.get(key) if found[1] else None
    near = [meant] if meant else difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if near:
        return f"Write `{near[0]}` instead of `{key}`."
    if not found[1]:
        return "Indent it below a `services:` line where it is one, or remove it."
    return (
        "Indent it below `environment:`." if key.isupper() else "Correct the key's name or indentation, or remove it."
    )


def _word_undefined(found: re.Match[str]) -> str:
    kind, name = found[1], found[2]
    made_of = f"{{file: ./{name}}}" if kind in ("config", "secret") else "{}"
    also = "" if kind == "service" else f" at the top level: `{kind}s: {{{name}: {made_of}}}`"
    return f"Define the {kind} {name}{also}, or remove it here."


_KNOWN: tuple[tuple[re.Pattern[str], Words | None, Words], ...] = tuple(
    (re.compile(pattern, re.DOTALL), said, fix)
    for pattern, said, fix in (
        (
            r"^.*required variable (\w+) is missing a value(?:: (.*?))?\.?$",
            lambda found: ": ".join(filter(None, [f"The variable {found[1]} is required, and has no value", found[2]])),
            r"Set \1 in .env.",
        ),
        (r'undefined (service|network|volume|config|secret) "?([^":\s]+)"?', None, _word_undefined),
        (r"^()additional propert\w+ '([^']+)' not allowed$", r"The file has no key \2", _word_key_change),
        (r"^(services\.[^.\s]+)\.(\S+) is an unknown key", None, _word_key_change),
        (
            r"^(\S+?)\.?\[?\d*\]?: unexpected type map.*",
            r"\1 has a mapping as an item of its list",
            "Write `NAME=value` there.",
        ),
        (
            r"^(env|label) file (\S+) not found.*",
            r"There is no file \2",
            "Create the file (apps.env.example gives a start), or mark it `required: false`.",
        ),
        (
            r'^cannot extend service "([^"]+)" in \S+ service "([^"]+)" not found',
            r"\1 extends a service \2 that is not there",
            "Correct the name below `extends`, or remove it.",
        ),
        (r"no such file", None, "Bring the file into the app's folder, or remove the line."),
        (r"neither an image nor a build", None, "Give the service an image or a build."),
        (
            r"^empty compose file",
            "The file has no services",
            "Write `services:`, below it a name such as `web:`, and below that its `image:` or `build:`.",
        ),
        (
            r"^The file has no services",
            "No service runs: the file has none, or all have `profiles`",
            "Set COMPOSE_PROFILES in .env to one of the profiles, or take `profiles` from what is to run.",
        ),
        (r"^(\S+) must be a array", r"\1 takes a list", _LIST),
        (
            r"^(\S+) must be a null",
            r"\1 takes text, or a list of texts",
            "Put the value in quotes, or write a list of texts.",
        ),
        (
            r"^(\S+) must be a boolean, null, number or string",
            r"\1 takes one value, no list or mapping",
            "Write one value, in quotes where it is text.",
        ),
        (
            r"(?:interpolating )?(services\S+): (?:failed to cast.* )?strconv\.\w+:.*",
            r"\1 takes a number",
            "Write a number.",
        ),
        (
            r".*interpolating (\S+): failed to cast.* invalid boolean.*",
            r"\1 takes true or false",
            "Write true or false.",
        ),
        (r"dditional propert", None, "Correct the key's name or indentation, or remove it."),
        (r"must be a string", None, "Write it as one text, in quotes."),
        (r"must be a mapping", None, "Write it as `key: value` lines, indented below this one."),
        (r"value must be", None, "Write what is named here, or remove the line."),
        (
            r"^(\S*pull_policy) .* does not match pattern.*",
            r"\1 has a value that is none",
            "Write always, missing, build or never.",
        ),
        (
            r"^(\S+) .*does not match pattern.*",
            r"\1 has a form that it cannot have",
            "Write it as Compose's reference says.",
        ),
        (r"missing (?:a mount target|property 'target')", None, "Add `target:`, the path in the container."),
        (r"missing a target port", None, "Add `target:`, the port in the container."),
        (r"missing IP", None, "Write NAME:ADDRESS."),
        (r"invalid interpolation", None, "Close the variable with }, or write $$ for a plain $."),
        (r"dependency cycle", None, "Take one of these out of depends_on."),
        (r"mutually exclusive|distinct values|conflicting", None, "Remove one of the two."),
        (r"[dD]uration", None, "Write a time with its unit, such as 30s or 5m."),
        (r"invalid size", None, _SIZE),
        (r"invalid ranges", None, "Give both sides as many ports, such as 8000-8002:80-82."),
        (r"[pP]ort\b|IP address", None, _PORT),
        (r"too many colons|invalid spec", None, "Write a mount as SOURCE:TARGET or SOURCE:TARGET:ro."),
        (r"healthcheck\.test", None, "Begin the list with CMD or CMD-SHELL."),
    )
)
"""Words of Compose → the same for a person, where they say little, and what to change."""


def find_compose_error(refusal: Refusal, folder: Path) -> Finding:
    """Make a finding of one message.

    Args:
        folder: the app's, which Compose names in paths.
    """
    text = _DECODED.sub(r"services.\1\2: ", _FILE.sub("", refusal.message.strip())).replace(f"{folder}/", "")
    text = text.replace(" false schema", " is an unknown key").removesuffix(": invalid compose project")
    for pattern, words, fix in _KNOWN:
        if found := pattern.search(text):
            said = text if words is None else _say(words, found)
            return Finding(*refusal.at, _make_sentence(said), _say(fix, found))
    return Finding(*refusal.at, _make_sentence(text), _NOWHERE)


def _say(words: Words, found: re.Match[str]) -> str:
    return found.expand(words) if isinstance(words, str) else words(found)


def _make_sentence(said: str) -> str:
    said = said if _PLACE.match(said) else said[:1].upper() + said[1:]
    return f"{said.rstrip('.')}."
