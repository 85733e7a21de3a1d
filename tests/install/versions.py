"""Other versions of IKOMA for a machine: this checkout with another number, the installed image with a few changes.

How versions are broken stands in `IN_TRIAL` and `IN_SERVICE`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.install.machine import Machine

PLACE = "/ikoma/versions"
JOURNAL = "/opt/ikoma/upgrade.json"
PARTS = ("install.sh", "Makefile", "README.md", "LICENSE", "pyproject.toml", "deploy", "scripts", "requirements", "src")

_APPLY = """set -e
package=$(python3 -c 'import ikoma; print(ikoma.__path__[0])')
sed -i "s/^__version__ = .*/__version__ = '$1'/" $package/__init__.py
cat /changed/migrations >>$package/kernel/state/migrations.py
if [ -s /changed/first ]; then
    command=$(command -v ikoma)
    mv "$command" "$command-as-it-was"
    cp /changed/first "$command"
    chmod 755 "$command"
fi
python3 -m compileall -qq -f --invalidation-mode unchecked-hash $package/__init__.py $package/kernel/state
"""
_MIGRATIONS = """
import os
if {condition}:
    MIGRATIONS = {{**MIGRATIONS, 99: lambda state: state.execute('CREATE TABLE {table} (n)')}}
"""
_CRASH = """me=$$
[ -n "$REHEARSAL" ] || (sleep 4; kill -9 $me) &
"""
_TAKE_PORT = """[ -n "$REHEARSAL" ] || {
    python3 -Sc 'import socket, time; s = socket.socket(); s.setsockopt(1, 2, 1)
s.bind(("127.0.0.1", 3000)); s.listen(); time.sleep(99)' &
    sleep 1
}
"""


@dataclass(frozen=True)
class Change:
    """Parts that are other in a version: Python after the migrations, and sh before the server starts."""

    migrations: str = ""
    first: str = ""


WELL = Change()
WITH_MIGRATION = Change(migrations=_MIGRATIONS.format(condition=True, table="of_a_new_version"))
IN_TRIAL = {
    "it does not start": Change(first="echo it is broken; exit 3\n"),
    "its state is of an older form": Change("MIGRATIONS = {n: one for n, one in MIGRATIONS.items() if n < 2}\n"),
    "its migration fails": Change(migrations=_MIGRATIONS.format(condition=True, table="keys")),
}
"""Versions that do not get beyond their trial."""
IN_SERVICE = {
    "it crashes after a while": Change(first=_CRASH, migrations=WITH_MIGRATION.migrations),
    "its port is taken": Change(first=_TAKE_PORT),
    "its migration fails on the real state alone": Change(
        migrations=_MIGRATIONS.format(condition="'REHEARSAL' not in os.environ", table="keys")
    ),
}
"""Versions whose trial goes well, and that fail in the place of the old one."""


def make_version(machine: Machine, number: str, change: Change = WELL) -> str:
    """A checkout of another version, with its image; the folder on the machine."""
    context = f"{PLACE}/{number}.image"
    base = machine.do("docker", "inspect", "-f", "{{.Config.Image}}", "ikoma").strip()
    folder, name = _make_checkout(machine, number, change)
    first = f'#!/bin/sh\n{change.first}exec "$0-as-it-was" "$@"\n' if change.first else ""
    files = {"apply": _APPLY, "migrations": change.migrations, "first": first}
    files["Dockerfile"] = f"FROM {base}\nCOPY . /changed\nRUN sh /changed/apply {number}\n"
    machine.do("mkdir", "-p", context)
    for place, text in files.items():
        machine.do("tee", f"{context}/{place}", input=text)
    machine.do("docker", "build", "-q", "-t", f"ikoma:{name}", context)
    return folder


def make_program(machine: Machine, number: str, change: Change = WELL) -> str:
    """Make one for the embedded flavour: the environment is a copy of that which is installed."""
    folder, name = _make_checkout(machine, number, change)
    former = machine.do("readlink", "/opt/ikoma/current").strip()
    release = f"/opt/ikoma/versions/{name}"
    machine.do("cp", "-a", former, release)
    machine.do("sh", "-c", f"cp -a {folder}/src {release}")
    moved = f"grep -rlI --exclude-dir=__pycache__ {former} {release}/.venv | xargs sed -i s,{former},{release},g"
    machine.do("sh", "-c", moved)
    place = f"{release}/src/ikoma/kernel/state/migrations.py"
    machine.do("sh", "-c", 'cat >>"$1"', "sh", place, input=change.migrations)
    if change.first:
        command = f"{release}/.venv/bin/ikoma"
        machine.do("mv", command, f"{command}-as-it-was")
        machine.put(command, f'#!/bin/sh\n{change.first}exec "$0-as-it-was" "$@"\n')
    return folder


def _make_checkout(machine: Machine, number: str, change: Change) -> tuple[str, str]:
    """The folder of a checkout with another number, and the name of that version."""
    folder = f"{PLACE}/{number}"
    machine.do("mkdir", "-p", folder)
    machine.do("sh", "-c", f"cd /ikoma && cp -a {' '.join(PARTS)} {folder}")
    machine.do("sed", "-i", f's/^__version__ = .*/__version__ = "{number}"/', f"{folder}/src/ikoma/__init__.py")
    # What is other in the image is other in the sources, so that the name is.
    machine.do("tee", f"{folder}/requirements/change", input=repr(change))
    return folder, name_of(machine, folder)


def name_of(machine: Machine, folder: str) -> str:
    """The version and the digits by which install.sh names what is in a folder."""
    return machine.do("bash", "-c", f"root={folder}; . $root/deploy/install/sources.sh; name_of_sources")


def make_bundle(machine: Machine, folder: str, *, images: bool = False, key: str = "") -> str:
    """A bundle of a version, without wheels; the file on the machine.

    Args:
        images: its image is in the bundle, and no longer in the machine's Docker.
        key: what signs it, made where there is none.
    """
    number = folder.rpartition("/")[2]
    file = f"{PLACE}/ikoma-{number}-x.tar"
    if images:
        tag = f"ikoma:{name_of(machine, folder)}"
        identity = machine.do("docker", "image", "inspect", "-f", "{{.Id}}", tag).strip()
        machine.do("tee", f"{folder}/images.txt", input=f"{tag} {identity}\n")
        machine.do("sh", "-c", f"docker save {tag} | gzip -1 >{folder}/images.tar.gz && docker rmi {tag}")
    sums = "find . -type f ! -name 'SHA256SUMS*' -printf '%P\\0' | sort -z | xargs -0 sha256sum >SHA256SUMS"
    machine.do("sh", "-c", f"cd {folder} && {sums}")
    if key:
        machine.do("sh", "-c", f"[ -e {key} ] || ssh-keygen -q -t ed25519 -N '' -f {key}")
        machine.do("ssh-keygen", "-Y", "sign", "-f", key, "-n", "ikoma-bundle", f"{folder}/SHA256SUMS")
    machine.do("sh", "-c", f"tar -C {PLACE} -cf {file} {number} && cd {PLACE} && sha256sum {file} >{file}.sha256")
    return file


def upgrade(machine: Machine, *options: str, watch: int = 8) -> subprocess.CompletedProcess[str]:
    """Upgrade as a person does, but for the minute in which the new version is watched: so many seconds."""
    return machine.run("ikoma", "upgrade", *options, "--yes", variables={"UPGRADE_WATCH_SECONDS": str(watch)})


def version_there(machine: Machine) -> str:
    return str(json.loads(machine.do("curl", "-s", "http://localhost:3000/health"))["version"])


def describe(machine: Machine) -> tuple[str, ...]:
    """Describe what a failed upgrade leaves: IKOMA's image, settings, the containers of proxy and PostgreSQL."""
    about = ("docker", "inspect", "-f", "{{.Config.Image}} {{.Id}} {{.State.StartedAt}}")
    image = machine.do("docker", "inspect", "-f", "{{.Config.Image}}", "ikoma").strip()
    settings = machine.path("/opt/ikoma/.env").read_text()
    return image, settings, machine.do(*about, "ikoma-proxy"), machine.do(*about, "ikoma-postgres")


