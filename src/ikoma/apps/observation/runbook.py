"""The runbook of one app, written from facts: what a person needs at three in the morning.

It names the release it describes, so that it can be told whether it is current. Values of variables are never in
it, only their names.
"""

from __future__ import annotations

from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.database.backups import BackupManifest, Backups
from ikoma.apps.environment import dotenv
from ikoma.apps.environment.entries import parse_entries
from ikoma.apps.observation.health import HealthObserver, Observation
from ikoma.apps.yaml import file_choice
from ikoma.compose.variable_names import NAME
from ikoma.durable import write_file
from ikoma.errors import IkomaError
from ikoma.model import AppName
from ikoma.settings import Settings

_MOST_BYTES = 1 << 20


async def render_runbook(app: App, health: HealthObserver, backups: Backups, settings: Settings) -> str:
    """Render the runbook's text, from how things are now."""
    return _render(app, await health.observe(app), backups.find_latest(app.name), settings)


async def write_runbook(app: App, health: HealthObserver, backups: Backups, settings: Settings) -> list[str]:
    """Write the app's RUNBOOK.md after a deploy; a warning where it cannot be: the release serves all the same."""
    try:
        write_file(app.runbook, await render_runbook(app, health, backups, settings))
    except (IkomaError, OSError) as error:
        why = error.message if isinstance(error, IkomaError) else f"{error.strerror}."
        return [f"RUNBOOK.md was not written: {why}"]
    return []


def is_current(app: App, release: str | None) -> bool:
    """Whether the app's runbook describes this release."""
    try:
        return _make_mark(release).encode() in app.read_inside(app.runbook, _MOST_BYTES)
    except IkomaError:
        return False


def _make_mark(release: str | None) -> str:
    return f"<!-- release: {release or 'none'} -->"


