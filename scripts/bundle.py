"""One file with which a machine without a network installs IKOMA: sources, wheels, images, install.sh and checksums.

    python scripts/bundle.py FOLDER [--python 3.11 ...] [--sign KEYFILE]

Two builds of one commit are equal, byte for byte, as long as the images they build upon are: files are sorted and have
the commit's time, images are one layer without what every build writes differently, and wheels are pinned by hash.
A signature is one more file, by an Ed25519 key the same each time.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ikoma import __version__

ROOT = Path(__file__).parents[1]
PARTS = (
    *("install.sh", "Makefile", "README.md", "LICENSE", "pyproject.toml"),
    *("deploy", "src", "requirements/run.txt", "requirements/build.txt"),
    *("scripts/setup", "scripts/engine.sh"),
)
PYTHONS = ("3.11", "3.12", "3.13")
"""Versions of the systems that install.sh knows, and of IKOMA's image."""
NAMESPACE = "ikoma-bundle"
"""The purpose of a signature, so that one made for something else is none."""
POSTGRES = os.environ.get("POSTGRES_IMAGE", "postgres:18")

_OF_A_BUILD = (
    "var/log/",
    "var/cache/",
    "var/lib/apt/",
    "tmp/",
    "run/",
    "root/.cache/",
    "build/",
    "dev/",
    "proc/",
    "sys/",
)
_OF_A_CONTAINER = (".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab")


