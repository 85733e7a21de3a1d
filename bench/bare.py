"""A bare Starlette route as yardstick of the HTTP door: it checks a key, parses the body and appends a line to a file.

    python -m bench.bare PORT FILE

The key is in BARE_KEY. It has no roles, limits, hash chain or redaction; the server is the same one, as fast as it can
be configured.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import uvicorn
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ikoma.kernel.access.callers import make_key
from tests.support import free_port

_ROOT = Path(__file__).parents[1]


class Arguments(BaseModel):
    """The body that the route takes."""

    appName: str | None = None  # noqa: N815 - as it is sent


def make_app(key: str, file: Path) -> Starlette:
    digest = hashlib.sha256(key.encode()).digest()
    log = file.open("ab", buffering=0)

    async def answer(request: Request) -> Response:
        given = hashlib.sha256(request.headers.get("x-api-key", "").encode()).digest()
        if not hmac.compare_digest(given, digest):
            return Response(b"{}", 401)
        arguments = Arguments.model_validate_json(await request.body() or b"{}")
        entry = {"time": time.time(), "capability": request.path_params["name"], "app": arguments.appName}
        log.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
        return Response(b'{"success":true,"result":{}}', media_type="application/json")

    return Starlette(routes=[Route("/execute/{name}", answer, methods=["POST"])])


@contextmanager
def serve_bare() -> Iterator[tuple[str, str]]:
    """The address of the route, as a child process of its own, and its key."""
    port, key = free_port(), make_key()
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        argv = [sys.executable, "-m", "bench.bare", str(port), file.name]
        environment = {**os.environ, "BARE_KEY": key}
        # A session of its own, as the server has: on a busy machine the kernel shares the processors among sessions.
        process = subprocess.Popen(argv, cwd=_ROOT, env=environment, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{port}/execute/platform.info"
            _wait_for(url, process)
            yield url, key
        finally:
            process.terminate()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5).close()
        except urllib.error.HTTPError:  # 401: it answers
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the bare route did not start")


if __name__ == "__main__":
    app = make_app(os.environ["BARE_KEY"], Path(sys.argv[2]))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
