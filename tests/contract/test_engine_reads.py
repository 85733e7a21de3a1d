"""An Engine's promises of reading: files, logs, volumes, images; and what it does when Docker is away."""

from __future__ import annotations

import asyncio
import json
import socket
import tarfile
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ikoma.engines.compose import resolving
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.errors import AppNameTaken, EngineUnavailable, IkomaError
from ikoma.kernel.redaction.redaction import find_nothing
from ikoma.model import AppName
from ikoma.ports.progress import ignore_progress
from ikoma.ports.runtime import Resolved
from ikoma.ports.volumes import ResourceInfo
from tests.contract.conftest import SOON
from tests.contract.project import ANSWERS, Project, a_project, docker, service, shell
from tests.contract.registry import a_registry
from tests.forwarded_docker import forwarded
from tests.images import busybox_image
from tests.support import eventually

VOLUME = [{"type": "volume", "source": "store", "target": "/data", "volume": {}}]


@pytest.fixture
def project() -> Iterator[Project]:
    with a_project() as made:
        yield made


def resolve(project: Project, text: str | bytes, env: str = "") -> Resolved:
    path = project.folder / "docker-compose.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (project.folder / ".env").write_text(env)
    files = {item.name: item.read_bytes() for item in project.folder.iterdir() if item.is_file()}
    return project.do(resolving.resolve(project.app, project.folder, [path.name], files))


# --- compose files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("doubled", "text", "said"),
    [
        (29, "services: {web: {image: '${A}'}}", "MiB of memory"),
        (18, "x-a: [$A, $A, $A, $A, $A, $A, $A, $A, $A]\nservices: {web: {image: x}}", "larger than 16 MiB"),
    ],
)
def test_variables_that_grow_take_bounded_memory(project: Project, doubled: int, text: str, said: str) -> None:
    resolved = resolve(project, text, "A=xxxxxxxx\n" + "A=$A$A\n" * doubled)
    assert resolved.model is None
    assert said in str(resolved.error)
    assert len(str(resolved.error)) < 200


def test_a_file_is_resolved_with_its_dotenv(project: Project) -> None:
    resolved = resolve(project, "services: {web: {image: 'app:${TAG}', ports: ['80']}}", "TAG=7\n")
    assert resolved.error is None
    assert resolved.model is not None
    assert resolved.model["name"] == project.app
    assert resolved.model["services"]["web"]["image"] == "app:7"
    assert resolved.warnings == ()


def test_variables_that_are_not_set_are_warnings_once_each(project: Project) -> None:
    resolved = resolve(project, "services: {web: {image: 'a:${FOO}${FOO}', command: '${FOO}${BAR}'}}")
    assert sorted(resolved.warnings) == [
        'The "BAR" variable is not set. Defaulting to a blank string.',
        'The "FOO" variable is not set. Defaulting to a blank string.',
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("garbage: [", "did not find expected node content"),
        ("- a\n- b", "must be a mapping"),
        ("", "empty"),
        ("services: {}", "no services"),
        ("services:", "must be a mapping"),
        ("just words", "must be a mapping"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "control characters"),
        (b"\xff\xfe\xfd", ""),
        ("services: {web: {image: x, imagee: y}}", "imagee"),
        ("services: {web: {}}", "neither an image nor a build context"),
        ("services: {web: {image: x, depends_on: [db]}}", 'undefined service "db"'),
        ("services: {web: {image: '${NEEDED:?say what}'}}", "say what"),
    ],
)
def test_what_is_no_compose_file_gives_its_error(project: Project, text: str | bytes, said: str) -> None:
    resolved = resolve(project, text)
    assert resolved.model is None
    assert resolved.error
    assert said in resolved.error
    assert "level=" not in resolved.error


