"""Packages for builds that have no network: wheels of what this environment has, and a registry of npm packages."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.mcp.node import MODULES

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_wheels(requirements: Path, folder: Path) -> None:
    """Make wheels of the installed packages that a requirements file names, and of what these need."""
    folder.mkdir(exist_ok=True)
    wanted = [found[0] for line in requirements.read_text().splitlines() if (found := _NAME.match(line))]
    done: set[str] = set()
    while wanted:
        name = wanted.pop()
        if re.sub(r"[-_.]+", "-", name).lower() in done:
            continue
        done.add(re.sub(r"[-_.]+", "-", name).lower())
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform or another version of Python
        _write_wheel(distribution, folder)
        needed = [item for item in distribution.requires or [] if "extra ==" not in item]
        wanted += [found[0] for item in needed if (found := _NAME.match(item))]
        if name.lower() == "psycopg":
            wanted.append("psycopg-binary")


def _write_wheel(distribution: metadata.Distribution, folder: Path) -> None:
    about = (distribution.read_text("WHEEL") or "").splitlines()
    tags = [line.partition(": ")[2] for line in about if line.startswith("Tag: ")]
    name = re.sub(r"[-_.]+", "_", distribution.name)
    record: list[str] = []
    with zipfile.ZipFile(folder / f"{name}-{distribution.version}-{tags[0]}.whl", "w") as archive:
        for file in distribution.files or []:
            own = (".dist-info/RECORD", ".dist-info/INSTALLER", ".dist-info/REQUESTED", ".dist-info/direct_url.json")
            if ".." in file.parts or "__pycache__" in file.parts or str(file).endswith(own):
                continue
            content = Path(str(file.locate())).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{file},sha256={digest},{len(content)}")
            archive.writestr(str(file), content)
            if file.name == "METADATA":
                place = f"{file.parent}/RECORD"
        archive.writestr(place, "\n".join([*record, f"{place},,"]) + "\n")


@contextmanager
def npm_registry(address: str) -> Iterator[str]:
    """A registry that has the npm packages of tests/mcp; its URL."""
    assert MODULES.is_dir(), "The npm tools are missing: run scripts/setup node"

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, _, version = self.path.strip("/").partition("/-/")
            known = {_manifest(folder)["version"]: folder for folder in _folders(name)}
            if version in known:
                self._answer(_packed(known[version]))
            elif known:
                self._answer(json.dumps(_document(name, known, f"http://{self.headers['Host']}")).encode())
            else:
                self.send_error(404)

        def _answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer((address, 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{address}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def _folders(name: str) -> list[Path]:
    """Where a package is, in all its versions."""
    found = [MODULES / name, *MODULES.glob(f"*/node_modules/{name}")] if _NAME.fullmatch(name) else []
    return [folder for folder in found if (folder / "package.json").is_file()]


def _document(name: str, known: Mapping[str, Path], host: str) -> dict[str, Any]:
    """Return a registry's document of a package."""
    versions = {
        version: {
            **{key: value for key, value in _manifest(folder).items() if key in _SAID},
            "dist": {"tarball": f"{host}/{name}/-/{version}", "integrity": _integrity(_packed(folder))},
        }
        for version, folder in known.items()
    }
    return {"name": name, "dist-tags": {"latest": next(iter(versions))}, "versions": versions}


_SAID = ("name", "version", "main", "bin", "dependencies", "engines")


@cache
def _manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "package.json").read_text())
    return found


@cache
def _packed(folder: Path) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if path.is_file() and "node_modules" not in relative.parts:
                archive.add(path, f"package/{relative}")
    return target.getvalue()


def _integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
