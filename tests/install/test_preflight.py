"""install.sh --check: each thing in the way is told, with its remedy, and all of them at once."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.install.preflight_machine import INSTALL, check, make_checkout, read_on_terminal, write_sums


def test_a_fit_machine_has_nothing_in_the_way(tmp_path: Path) -> None:
    assert check(tmp_path, {}) == (0, "✓ Nothing is in the way\n")


_LISTENER = 'import signal, socket, sys; s = socket.create_server(("", int(sys.argv[1]))); signal.pause()'


def listen(*ports: int) -> str:
    """Commands that have somebody listen there until the look is over."""
    lines = []
    for port in ports:
        lines.append(f"setpriv --pdeathsig KILL python3 -c '{_LISTENER}' {port} >/dev/null 2>&1 &")
        lines.append(f"until grep -q ':{port:04X} 00000000:0000 0A' /proc/net/tcp; do sleep 0.05; done")
    return "\n".join(lines)


CARD = "ip link add wide type bridge && ip link set wide up"
OPT = "mkdir -p /opt/ikoma"
UNFIT = {
    "no root": ({"id": "echo 1000"}, "You are not root."),
    "processor": ({"uname": "echo riscv64"}, "The processor is riscv64."),
    "memory": (
        {"getconf": "case $1 in _PHYS_PAGES) echo 131072 ;; *) echo 4096 ;; esac"},
        "There are 512 MB of memory.",
    ),
    "disk": ({"df": 'printf "h\\na 9 9 1200 9 /\\n"'}, "/srv has 1200 MB free."),
    "clock": ({"date": "case $1 in +%s) echo 1 ;; *) echo 1970-01-01 ;; esac"}, "The clock says 1970-01-01"),
    "old Docker": ({"docker": "echo 1.40"}, "Docker is too old (API 1.40)."),
    "rootless": (
        {"docker": 'case "$*" in *API*) echo 1.44 ;; *) echo "[name=rootless]" ;; esac'},
        "Docker runs rootless",
    ),
}


@pytest.mark.parametrize(("programs", "said"), UNFIT.values(), ids=UNFIT)
def test_what_is_in_the_way_is_told_with_its_remedy(tmp_path: Path, programs: dict[str, str], said: str) -> None:
    code, output = check(tmp_path, programs)
    assert code == 1
    assert f"✗ {said}" in output
    remedy = output.splitlines()[[said in line for line in output.splitlines()].index(True) + 1]
    assert remedy.startswith("  → ")
    assert output.endswith("in the way; nothing was changed.\n")


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    programs = {name: script for made, _ in UNFIT.values() for name, script in made.items()}
    code, output = check(tmp_path, programs)
    assert code == 1
    assert output.count("✗ ") >= 7


def test_another_system_is_in_the_way_and_an_untried_release_is_only_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    code, output = check(tmp_path / "a", {}, files={"/etc/os-release": "ID=fedora\nVERSION_ID=43\n"})
    assert (code, "✗ This is fedora 43." in output) == (1, True)
    (tmp_path / "b").mkdir()
    code, output = check(tmp_path / "b", {}, files={"/etc/os-release": "ID=ubuntu\nVERSION_ID=25.10\n"})
    assert (code, "! ubuntu 25.10 was not tried." in output) == (0, True)


def test_names_that_are_not_resolved_are_told_and_do_not_stop(tmp_path: Path) -> None:
    code, output = check(tmp_path, {"getent": "false"})
    assert (code, "! Names are not resolved here" in output) == (0, True)


def test_docker_from_snap_is_in_the_way(tmp_path: Path) -> None:
    code, output = check(tmp_path, {"readlink": "echo /usr/bin/snap"})
    assert (code, "✗ Docker is the one from snap" in output) == (1, True)


@pytest.mark.parametrize(
    ("prepare", "options", "said"),
    [
        (listen(443), (), "Something listens at port 443."),
        (
            listen(443),
            ("--set", "HTTP_PORT=443", "--set", "PROXY_HTTPS_PORT=0"),
            "Something listens at port 443.",
        ),
        ("export DOCKER_HOST=tcp://192.0.2.1:2375", (), "DOCKER_HOST is tcp://192.0.2.1:2375, another machine."),
        (
            f"{CARD} && ip addr add 172.17.3.4/24 dev wide",
            (),
            "The machine's network at wide has addresses that Docker",
        ),
        (
            f"{CARD} && ip addr add 172.16.0.1/12 dev wide",
            (),
            "The machine's network at wide has addresses that Docker",
        ),
        (f"{OPT}/versions /opt/ikoma/current", (), "An IKOMA of the other kind (embedded) is installed."),
        (f"{OPT} && touch /opt/ikoma/docker-compose.yml", ("--embedded",), "An IKOMA of the other kind (compose)"),
    ],
    ids=["port", "port that is set", "remote Docker", "in Docker's network", "around it", "embedded", "compose"],
)
def test_what_the_machine_has_already_is_in_the_way(
    tmp_path: Path, prepare: str, options: tuple[str, ...], said: str
) -> None:
    code, output = check(tmp_path, {}, *options, prepare=prepare)
    assert (code, f"✗ {said}" in output, output.count("✗ ")) == (1, True, 2), output


def test_each_port_that_is_taken_is_told_with_the_setting_for_another(tmp_path: Path) -> None:
    code, output = check(tmp_path, {}, prepare=listen(80, 3000))
    for port, setting in ((80, "PROXY_HTTP_PORT"), (3000, "HTTP_PORT")):
        told = f"✗ Something listens at port {port}.\n  → Stop it, or give IKOMA another by --set {setting}=PORT."
        assert (code, told in output) == (1, True), output
        assert f"    ss -ltnp 'sport = :{port}'" in output.splitlines()


def test_docker_that_does_not_answer_is_in_the_way(tmp_path: Path) -> None:
    place = tmp_path / "silent.sock"
    socket.socket(socket.AF_UNIX).bind(str(place))
    silent = f"export DOCKER_HOST=unix://{place}"
    code, output = check(tmp_path, {"docker": "exit 1"}, prepare=silent)
    assert (code, "✗ Docker does not answer.\n  → Restart it" in output) == (1, True), output
    assert "    systemctl restart docker" in output.splitlines()


def find_long_lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if len(line) > 80]


ALL = {name: script for made, _ in UNFIT.values() for name, script in made.items()}
LONG: dict[str, tuple[dict[str, str], tuple[str, ...], str]] = {
    "programs": ({**ALL, "getent": "false"}, (), ":"),
    "snap": ({"readlink": "echo /usr/bin/snap"}, (), ":"),
    "ports": ({}, (), listen(80, 443, 3000)),
    "network": ({}, (), f"{CARD} && ip addr add 172.17.3.4/24 dev wide"),
    "remote Docker": ({}, (), "export DOCKER_HOST=tcp://192.0.2.1:2375"),
    "embedded": ({}, (), f"{OPT}/versions /opt/ikoma/current"),
    "compose": ({}, ("--embedded",), f"{OPT} && touch /opt/ikoma/docker-compose.yml"),
    "databases": ({}, (), "mount -t tmpfs none /var/lib && mkdir -p /var/lib/ikoma/postgres"),
    "keys": ({}, (), f"{OPT}/trusted && echo key >/opt/ikoma/trusted/maker.pub"),
    "newer": ({}, (), f"{OPT} && echo '    image: ikoma:9.0.0-aaaaaaaa' >/opt/ikoma/docker-compose.yml"),
    "no version": ({}, ("--upgrade",), f"{OPT} && touch /opt/ikoma/docker-compose.yml"),
    "nothing installed": ({}, ("--upgrade",), ":"),
    "mistyped": ({}, ("--postgres", "--to", "9.0.0"), ":"),
}


@pytest.mark.parametrize(("programs", "options", "prepare"), LONG.values(), ids=LONG)
def test_every_line_fits_a_terminal(
    tmp_path: Path, programs: dict[str, str], options: tuple[str, ...], prepare: str
) -> None:
    code, output = check(tmp_path, programs, *options, prepare=prepare, on_terminal=True)
    assert (code, "✗ " in output, find_long_lines(output)) == (1, True, []), output


def test_a_line_goes_on_below_its_first_word_and_a_command_is_whole(tmp_path: Path) -> None:
    network = f"{CARD} && ip addr add 172.17.3.4/24 dev wide"
    _, output = check(tmp_path, {}, prepare=network, on_terminal=True)
    assert output == (
        "✗ The machine's network at wide has addresses that Docker gives out\n"
        "  (172.17.0.0/16).\n"
        "  → Have this in /etc/docker/daemon.json, then restart Docker:\n"
        '    {"bip": "10.210.0.1/24",\n'
        '     "default-address-pools": [{"base": "10.211.0.0/16", "size": 24}]}\n'
        "    systemctl restart docker\n"
        "\n"
        "✗ 1 thing(s) in the way; nothing was changed.\n"
    )


def test_the_help_fits_a_terminal() -> None:
    code, output = read_on_terminal([str(INSTALL), "--help"])
    assert (code, "--purge" in output, find_long_lines(output)) == (0, True, []), output


def test_networks_beside_those_of_docker_are_not_in_the_way(tmp_path: Path) -> None:
    code, output = check(tmp_path, {}, prepare=f"{CARD} && ip addr add 10.1.2.3/8 dev wide")
    assert code == 0, output


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        ("0.0.1-aaaaaaaa", "The way from 0.0.1 to 0.1.0 leads over 0.0.5: it moves keys"),
        ("9.0.0-aaaaaaaa", "0.1.0 is older than 9.0.0, which is installed."),
        ("0.0.5-aaaaaaaa", None),
    ],
    ids=["over a stop", "backwards", "from the stop on"],
)
def test_the_way_from_the_version_that_is_there(tmp_path: Path, installed: str, words: str | None) -> None:
    checkout = make_checkout(tmp_path / "ikoma", "0.1.0")
    (checkout / "deploy/install/stops").write_text("# VERSION  WHY\n0.0.5 it moves keys\n")
    there = f"mkdir -p /opt/ikoma && echo '    image: ikoma:{installed}' >/opt/ikoma/docker-compose.yml"
    (tmp_path / "run").mkdir()
    code, output = check(tmp_path / "run", {}, prepare=there, install=checkout / "install.sh")
    if words is None:
        assert (code, "takes the place of 0.0.5-aaaaaaaa" in output) == (0, True), output
    else:
        assert (code, words in output) == (1, True), output


def test_the_newest_version_is_fetched_from_where_a_setting_says(tmp_path: Path) -> None:
    served = tmp_path / "served"
    bundle = make_checkout(served / "ikoma-0.2.0", "0.2.0")
    write_sums(bundle)
    packed = served / "ikoma-0.2.0-x86_64.tar"
    subprocess.run(["tar", "-C", served, "-cf", packed, bundle.name], check=True)
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    packed.with_suffix(".tar.sha256").write_text(f"{digest}  {packed.name}\n")
    (served / "latest").write_text("0.2.0\n")
    there = [
        "mkdir -p /opt/ikoma && echo '    image: ikoma:0.1.0-aaaaaaaa' >/opt/ikoma/docker-compose.yml",
        "echo UPGRADE_URL=http://127.0.0.1:8123 >/opt/ikoma/.env",
        "ip link set lo up",
        f"setpriv --pdeathsig KILL {sys.executable} -m http.server 8123 --directory {served} >/dev/null 2>&1 &",
        "until curl -s http://127.0.0.1:8123/latest >/dev/null; do sleep 0.1; done",
    ]
    (tmp_path / "run").mkdir()
    code, output = check(tmp_path / "run", {}, "--upgrade", prepare="\n".join(there))
    assert code == 0, output
    assert "Fetching ikoma-0.2.0-x86_64.tar" in output
    assert "takes the place of 0.1.0-aaaaaaaa" in output