@pytest.mark.parametrize("place", ["https://127.0.0.1:1/a/b.git", "git@127.0.0.1:a/b.git", "oci://127.0.0.1:1/x"])
def test_a_file_may_not_fetch_others_from_the_network(project: Project, place: str) -> None:
    began = time.monotonic()
    for text in (f"include: ['{place}']", f"services: {{web: {{extends: {{file: '{place}', service: x}}}}}}"):
        resolved = resolve(project, text, "COMPOSE_EXPERIMENTAL_GIT_REMOTE=1\nCOMPOSE_EXPERIMENTAL_OCI_REMOTE=1\n")
        assert resolved.error
        assert "refused" not in resolved.error
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize(
    "line",
    [
        "COMPOSE_FILE=other.yml",
        "COMPOSE_PROJECT_NAME=stolen",
        "COMPOSE_ENV_FILES=other.env",
        "COMPOSE_DISABLE_ENV_FILE=true",
        "COMPOSE_PARALLEL_LIMIT=nonsense",
        "COMPOSE_PATH_SEPARATOR=o",
        "COMPOSE_COMPATIBILITY=true",
        "COMPOSE_PROGRESS=nonsense",
        "COMPOSE_ANSI=nonsense",
        "DOCKER_HOST=tcp://127.0.0.1:1",
        "DOCKER_CONTEXT=evil",
        "DOCKER_CONFIG=/evil",
        "HOME=/evil",
        "PATH=/evil",
        "LD_PRELOAD=/evil.so",
    ],
)
def test_a_dotenv_chooses_no_file_no_engine_and_no_program(project: Project, line: str) -> None:
    (project.folder / "other.yml").write_text("services: {other: {image: other}}")
    (project.folder / "other.env").write_text("TAG=other\n")
    text = (
        "services: {web: {image: 'app:${TAG}', environment: "
        "{PATH_HERE: '${PATH}', ENGINE: '${DOCKER_HOST}', HOME_HERE: '${HOME}'}}}"
    )
    resolved = resolve(project, text, f"TAG=own\n{line}\n")
    assert resolved.error is None
    assert resolved.model is not None
    assert resolved.model["name"] == project.app
    assert set(resolved.model["services"]) == {"web"}
    web = resolved.model["services"]["web"]
    assert web["image"] == "app:own"
    own = dict([line.split("=", 1)])  # what the file says itself is a value as any other; nothing comes from the server
    assert web["environment"] == {
        "PATH_HERE": own.get("PATH", ""),
        "ENGINE": own.get("DOCKER_HOST", ""),
        "HOME_HERE": own.get("HOME", ""),
    }


def test_a_dotenv_may_choose_profiles(project: Project) -> None:
    text = "services: {web: {image: x}, extra: {image: y, profiles: [more]}}"
    resolved = resolve(project, text, "COMPOSE_PROFILES=more\n")
    assert resolved.model is not None
    assert set(resolved.model["services"]) == {"web", "extra"}


# --- containers and logs -----------------------------------------------------------------------------------


def test_ports_states_and_exit_codes_come_from_one_list(project: Project) -> None:
    port = {"target": 3000, "host_ip": "127.0.0.1", "protocol": "tcp", "mode": "ingress"}
    project.up({"web": service(ports=[port])})
    docker("stop", "-t", "1", project.containers()["web"].id)
    stopped = project.containers()["web"]
    assert (stopped.state, stopped.published, stopped.addresses) == ("exited", (), ())
    assert stopped.exit_code is not None
    docker("start", stopped.id)
    started = project.containers()["web"]
    assert (started.state, started.exit_code) == ("running", None)
    assert [(host, inside) for host, _, inside in started.published] == [("127.0.0.1", 3000)]
    everything = project.do(project.engine.list_all_containers())
    assert [item.id for item in everything[project.app]] == [started.id]
    assert project.do(project.engine.map_container_owners())[started.name] == project.app


def test_where_a_container_listens_is_read_from_its_network(project: Project) -> None:
    project.up({"web": shell("httpd -p 127.0.0.1:3000; httpd -p 8080; sleep 1000")})

    def heard() -> set[tuple[int, bool]] | None:
        web = project.containers()["web"]
        found = project.do(project.engine.list_listening_ports(web.id, next(iter(web.addresses), None)))
        return None if found is None else {(item.port, item.is_local) for item in found}

    eventually(lambda: heard() == {(3000, True), (8080, False)}, "it listens")
    docker("stop", "-t", "0", project.containers()["web"].id)
    assert heard() is None


