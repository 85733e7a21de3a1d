"""What people and programs read when no app answers. Each page is whole in itself: it loads nothing.

Nothing of a request gets onto a page, and no page says more than that it is not the reader's fault.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Routes = list[dict[str, Any]]

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

    def routes(self) -> Routes:
        """Caddy's routes that end a request with this page: as JSON for who asks for that, else as HTML."""
        problem = {"success": False, "error": f"{self.title}.", "code": self.code, "hint": self.text}
        wants_json = [{"header": {"Accept": ["*application/json*"]}}]
        return [
            {"match": wants_json, "handle": [self._answer("application/json", json.dumps(problem) + "\n")]},
            {"handle": [self._answer("text/html; charset=utf-8", _HTML.format(title=self.title, text=self.text))]},
        ]

    def _answer(self, kind: str, body: str) -> dict[str, Any]:
        headers = {"Content-Type": [kind], "Cache-Control": ["no-store"], "Server": []}
        if self.retry is not None:
            headers["Retry-After"] = [str(self.retry)]
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
