"""A guestbook: a page, a small JSON API and a health check, over one table in PostgreSQL.

IKOMA gives the container PORT and DATABASE_URL. Every request opens a connection of its own, so the app is well
again by itself as soon as its database is.
"""

import json
import os
import signal
import sys
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from urllib.parse import parse_qs

import psycopg
from psycopg.rows import dict_row

PAGE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
COLUMNS = "id, name, message, mood, to_char(written_at, 'YYYY-MM-DD HH24:MI') AS written_at"
LARGEST_BODY = 16 * 1024  # bytes


def connect() -> psycopg.Connection:
    return psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=3, row_factory=dict_row)


def entries() -> list[dict]:
    with connect() as connection:
        return connection.execute(f"SELECT {COLUMNS} FROM entries ORDER BY id DESC LIMIT 50").fetchall()


def add_entry(name: object, message: object, mood: object = None) -> dict:
    with connect() as connection:
        return connection.execute(
            f"INSERT INTO entries (name, message, mood) VALUES (%s, %s, coalesce(%s, '👋')) RETURNING {COLUMNS}",
            (str(name).strip(), str(message).strip(), mood),
        ).fetchone()


class Guestbook(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            if self.path == "/":
                self.answer(200, page(entries()), "text/html; charset=utf-8")
            elif self.path == "/api/entries":
                self.answer_json(200, entries())
            elif self.path == "/health":
                with connect() as connection:
                    connection.execute("SELECT 1 FROM entries LIMIT 1")
                self.answer_json(200, {"status": "ok"})
            else:
                self.answer_json(404, {"error": "there is no such page"})
        except psycopg.Error as error:
            self.answer_json(503, {"error": f"the database does not answer: {type(error).__name__}"})

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if size > LARGEST_BODY:
            return self.answer_json(413, {"error": "that is too long"})
        body = self.rfile.read(size)
        try:
            if self.path == "/api/entries":
                sent = json.loads(body)
                self.answer_json(201, add_entry(sent["name"], sent["message"], sent.get("mood")))
            elif self.path == "/":
                form = parse_qs(body.decode())
                add_entry(form["name"][0], form["message"][0], form.get("mood", [None])[0])
                self.answer(303, "", location="/")
            else:
                self.answer_json(404, {"error": "there is no such page"})
        except (ValueError, KeyError, TypeError, AttributeError):
            self.answer_json(400, {"error": "an entry has a name and a message"})
        except psycopg.IntegrityError:
            self.answer_json(422, {"error": "a name has 1 to 60 characters, a message 1 to 500"})
        except psycopg.Error as error:
            self.answer_json(503, {"error": f"the database does not answer: {type(error).__name__}"})

    def answer(self, status: int, text: str, content_type: str = "text/plain", location: str | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def answer_json(self, status: int, value: object) -> None:
        self.answer(status, json.dumps(value, ensure_ascii=False) + "\n", "application/json")


def page(rows: list[dict]) -> str:
    items = "\n".join(
        f"<li><span>{escape(row['mood'])}</span><p>{escape(row['message'])}</p>"
        f"<footer>{escape(row['name'])}, <time>{row['written_at']}</time></footer></li>"
        for row in rows
    )
    return PAGE.substitute(entries=items or "<li><p>Nobody has written yet. Be the first!</p></li>", count=len(rows))


class Server(ThreadingHTTPServer):
    daemon_threads = False  # answers that have begun are finished before the process ends


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(("", int(os.environ.get("PORT", "3000"))), Guestbook) as server:
        print(f"The guestbook is open on port {server.server_port}", flush=True)
        server.serve_forever()
