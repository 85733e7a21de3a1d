"""An app's database password: made once, kept 0600 under `.ikoma`, given to nothing but its containers."""

from __future__ import annotations

import secrets

import orjson

from ikoma.app_folder import App
from ikoma.durable import write_file
from ikoma.errors import DatabaseMissing
from ikoma.model import Secret
from ikoma.ports.databases import Credentials, Endpoint

_FILE = "database.json"


def obtain(app: App, former: Secret | None = None) -> Credentials:
    """Obtain the app's credentials, made now when it has none.

    Args:
        former: the password that it had before it was removed.
    """
    found = find(app)
    if found is None:
        password = secrets.token_urlsafe(24) if former is None else former.reveal()
        content = orjson.dumps({"database": app.name.database, "role": app.name.role, "password": password})
        write_file(app.make_state() / _FILE, content, mode=0o600)
        found = Credentials(app.name.database, app.name.role, Secret(password))
    return found


def find(app: App) -> Credentials | None:
    """Find the app's credentials, or None before db.create."""
    stored = app.read_state(_FILE)
    if stored is None:
        return None
    return Credentials(stored["database"], stored["role"], Secret(stored["password"]))


def require(app: App) -> Credentials:
    found = find(app)
    if found is None:
        raise DatabaseMissing(f"{app.name} has no database yet.")
    return found


def forget(app: App) -> None:
    (app.state / _FILE).unlink(missing_ok=True)


def list_parts(credentials: Credentials, endpoint: Endpoint) -> dict[str, str]:
    """List what reaches the app's own database, with TLS or without."""
    host, port, password = endpoint.host, str(endpoint.port), credentials.password.reveal()
    # Role names and passwords are made of URL-safe characters only, so nothing needs quoting.
    before, after = f"postgresql://{credentials.role}:{password}@{host}:", f"/{credentials.database}"
    tls_port = str(endpoint.tls_port or port)
    return {
        "user": credentials.role,
        "password": password,
        "host": host,
        "port": port,
        "name": credentials.database,
        "url": f"{before}{port}{after}",
        "tls_port": tls_port,
        "tls_url": f"{before}{tls_port}{after}?sslmode=require",
        "ca": endpoint.certificate or "",
    }
