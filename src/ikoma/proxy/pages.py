"""Pages that people and programs read when no app answers. Each page is whole in itself: it loads nothing.

Nothing of a request gets onto a page, and no page says more than that it is not the reader's fault. Their texts are
files, which Caddy reads when they are needed: in its configuration each would be there once for every app.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikoma.durable import make_folder, write_file

Routes = list[dict[str, Any]]
FOLDER = "pages"

_HTML = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<title>{title}</title><body style="font:17px/1.5 system-ui,sans-serif;max-width:34em;margin:18vh auto;'
    'padding:0 1.5em;color:#222;background:#fafafa"><h1 style="font-size:1.5em">{title}</h1><p>{text}</p></body></html>'
    "\n"
)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer of the proxy's own. `retry` is in how many seconds it is worth asking again."""

    code: str
    status: int | str
    title: str
    text: str
    retry: int | None = None

    def build_routes(self) -> Routes:
        """Caddy's routes that end a request with this page: as JSON for who asks for that, else as HTML."""
        wants_json = [{"header": {"Accept": ["*application/json*"]}}]
        return [
            {"match": wants_json, "handle": [self._answer("application/json", "json")]},
            {"handle": [self._answer("text/html; charset=utf-8", "html")]},
        ]

    def render_texts(self) -> dict[str, str]:
        """The page's files: name → content."""
        problem = {"success": False, "error": f"{self.title}.", "code": self.code, "hint": self.text}
        return {
            f"{self.code}.json": json.dumps(problem) + "\n",
            f"{self.code}.html": _HTML.format(title=self.title, text=self.text),
        }

    def _answer(self, kind: str, suffix: str) -> dict[str, Any]:
        headers = {"Content-Type": [kind], "Cache-Control": ["no-store"], "Server": []}
        if self.retry is not None:
            headers["Retry-After"] = [str(self.retry)]
        body = f"{{file.{FOLDER}/{self.code}.{suffix}}}"
        return {"handler": "static_response", "status_code": self.status, "headers": headers, "body": body}


DOWN = Page("app_down", 503, "Out of service", "This app is not running at the moment. Please come back later.", 30)
MAINTENANCE = Page(
    "app_maintenance", 503, "Back soon", "This app is being worked on. Please come back in a few minutes.", 60
)
SILENT = Page(
    "app_silent",
    "{http.error.status_code}",
    "No answer",
    "This app does not answer at the moment. Please try again in a moment.",
    5,
)
TOO_LARGE = Page("body_too_large", 413, "Too large", "What was sent is larger than this app accepts.")
FAILED = Page("request_failed", "{http.error.status_code}", "That did not work", "The request could not be answered.")
NOBODY = Page("no_app_here", 404, "Nothing here", "No app is served under this name.")
SERVER_AWAY = Page(
    "server_away", 503, "The server does not answer", "It may be starting again. Apps go on. Please ask again.", 5
)
REQUEST_TOO_LARGE = Page("request_too_large", 413, "Too large", "What was sent is larger than this server accepts.")
_ALL = (DOWN, MAINTENANCE, SILENT, TOO_LARGE, FAILED, NOBODY, SERVER_AWAY, REQUEST_TOO_LARGE)


def write(root: Path) -> None:
    """Put the texts of all pages under the folder that Caddy runs in."""
    folder = root / FOLDER
    make_folder(folder, 0o711)
    for page in _ALL:
        for name, content in page.render_texts().items():
            if not (folder / name).is_file() or (folder / name).read_text() != content:
                write_file(folder / name, content, mode=0o644)
