"""The folders that apps.init writes: one template per kind of app, plain files that deploy as they stand."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.yaml import file_choice
from ikoma.durable import make_folder, write_file

TEMPLATES = ("node", "python", "static", "dockerfile")
FOLDERS = ("src", "config", "migrations", "seeds")


def write(app: App, template: str | None) -> list[str]:
    """Write what the template has and the app has not; nothing that exists is touched.

    Args:
        template: None for the folders alone.

    Returns:
        The paths that were made, relative to the app's folder.
    """
    made = []
    for folder in (app.path, *(app.path / name for name in FOLDERS)):
        if make_folder(folder, 0o755):
            made.append(f"{folder.relative_to(app.path)}/")
    app.make_state()
    has_compose_file = any(path.is_file() for path in file_choice.list_paths(app))
    for relative, source in _list_files(files("ikoma.apps") / "templates" / template) if template else ():
        target = app.path / relative
        # A compose file under another of its names is the person's own: ours must not shadow it.
        if target.exists() or target.is_symlink() or (has_compose_file and relative == Path("docker-compose.yml")):
            continue
        write_file(target, source.read_bytes())
        made.append(str(relative))
    return [path for path in made if path != "./"]


def is_from_template(relative: str, path: Path) -> bool:
    """Whether a file is as a template has it: nobody has made it their own yet."""
    try:
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
    except OSError:
        return False
    templates = files("ikoma.apps") / "templates"
    kinds = [templates / name for name in TEMPLATES]
    return content is not None and any(
        str(place) == relative and source.read_bytes() == content
        for kind in kinds
        for place, source in _list_files(kind)
    )


def _list_files(folder: Traversable, prefix: Path = Path()) -> list[tuple[Path, Traversable]]:
    found = []
    for item in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if item.name == "__pycache__":  # of what IKOMA itself reads there
            continue
        if item.is_dir():
            found += _list_files(item, prefix / item.name)
        else:
            found.append((prefix / item.name, item))
    return found
