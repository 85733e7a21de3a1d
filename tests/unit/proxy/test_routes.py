from __future__ import annotations

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
            slots=3,
            hold=1.5,
            timeout=120,
            largest_body=1 << 20,
        ),
    ]
    book.write(routes)
    assert book.read() == routes
