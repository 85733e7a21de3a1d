"""`ikoma doctor` on this machine: each thing that is not well is found, and its remedy is a command."""

from __future__ import annotations

import ast
import os
import re
import shutil
import socket
import ssl
import threading
from collections import namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ikoma.cli import client
from ikoma.cli.doctor import command, network, upkeep
from ikoma.cli.doctor.finding import DoctorFinding
from ikoma.settings import Settings, load_settings

COMMAND = re.compile(
    r"^(sudo )?(apt-get|chmod|chown|docker|getent|ikoma|make|pg_upgrade|reboot|ss|systemctl|timedatectl) ?"
)


def settings(folder: Path, **more: str) -> Settings:
    places = {"IKOMA_HOME": "home", "APPS_ROOT": "apps", "IKOMA_STATE": "state", "BACKUPS_ROOT": "backups"}
    for name in places.values():
        (folder / name).mkdir(exist_ok=True)
    given = {name: str(folder / place) for name, place in places.items()}
    return load_settings({**given, "AUDIT_LOG": str(folder / "audit.jsonl"), **more})


def assert_told(finding: DoctorFinding, ok: bool | None, words: str) -> None:
    assert (finding.ok, words in str(finding.details)) == (ok, True), finding
    assert COMMAND.match(finding.fix), finding.fix


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_program_that_is_missing_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_told(command._check_program("no-such-program", "git", "--version"), False, "not installed")
    broken = tmp_path / "git"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(command, "_PROGRAMS", str(tmp_path))
    assert_told(command._check_program("git", "git", "--version"), False, "does not run")


def test_secrets_that_others_can_read(tmp_path: Path) -> None:
    given = settings(tmp_path)
    assert command._check_secrets(given).ok
    given.env_file.write_text("POSTGRES_PASSWORD=x\n")
    given.env_file.chmod(0o644)
    assert_told(command._check_secrets(given), False, f"open to other users: {given.env_file}")
    given.env_file.chmod(0o600)
    given.apps_root.chmod(0o777)
    assert_told(command._check_secrets(given), False, str(given.apps_root))


def test_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command._check_folder("APPS_ROOT", tmp_path / "not" / "there").ok
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10 << 30, 10 << 30, 1 << 29))
    assert_told(command._check_folder("APPS_ROOT", tmp_path), False, "free")


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root can write everywhere but where nobody can
    assert_told(command._check_folder("APPS_ROOT", tmp_path), False, "is not writable")


@pytest.mark.parametrize(("state", "told"), [(5, 0x40), (0, 0x40 | 0x2000), (-1, 0)], ids=["never", "lost", "refused"])
def test_a_clock_that_nobody_keeps_right(state: int, told: int) -> None:
    assert_told(command._judge_clock(state, told), None, "nothing says that this machine's clock is kept right")


def test_a_clock_that_is_kept_right() -> None:
    assert command._judge_clock(0, 0x2001).ok
    found = command._check_clock()  # this machine's own
    assert found.ok or COMMAND.match(found.fix)


def list_remedies() -> Iterator[tuple[str, ast.expr | None]]:
    """Every finding in the code that may be no good one, and what stands there as its remedy; named ones apart."""
    for path in Path(command.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("fix", "remedy", "successor"):
                yield f"{path.name}:{node.lineno}", node.value
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "DoctorFinding"):
                continue
            if not (isinstance(node.args[1], ast.Constant) and node.args[1].value):
                yield f"{path.name}:{node.lineno}", node.args[3] if len(node.args) > 3 else None


def test_every_finding_has_a_remedy_that_begins_with_a_command() -> None:
    found = list(list_remedies())
    assert len(found) > 25
    assert [place for place, remedy in found if remedy is None] == []
    written = {place: remedy for place, remedy in found if isinstance(remedy, ast.Constant | ast.JoinedStr)}
    assert len(written) > 20
    for place, remedy in written.items():
        first = remedy.values[0] if isinstance(remedy, ast.JoinedStr) else remedy
        # One that begins with another's words is seen in the tests of its finding.
        assert not isinstance(first, ast.Constant) or COMMAND.match(str(first.value)), place


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    assert_told(command._check_server(settings(tmp_path, HTTP_PORT=str(free_port()))), None, "nothing answers at")


def test_a_port_that_another_holds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken = str(listening.getsockname()[1])
        given = settings(tmp_path, PROXY_HTTP_PORT=taken, PROXY_HTTPS_PORT="0")
        http, https = network.check_ports(given)
        assert_told(http, False, f"(process {os.getpid()})")
        assert https.ok
        assert_told(network._try_port("port", int(taken), "PROXY_HTTP_PORT"), None, "somebody answers there")
    assert network._check_port(given, "port", int(taken), "PROXY_HTTP_PORT").details == "free"


def test_names_that_are_not_found_or_point_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_told(network.check_resolver(settings(tmp_path, SOURCE_HOSTS="nowhere.invalid")), None, "is not found")
    assert_told(network._check_domain("shop", "shop.invalid", {"192.0.2.1"}), False, "the name is not found")
    assert network._check_domain("shop", "localhost", {"127.0.0.1", "::1"}).ok
    monkeypatch.setattr(network, "_look_up", lambda name: ["192.0.2.7"])
    assert_told(network._check_domain("shop", "shop.example.org", {"192.0.2.1"}), None, "points to 192.0.2.7")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[object]:
    """A server of TLS whose certificate ends after so many days; its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def start(days: int) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(make_certificate(tmp_path, days))

        def answer() -> None:
            connection, _ = listening.accept()
            with connection, context.wrap_socket(connection, server_side=True):
                pass

        threading.Thread(target=answer, daemon=True).start()
        return int(listening.getsockname()[1])

    yield start
    listening.close()


def make_certificate(folder: Path, days: int) -> Path:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(now).not_valid_after(now + timedelta(days=days, hours=1)).sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return folder / "both.pem"


@pytest.mark.parametrize(("days", "lasts"), [(60, True), (5, False)])
def test_a_certificate_that_ends_soon(tmp_path: Path, serve: object, days: int, lasts: bool) -> None:
    given = settings(tmp_path, PROXY_HTTPS_PORT=str(serve(days)), PROXY_HOST="127.0.0.1")  # type: ignore[operator]
    found = network._check_certificate("shop", "shop.example.org", given)
    assert (found.ok, f"of Test, good until {datetime.now(UTC) + timedelta(days=days):%Y}" in found.details) == (
        lasts,
        True,
    )
    assert COMMAND.match(found.fix)


def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    given = settings(tmp_path, PROXY_HTTPS_PORT=str(free_port()), PROXY_HOST="127.0.0.1")
    assert_told(network._check_certificate("shop", "shop.example.org", given), False, "refused")


def test_a_version_that_is_installed_and_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "call", lambda *_, **__: {"version": "0.0.1"})
    monkeypatch.setattr(upkeep, "_REBOOT", tmp_path)
    version, system = upkeep.check_versions(settings(tmp_path))
    assert_told(version, None, "is installed, 0.0.1 runs")
    assert_told(system, None, "waits for a restart of the machine")


def test_addresses_for_networks_that_are_used_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(_: Settings) -> tuple[list[tuple[str, int]], list[str]]:
        return [("10.0.0.0/23", 24)], ["10.0.0.0/24"]

    monkeypatch.setattr(upkeep, "_ask_docker", ask)
    (found,) = upkeep.check_networks(settings(tmp_path))
    assert_told(found, None, "hardly any addresses left")
