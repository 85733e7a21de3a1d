"""The guides of the documentation as pages of this server: they can be read without any network.

They are the Markdown files of the checkout that IKOMA runs from; where there are none, no page names them. Links lead
to pages of this server or to the network; what is neither stays text.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ikoma.web.page import render_document

if TYPE_CHECKING:
    from markdown_it.token import Token

_FOLDER = Path(__file__).parents[3] / "docs"
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_ELSEWHERE = re.compile(r"https?://")


@cache
def list_guides() -> tuple[str, ...]:
    """Names of the guides: their paths, without `.md`."""
    return tuple(sorted(path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.rglob("*.md")))


@cache
def render_guide(name: str) -> str | None:
    """One of them; None where there is none of that name."""
    if name not in list_guides():
        return None
    from markdown_it import MarkdownIt  # few read a guide here, and each start would pay for it

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(_COMMENT.sub("", (_FOLDER / f"{name}.md").read_text()))
    title = name
    for heading, inside in pairwise(tokens):
        if heading.type == "heading_open":
            title = inside.content if title == name else title
            heading.attrSet("id", _make_anchor(inside.content))
    for token in tokens:
        token.children = _rewrite_links(token.children, posixpath.dirname(name)) if token.children else token.children
    body = reader.renderer.render(tokens, reader.options, {})
    links = '<a href="/docs">Reference</a><a href="/docs/guides/README">Guides</a>'
    return render_document(title.replace("`", ""), f'<nav>{links}</nav><main class="guide">{body}</main>')


def _make_anchor(heading: str) -> str:
    """The name by which links in Markdown files mean a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _rewrite_links(tokens: list[Token], folder: str) -> list[Token]:
    """The tokens of a line, with links that lead somewhere; of images their words are left."""
    from markdown_it.token import Token

    kept, dead = [], False
    for token in tokens:
        if token.type == "image":
            token = Token("text", "", 0, content=token.content)
        if token.type == "link_open":
            href = _find_target(str(token.attrGet("href") or ""), folder)
            dead = href is None
            token.attrSet("href", href or "")
        if not (dead and token.type in ("link_open", "link_close")):
            kept.append(token)
        elif token.type == "link_close":
            dead = False
    return kept


def _find_target(href: str, folder: str) -> str | None:
    """The place that a link leads to here; None where to nothing that is served."""
    if href.startswith("#") or _ELSEWHERE.match(href):
        return href
    path, mark, anchor = href.partition("#")
    name = posixpath.normpath(posixpath.join(folder, path)).removesuffix(".md")
    return f"/docs/guides/{name}{mark}{anchor}" if path.endswith(".md") and name in list_guides() else None
