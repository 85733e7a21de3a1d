"""The only place that starts a child process.

Arguments are lists, never shell strings. A child gets a clean environment: never the server's own variables.
It dies with the process that started it (the kernel sees to that, also after `kill -9`), and a cancelled or
timed-out call ends its child with everything the child started.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import threading
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ikoma.errors import ToolMissing

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHUNK = 1 << 20
_LINE_LIMIT = 1 << 20
_CAP_NET_BIND_SERVICE = 10
_LOW_PORTS = ("--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service")


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """The end of a child. `code` is negative for a signal, as in the standard library."""

    code: int
    stdout: bytes
    stderr: bytes


class OutputTooLong(Exception):
    """A child said more than it may, and was ended."""


def make_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that a child may know: where programs are, whose home it is, and what `extra` says."""
    home = pwd.getpwuid(os.geteuid()).pw_dir
    return {"PATH": _PATH, "HOME": home, "LANG": "C.UTF-8", **(extra or {})}


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    user: str | int | None = None,
    timeout: float = 60,
    memory: int | None = None,
    most: int | None = None,
    bare: bool = False,
) -> ProcessResult:
    """Run a program to its end and return what it said.

    Args:
        argv: program and arguments; the program is a path or found on a fixed PATH.
        env: variables besides the clean ones.
        stdin: what the child reads; nothing when omitted.
        user: run as this system user (name or id), without its groups; needs root.
        timeout: seconds, after which the child is killed and TimeoutError raised.
        memory: bytes that it may take.
        most: bytes that it may say, on either stream, before it is killed and OutputTooLong raised; not with `stdin`.
        bare: the child knows the variables of `env` and no others, not even a PATH.
    """
    if memory is not None:
        argv = ["prlimit", f"--data={memory}", "--", *_locate(argv)]
    process = await _start(argv, env, cwd, user, stdin=PIPE if stdin is not None else DEVNULL, bare=bare)
    async with _ProcessEnd(process), asyncio.timeout(timeout):
        if most is None:
            stdout, stderr = await process.communicate(stdin)
        else:
            stdout, stderr = await asyncio.gather(_read(process.stdout, most), _read(process.stderr, most))
            await process.wait()
    return ProcessResult(_read_code(process), stdout, stderr)