def test_logs_are_both_streams_as_plain_lines(project: Project) -> None:
    # Docker reads the two streams apart: only what has been read of one is surely before what comes on the other.
    script = (
        "until_there() { until test -e $$1; do sleep 0.1; done; };"
        " printf 'one\\n'; until_there /one; printf 'two\\n' >&2; until_there /two;"
        " printf '\\033[31mred\\033[0m \\007\\033]0;title\\007bell\\ttab\\r\\n'; head -c 5000 /dev/zero | tr '\\0' x;"
        " echo; sleep 1000"
    )
    project.up({"web": shell(script), "tty": shell("echo on a terminal; sleep 1000", tty=True)})
    containers = project.containers()
    said = ["one", "two", "red bell\ttab", "x" * 2000]
    for number in (1, 2):
        eventually(lambda number=number: project.read_logs(containers["web"].id, 20) == said[:number], "it is read")
        docker("exec", containers["web"].id, "touch", f"/{said[number - 1]}")
    eventually(lambda: project.read_logs(containers["web"].id, 20) == said, "it has said all")
    assert project.read_logs(containers["web"].id, 1) == ["x" * 2000]
    said = ["on a terminal"]
    eventually(lambda: project.read_logs(containers["tty"].id, 20) == said, "and this one too")


def test_a_line_longer_than_docker_s_own_pieces_is_one_line(project: Project) -> None:
    project.up({"web": shell("head -c 40000 /dev/zero | tr '\\0' x; echo; echo last; sleep 1000")})
    web = project.containers()["web"].id
    said = ["x" * 2000, "last"]
    eventually(lambda: project.read_logs(web, 20) == said, "it has said all")
    project.hidden.append("x" * 3000)
    assert project.read_logs(web, 20) == ["***" * 13 + "x" * 1000, "last"]


def test_a_container_that_is_gone_or_keeps_no_log_has_none(project: Project) -> None:
    project.up({"web": service(), "silent": shell("echo hello; sleep 1000", logging={"driver": "none"})})
    containers = project.containers()
    assert project.read_logs(containers["silent"].id, 5) == []
    docker("rm", "-f", containers["web"].id)
    assert project.read_logs(containers["web"].id, 5) == []


def test_changes_are_told_as_they_happen(project: Project) -> None:
    told: list[tuple[str, str | None]] = []

    async def story() -> None:
        watching = asyncio.ensure_future(
            project.engine.watch(lambda change: told.append((change.project, change.happened)))
        )
        await project.start(project.release({"web": service(healthcheck=ANSWERS)}))
        async with asyncio.timeout(60):
            while not {happened for name, happened in told if name == project.app} >= wanted:
                await asyncio.sleep(0.05)
        watching.cancel()

    wanted = {"start", "health_status: healthy"}
    project.do(story())


# --- volumes -----------------------------------------------------------------------------------------------


READY = "touch /ready; sleep 1000"
"""The end of a script that has written all that it writes."""


def until_ready(project: Project) -> None:
    web = project.containers()["web"].id
    eventually(lambda: "ready" in docker("exec", web, "ls", "/"), "it has written all")


def _members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {item.name: tar.extractfile(item).read() for item in tar if item.isfile()}  # type: ignore[union-attr]


@pytest.mark.parametrize("state", ["running", "stopped", "removed"])
def test_a_volume_is_saved_whatever_its_app_does(project: Project, state: str) -> None:
    script = "mkdir -p /data/deep; echo kept > /data/deep/note; head -c 3000000 /dev/urandom > /data/large;"
    project.up({"web": shell(f"{script} {READY}", volumes=VOLUME)}, volumes={"store": {}})
    until_ready(project)
    volume = f"{project.app}_store"
    if state == "stopped":
        project.do(project.engine.stop(project.app, progress=ignore_progress))
    elif state == "removed":
        project.do(project.engine.take_down(project.app, volumes=False, progress=ignore_progress))
    before = docker("ps", "--all", "--quiet", "--filter", f"volume={volume}")
    target = project.folder / "saved.tar"
    size = project.do(project.engine.save_volume(project.app, volume, target))
    assert size == target.stat().st_size
    assert target.stat().st_mode & 0o777 == 0o600
    members = _members(target)
    assert members["./deep/note"] == b"kept\n"
    assert len(members["./large"]) == 3_000_000
    assert docker("ps", "--all", "--quiet", "--filter", f"volume={volume}") == before


