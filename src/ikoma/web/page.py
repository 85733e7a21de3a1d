"""A page of ours: one document, its style and script inside it, nothing from elsewhere."""

from __future__ import annotations

import html
from pathlib import Path

_STYLE = Path(__file__).with_name("reference.css")
HERE = "http://localhost:3000"
"""Stands for the server's address until a browser asks for the page."""


def render_document(title: str, body: str, script: Path | None = None) -> str:
    """The whole of it.

    Args:
        body: HTML.
    """
    told = f"<script>{script.read_text()}</script>" if script else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE.read_text()}</style></head><body>{body}{told}</body></html>"
    )
