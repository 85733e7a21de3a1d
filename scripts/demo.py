"""`make demo`: an app with a database goes through the whole runbook, on temporary folders, before your eyes.

It starts IKOMA as a person would and then only speaks HTTP to it, in the runbook's order. Whatever happens, Ctrl-C
included, it leaves no container, volume, network, image or folder of its own behind. Exit status 0 means that the
release was verified.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiodocker

import images
import traffic
from story import Step, Story, plural, uninterrupted

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "guestbook"
BASE_IMAGE = "python:3.13-slim"  # of apps.init's template "python"
PROJECT = "com.docker.compose.project"  # the label on everything that Compose makes
START_PATIENCE = 180.0  # seconds until the server answers
STOP_PATIENCE = 90.0  # seconds until it has stopped
CALL_PATIENCE = 300.0  # seconds between two lines of an answer


class Failed(Exception):
    """The demo failed; below it says what helps."""

    def __init__(self, message: str, *details: str, code: str = "") -> None:
        super().__init__(message)
        self.details = details
        self.code = code


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    story = Story()
    story.title(
        "IKOMA", "A guestbook with a PostgreSQL table goes through the runbook, from nothing to a verified release."
    )
    folder = Path(tempfile.mkdtemp(prefix="ikoma-demo-"))
    folder.chmod(0o711)  # PostgreSQL runs as a user of its own and must pass through
    demo = Demo(story, Server(folder), app=f"guestbook-{secrets.token_hex(2)}")
    verified = False
    try:
        verified = demo.run()
    except Failed as failure:
        story.failure(str(failure), *failure.details, *demo.server.kept_log())
    except aiodocker.DockerError as error:
        story.failure(f"Docker: {error}")
    except KeyboardInterrupt:
        story.failure("Stopped by you.")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        clean = demo.clean_up()
    story.ending(verified)
    return 0 if verified and clean else 1


class Demo:
    """The runbook's five phases, told step by step."""

    def __init__(self, story: Story, server: Server, app: str) -> None:
        self.story = story
        self.server = server
        self.app = app
        self.folder = server.apps_root / app

    def run(self) -> bool:
        self.prepare()
        self.initialise()
        self.configure()
        self.create_database()
        address = self.deploy()
        self.deploy_again(address)
        verified = self.verify()
        self.bring_back(address)
        self.prove_backup()
        return verified

    def prepare(self) -> None:
        self.story.phase("Getting ready")
        with self.story.step("base image", BASE_IMAGE) as step:
            asyncio.run(images.ensure([BASE_IMAGE], say=step.says))
        with self.story.step("ikoma up") as step:
            version = self.server.start()
            step.says(f"IKOMA {version} and its own PostgreSQL answer at {self.server.address}")
        with self.call("platform.check", "observer") as (step, result):
            if not result["healthy"]:
                away = ", ".join(name for name, well in result["checks"].items() if not well)
                raise Failed(f"The platform is not healthy: {away}.", json.dumps(result.get("details", {})))
            step.says("Docker, PostgreSQL and the apps folder are well")

    def initialise(self) -> None:
        self.story.phase("Phase 1 · Initialise")
        with self.call("apps.init", "builder", template="python") as (step, result):
            step.says(f"a folder that deploys as it stands: {len(result['details']['files'])} files and folders")

    def configure(self) -> None:
        self.story.phase("Phase 2 · Configure")
        with self.call("apps.env.example", "observer") as (step, result):
            names = [line.split("=")[0] for line in result.splitlines() if "=" in line and not line.startswith("#")]
            step.says(f"a template to fill in: {', '.join(names)}")
        with self.story.step(".env") as step:
            (self.folder / ".env").write_text(
                "PORT=3000\n"
                "NODE_ENV=production\n"
                f"POSTGRES_DB={self.app}\n"
                "POSTGRES_USER=ikoma\n"
                f"POSTGRES_PASSWORD={secrets.token_urlsafe(16)}\n"
            )
            step.says("written by hand, as the runbook shows it")
        with self.story.step("source") as step:
            for part in ("src", "migrations", "seeds"):
                shutil.copytree(EXAMPLE / part, self.folder / part, dirs_exist_ok=True)
            vendor_packages(self.folder / "src")
            step.says("examples/guestbook copied into src/, migrations/ and seeds/")

    def create_database(self) -> None:
        self.story.phase("Phase 3 · Database")
        with self.call("db.create", "builder") as (step, result):
            step.says(f"database {result['name']}, which only its own role {result['role']} may enter")
        with self.call("db.migrate", "builder") as (step, result):
            step.says(f"applied {', '.join(map(str, result['applied']))}, each in one transaction")
        with self.call("db.seed", "builder") as (step, _):
            step.says("entries to begin with, from seeds/")
        with self.call("db.status", "observer") as (step, result):
            pending = plural(len(result["migrations"]["pending"]), "migration")
            step.says(f"{plural(len(result['tables']), 'table')}: {', '.join(result['tables'])}; {pending} pending")

    def deploy(self) -> str:
        """The address under which the app is reached."""
        self.story.phase("Phase 4 · Deploy")
        with self.call("apps.validate", "observer") as (step, result):
            if not result["valid"]:
                raise Failed("The app does not validate.", *map(json.dumps, result["errors"]))
            step.says(f"no errors, {plural(len(result['warnings']), 'warning')}")
            for warning in result["warnings"]:
                step.adds(warning["problem"])
        with self.call("deploy.up", "operator") as (step, result):
            step.says(f"release {result['details']['release']}: built, started, and every service healthy")
        with self.call("apps.status", "observer") as (step, result):
            step.says(f"{result['health']}: {', '.join(service['container'] for service in result['services'])}")
            address = result["urls"][0]
        with self.call("apps.health", "observer") as (step, result):
            if result["health"] != "healthy":
                raise Failed(f"The app is {result['health']}.", json.dumps(result["details"]))
            step.says("containers, health path and database all answer")
        with self.story.step("the app itself") as step:
            written = self.sign(address)
            step.says(f"“{written['message']}” written through {address} and read back, entry {written['id']}")
        return str(address)

    def deploy_again(self, address: str) -> None:
        """A second release goes live and is left again, while requests come in all the time."""
        self.story.phase("A second release, under load")
        page = self.folder / "src" / "page.html"
        page.write_text(page.read_text().replace("</title>", " (second release)</title>"))
        with traffic.steady(f"{address}/", rate=100, clients=4) as requests:
            with self.call("deploy.up", "operator") as (step, result):
                step.says(f"release {result['details']['release']} took over; no container was stopped before")
            took = time.monotonic()
            with self.call("deploy.rollback", "operator") as (step, result):
                step.says(f"back at release {result['details']['release']} in {time.monotonic() - took:.1f} s")
        with self.story.step("requests meanwhile") as step:
            if requests.failures:
                raise Failed(f"{len(requests.failures)} of {requests.count} requests failed.", *requests.failures[:5])
            step.says(f"{requests.count} answered, {len(requests.failures)} failed")

    def sign(self, address: str) -> dict[str, Any]:
        """Write into the app's table through the app, and read it back."""
        entry = {"name": "make demo", "message": "Deployed by the runbook.", "mood": "🚀"}
        status, body = request(address, "POST", "/api/entries", body=json.dumps(entry).encode())
        written: dict[str, Any] = json.loads(body) if status == 201 else {}
        status, body = request(address, "GET", "/api/entries")
        if not written or status != 200 or written not in json.loads(body):
            raise Failed("What was written through the app could not be read back.", body.decode(errors="replace"))
        return written

    def verify(self) -> bool:
        self.story.phase("Phase 5 · Verify")
        name = f"{self.app}-{time.strftime('%Y%m%d')}.sql"
        with self.call("db.backup", "operator", backupName=name) as (step, result):
            rows = ", ".join(f"{name} {count}" for name, count in result["tables"].items())
            step.says(f"{result['size']:,} bytes with a checksum; rows: {rows}")
        with self.call("artifact.generate_runbook", "observer") as (step, result):
            step.says(f"{len(result['markdown'].splitlines())} lines on how to run this very app")
        with self.call("artifact.verify_release", "observer") as (step, result):
            passed = sum(check["passed"] for check in result["checks"])
            required = "every required one" if result["verified"] else "not every required one"
            step.says(f"{passed} of {len(result['checks'])} checks pass, {required}")
        self.story.checks(result["checks"])
        return bool(result["verified"])

    def bring_back(self, address: str) -> None:
        """The app is removed with all its data, and comes back with the same entries."""
        self.story.phase("Removed, and back again")
        before = self.read_entries(address)
        with self.call("apps.remove", "admin") as (step, result):
            step.says("containers, network, database and folder are gone; the trash keeps a copy of all")
        with self.call("apps.restore", "admin") as (step, result):
            step.says(f"release {result['details']['release']} serves again")
        with self.story.step("the same entries") as step:
            if (after := self.read_entries(address)) != before:
                raise Failed("The entries are not the same as before.", json.dumps(after))
            step.says(f"all {len(before)} of them, read through the app")

    def prove_backup(self) -> None:
        """All of the app in one backup, each part of it restored beside and compared."""
        self.story.phase("A backup that was restored")
        with self.call("backup.create", "operator") as (step, result):
            made = result["backups"][0]
            if not made["proven"]:
                raise Failed("The backup could not be restored.", json.dumps(made))
            step.says(
                f"{' and '.join(made['holds'])} in {made['size']:,} bytes: restored beside in "
                f"{made['restoreSeconds']:.1f} s, and equal"
            )

    def read_entries(self, address: str) -> list[Any]:
        status, body = request(address, "GET", "/api/entries")
        if status != 200:
            raise Failed("The entries cannot be read through the app.", body.decode(errors="replace"))
        entries: list[Any] = json.loads(body)
        return entries

    def clean_up(self) -> bool:
        """Leave nothing; whether that succeeded."""
        self.story.phase("Cleaning up")
        clean = True
        for part in (self.remove, self.remove_the_rest):
            try:
                part()
            except (Failed, aiodocker.DockerError, OSError) as failure:
                self.story.failure(str(failure), *getattr(failure, "details", ()))
                clean = False
        return clean

    def remove(self) -> None:
        """Remove the app, once a call that was interrupted has come to its end."""
        if not self.folder.exists() or not self.server.is_running():
            return
        deadline = time.monotonic() + CALL_PATIENCE
        with self.story.step("apps.remove") as step:
            while True:
                try:
                    removed = self.server.call("apps.remove", "admin", {"appName": self.app}, step.progresses)
                except Failed as failure:
                    if failure.code != "app_busy" or time.monotonic() > deadline:
                        raise
                    step.progresses("waiting for the interrupted call to end")
                else:
                    step.says("containers, network and database are gone; a dump went to the trash first")
                    break
        with self.story.step("trash.delete") as step:
            entry = Path(removed["details"]["trash"]).name
            self.server.call("trash.delete", "admin", {"id": entry}, step.progresses)
            step.says("nothing of it is kept")

    def remove_the_rest(self) -> None:
        with self.story.step("everything else") as step:
            stopped = self.server.stop()
            shutil.rmtree(self.server.folder)
            leftovers = asyncio.run(remove_leftovers(self.app))
            step.says(f"temporary folders gone{''.join(f', {left} removed' for left in leftovers)}")
            if not stopped:
                raise Failed(f"The server did not stop within {STOP_PATIENCE:.0f} s and was killed.")

    @contextmanager
    def call(self, capability: str, role: str, **arguments: Any) -> Iterator[tuple[Step, Any]]:
        """One call as a step of the story. Its result is for telling what it means."""
        if not capability.startswith("platform."):
            arguments = {"appName": self.app, **arguments}
        with self.story.step(capability) as step:
            yield step, self.server.call(capability, role, arguments, step.progresses)