def test_who_may_write_to_a_volume_is_told_while_it_could(project: Project) -> None:
    reads = [{**VOLUME[0], "read_only": True}]
    services = {"web": shell("sleep 1000", volumes=VOLUME), "reader": shell("sleep 1000", volumes=reads)}
    project.up(services, volumes={"store": {}})
    volume = f"{project.app}_store"
    (writer,) = project.do(project.engine.api.list_writers(volume))
    assert (writer.project, writer.state) == (project.app.project, "running")
    docker("pause", writer.id)
    assert [item.state for item in project.do(project.engine.api.list_writers(volume))] == ["paused"]
    docker("unpause", writer.id)
    docker("stop", "--time", "0", writer.id)
    assert project.do(project.engine.api.list_writers(volume)) == []
    assert project.do(project.engine.api.list_writers(f"{project.app}_none")) == []


def test_saving_a_volume_that_is_not_there_makes_none(project: Project) -> None:
    with pytest.raises(IkomaError, match="no volume"):
        project.do(project.engine.save_volume(project.app, f"{project.app}_none", project.folder / "x.tar"))
    assert not (project.folder / "x.tar").exists()
    assert docker("volume", "ls", "--quiet", "--filter", f"name={project.app}") == []


def test_a_mount_inside_the_volume_s_place_is_not_saved_with_it(project: Project) -> None:
    nested = [*VOLUME, {"type": "volume", "source": "other", "target": "/data/inside", "volume": {}}]
    script = "echo outer > /data/outer; echo inner > /data/inside/inner;"
    project.up({"web": shell(f"{script} {READY}", volumes=nested)}, volumes={"store": {}, "other": {}})
    until_ready(project)
    target = project.folder / "saved.tar"
    project.do(project.engine.save_volume(project.app, f"{project.app}_store", target))
    assert set(_members(target)) == {"./outer"}


def test_a_volume_that_was_saved_comes_back_as_it_was(project: Project) -> None:
    script = "mkdir /data/deep && echo kept > /data/deep/note && chown -R 70:71 /data && chmod 2750 /data/deep"
    script += " && ln -s deep/note /data/link && head -c 3000000 /dev/zero > /data/large;"
    described = {"store": {"labels": {"of": "mine"}}}
    project.up({"web": shell(f"{script} {READY}", volumes=VOLUME)}, volumes=described)
    until_ready(project)
    volume, saved, again = f"{project.app}_store", project.folder / "saved.tar", project.folder / "again.tar"
    project.do(project.engine.save_volume(project.app, volume, saved))
    made = project.do(project.engine.list_resources()).volumes[volume]
    with pytest.raises(AppNameTaken):
        project.do(project.engine.load_volume(project.app, volume, made, saved))
    project.do(project.engine.take_down(project.app, volumes=True, progress=ignore_progress))
    project.do(project.engine.load_volume(project.app, volume, made, saved))
    assert project.do(project.engine.list_resources()).volumes[volume] == made
    assert docker("ps", "--all", "--quiet", "--filter", f"volume={volume}") == []
    project.do(project.engine.save_volume(project.app, volume, again))
    with tarfile.open(saved) as before, tarfile.open(again) as after:
        described_before, described_after = (
            {
                item.name: (item.type, item.mode, item.uid, item.gid, item.size, item.linkname, int(item.mtime))
                for item in archive.getmembers()
            }
            for archive in (before, after)
        )
    assert described_after == described_before
    assert _members(again) == _members(saved)


def test_a_volume_that_cannot_be_filled_is_not_left_behind(project: Project) -> None:
    project.up({"web": shell("sleep 1000")})
    broken = project.folder / "broken.tar"
    broken.write_bytes(b"no archive" * 1000)
    made = ResourceInfo(project=project.app, driver="local")
    with pytest.raises(IkomaError):
        project.do(project.engine.load_volume(project.app, f"{project.app}_store", made, broken))
    assert docker("volume", "ls", "--quiet", "--filter", f"name={project.app}_store") == []


def test_what_a_killed_process_left_does_not_keep_a_volume_in_use(project: Project) -> None:
    project.up({"web": shell("echo kept > /data/note; sleep 1000", volumes=VOLUME)}, volumes={"store": {}})
    project.do(project.engine.take_down(project.app, volumes=False, progress=ignore_progress))
    volume = f"{project.app}_store"
    mark = ["--label", f"ikoma.reads-volume={project.app}"]
    docker("create", *mark, "-v", f"{volume}:/x", busybox_image(), "true")
    project.do(project.engine.save_volume(project.app, volume, project.folder / "saved.tar"))
    assert docker("ps", "--all", "--quiet", "--filter", f"volume={volume}") == []


