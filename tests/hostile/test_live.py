"""A builder's key with a free hand: what it gets done on a real engine, and what it never reaches.

The app `live-shop` is the attacker's, `live-bank` its victim. Outside both lies a folder with a canary; so does one in
the victim's volume, folder and environment.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.images import busybox_image
from tests.support import Server, eventually, paths_below

CANARY = "canary-7f3a9c0d1e2b-of-the-server"
BANK = """\
services:
  web:
    image: IMAGE
    command: ["httpd", "-f", "-p", "8000", "-h", "/vault"]
    stop_grace_period: 1s
    volumes: ["vault:/vault", "./data:/data"]
    environment: {VAULT: "${VAULT}"}
volumes:
  vault:
"""


@dataclass
class World:
    """The server, the attacker's key, and what must stay as it is."""

    house: Server
    key: str
    outside: Path

    @property
    def shop(self) -> Path:
        return self.house.apps / "live-shop"

    def call(self, capability: str, **arguments: Any) -> Any:
        return self.house.call(capability, {"appName": "live-shop", **arguments}, key=self.key)

    def write(self, path: str, text: str) -> None:
        self.call("files.delete", path=path)  # it may be a link by now
        assert self.call("files.write", path=path, content=text).result

    def deploy(self, compose: str) -> Any:
        self.write("docker-compose.yml", compose.replace("IMAGE", busybox_image()))
        return self.call("deploy.up", timeout=240)

    def untouched(self) -> dict[str, Any]:
        """Everything of the victim and the server that an attack could have changed."""
        bank = inspect("ps", "-aq", "--filter", "label=com.docker.compose.project=live-bank")
        return {
            "containers": sorted(bank),
            "started": [inspect("inspect", "-f", "{{.State.StartedAt}}{{.RestartCount}}", item) for item in bank],
            "vault": inspect("run", "--rm", "-v", "live-bank_vault:/v:ro", busybox_image(), "cat", "/v/index.html"),
            "outside": {path.name: path.read_text() for path in self.outside.iterdir()},
            "folder": sorted(map(str, paths_below(self.house.apps / "live-bank"))),
            "networks": inspect("network", "inspect", "-f", "{{len .Containers}}", *_networks()),
        }


def inspect(*arguments: str) -> list[str]:
    ran = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=240, check=True)
    return ran.stdout.split()


def _web() -> str:
    """The container of the shop that serves now."""
    argv = ["docker", "ps", "-q", "--filter", "label=com.docker.compose.project=live-shop"]
    return subprocess.check_output(argv, text=True).split()[0]


def _networks() -> list[str]:
    """The bank's networks, which have other names after each of its rollouts."""
    argv = ["docker", "network", "ls", "-q", "--filter", "label=com.docker.compose.project=live-bank"]
    return subprocess.check_output(argv, text=True).split()


@pytest.fixture(scope="module")
def world(house: Server) -> Iterator[World]:
    outside = house.folder / "outside"
    outside.mkdir(mode=0o755)
    (outside / "secret").write_text(CANARY)
    for name in ("live-bank", "live-shop"):
        house.do("apps.init", {"appName": name})
        house.do("db.create", {"appName": name})
    house.do("env.set", {"appName": "live-bank", "name": "VAULT", "value": CANARY})
    bank = house.apps / "live-bank"
    (bank / "docker-compose.yml").write_text(BANK.replace("IMAGE", busybox_image()))
    house.do("deploy.up", {"appName": "live-bank"})
    container = inspect("ps", "-q", "--filter", "label=com.docker.compose.project=live-bank")[0]
    inspect("exec", container, "sh", "-c", f"echo {CANARY} >/vault/index.html")
    scope = {"role": "builder", "apps": ["live-shop"]}
    yield World(house, house.do("keys.create", {"name": "attacker", **scope})["key"], outside)


@contextmanager
def nothing_happens(world: World) -> Iterator[None]:
    before = world.untouched()
    yield
    assert world.untouched() == before


def results(world: World) -> str:
    """Return what the attacker's containers found out, once they say that they are done."""
    eventually((world.shop / "data" / "done").exists, "the attack is over", seconds=180)
    return (world.shop / "data" / "found").read_text(errors="replace")


