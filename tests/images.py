"""One small image that tests run apps from: busybox and nothing else, built here in under a second."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

TAG = "ikoma-test-busybox:1"

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