def test_volumes_and_networks_are_told_of_as_they_were_made(project: Project) -> None:
    networks = {"inner": {"internal": True, "labels": {"a": "b"}, "ipam": {"config": [{"subnet": "10.219.9.0/24"}]}}}
    web = shell("sleep 1000", volumes=VOLUME, networks={"inner": None})
    project.up({"web": web}, volumes={"store": {"labels": {"c": "d"}}}, networks=networks)
    existing = project.do(project.engine.list_resources())
    store, inner = existing.volumes[f"{project.app}_store"], existing.networks[f"{project.app}_inner"]
    assert (store.project, store.driver, dict(store.options), store.labels["c"]) == (project.app, "local", {}, "d")
    assert (inner.project, inner.driver, inner.internal, inner.labels["a"]) == (project.app, "bridge", True, "b")
    assert inner.subnets == ("10.219.9.0/24",)


def test_a_volume_that_is_there_is_not_made_again(project: Project) -> None:
    project.up({"web": shell("echo kept > /data/note; sleep 1000", volumes=VOLUME)}, volumes={"store": {}})
    changed = {"store": {"labels": {"c": "d"}}}
    project.up({"web": shell("test -f /data/note && sleep 1000", volumes=VOLUME)}, volumes=changed)
    assert {item.state for item in project.do(project.engine.list_containers(project.app))} == {"running"}


# --- images ------------------------------------------------------------------------------------------------


def test_images_are_present_or_not(project: Project) -> None:
    assert project.do(project.engine.has_image(busybox_image()))
    for reference in ("no-such-image:1", "../containers/json", "a b", "UPPER", "", "a?b=c"):
        assert not project.do(project.engine.has_image(reference))


def test_a_registry_is_asked_for_an_image(project: Project) -> None:
    def ask(reference: str) -> str | None:
        return project.do(project.engine.check_image_obtainable(reference))

    with a_registry() as address:
        assert ask(f"{address}/there:1") is None
        assert ask(f"{address}/there:2") == "its registry has no such image."
        assert "takes a login" in str(ask(f"{address}/private:1"))
        began = time.monotonic()
        assert ask(f"{address}/slow:1") == "its registry did not answer within 5 s."
        assert time.monotonic() - began < SOON
        assert project.do(project.engine.list_containers(project.app)) == ()  # the others were not held up
    assert str(ask(f"{address}/there:1")).startswith("its registry cannot be reached: ")
    assert ask("../../containers/json") == "its name is not one that an image can have."