def test_a_container_with_all_that_the_policy_allows_reaches_nothing_of_others(world: World) -> None:
    """Everything an allowed container can try from inside: files, networks, sockets, names, devices."""
    bank = inspect("ps", "-q", "--filter", "label=com.docker.compose.project=live-bank")[0]
    address = inspect("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", bank)[0]
    script = f"""
cd /data; exec >found 2>&1 </dev/null
for path in {world.outside}/secret /proc/1/root{world.outside}/secret /proc/self/root/../../..{world.outside}/secret \\
  /data/../../outside/secret /src/../.env /src/../.ikoma/database.json /src/../../live-bank/.env; do cat $path; done
ln -s {world.outside} escape; cat escape/secret; echo overwritten >escape/secret
ln -s ../../../live-bank/.env env; cat env; ln -s ../.ikoma state; ls state
wget -T 2 -qO- http://{address}:8000/ ; wget -T 2 -qO- http://live-bank-web-1:8000/ ; wget -T 2 -qO- http://web.live-bank_default:8000/
nc -w 2 {address} 8000 </dev/null; ping -c 1 -W 1 live-bank-web-1
ls -l /var/run/docker.sock /run/docker.sock; cat /etc/shadow | grep -c root:x
mknod disk b 8 0 && cat disk | head -c 100; mount -t tmpfs none /mnt; mount -o bind / /mnt
echo c >/proc/sysrq-trigger; echo 1 >/proc/sys/kernel/sysrq; echo {world.outside}/x >/proc/sys/kernel/core_pattern
insmod x; reboot -f; hostname stolen; ls /dev | grep -E "^(sd|vd|mem|kmsg)"; touch done
sleep 600
"""
    world.write("src/attack.sh", script)
    compose = """
services:
  web:
    image: IMAGE
    command: ["sh", "/src/attack.sh"]
    stop_grace_period: 1s
    volumes: ["./data:/data", "./src:/src:ro", "own:/own"]
    cap_add: [CHOWN, DAC_OVERRIDE, FOWNER, IPC_LOCK, SETUID, SETGID]
    security_opt: ["no-new-privileges:true"]
    user: "0:0"
    group_add: ["0", "999"]
    extra_hosts: ["bank:host-gateway"]
    tmpfs: ["/mnt"]
volumes: {own: {}}
"""
    with nothing_happens(world):
        assert world.deploy(compose).result
        found = results(world)
    assert CANARY not in found
    assert "root:x" not in found


def test_a_folder_that_a_container_can_swap_is_not_mounted(world: World) -> None:
    swap = """
cd /data; mkdir -p sub
while [ ! -e enough ]; do
  rm -rf sub; ln -s OUTSIDE sub; rm -f sub; mkdir sub
done; rm -rf sub; ln -s OUTSIDE sub; touch left; sleep 600
"""
    world.write("src/swap.sh", swap.replace("OUTSIDE", str(world.outside)))
    running = (
        "services: {web: {image: IMAGE, command: [sh, /src/swap.sh], stop_grace_period: 1s, "
        "volumes: ['./data:/data', './src:/src:ro']}}"
    )
    nested = running.replace("['./data:/data'", "['./data/sub:/sub', './data:/data'")
    alone = (
        "services: {web: {image: IMAGE, command: [sleep, '600'], stop_grace_period: 1s, volumes: ['./data/sub:/sub']}}"
    )
    with nothing_happens(world):
        assert world.deploy(running).status == 200
        for compose in (nested, alone) * 8:
            assert world.deploy(compose).code == "policy_violation"
        world.write("docker-compose.yml", running.replace("IMAGE", busybox_image()))
        inspect("exec", _web(), "sh", "-c", "touch /data/enough; until [ -e /data/left ]; do sleep 0.1; done")
        world.call("deploy.down")
        answer = world.deploy(alone)
        assert answer.code == "policy_violation"
        assert "bind-outside" in json.dumps(answer.body)