def assert_left_whole(machine: Machine, before: tuple[str, ...]) -> None:
    """The version of before serves, and nothing of an upgrade is left."""
    assert describe(machine) == before
    assert machine.do("ikoma", "check").startswith("✓")
    assert not machine.path(JOURNAL).exists()
    assert not machine.path("/opt/ikoma/upgrade").exists()
    assert machine.do("docker", "ps", "-aq", "--filter", "name=ikoma-trial") == ""


_ASK = """
import http.client, json, sys, threading, time
ended, asked, failures = threading.Event(), [], []
def ask(delay):
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=30)
    at = time.monotonic() + delay
    while not ended.is_set():
        time.sleep(max(0, at - time.monotonic()))
        at += 0.05
        try:
            connection.request("GET", "/", headers={"Host": "hello.localhost"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200: failures.append(answer.status)
        except Exception as error:
            failures.append(repr(error))
            connection.close()
        asked.append(time.monotonic())
threads = [threading.Thread(target=ask, args=[number / 200]) for number in range(10)]
for thread in threads: thread.start()
sys.stdin.read()
ended.set()
for thread in threads: thread.join()
print(json.dumps({"asked": len(asked), "failures": failures}))
"""
_LOOK = """
import json, sys, threading, time, urllib.request
ended, since, longest = threading.Event(), None, 0.0
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.is_set():
    try:
        urllib.request.urlopen("http://127.0.0.1:3000/health", timeout=10).read()
        if since: longest = max(longest, time.monotonic() - since)
        since = None
    except OSError:
        since = since or time.monotonic()
    time.sleep(0.05)
print(json.dumps({"away": longest}))
"""


@contextmanager
def load(machine: Machine) -> Iterator[dict[str, Any]]:
    """200 requests a second to the app hello while the block runs; afterwards `asked`, `failures` and `away` are in it.

    `away` is the longest time, in seconds, in which the control plane did not answer.
    """
    seen: dict[str, Any] = {}
    running = [
        subprocess.Popen(
            machine.command(f"{sys.base_prefix}/bin/python3", "-c", script),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for script in (_ASK, _LOOK)
    ]
    try:
        yield seen
    finally:
        for process in running:
            seen.update(json.loads(process.communicate("")[0]))
