from __future__ import annotations

import json
from pathlib import Path

from ikoma.model import AppName
from ikoma.ports.proxy import Route
from ikoma.proxy.routes import RouteBook


def test_routes_are_read_as_they_were_written(tmp_path: Path) -> None:
    book = RouteBook(tmp_path / "routes.json")
    assert book.read() == []
    routes = [
        Route(AppName("shop"), 20001),
        Route(
            AppName("blog"),
            20002,
            domains=("blog.example.com", "b.example.com"),
            redirects={"www.example.com": "blog.example.com"},
            upstreams=3,
            hold=1.5,
            timeout=120,
            largest_body=1 << 20,
        ),
    ]
    book.write(routes)
    assert book.read() == routes


def test_routes_that_an_earlier_version_wrote_are_read(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    written = {"app": "shop", "port": 20001, "domains": [], "redirects": {}, "slots": 3}
    file.write_text(json.dumps([written | {"hold": 15.0, "timeout": None, "largest_body": None}], indent=1))
    book, before = RouteBook(file), file.stat().st_mtime_ns
    assert book.read() == [Route(AppName("shop"), 20001, upstreams=3)]
    book.write(book.read())
    assert file.stat().st_mtime_ns == before