def _render(app: App, seen: Observation, backup: BackupManifest | None, settings: Settings) -> str:
    release = seen.release
    sections = [
        _make_mark(release.id if release else None),
        f"# Runbook of {app.name}",
        _render_overview(app, seen),
        _render_calls(app, settings),
        _render_variables(app),
        _render_database(app, backup, settings),
        _render_rollback(app, settings),
        _render_trouble(app),
        _CHECKLIST,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _render_overview(app: App, seen: Observation) -> str:
    release = seen.release
    rows = [
        ("Folder", f"`{app.path}`"),
        (
            "Release",
            f"`{release.id}`, deployed {release.started_at} by {release.caller}" if release else "none yet",
        ),
        ("Health", seen.health),
        ("URLs", ", ".join(f"<{url}>" for url in seen.urls) or "none"),
        (
            "Health path",
            f"`{release.web['path']}` on port {release.web['port']}" if release and release.web else "none",
        ),
        ("Database", f"`{app.name.database}`" if credentials.find(app) else "none"),
    ]
    services = "\n".join(
        f"| `{item.service}` | {item.image} | {_render_ports(item.published)} | {item.health or item.state} |"
        for item in seen.containers
    )
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    text = f"| what | value |\n| --- | --- |\n{table}"
    if services:
        text += f"\n\n| service | image | host ports | state |\n| --- | --- | --- | --- |\n{services}"
    return text


def _render_ports(published: tuple[tuple[str, int, int], ...]) -> str:
    return ", ".join(f"{host}:{port} → {inside}" for host, port, inside in published) or "none"


def _render_calls(app: App, settings: Settings) -> str:
    calls = [
        ("Status", "apps.status"),
        ("Health", "apps.health"),
        ("Check the configuration", "apps.validate"),
        ("Deploy", "deploy.up"),
        ("Restart", "deploy.restart"),
        ("Stop", "deploy.down"),
        ("Apply pending migrations", "db.migrate"),
        ("Back up the database", "db.backup"),
        ("Verify the release", "artifact.verify_release"),
    ]
    commands = "\n\n".join(f"# {what}\n{_render_curl(app, name, settings)}" for what, name in calls)
    files = " ".join(f"-f {path}" for path in file_choice.list_paths(app))
    logs = f"docker compose -p {app.name.project} {files} logs -f --tail=100"
    return f"## Operate\n\n```bash\nexport API_KEY=$(cat {settings.api_key_file})\n\n{commands}\n\n# Logs\n{logs}\n```"


def _render_curl(app: App, capability: str, settings: Settings) -> str:
    url = f"http://{settings.http_host}:{settings.http_port}/execute/{capability}"
    return f'curl -X POST {url} -H "X-Api-Key: $API_KEY" -d \'{{"appName":"{app.name}"}}\''


def _render_variables(app: App) -> str:
    written = parse_entries(dotenv.read_bytes(app).decode(errors="replace"))
    names = sorted({entry.name for entry in written if NAME.fullmatch(entry.name)})
    if credentials.find(app):
        names += [name for name in dotenv.DATABASE_NAMES if name not in names]
    listed = "\n".join(f"- `{name}`" for name in names)
    return f"## Variables\n\nNames only; values are in `{app.env_file}` or come from IKOMA.\n\n{listed or 'None.'}"


def _render_database(app: App, backup: BackupManifest | None, settings: Settings) -> str:
    if credentials.find(app) is None:
        return ""
    if backup is None:
        last = "There is no backup yet: call `db.backup`."
        file = settings.backups_root / f"{app.name}-YYYYMMDD-HHMMSS.sql"
    else:
        file = settings.backups_root / backup.name
        rows = sum(backup.tables.values())
        last = (
            f"Last backup: `{file}`, {backup.created_at}, {backup.size} bytes, {rows} rows in "
            f"{len(backup.tables)} tables, sha256 `{backup.sha256}`."
        )
    return (
        f"## Database\n\n{last}\n\n"
        "Restore it over the database. It is one transaction: it equals the backup afterwards, or nothing changed.\n\n"
        f"```bash\n{render_restore(app.name, file)}\n```"
    )


def render_restore(app: AppName, file: Path) -> str:
    """The command that restores a dump by hand; psql takes text alone, so a packed one is unpacked on its way."""
    psql = f"ikoma psql --admin {app}"
    return f"zstd -dc {file} | {psql}" if file.suffix == ".zst" else f"{psql} < {file}"


def _render_rollback(app: App, settings: Settings) -> str:
    return (
        f"## Roll back\n\nTo the release that served before, in one call:\n\n```bash\n"
        f"{_render_curl(app, 'deploy.rollback', settings)}\n```\n\nOr by hand:\n\n```bash\n"
        f"# 1. Stop the version that is wrong\n{_render_curl(app, 'deploy.down', settings)}\n\n"
        "# 2. Restore the database where the new version has changed it (see above)\n\n"
        "# 3. Put the earlier source back: source.checkout with its tag, or files.restore\n\n"
        f"# 4. Deploy it and verify\n{_render_curl(app, 'deploy.up', settings)}\n"
        f"{_render_curl(app, 'artifact.verify_release', settings)}\n```"
    )


def _render_trouble(app: App) -> str:
    return (
        "## When something is wrong\n\n"
        "- **Containers won't start**: `apps.validate` names each problem and its fix; the error of `deploy.up` holds "
        "the last log lines of the service that failed.\n"
        "- **The database does not answer**: `platform.check` tells whether PostgreSQL runs, "
        f"`db.status` whether the database of {app.name} is there.\n"
        "- **The disk is full**: `df -h` and `docker system df` show where; old backups may go once newer ones exist."
    )


_CHECKLIST = """## After each deploy

- [ ] `artifact.verify_release` answers `verified: true`
- [ ] `apps.health` answers `healthy`
- [ ] Database migrations are applied
- [ ] A backup newer than the release exists
- [ ] Alerts are configured
- [ ] This runbook names the current release
- [ ] The team knows"""
