"""Has the real Compose read an app's files: a copy of them, as a user of its own, with little memory and time."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ikoma.engines.compose import argv
from ikoma.engines.compose.staging import staged, strip_root
from ikoma.engines.docker.readable import parse_log_line
from ikoma.model import AppName
from ikoma.ports.runtime import Resolved
from ikoma.readable import make_readable
from ikoma.run import OutputTooLong, ProcessResult, run

_SECONDS = 30
_MEMORY, _LARGEST_MODEL = 512 << 20, 16 << 20


async def resolve(app: AppName, folder: Path, compose_files: Sequence[str], files: Mapping[str, bytes]) -> Resolved:
    """Let Compose read the files as a user of its own, in a folder of its own (ports/runtime.py: Runtime.resolve)."""
    beside = posixpath.join(posixpath.dirname(compose_files[0]), ".env")
    env_files = [place for place in dict.fromkeys((beside, ".env")) if place in files]
    with staged(folder, files) as (root, place, reader):
        command = argv.print_model(app, [place / path for path in compose_files], [place / path for path in env_files])
        try:
            finished = await run(
                command,
                env=argv.make_reading_environment(),
                bare=True,
                cwd=place,
                user=reader,
                timeout=_SECONDS,
                memory=_MEMORY,
                most=_LARGEST_MODEL,
            )
        except TimeoutError:
            return Resolved(None, f"Compose did not finish reading the file within {_SECONDS} s.")
        except OutputTooLong:
            return Resolved(None, f"With its variables the file is larger than {_LARGEST_MODEL >> 20} MiB.")
        said = (strip_root(root, part) for part in (finished.stdout, finished.stderr))
        moved = ProcessResult(finished.code, *said)
    return _read_answer(moved)


def _read_answer(finished: ProcessResult) -> Resolved:
    stderr = finished.stderr.decode(errors="replace").split("\ngoroutine ")[0]
    if "out of memory" in stderr:
        return Resolved(None, f"Compose takes more than {_MEMORY >> 20} MiB of memory to read the file.")
    lines = [make_readable(line).strip() for line in stderr.splitlines()]
    logged = [entry for entry in map(parse_log_line, lines) if entry is not None]
    warnings = tuple(dict.fromkeys(message for level, message in logged if level == "warning"))
    if finished.code != 0:
        said = [line for line in lines if line and parse_log_line(line) is None]
        error = " ".join(said or [message for _, message in logged]) or "Compose refused the file."
        return Resolved(None, error, warnings)
    model: dict[str, Any] = orjson.loads(finished.stdout)
    if not model.get("services"):
        return Resolved(None, "The file has no services.")
    return Resolved(model, None, warnings)
