"""Our reader and Compose make the same of odd YAML: it gets what ours wrote anew."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.yaml import form
from ikoma.engines.compose import resolving
from ikoma.model import AppName

WORDS = [
    *("a", "b c", "'q: r'", '"d\\x41\\n\\u2028\\N"', "~", "null", "''", "!!str 5", "!!int '3'", "!!null x", "a#b"),
    *("a #c", "x:y", "[?/x]", "{?a: b}", "? z", "[? a : b]", "{? k : v}", "{? k}", "|\n   l1\n    l2\n"),
    *(">2-\n   l1\n\n   l2\n", '"a\\\n   b"', "a\n   b", "'it''s'", "yes", "On", "0x1f", "0o17", "017", "1_0", "1e3"),
    *(".inf", ".5", "-1", "+1", "1:30", "2001-01-01", "2001-01-01 10:00:00", "=", "<<", "[<<]", "@x", "`x", "%x"),
    *("{a: b}", "[a, b]", "{a: b, c}", "{a, b: }", '{"a":b}', "{a:b}", "[a:b]", '["a":b]', "[a: b]", "[a,b]", "a\tb"),
    *("-", "[-]", "[-1, -a]", "a\xa0b", "\xe4\U0001f600", "a\ufeffb", "&x v", "*m", "*n", "{<<: *m, k: v}"),
    *("{k: v, <<: *m}", "{<<: [*m, *o], p: z}", "{<<: {<<: *o, k: 3}}", "{*n : v}", '{"<<": {k: 1}}'),
    *("{true: x, no: y}", "&a:b c", "*m:", "--- x", "...", "\x7f", "a\x0bb", "{a: [*m, *m, *o]}", "1.10", "true"),
    *("!!bool 'yes'", "!!float 3", "00:00", "08", "0b1", "0b", "1.2.3", "1__0", "++1", "-.inf", ".nan", "NaN", "0x"),
    *("1e"),
]
SIGNS = ["", "", "\t", "\r", "#", " #", "'", '"', ":", "?", "\ufeff", "\\", ",", "&z ", "*n", "!", "%", "]"]
BEFORE = "x-m: &m {k: 1, p: {q: 2}}\nx-o: &o {k: 9, r: 8}\nx-n: &n nn\n"


def documents() -> list[str]:
    choice = random.Random(1)
    found = [f"{BEFORE}x-t: {word}\n" for word in WORDS]
    for _ in range(1500):
        one, two, three = choice.choices(WORDS, k=3)
        text = f"{BEFORE}x-t:\n  - {one}\n  - k: {two}\n    l: {three}\n"
        place = choice.randrange(len(BEFORE), len(text))
        found.append(text[:place] + choice.choice(SIGNS) + text[place:])
    return found


@pytest.fixture(scope="module")
def resolve() -> Any:
    def resolve(content: bytes) -> Any:
        async def run() -> Any:
            return await resolving.resolve(AppName("shop"), Path("/apps/shop"), ["c.yml"], {"c.yml": content})

        return asyncio.run(run())

    return resolve


def test_compose_reads_what_was_checked(resolve: Any) -> None:
    read = [(text, found) for text in documents() if not (found := form.read(text.encode(), "c.yml")).violations]
    assert len(read) > 500
    together = ", ".join(f'"x-{number}": {found.written.decode()}' for number, (_, found) in enumerate(read))
    resolved = resolve(f'{{{together}, "services": {{"web": {{"image": "x"}}}}}}'.encode())
    assert resolved.model is not None, resolved.error
    for number, (text, found) in enumerate(read):
        assert same(found.value, resolved.model[f"x-{number}"]), (text, found.value, resolved.model[f"x-{number}"])


def same(ours: Any, theirs: Any) -> bool:
    """Whether two readings are; ours knows no numbers."""
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list):
        return isinstance(theirs, list) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, bool):
        return ours is not None and ours.lower() == str(theirs).lower()
    if isinstance(theirs, int | float):
        return ours is not None and not ours.isalpha()
    return bool(ours == theirs)


@pytest.mark.parametrize("merged", ["", "\n  <<: {}"])
def test_what_is_written_anew_stands_on_the_lines_of_the_person(merged: str) -> None:
    text = f"x-a: |\n  one\n  two\nservices:{merged}\n  web:\n\n    image: x # c\n    ports:\n    - 80\n    - 90\n"
    written = form.read(text.encode(), "c.yml").written.decode()
    for word in ("services", "web", "image", "ports", "80", "90"):
        assert line_with(written, word) == line_with(text, word)


def line_with(text: str, word: str) -> int:
    return next(number for number, line in enumerate(text.split("\n")) if word in line)