@pytest.mark.parametrize("file", ["src/Dockerfile", "src/app.env", "src/part.yml"])
def test_a_file_that_a_container_swaps_while_it_is_read_never_leads_outside(world: World, file: str) -> None:
    """A container may write src/, from which the next deploy is made; it makes links there as fast as it can."""
    safe = {
        "src/Dockerfile": f"FROM {busybox_image()}\nRUN true\n",
        "src/app.env": "A=1\n",
        "src/part.yml": "services: {part: {image: IMAGE, command: [sleep, '600'], stop_grace_period: 1s}}\n".replace(
            "IMAGE", busybox_image()
        ),
    }
    for name, text in safe.items():
        world.write(name, text)
    name = Path(file).name
    target = world.outside / "secret"
    world.write(
        "src/swap.sh",
        f"cd /src; cp {name} keep; i=0\nwhile [ $i -lt 20000 ]; do\n  ln -sf {target} {name}.x; mv -f {name}.x {name}; "
        f"cp keep {name}.y; mv -f {name}.y {name}; i=$((i+1))\ndone; sleep 600\n",
    )
    web = "command: [sh, /src/swap.sh], stop_grace_period: 1s, volumes: ['./src:/src']"
    compose = {
        "src/Dockerfile": f"services: {{web: {{build: ./src, {web}}}}}",
        "src/app.env": f"services: {{web: {{image: IMAGE, env_file: src/app.env, {web}}}}}",
        "src/part.yml": f"include: [src/part.yml]\nservices: {{web: {{image: IMAGE, {web}}}}}",
    }[file]
    said = []
    with nothing_happens(world):
        for _ in range(8):
            said.append(json.dumps(world.deploy(compose).body))
            said.append(json.dumps(world.call("apps.validate").body))
        ours = inspect("ps", "-aq", "--filter", "label=com.docker.compose.project=live-shop")
        shown = inspect("inspect", *ours) if ours else []
    assert CANARY not in " ".join([*said, *shown])
    if file != "src/Dockerfile":  # what Compose reads is not even begun with where a container may write it
        assert not ours
        assert all("is, or holds, a file that the compose file is read with" in text for text in said)
        assert all("x-ikoma: {source: [src]}" in text for text in said)
    world.call("deploy.down")


def test_an_image_built_from_the_whole_folder_holds_neither_secrets_nor_what_containers_write(world: World) -> None:
    world.write("Dockerfile", f"FROM {busybox_image()}\nCOPY . /all\n")
    world.house.do("env.set", {"appName": "live-shop", "name": "TOKEN", "value": CANARY})
    swap = f"cd /data; touch kept; rm -rf sub; while mkdir sub; do rmdir sub; ln -s {world.outside} sub; rm sub; done"
    compose = f"services: {{web: {{build: ., command: [sh, -c, '{swap}'], init: true, volumes: ['./zdata:/data']}}}}"
    with nothing_happens(world):
        for _ in range(3):
            assert world.deploy(compose).status == 200
            found = inspect("exec", _web(), "find", "/all")
            assert {"/all/Dockerfile", "/all/zdata"} <= set(found)
            assert not [path for path in found if path.split("/")[2:3] in ([".env"], [".ikoma"])]
            assert not [path for path in found if "/zdata/" in path]
    assert (world.shop / "zdata" / "kept").exists()
    assert "zdata" not in json.dumps(world.call("apps.validate").result["warnings"])
    world.write("Dockerfile", f"FROM {busybox_image()}\nCOPY ./zdata /z\n")  # named: it is taken as it is by then
    with nothing_happens(world):
        assert world.deploy(compose).status == 200
        assert "/z/kept" in inspect("exec", _web(), "find", "/z")
        assert CANARY not in "".join(inspect("exec", _web(), "sh", "-c", "cat /z/* /z/*/* 2>/dev/null || true"))
    world.call("deploy.down")
    world.call("env.unset", name="TOKEN")


LABELS = (
    "LABEL com.docker.compose.project=live-bank com.docker.compose.service=web com.docker.compose.oneoff=False "
    "ikoma.app=live-bank ikoma.one-shot=true"
)


@contextmanager
def base(name: str, *lines: str) -> Iterator[str]:
    """An image as a registry could have it: what its Dockerfile says, nobody has looked at."""
    text = "\n".join([f"FROM {busybox_image()}", *lines])
    argv = ["docker", "build", "-q", "-t", f"live-base/{name}:1", "-"]
    subprocess.run(argv, input=text, text=True, check=True, capture_output=True, timeout=240)
    try:
        yield f"live-base/{name}:1"
    finally:
        subprocess.run(["docker", "rmi", "-f", f"live-base/{name}:1"], check=True, capture_output=True, timeout=240)