def test_a_pull_says_how_far_it_is(project: Project) -> None:
    with a_registry(padding=30_000_000) as address:
        image = f"{address}/there:1"
        try:
            project.up({"web": {"image": image, "stop_grace_period": "0s"}}, timeout=90)
        finally:
            docker("rm", "-f", *docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={project.app}"))
            docker("image", "rm", "-f", image)
    fractions = [fraction for message, fraction in project.said if message.startswith(f"pulling {image}")]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


# --- Docker away -------------------------------------------------------------------------------------------


Question = Callable[[ComposeEngine, AppName, Path], Coroutine[Any, Any, Any]]

QUESTIONS: dict[str, Question] = {
    "version": lambda engine, app, folder: engine.read_version(),
    "containers": lambda engine, app, folder: engine.list_containers(app),
    "all_containers": lambda engine, app, folder: engine.list_all_containers(),
    "container_owners": lambda engine, app, folder: engine.map_container_owners(),
    "volumes": lambda engine, app, folder: engine.list_volumes(app),
    "save_volume": lambda engine, app, folder: engine.save_volume(app, "x", folder / "x.tar"),
    "image_present": lambda engine, app, folder: engine.has_image("busybox"),
    "image_obtainable": lambda engine, app, folder: engine.check_image_obtainable("busybox"),
    "prepare": lambda engine, app, folder: engine.prepare(
        app, _file(folder), build=[], pull=["web"], progress=ignore_progress
    ),
    "create": lambda engine, app, folder: engine.create(app, _file(folder), scale={"web": 1}, progress=ignore_progress),
    "start_again": lambda engine, app, folder: engine.start_again(["0" * 64]),
    "stop_containers": lambda engine, app, folder: engine.stop_containers(["0" * 64]),
    "remove_containers": lambda engine, app, folder: engine.remove_containers(["0" * 64], volumes=True),
    "networks": lambda engine, app, folder: engine.list_networks(app),
    "image": lambda engine, app, folder: engine.find_image("busybox"),
    "stop": lambda engine, app, folder: engine.stop(app, progress=ignore_progress),
    "down": lambda engine, app, folder: engine.take_down(app, volumes=False, progress=ignore_progress),
}


@pytest.fixture(params=["missing", "refused", "silent"])
def dead_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A DOCKER_HOST where nothing is, where nobody listens, or where somebody does and never says a word."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        if request.param != "missing":
            listener.bind(str(path))
        if request.param == "silent":
            listener.listen(100)
        yield f"unix://{path}"


def test_an_engine_that_is_away_is_an_answer_soon(dead_engine: str, tmp_path: Path) -> None:
    async def timed(engine: ComposeEngine, question: Question) -> tuple[BaseException | None, float]:
        began = time.monotonic()
        [outcome] = await asyncio.gather(question(engine, AppName("t-eng-away"), tmp_path), return_exceptions=True)
        return outcome, time.monotonic() - began

    async def ask() -> dict[str, tuple[BaseException | None, float]]:
        engine = ComposeEngine(dead_engine, find_nothing)
        try:
            answers = await asyncio.gather(*(timed(engine, question) for question in QUESTIONS.values()))
        finally:
            await engine.close()
        return dict(zip(QUESTIONS, answers, strict=True))

    for question, (outcome, seconds) in asyncio.run(ask()).items():
        assert isinstance(outcome, EngineUnavailable), question
        assert "does not answer" in outcome.message, question
        assert seconds < SOON, question


def test_an_engine_that_comes_later_is_found_and_one_that_comes_back_too(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"

    async def story() -> None:
        engine = ComposeEngine(f"unix://{path}", find_nothing)
        for _ in range(2):
            with pytest.raises(EngineUnavailable):
                await engine.list_all_containers()
            with forwarded(path):
                await engine.list_all_containers()
                assert (await engine.read_version()).api
        await engine.close()

    asyncio.run(story())


def test_an_engine_that_goes_during_a_deploy_is_said(project: Project, tmp_path: Path) -> None:
    never = {"test": ["CMD", "false"], "interval": "1s", "retries": 99}
    path = project.release({"web": service(healthcheck=never)})

    async def story() -> None:
        engine = ComposeEngine(f"unix://{tmp_path}/docker.sock", find_nothing)
        with forwarded(tmp_path / "docker.sock"):
            deploying = asyncio.ensure_future(replace(project, engine=engine).start(path, timeout=60))
            while "web: waiting for health" not in project.messages:
                await asyncio.sleep(0.05)
        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(deploying, 55)
        await engine.close()

    asyncio.run(story())


def test_one_slow_answer_does_not_spoil_the_others(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"

    async def story() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(100)
            engine = ComposeEngine(f"unix://{path}", find_nothing)
            slow = asyncio.ensure_future(engine.list_all_containers())
            await asyncio.sleep(0.5)
            others = [asyncio.ensure_future(engine.list_containers(AppName("t-eng-away"))) for _ in range(5)]
            outcomes = await asyncio.gather(slow, *others, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {EngineUnavailable}
            await engine.close()

    asyncio.run(story())


def test_an_engine_that_is_busy_is_slow_and_not_away(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"

    async def story() -> None:
        engine = ComposeEngine(f"unix://{path}", find_nothing)
        with forwarded(path, late=6):
            began = time.monotonic()
            assert (await engine.read_version()).api
            assert await engine.find_root()
            assert await engine.list_containers(AppName("t-eng-busy")) == ()
            assert time.monotonic() - began > 6
        with pytest.raises(EngineUnavailable, match="does not answer"):
            await engine.list_containers(AppName("t-eng-busy"))
        await engine.close()

    asyncio.run(story())


def _file(folder: Path) -> Path:
    path = folder / ".ikoma" / "releases" / "one" / "compose.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"services": {"web": {"image": "x"}}}))
    return path