def main() -> None:
    """Make the bundle and print its name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="where the bundle is to lie")
    parser.add_argument("--python", nargs="+", default=PYTHONS, help="versions of Python to bring wheels for")
    parser.add_argument(
        "--sign", type=Path, metavar="KEYFILE", help="a key of ssh-keygen, or its .pub where an agent has it"
    )
    options = parser.parse_args()
    print(make_bundle(options.folder, options.python, options.sign))


def make_bundle(folder: Path, pythons: tuple[str, ...], key: Path | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"ikoma-{__version__}-{platform.machine()}"
    with tempfile.TemporaryDirectory() as place:
        staged = Path(place) / name
        _stage(staged)
        fetch_wheels(staged / "wheels", pythons)
        image = _output(str(ROOT / "scripts" / "image"), str(staged)).strip()
        with gzip.GzipFile(staged / "images.tar.gz", "wb", compresslevel=6, mtime=0) as packed:
            written = write_images(packed, image)  # type: ignore[arg-type]
        (staged / "images.txt").write_text("".join(f"{tag} {identity}\n" for tag, identity in written.items()))
        write_checksums(staged)
        if key is not None:
            sign(staged / "SHA256SUMS", key)
        return _pack(staged, folder / f"{name}.tar")


def _stage(staged: Path) -> None:
    for file in _output("git", "-C", str(ROOT), "ls-files", "-z", "--", *PARTS).split("\0"):
        if file:
            (staged / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, staged / file)


def fetch_wheels(wheels: Path, pythons: Sequence[str]) -> None:
    """Have in a folder the wheels that these versions of Python need, each as its hash says."""
    locked = [word for name in ("run", "build") for word in ("-r", str(ROOT / "requirements" / f"{name}.txt"))]
    machine = platform.machine()
    fitting = [
        word for libc in ("2014", "_2_17", "_2_28", "_2_34") for word in ("--platform", f"manylinux{libc}_{machine}")
    ]
    for python in pythons:
        chosen = ["--only-binary=:all:", "--python-version", python, *fitting]
        fetching = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes", *chosen, *locked]
        subprocess.run([*fetching, "-d", str(wheels)], check=True)


def write_images(target: IO[bytes], image: str) -> dict[str, str]:
    """Write IKOMA's image and PostgreSQL's as one archive for `docker load`, equal for equal contents; their ids."""
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        manifest = [_write_flat(archive, image), *_write_saved(archive, POSTGRES)]
        _add(archive, "manifest.json", json.dumps(manifest, sort_keys=True).encode())
    return {entry["RepoTags"][0]: f"sha256:{entry['Config'].removesuffix('.json')}" for entry in manifest}


def _write_flat(archive: tarfile.TarFile, image: str) -> dict[str, Any]:
    """Write an image as one layer, without what each build writes anew; its entry in the manifest."""
    about = json.loads(_output("docker", "image", "inspect", image))[0]
    with tempfile.TemporaryFile() as layer:
        with _exported(image) as exported, tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as flat:
            _flatten(exported, flat)
        digest = _digest(layer)
        config = {
            "architecture": about["Architecture"],
            "config": {
                name: about["Config"][name]
                for name in ("Env", "Cmd", "Entrypoint", "WorkingDir")
                if about["Config"][name]
            },
            "created": "1970-01-01T00:00:00Z",
            "os": about["Os"],
            "rootfs": {"diff_ids": [f"sha256:{digest}"], "type": "layers"},
        }
        size = layer.seek(0, os.SEEK_END)
        layer.seek(0)
        archive.addfile(_member(f"{digest}.tar", size), layer)
    text = json.dumps(config, sort_keys=True).encode()
    named = f"{hashlib.sha256(text).hexdigest()}.json"
    _add(archive, named, text)
    return {"Config": named, "RepoTags": [image], "Layers": [f"{digest}.tar"]}


@contextmanager
def _exported(image: str) -> Iterator[tarfile.TarFile]:
    container = _output("docker", "create", image).strip()
    try:
        with (
            subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as process,
            tempfile.TemporaryFile() as whole,
        ):
            assert process.stdout is not None
            shutil.copyfileobj(process.stdout, whole, 1 << 20)
            whole.seek(0)
            with tarfile.open(fileobj=whole) as archive:
                yield archive
    finally:
        subprocess.run(["docker", "rm", container], check=True, capture_output=True)


def _flatten(exported: tarfile.TarFile, flat: tarfile.TarFile) -> None:
    """Take over what lasts, sorted and without dates."""
    for member in sorted(exported.getmembers(), key=lambda member: member.name):
        if member.name.startswith(_OF_A_BUILD) and f"{member.name}/" not in _OF_A_BUILD:
            continue
        if member.name in _OF_A_CONTAINER:
            continue
        member.mtime = 0
        member.pax_headers = {}
        flat.addfile(member, exported.extractfile(member) if member.isreg() else None)


def _write_saved(archive: tarfile.TarFile, image: str) -> Iterator[dict[str, Any]]:
    """Write an image as it is, each file by the digest of its contents; its entry in the manifest."""
    with tempfile.TemporaryFile() as whole:
        subprocess.run(["docker", "save", image], stdout=whole, check=True)
        whole.seek(0)
        with tarfile.open(fileobj=whole) as saved:
            for entry in json.load(_file(saved, "manifest.json")):
                names = {name: _take(archive, saved, name) for name in (entry["Config"], *entry["Layers"])}
                layers = [names[name] for name in entry["Layers"]]
                yield {"Config": names[entry["Config"]], "RepoTags": [image], "Layers": layers}


def _take(archive: tarfile.TarFile, saved: tarfile.TarFile, name: str) -> str:
    content = _file(saved, name)
    named = _digest(content) + (".tar" if name.endswith(".tar") else ".json" if name.endswith(".json") else "")
    size = content.seek(0, os.SEEK_END)
    content.seek(0)
    archive.addfile(_member(named, size), content)
    return named


def _file(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)  # it follows links
    assert found is not None, name
    return found


def _digest(content: IO[bytes]) -> str:
    content.seek(0)
    digest = hashlib.sha256()
    while part := content.read(1 << 20):
        digest.update(part)
    content.seek(0)
    return digest.hexdigest()


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_member(name, len(content)), io.BytesIO(content))


def write_checksums(staged: Path) -> None:
    files = sorted(path for path in staged.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(staged)}\n" for path in files]
    (staged / "SHA256SUMS").write_text("".join(lines))


def sign(file: Path, key: Path) -> None:
    """Sign a file for install.sh; the signature lies beside it."""
    said = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-f", key, "-n", NAMESPACE, file], stderr=subprocess.PIPE, text=True
    )
    if said.returncode != 0:
        raise SystemExit(f"✗ The bundle is not signed: {said.stderr.strip()}")


def _pack(staged: Path, bundle: Path) -> Path:
    made = _output("git", "-C", str(ROOT), "log", "-1", "--format=%ct").strip()
    same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", f"--mtime=@{made}", "--mode=u=rwX,go=rX"]
    subprocess.run(["tar", "-C", str(staged.parent), *same, "-cf", str(bundle), staged.name], check=True)
    with bundle.open("rb") as content:
        bundle.with_suffix(".tar.sha256").write_text(f"{_digest(content)}  {bundle.name}\n")
    return bundle


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
