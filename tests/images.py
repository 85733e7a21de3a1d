"""Small images that tests run apps from, built here in seconds: busybox and nothing else, and a PostgreSQL."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from ikoma.postgres.server.tools import find_bundled

TAG = "ikoma-test-busybox:1"
POSTGRES_TAG = "ikoma-test-postgres:18"

_DOCKERFILE = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
LABEL ikoma.test=true
"""


@cache
def busybox_image() -> str:
    """The image's tag; it is built where it isn't there."""
    present = subprocess.run(["docker", "image", "inspect", TAG], capture_output=True, check=False).returncode == 0
    if not present:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy("/bin/busybox", folder)
            (Path(folder) / "Dockerfile").write_text(_DOCKERFILE)
            subprocess.run(["docker", "build", "-q", "-t", TAG, folder], check=True, capture_output=True)
    return TAG


_POSTGRES_DOCKERFILE = f"""FROM {TAG}
COPY files /
RUN ["sh", "-c", "mkdir -p /rows /tmp && chown 70:70 /rows && chmod 1777 /tmp"]
ENV PATH=/pg/bin:/bin LD_LIBRARY_PATH=/pg/lib PGDATA=/rows/data PGUSER=postgres
USER 70
CMD ["sh", "-c", "test -d $PGDATA || initdb --auth=trust --username=postgres --no-sync; exec postgres -c listen_addresses=* -c unix_socket_directories=/tmp"]
LABEL ikoma.test=true
"""  # noqa: E501 - one instruction


@cache
def postgres_image() -> str:
    """The tag of an image with a PostgreSQL that an app runs itself; its rows are in /rows."""
    present = subprocess.run(["docker", "image", "inspect", POSTGRES_TAG], capture_output=True, check=False)
    if present.returncode != 0:
        busybox_image()
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "files"
            for part in ("bin", "lib", "share"):
                shutil.copytree(find_bundled() / part, root / "pg" / part, ignore=shutil.ignore_patterns("pgxs", "*.a"))
            for library in _libraries(find_bundled() / "bin" / "postgres") | _libraries(
                find_bundled() / "bin" / "psql"
            ):
                place = root / library.relative_to("/")
                if find_bundled().parent.parent in library.resolve().parents:
                    place = root / "pg" / "lib" / library.name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, place)
            (root / "etc").mkdir()
            (root / "etc" / "passwd").write_text("postgres:x:70:70::/tmp:/bin/sh\n")
            (Path(folder) / "Dockerfile").write_text(_POSTGRES_DOCKERFILE)
            subprocess.run(["docker", "build", "-q", "-t", POSTGRES_TAG, folder], check=True, capture_output=True)
    return POSTGRES_TAG


def _libraries(program: Path) -> set[Path]:
    """The shared libraries that a program needs, where they are on this machine."""
    said = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return {Path(word) for word in said.split() if word.startswith("/")}
