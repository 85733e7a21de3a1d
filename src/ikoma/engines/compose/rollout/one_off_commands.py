"""Commands that run once in a container of their own: an app's release command, and those that people ask for.

While one runs, `.ikoma/command.json` names its container, so that what a killed server leaves is removed before
anything else is done with the app. Callers hold the app's lock.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress

import orjson

from ikoma.app_folder import App
from ikoma.durable import write_file
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.docker.containers import ContainerNotStarted
from ikoma.errors import CommandNotStarted, CommandTimedOut, EngineUnavailable
from ikoma.kernel.redaction.redaction import redact
from ikoma.ports.progress import Progress
from ikoma.ports.rollout import CommandOutput

_LONGEST_LINE = 2000
_SHOWN = 20
_FILE = "command.json"


async def run(
    engine: ComposeEngine,
    app: App,
    like: str,
    service: str,
    command: Sequence[str],
    *,
    timeout: float,
    progress: Progress,
    output: CommandOutput,
) -> int:
    """Run a command as a container of a service would; its exit code.

    Args:
        like: the id of that container.
        timeout: seconds, after which it is ended.
        progress: told of each line, as `service | line`.
        output: takes the lines, without secrets of the app.

    Raises:
        CommandNotStarted, CommandTimedOut
    """
    hidden = engine.find_secrets(app.name).texts

    async def hear(text: str) -> None:
        line = redact(text, hidden)[:_LONGEST_LINE]
        output.last.append(line)
        output.count += 1
        progress(f"{service} | {line}")
        await asyncio.sleep(0)  # whoever follows may take it before the next

    name = f"{app.name.project}-{service}-once-{secrets.token_hex(4)}"
    write_file(app.make_state() / _FILE, orjson.dumps({"container": name}), mode=0o600)
    try:
        ended = await engine.run_once(app.name, like, command, name=name, on_line=hear, timeout=timeout)
    except ContainerNotStarted as error:
        said = f"The command of {service} could not be started"
        raise CommandNotStarted(f"{said}: {error}", audit_message=f"{said}.") from error
    except TimeoutError:
        said = f"The command of {service} did not end within {timeout:g} s, and was ended."
        raise CommandTimedOut(said, service=service, exitCode=None, logs=output.lines[-_SHOWN:]) from None
    finally:
        with suppress(EngineUnavailable):  # then whoever works on the app next removes it
            await asyncio.shield(tidy(engine, app))
    if ended.out_of_memory:
        await hear("[it was ended: it needed more memory than the service may have]")
    return ended.exit_code


def is_left(app: App) -> bool:
    """Whether a command was running when its server was killed."""
    return (app.state / _FILE).exists()


async def tidy(engine: ComposeEngine, app: App) -> bool:
    """End and remove what a killed server has left of a command; whether there was one."""
    left = app.read_state(_FILE)
    if left is None:
        return False
    await engine.remove_containers([str(left["container"])], volumes=False)
    (app.state / _FILE).unlink(missing_ok=True)
    return True