class Server:
    """`ikoma up` on temporary folders, as a child process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.apps_root = folder / "apps"
        self.home = folder / "home"
        self.log = folder / "server.log"
        self.address = f"http://127.0.0.1:{free_port()}"
        self.key = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and wait for its first healthy answer; its version."""
        environment = {
            name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "DOCKER_HOST")
        }
        environment |= {
            "APPS_ROOT": str(self.apps_root),
            "IKOMA_HOME": str(self.home),
            "IKOMA_STATE": str(self.folder / "state"),
            "AUDIT_LOG": str(self.folder / "log" / "audit.jsonl"),
            "BACKUPS_ROOT": str(self.folder / "backups"),
            "HTTP_PORT": str(urlsplit(self.address).port),
            "PROXY_HOST": "127.0.0.1",
            "PROXY_HTTP_PORT": str(free_port()),
            "PROXY_HTTPS_PORT": "0",
            "POSTGRES_PORT": str(free_port()),  # not one that an IKOMA of this machine may come to want
        }
        with uninterrupted(), self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("ikoma"), "up"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops the server in its own order
            )
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline and self.is_running():
            with suppress(OSError):
                status, body = request(self.address, "GET", "/health")
                if status == 200:
                    self.key = (self.home / "api-key.txt").read_text().strip()
                    return str(json.loads(body)["version"])
            time.sleep(0.05)
        raise Failed("IKOMA did not start.")

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def call(self, capability: str, role: str, arguments: dict[str, Any], progress: Callable[..., None]) -> Any:
        """Execute a capability; progress reports are passed on as they come."""
        headers = {"X-Api-Key": self.key, "X-Role": role, "Accept": "application/x-ndjson"}
        answer: dict[str, Any] = {}
        try:
            with connection(self.address) as http:
                http.request("POST", f"/execute/{capability}", json.dumps(arguments).encode(), headers)
                for line in http.getresponse():
                    answer = json.loads(line)
                    if "progress" in answer:
                        progress(**answer["progress"])
        except (OSError, ValueError) as error:
            raise Failed(f"{capability}: the server's answer broke off: {error}") from error
        if answer.get("success") is not True:
            details = [
                f"{name}: {answer[name]}" for name in ("code", "hint", "details", "requestId") if answer.get(name)
            ]
            raise Failed(f"{capability}: {answer.get('error', 'no answer')}", *details, code=answer.get("code", ""))
        return answer["result"]

    def stop(self) -> bool:
        """Whether it stopped when asked; otherwise it is killed."""
        if self.process is None:
            return True
        self.process.send_signal(signal.SIGINT)  # as Ctrl-C: its proxy ends with it
        try:
            self.process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            return False
        return True

    def kept_log(self) -> list[str]:
        """Where a copy of the server's log stays, and how it ends."""
        if not self.log.exists():
            return []
        descriptor, path = tempfile.mkstemp(prefix="ikoma-demo-", suffix=".log")
        os.close(descriptor)
        shutil.copyfile(self.log, path)
        return [f"The server's log: {path}", *self.log.read_text(errors="replace").splitlines()[-8:]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def connection(address: str) -> Iterator[HTTPConnection]:
    http = HTTPConnection(urlsplit(address).netloc, timeout=CALL_PATIENCE)
    try:
        yield http
    finally:
        http.close()


def request(address: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    with connection(address) as http:
        http.request(method, path, body)
        answer = http.getresponse()
        return answer.status, answer.read()


def vendor_packages(source: Path) -> None:
    """Put the wheels that requirements.txt asks for beside it: the image then builds without a network of its own."""
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
    fitting = ["--only-binary=:all:", "--implementation", "cp", "--python-version", asyncio.run(python_version())]
    download = subprocess.run(
        [*pip, *fitting, "--dest", source / "wheels", "--requirement", source / "requirements.txt"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if download.returncode != 0:
        raise Failed("The app's Python packages could not be fetched.", *download.stderr.splitlines()[-5:])


async def python_version() -> str:
    """That of the base image, as the official one and the stand-in both say it."""
    async with aiodocker.Docker() as docker:
        image = await docker.images.inspect(BASE_IMAGE)
    environment = dict(variable.split("=", 1) for variable in image["Config"]["Env"])
    return str(environment["PYTHON_VERSION"])


async def remove_leftovers(app: str) -> list[str]:
    """Remove what the engine still has of this app, and name it. The app's name is this run's alone."""
    mine = {"label": [f"{PROJECT}={app}"]}
    removed = []
    async with aiodocker.Docker() as docker:
        for container in await docker.containers.list(all=True, filters=mine):
            await container.delete(force=True, v=True)
            removed.append("a container")
        for network in await docker.networks.list(filters=mine):
            await (await docker.networks.get(network["Id"])).delete()
            removed.append("a network")
        for volume in (await docker.volumes.list(filters=mine))["Volumes"] or []:
            await (await docker.volumes.get(volume["Name"])).delete()
            removed.append("a volume")
        for image in await docker.images.list():
            if any(app in tag for tag in image["RepoTags"] or []) or (image["Labels"] or {}).get(PROJECT) == app:
                await docker.images.delete(image["Id"], force=True)
                removed.append("the app's image")
    return removed


if __name__ == "__main__":
    sys.exit(main())