def test_labels_of_an_image_and_names_it_takes_say_nothing_to_the_platform(world: World) -> None:
    world.write("src/Dockerfile", f"FROM {busybox_image()}\n{LABELS}\n")
    assert world.deploy("services: {web: {build: ./src}}").code == "policy_violation"
    with base("labels", LABELS, "ENV DOCKER_HOST=tcp://127.0.0.1:1 APPS_ROOT=/") as image, nothing_happens(world):
        world.write("src/Dockerfile", f'FROM {image}\nCMD ["sleep", "600"]\n')
        assert world.deploy("services: {web: {build: ./src, image: 'postgres:18'}}").status == 200
        status = world.house.do("apps.status", {"appName": "live-bank"})
        mine = world.call("apps.status").result
        assert [service["name"] for service in status["services"]] == ["web"]
        assert [(service["name"], service["state"]) for service in mine["services"]] == [("web", "running")]
        images = inspect("images", "--format", "{{.Repository}}:{{.Tag}}")
        assert f"ikoma-app/live-shop/web:{mine['release']}" in images
        labels = json.loads("".join(inspect("inspect", "-f", "{{json .Config.Labels}}", _web())))
        assert labels["ikoma.app"] == "live-shop"
        assert labels["ikoma.one-shot"] == "job"  # as the compose file has it, and not as the image says


def test_a_step_of_a_build_is_no_container_of_another_app(world: World) -> None:
    bank = {"appName": "live-bank"}
    before = world.house.do("apps.status", bank)
    seen: list[Any] = []
    with base("steps", f"{LABELS} com.docker.compose.project.working_dir=/x") as image:
        world.write("src/Dockerfile", f"FROM {image}\nRUN sleep 4; false\n")
        building = threading.Thread(target=lambda: seen.append(world.deploy("services: {web: {build: ./src}}")))
        building.start()
        while building.is_alive():
            assert world.house.do("apps.status", bank) == before
            time.sleep(0.3)
        building.join()
        assert seen[0].code == "deploy_failed"
        assert world.house.do("apps.status", bank) == before
        world.house.do("deploy.restart", bank)
    assert len(inspect("ps", "-aq", "--filter", "label=com.docker.compose.project=live-bank")) == 1


@pytest.mark.parametrize(
    "line",
    [
        "ONBUILD COPY --from=ikoma-app/live-bank/web:1 / /",
        "ONBUILD ADD http://127.0.0.1:1/x /",
        "LABEL com.docker.compose.config-hash=1",
    ],
)
def test_an_image_that_would_make_more_of_a_build_than_its_dockerfile_says_is_refused(world: World, line: str) -> None:
    with base("more", line) as image:
        world.write("src/Dockerfile", f"FROM {image}\n")
        with nothing_happens(world):
            refused = world.deploy("services: {web: {build: ./src}}")
        assert refused.code == "deploy_failed"
        assert f"The image {image}, with which web is built, has " in refused.body["error"]


def test_an_image_whose_label_hides_its_containers_is_refused(world: World) -> None:
    with base("hidden", "LABEL com.docker.compose.hook=False") as image:
        world.write("src/Dockerfile", f"FROM {image}\n")
        with nothing_happens(world):
            refused = world.deploy("services: {web: {build: ./src}}")
    assert refused.code == "deploy_failed"
    assert "has the label com.docker.compose.hook, which hides its containers" in refused.body["error"]


def test_images_of_others_cannot_be_run_or_built_upon(world: World) -> None:
    bank = inspect("inspect", "-f", "{{.Image}}", inspect("ps", "-q", "--filter", "name=live-bank-web")[0])[0]
    digits = bank.removeprefix("sha256:")
    for reference in (bank, digits, digits[:12], "ikoma-app/live-bank/web"):
        answer = world.deploy(
            f"services: {{web: {{image: '{reference}', command: [sleep, '600'], stop_grace_period: 1s}}}}"
        )
        assert answer.code == "policy_violation", reference
    copied = "FROM scratch\nCOPY --from=ikoma-app/live-bank/web / /"
    for line in (f"FROM {digits[:10]}", f"ARG A={digits[:10]}\nFROM $A", copied):
        world.write("src/Dockerfile", line + "\n")
        assert world.deploy("services: {web: {build: ./src}}").code == "policy_violation", line