async def follow(
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int = DEVNULL,
    timeout: float,
) -> int:
    """Run a program and hand over each line of its output (both streams) as it comes; its exit code.

    Args:
        stdin: the descriptor of an open file that the child reads from where its offset is, and moves; nothing when
            omitted.
    """
    process = await _start(argv, env, cwd, None, stdin=stdin)

    async def read(stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        while line := await _read_line(stream):
            on_line(line.decode(errors="replace").rstrip("\r\n"))

    async with _ProcessEnd(process), asyncio.timeout(timeout):
        await asyncio.gather(read(process.stdout), read(process.stderr))
        await process.wait()
    return _read_code(process)


async def fill(
    argv: Sequence[str],
    *,
    output: int,
    alongside: Callable[[threading.Event], None],
    env: Mapping[str, str] | None = None,
    timeout: float,
) -> ProcessResult:
    """Run a program whose output goes straight to an open file, so that not a byte of it passes through us.

    Args:
        output: the file's descriptor.
        alongside: runs in a thread meanwhile, for example to read what is written. It is told by the event that the
            program has ended, and should then come to its own end.
    """
    process = await _start(argv, env, None, None, stdout=output)
    ended = threading.Event()
    working = asyncio.ensure_future(asyncio.to_thread(alongside, ended))
    try:
        async with _ProcessEnd(process), asyncio.timeout(timeout):
            assert process.stderr is not None
            stderr = await process.stderr.read()
            await process.wait()
    finally:
        ended.set()
        await asyncio.wait([working])
    working.result()
    return ProcessResult(_read_code(process), b"", stderr)


async def serve(
    argv: Sequence[str],
    *,
    log: Path,
    user: str | None,
    env: Mapping[str, str] | None = None,
    dies_with_us: bool = False,
) -> Process:
    """Start a long-lived server; its output goes to the file `log`.

    Args:
        dies_with_us: whether a crash of this process ends it too.
    """
    options = ("--pdeathsig", "KILL") if dies_with_us else ()
    with log.open("ab") as stream:
        return await asyncio.create_subprocess_exec(
            *_locate(_wrap_privileged(_locate(argv), user, *options)),
            stdin=DEVNULL,
            stdout=stream,
            stderr=stream,
            env=make_environment(env),
            cwd="/",
            start_new_session=True,
        )


async def detach(
    argv: Sequence[str],
    *,
    log: Path,
    user: str | None,
    env: Mapping[str, str] | None = None,
    cwd: Path,
    low_ports: bool = False,
) -> None:
    """Start a server that outlives this process however it ends: it is nobody's child, and nobody here knows its pid.

    Args:
        log: the file that its output goes to.
        user: run as this system user, without its groups; needs root.
        env: variables besides the clean ones.
        cwd: what relative paths mean to it.
        low_ports: of root's rights it keeps that to listen on ports below 1024, where we have it ourselves.
    """
    # Not by way of `serve`: asyncio kills a child that still runs when its handle is thrown away.
    keep = _LOW_PORTS if low_ports and user is not None and _may_use_low_ports() else ()
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            *_wrap_privileged(["setsid", "--fork", *_locate(argv)], user, "--no-new-privs", *keep),
            stdin=DEVNULL,
            stdout=stream,
            stderr=stream,
            env=make_environment(env),
            cwd=cwd,
        )
    await process.wait()


def _may_use_low_ports() -> bool:
    status = Path("/proc/self/status").read_text()
    permitted = next(line for line in status.splitlines() if line.startswith("CapPrm:"))
    return bool(int(permitted.split()[1], 16) & 1 << _CAP_NET_BIND_SERVICE)


async def _start(
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: Path | None,
    user: str | int | None,
    *,
    stdin: int = DEVNULL,
    stdout: int = PIPE,
    bare: bool = False,
) -> Process:
    return await asyncio.create_subprocess_exec(
        *_locate(_wrap_privileged(_locate(argv), user, "--pdeathsig", "KILL")),
        stdin=stdin,
        stdout=stdout,
        stderr=PIPE,
        env=dict(env or {}) if bare else make_environment(env),
        cwd=cwd or "/",
        start_new_session=True,
        limit=_LINE_LIMIT,
    )


def _locate(argv: Sequence[str]) -> list[str]:
    program = shutil.which(argv[0], path=_PATH)
    if program is None:
        raise ToolMissing(f"{Path(argv[0]).name} is not installed.")
    return [program, *argv[1:]]


def _wrap_privileged(argv: Sequence[str], user: str | int | None, *options: str) -> list[str]:
    """The command by way of setpriv, which sets the signal on the parent's death and the user."""
    if user is not None:
        ids = (user, user) if isinstance(user, int) else pwd.getpwnam(user)[2:4]
        options = (*options, f"--reuid={ids[0]}", f"--regid={ids[1]}", "--clear-groups")
    return ["setpriv", *options, "--", *argv] if options else list(argv)


async def _read(stream: asyncio.StreamReader | None, most: int) -> bytes:
    assert stream is not None
    said = bytearray()
    while piece := await stream.read(_CHUNK):
        said += piece
        if len(said) > most:
            raise OutputTooLong
    return bytes(said)


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # longer than _LINE_LIMIT: asyncio has dropped it
        return b"[a line of more than 1 MiB was left out]\n"


class _ProcessEnd:
    """Sees that a child and all it started have ended when the block ends, however it ends."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()


def _read_code(process: Process) -> int:
    assert process.returncode is not None
    return process.returncode