def test_what_was_waived_is_judged_anew_at_each_restart(world: World) -> None:
    house = world.house
    compose = "services: {web: {image: IMAGE, command: [sleep, '600'], stop_grace_period: 1s, cap_add: [SYS_NICE]}}"
    assert world.deploy(compose).code == "policy_violation"
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    waiver = house.do(
        "policy.waive",
        {"appName": "live-shop", "rule": "capabilities", "reason": "to be tried", "expires": until},
    )
    assert world.deploy(compose).status == 200
    shown = world.call("apps.validate").result
    assert [item["id"] for item in shown["waivers"]] == [waiver["id"]]
    assert any("to be tried" in item["problem"] for item in shown["warnings"])
    checks = world.call("artifact.verify_release").result["checks"]
    assert "to be tried" in next(item["details"] for item in checks if item["name"] == "policy")
    assert world.call("deploy.restart", timeout=240).status == 200
    house.do("policy.unwaive", {"appName": "live-shop", "id": waiver["id"]})
    assert world.call("deploy.restart", timeout=60).code == "policy_violation"
    assert world.call("deploy.up", timeout=60).code == "policy_violation"
    assert inspect("inspect", "-f", "{{.State.Status}}", _web()) == ["running"]
    refused = house.call(
        "policy.waive", {"appName": "live-shop", "rule": "own-state", "reason": "why not", "expires": until}
    )
    assert refused.code == "not_waivable"
    world.call("deploy.down")


def test_a_waiver_of_mounts_from_outside_gives_nothing_of_the_platform(world: World) -> None:
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    waived = {"appName": "live-shop", "rule": "bind-outside", "reason": "to be tried", "expires": until}
    waiver = world.house.do("policy.waive", waived)
    compose = (
        "services: {web: {image: IMAGE, command: [sleep, '600'], stop_grace_period: 1s, volumes: ['X:/outside:ro']}}"
    )
    with nothing_happens(world):
        assert world.deploy(compose.replace("X", str(world.outside))).status == 200
        house = world.house
        for path in ("/", str(house.folder), str(house.apps), "../live-bank", str(house.apps / "live-bank" / ".ikoma")):
            answer = world.deploy(compose.replace("X", path))
            assert "no waiver" in json.dumps(answer.body), path
        assert world.call("apps.validate").status == 200
        assert "special-file" in json.dumps(world.deploy(compose.replace("X", "/dev")).body)
        assert world.deploy(compose.replace("X", "/proc/1/root")).code == "policy_violation"
        assert world.call("apps.validate").status == 200
    world.house.do("policy.unwaive", {"appName": "live-shop", "id": waiver["id"]})
    world.call("deploy.down")


def test_files_that_are_changed_while_a_deploy_goes_on_change_nothing_of_it(world: World) -> None:
    """Files run as they were checked: the folder is rewritten with a hostile file as soon as the deploy has begun."""
    safe = f"services: {{web: {{image: '{busybox_image()}', command: [sleep, '600'], stop_grace_period: 1s}}}}"
    hostile = f"services: {{web: {{image: '{busybox_image()}', privileged: true, volumes: ['/:/host']}}}}"
    path = world.shop / "docker-compose.yml"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for text in (safe, hostile):
                path.write_text(text)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        codes = {world.call("deploy.up", timeout=240).body.get("code") for _ in range(12)}
    finally:
        stop.set()
        swapping.join()
    assert codes <= {None, "policy_violation", "invalid_compose", "file_missing"}
    for container in inspect("ps", "-aq", "--filter", "label=com.docker.compose.project=live-shop"):
        shown = json.loads("".join(inspect("inspect", "-f", "{{json .HostConfig}}", container)))
        assert shown["Privileged"] is False
        assert not shown["Binds"]
        assert shown["Memory"] > 0
        assert shown["PidsLimit"] == 1024
