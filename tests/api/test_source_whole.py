"""source.clone of a repository that holds a whole app: what is its, what is the server's, and what a push brings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from tests.apps import COMPOSE, SERVE
from tests.git_host import TOKEN, GitHost, git
from tests.images import busybox_image
from tests.support import Server


@pytest.fixture(scope="module")
def server(host: GitHost) -> Iterator[Server]:
    settings = {"SOURCE_HOSTS": "localhost", "SOURCE_CA_FILE": str(host.ca_file)}
    with support.server(**settings) as started:
        yield started


def compose(volumes: str = '["./src:/www:ro"]', more: str = "") -> str:
    text = COMPOSE.format(image=busybox_image(), command=SERVE, health="/ok")
    return text.replace('["./src:/www:ro"]', volumes) + more


def whole(name: str, host: GitHost, **more: str) -> str:
    """A repository that holds an app of that name; its commit."""
    files = {
        "docker-compose.yml": compose(),
        "src/ok": "1",
        "config/app.conf": "level=1",
        "migrations/001_init.sql": "CREATE TABLE visits (id int);\n",
        "seeds/001_rows.sql": "INSERT INTO visits VALUES (1);\n",
    }
    return host.make(name, {**files, **more})


def clone(server: Server, host: GitHost, app: str, **more: object) -> Path:
    server.do("apps.init", {"appName": app})
    server.do("source.clone", {"appName": app, "url": host.url(app), **more})
    return server.apps / app


def deploy(server: Server, app: str) -> dict[str, object]:
    """Deploy as a push would."""
    result: dict[str, object] = server.do("hook.deploy", {"appName": app})
    return result


def test_a_repository_with_a_compose_file_becomes_the_whole_app_and_a_push_brings_all_of_it(
    server: Server, host: GitHost
) -> None:
    whole("whole-shop", host)
    folder = clone(server, host, "whole-shop")
    assert (folder / "docker-compose.yml").read_text() == compose()
    server.do("db.create", {"appName": "whole-shop"})
    env = (folder / ".env").read_text() if (folder / ".env").exists() else ""
    server.do("hook.create", {"appName": "whole-shop"})
    assert deploy(server, "whole-shop")["details"]["migrations"] == ["001_init.sql"]  # type: ignore[index]
    host.remove("whole-shop", "seeds/001_rows.sql")
    pushed = host.make(
        "whole-shop",
        {
            "docker-compose.yml": compose(more="# two\n"),
            "src/ok": "2",
            "config/app.conf": "level=2",
            "migrations/002_more.sql": "ALTER TABLE visits ADD COLUMN at int;\n",
        },
        message="second",
    )
    result = deploy(server, "whole-shop")
    assert (result["commit"], result["details"]["migrations"]) == (pushed, ["002_more.sql"])  # type: ignore[index]
    assert (folder / "docker-compose.yml").read_text().endswith("# two\n")
    assert (folder / "config" / "app.conf").read_text() == "level=2"
    assert not (folder / "seeds" / "001_rows.sql").exists()
    assert ((folder / ".env").read_text() if (folder / ".env").exists() else "") == env
    assert not list(folder.rglob(".git"))


def test_a_folder_of_a_monorepo_can_be_the_whole_app(server: Server, host: GitHost) -> None:
    host.make("whole-mono", {"apps/web/compose.yaml": compose(), "apps/web/src/ok": "web", "apps/api/main.py": "api"})
    folder = clone(server, host, "whole-mono", path="apps/web")
    assert (folder / "compose.yaml").is_file()
    assert not (folder / "docker-compose.yml").exists()  # what apps.init wrote would come before it
    assert (folder / "src" / "ok").read_text() == "web"
    assert not (folder / "apps").exists()


def test_what_is_the_servers_stays_when_the_whole_app_comes(server: Server, host: GitHost) -> None:
    whole("whole-own", host, **{".env": "A=example\n", "RUNBOOK.md": "theirs", "data/.gitkeep": ""})
    server.do("apps.init", {"appName": "whole-own"})
    folder = server.apps / "whole-own"
    (folder / ".env").write_text("A=secret-of-the-server\n")
    (folder / "data").mkdir()
    (folder / "data" / "uploaded.png").write_bytes(b"x" * 1000)
    (folder / "config" / "mine.conf").write_text("mine")
    brought = server.do("source.clone", {"appName": "whole-own", "url": host.url("whole-own")})
    assert brought["left"] == [".env", "RUNBOOK.md"]
    assert (folder / ".env").read_text() == "A=secret-of-the-server\n"
    assert (folder / "data" / "uploaded.png").stat().st_size == 1000
    host.make("whole-own", {".env": "A=other\n", "config/mine.conf": "theirs"}, message="second")
    refused = server.call("source.checkout", {"appName": "whole-own", "ref": "main"})
    assert (refused.code, refused.body["details"]["changed"]) == ("source_changed", ["config/mine.conf"])
    assert (folder / "config" / "mine.conf").read_text() == "mine"
    brought = server.do("source.checkout", {"appName": "whole-own", "ref": "main", "overwrite": True})
    assert (folder / "config" / "mine.conf").read_text() == "theirs"
    kept = [path.read_text() for path in Path(brought["kept"]).rglob("mine.conf*")]
    assert kept == ["mine"]
    for number in range(5):  # what was moved aside stays there, however many pushes come
        host.make("whole-own", {"src/ok": f"push {number}"}, message=f"push {number}")
        server.do("source.checkout", {"appName": "whole-own", "ref": "main"})
    assert [path.read_text() for path in Path(brought["kept"]).rglob("mine.conf*")] == ["mine"]
    assert (folder / ".env").read_text() == "A=secret-of-the-server\n"
    assert (folder / "data" / "uploaded.png").stat().st_size == 1000


def test_the_env_file_of_a_repository_is_where_a_server_without_one_begins(server: Server, host: GitHost) -> None:
    whole("whole-env", host, **{".env": "A=from the repository\n"})
    folder = clone(server, host, "whole-env")
    assert (folder / ".env").read_text() == "A=from the repository\n"
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    server.do("env.set", {"appName": "whole-env", "name": "A", "value": "changed here"})
    host.make("whole-env", {".env": "A=changed there\n"}, message="second")
    assert server.do("source.checkout", {"appName": "whole-env", "ref": "main"})["left"] == [".env"]
    assert "changed here" in (folder / ".env").read_text()


def test_a_compose_file_of_a_persons_own_keeps_the_repository_in_src(server: Server, host: GitHost) -> None:
    whole("whole-not", host)
    server.do("apps.init", {"appName": "whole-not"})
    folder = server.apps / "whole-not"
    own = compose(more="# a person's own\n")
    (folder / "docker-compose.yml").write_text(own)
    asked = {"appName": "whole-not", "url": host.url("whole-not")}
    assert server.do("source.clone", asked)["into"] == "src"
    assert (folder / "docker-compose.yml").read_text() == own
    assert (folder / "src" / "docker-compose.yml").is_file()
    refused = server.call("source.clone", {**asked, "into": "app"})
    assert refused.body["details"]["changed"] == ["docker-compose.yml"]
    brought = server.do("source.clone", {**asked, "into": "app", "overwrite": True})
    assert brought["into"] == "app"
    assert not (folder / "src" / "docker-compose.yml").exists()  # it was the repository's, and is elsewhere now
    assert [path.read_text() for path in Path(brought["kept"]).rglob("docker-compose.yml*")] == [own]


def test_an_app_that_an_earlier_version_cloned_into_src_goes_on(server: Server, host: GitHost) -> None:
    whole("whole-earlier", host)
    folder = clone(server, host, "whole-earlier", into="src")
    record = folder / ".ikoma" / "source.json"
    now = json.loads(record.read_text())
    earlier = {name: now[name] for name in ("url", "ref", "path", "commit", "caller", "at", "staged")}
    code = (
        "import sys\nfrom pathlib import Path\nfrom ikoma.apps.source.placing import compute_digest\n"
        "print(*(f'{p.name} {compute_digest(p)}' for p in Path(sys.argv[1]).iterdir()), sep='\\n')"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(folder / "src")], check=True, capture_output=True, text=True
    ).stdout
    record.write_text(json.dumps({**earlier, "entries": dict(line.split() for line in said.splitlines())}))
    host.remove("whole-earlier", "config/app.conf")
    host.make("whole-earlier", {"src/ok": "2"}, message="second")
    assert server.do("source.checkout", {"appName": "whole-earlier", "ref": "main"})["into"] == "src"
    assert (folder / "src" / "src" / "ok").read_text() == "2"
    assert not (folder / "src" / "config").exists()
    assert (folder / "config").is_dir()


@pytest.mark.parametrize("into", ["app", "src"])
def test_what_containers_wrote_stays_through_pushes(server: Server, host: GitHost, into: str) -> None:
    app = f"whole-data-{into}"
    place = "src/uploads" if into == "app" else "uploads"
    text = compose('["./src:/www:ro", "./src/uploads:/uploads"]', "  data: src/uploads\n").replace(
        SERVE, '["sh", "-c", "echo by-the-container > /uploads/db; exec httpd -f -p 3000 -h /www"]'
    )
    ok = "src/ok" if into == "app" else "ok"
    files = {ok: "1", f"{place}/.gitkeep": "", f"{place}/db": "from the repository", f"{place}/logo": "1"}
    host.make(app, {**files, **({"docker-compose.yml": text} if into == "app" else {})})
    server.do("apps.init", {"appName": app})
    folder = server.apps / app
    if into == "src":
        (folder / "docker-compose.yml").write_text(text)
    server.do("source.clone", {"appName": app, "url": host.url(app)})
    server.do("hook.create", {"appName": app})
    deploy(server, app)
    (folder / "src" / "uploads" / "photo.jpg").write_bytes(b"p" * 5000)
    assert (folder / "src" / "uploads" / "db").read_text() == "by-the-container\n"
    identity = (folder / "src" / "uploads").stat().st_ino
    for number in (2, 3):
        host.make(app, {ok: str(number), f"{place}/db": f"changed {number}", f"{place}/logo": str(number)}, message="m")
        result = deploy(server, app)
        assert f"{place}/db" in str(result["message"])
        assert (folder / "src" / "uploads" / "db").read_text() == "by-the-container\n"
        assert (folder / "src" / "uploads" / "photo.jpg").stat().st_size == 5000
        assert (folder / "src" / "uploads" / "logo").read_text() == str(number)  # nobody had touched it
        assert (folder / "src" / "uploads").stat().st_ino == identity
        assert (folder / "src" / "ok").read_text() == str(number)


def test_a_change_that_was_cut_off_is_finished_at_the_next_start(server: Server, host: GitHost) -> None:
    whole("whole-cut", host)
    folder = clone(server, host, "whole-cut")
    host.remove("whole-cut", "seeds/001_rows.sql")
    host.make("whole-cut", {"src/ok": "2", "config/app.conf": "level=2"}, message="second")
    state = folder / ".ikoma"
    before = json.loads((state / "source.json").read_text())
    server.do("source.checkout", {"appName": "whole-cut", "ref": "main"})
    after = json.loads((state / "source.json").read_text())
    # As a kill between two renames leaves it: src/ok is new, the other still waits, and a file has not gone yet.
    (state / "staged-cut" / "config").mkdir(parents=True)
    shutil.move(folder / "config" / "app.conf", state / "staged-cut" / "config" / "app.conf")
    (folder / "config" / "app.conf").write_text("level=1")
    (folder / "seeds" / "001_rows.sql").write_text("INSERT INTO visits VALUES (1);\n")
    clear = {path: before["files"][path] for path in ("src/ok", "config/app.conf", "seeds/001_rows.sql")}
    (state / "source.json").write_text(json.dumps({**after, "staged": "staged-cut", "clear": clear}))
    server.kill()
    server.start()
    assert (folder / "src" / "ok").read_text() == "2"
    assert (folder / "config" / "app.conf").read_text() == "level=2"
    assert not (folder / "seeds" / "001_rows.sql").exists()
    assert not (state / "staged-cut").exists()
    assert not list((state / "replaced").rglob("*.sql*"))  # it was the repository's: nothing to keep


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".ikoma/serving.json", "{}"),
        ("config/.ikoma-writing-1", "x"),
        ("src/key", "-> ../.ikoma/hook.json"),
        ("src/env", "-> ../.env"),
        ("src/out", "-> ../../other"),
    ],
)
def test_a_repository_reaches_nothing_that_is_the_servers(
    server: Server, host: GitHost, path: str, content: str
) -> None:
    name = f"whole-bad-{abs(hash(path)) % 10_000}"
    whole(name, host)
    folder = clone(server, host, name)
    before = sorted(os.listdir(folder / ".ikoma"))
    host.make(name, {path: content}, message="bad")
    answer = server.call("source.checkout", {"appName": name, "ref": "main"})
    assert answer.code == "source_unsafe"
    assert path.removesuffix("/serving.json") in answer.body["error"]
    assert sorted(os.listdir(folder / ".ikoma")) == before
    assert not (folder / path).exists() or path.startswith(".ikoma")


def test_no_link_that_a_container_made_leads_a_checkout_out_of_the_app(server: Server, host: GitHost) -> None:
    whole("whole-link", host, **{"data/sub/a": "1"})
    folder = clone(server, host, "whole-link")
    outside = server.folder / "outside"
    outside.mkdir()
    shutil.rmtree(folder / "data" / "sub")
    (folder / "data" / "sub").symlink_to(outside)
    host.make("whole-link", {"data/sub/a": "2", "data/sub/b": "2"}, message="second")
    refused = server.call("source.checkout", {"appName": "whole-link", "ref": "main"})
    assert refused.body["details"]["changed"] == ["data/sub"]
    server.do("source.checkout", {"appName": "whole-link", "ref": "main", "overwrite": True})
    assert os.listdir(outside) == []
    assert (folder / "data" / "sub" / "b").read_text() == "2"


def test_a_push_that_touches_no_watched_path_deploys_nothing_and_says_so(server: Server, host: GitHost) -> None:
    watching = "  watch_paths: [src/**, '!src/**/*.md', 'packages/shared']\n"
    files = {"web/docker-compose.yml": compose(more=watching), "web/src/ok": "1", "packages/shared/a": "1"}
    first = host.make("whole-watch", {**files, "docs/a.md": "1"})
    folder = clone(server, host, "whole-watch", path="web")
    server.do("hook.create", {"appName": "whole-watch"})
    assert deploy(server, "whole-watch")["deployed"] is True
    releases = server.do("release.list", {"appName": "whole-watch"})["releases"]
    host.make("whole-watch", {"docs/a.md": "2", "web/src/notes.md": "2"}, message="docs")
    result = deploy(server, "whole-watch")
    assert (result["deployed"], result["details"]) == (False, None)
    assert "docs/a.md, web/src/notes.md" in str(result["message"])
    assert "watch_paths" in str(result["message"])
    assert server.do("release.list", {"appName": "whole-watch"})["releases"] == releases
    assert json.loads((folder / ".ikoma" / "source.json").read_text())["commit"] == first
    assert not (folder / "src" / "notes.md").exists()
    shared = host.make("whole-watch", {"packages/shared/a": "2"}, message="shared")
    assert (deploy(server, "whole-watch")["deployed"], (folder / "src" / "notes.md").exists()) == (True, True)
    # What is watched is what the pushed compose file says, so that it can be changed by a push.
    wider = compose(more="  watch_paths: [docs]\n")
    host.make("whole-watch", {"web/docker-compose.yml": wider, "web/src/ok": "3"}, message="wider")
    assert deploy(server, "whole-watch")["deployed"] is False
    newest = host.make("whole-watch", {"docs/a.md": "3"}, message="docs again")
    assert deploy(server, "whole-watch")["commit"] == newest
    assert (folder / "src" / "ok").read_text() == "3"
    assert shared != newest


def test_watch_paths_of_another_form_are_an_error(server: Server, host: GitHost) -> None:
    whole("whole-globs", host, **{"docker-compose.yml": compose(more="  watch_paths: {a: b}\n")})
    clone(server, host, "whole-globs")
    findings = server.do("apps.validate", {"appName": "whole-globs"})
    assert "watch_paths" in json.dumps(findings)


def test_a_preview_of_a_whole_app_is_the_whole_of_the_other_ref(server: Server, host: GitHost) -> None:
    whole("whole-view", host)
    folder = clone(server, host, "whole-view")
    (folder / "config" / "servers.conf").write_text("made on the server")
    host.branch("whole-view", "next", {"config/app.conf": "level=9", "migrations/001_init.sql": None, "src/ok": "next"})
    server.do("deploy.up", {"appName": "whole-view"})
    made = server.do("deploy.preview", {"appName": "whole-view", "ref": "next", "database": False})
    preview = server.apps / made["details"]["preview"]
    assert (preview / "config" / "app.conf").read_text() == "level=9"
    assert (preview / "src" / "ok").read_text() == "next"
    assert not (preview / "migrations" / "001_init.sql").exists()
    server.do("preview.remove", {"appName": "whole-view", "ref": "next"})


def test_submodules_come_with_it(server: Server, host: GitHost) -> None:
    inner = host.make("sub-inner", {"deep": "deep"})
    host.make("sub-lib", {"lib.js": "lib"})
    lib = host.add_submodule("sub-lib", "inner", "../sub-inner.git", inner)
    host.make("sub-lib", {"lib.js": "newer"}, message="newer")  # not the commit that is wanted
    host.make("sub-app", {"index.js": "1"})
    host.add_submodule("sub-app", "vendor/lib", host.url("sub-lib"), lib)
    folder = clone(server, host, "sub-app")
    assert (folder / "src" / "vendor" / "lib" / "lib.js").read_text() == "lib"
    assert (folder / "src" / "vendor" / "lib" / "inner" / "deep").read_text() == "deep"
    assert not list((folder / "src").rglob(".git"))
    host.make("sub-app", {"index.js": "2"}, message="second")
    server.do("source.checkout", {"appName": "sub-app", "ref": "main"})
    assert (folder / "src" / "index.js").read_text() == "2"


def test_a_submodule_comes_from_a_host_that_gives_out_no_commit_by_its_id(server: Server, host: GitHost) -> None:
    lib = host.make("old-lib", {"lib.js": "old"})
    host.make("old-lib", {"lib.js": "new"}, message="new")
    host.make("old-app", {"index.js": "1"})
    host.add_submodule("old-app", "lib", "../old-lib.git", lib)
    folder = clone(server, host, "old-app")
    assert (folder / "src" / "lib" / "lib.js").read_text() == "old"


def test_names_that_are_no_utf_8_come_and_go_like_others(server: Server, host: GitHost) -> None:
    host.make("bytes", {"a": "1"})
    work = host.folder / "work" / "bytes"
    odd = os.fsdecode(b"caf\xe9")
    (work / "lib").mkdir()
    (work / "lib" / odd).write_text("1")
    host.commit("bytes", "bytes")
    folder = clone(server, host, "bytes")
    assert (folder / "src" / "lib" / odd).read_text() == "1"
    (folder / "src" / "lib" / odd).write_text("by hand")
    refused = server.call("source.checkout", {"appName": "bytes", "ref": "main"})
    assert refused.body["details"]["changed"] == ["lib/caf\\xe9"]
    (folder / "src" / "lib" / odd).write_text("1")
    (work / "lib" / odd).unlink()
    host.commit("bytes", "gone")
    server.do("source.checkout", {"appName": "bytes", "ref": "main"})
    assert os.listdir(folder / "src") == ["a"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.com/a/b.git", "host_not_listed"),
        ("https://169.254.169.254/latest", "host_not_listed"),
        ("file:///etc", "source_unavailable"),
        ("ext::sh -c id", "source_unavailable"),
        ("https://user:pw-of-somebody@localhost/x.git", "source_unavailable"),
        ("../no-such-repository.git", "source_unavailable"),
    ],
)
def test_a_submodule_that_cannot_be_had_is_an_error_with_its_path(
    server: Server, host: GitHost, url: str, code: str
) -> None:
    name = f"sub-bad-{abs(hash(url)) % 10_000}"
    host.make(name, {"a": "1"})
    folder = clone(server, host, name)
    host.add_submodule(name, "libs/gone", url, "1" * 40)
    answer = server.call("source.checkout", {"appName": name, "ref": "main"})
    assert (answer.code, answer.body["details"]["path"]) == (code, "libs/gone")
    assert answer.body["error"].startswith("libs/gone is a submodule")
    assert "pw-of-somebody" not in json.dumps(answer.body)
    assert os.listdir(folder / "src") == ["a"]


def test_a_submodule_without_an_address_is_an_error_with_its_path(server: Server, host: GitHost) -> None:
    host.make("sub-none", {"a": "1"})
    work = host.folder / "work" / "sub-none"
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{'2' * 40},libs/gone")
    host.commit_index("sub-none", "no .gitmodules")
    server.do("apps.init", {"appName": "sub-none"})
    answer = server.call("source.clone", {"appName": "sub-none", "url": host.url("sub-none")})
    assert answer.code == "source_unavailable"
    assert "libs/gone" in answer.body["error"]


def test_what_git_lfs_keeps_comes_with_it(server: Server, host: GitHost) -> None:
    content = os.urandom(300_000)
    pointer = host.keep_large(content)
    host.make("large-shop", {"a": "1", "assets/logo.png": pointer, "assets/again.png": pointer})
    folder = clone(server, host, "large-shop")
    assert (folder / "src" / "assets" / "logo.png").read_bytes() == content
    assert (folder / "src" / "assets" / "again.png").read_bytes() == content
    host.make("large-shop", {"a": "2"}, message="second")
    server.do("source.checkout", {"appName": "large-shop", "ref": "main"})
    assert (folder / "src" / "assets" / "logo.png").read_bytes() == content


@pytest.mark.parametrize("why", ["missing", "elsewhere", "private", "other", "longer"])
def test_what_git_lfs_does_not_give_is_an_error_with_its_path(server: Server, host: GitHost, why: str) -> None:
    name = f"large-{why}"
    host.make(name, {"a": "1"})
    folder = clone(server, host, name)
    pointer = host.keep_large(f"content of {why}".encode())
    oid = next(iter(reversed(host.large)))
    if why == "missing":
        del host.large[oid]
    elif why == "elsewhere":
        host.large_at = "https://example.com"
    elif why == "private":
        host.large_at = "https://169.254.169.254"
    else:
        host.large[oid] = b"something else" if why == "other" else b"x" * 1000
    host.make(name, {"assets/logo.png": pointer}, message="large")
    answer = server.call("source.checkout", {"appName": name, "ref": "main"})
    host.large_at = ""
    assert answer.code == ("host_not_listed" if why in ("elsewhere", "private") else "source_unavailable")
    assert answer.body["error"].startswith("assets/logo.png is kept in Git LFS")
    assert os.listdir(folder / "src") == ["a"]


def test_a_token_that_is_kept_opens_private_repositories_for_pushes_and_is_never_seen(
    server: Server, host: GitHost
) -> None:
    lib = host.make("private-lib", {"lib": "1"})
    host.make("private-app", {"ok": "1", "big": host.keep_large(b"large and private")})
    host.add_submodule("private-app", "lib", "../private-lib.git", lib)
    server.do("apps.init", {"appName": "with-token"})
    server.do("apps.init", {"appName": "without-token"})
    place = f"localhost:{host.port}"
    assert server.do("source.token", {"appName": "with-token", "host": place, "token": TOKEN})["hosts"] == [place]
    asked = {"url": host.url("private-app")}
    server.do("source.clone", {"appName": "with-token", **asked})
    assert (server.apps / "with-token/src/lib/lib").read_text() == "1"
    assert (server.apps / "with-token/src/big").read_text() == "large and private"
    assert server.call("source.clone", {"appName": "without-token", **asked}).code == "source_unavailable"
    host.make("private-app", {"ok": "2"}, message="second")
    server.do("source.checkout", {"appName": "with-token", "ref": "main"})
    wrong = server.call("source.token", {"appName": "with-token", "host": "https://x", "token": TOKEN})
    said = json.dumps(server.do("operations.list", {"limit": 100})) + json.dumps(wrong.body)
    said += server.log() + server.audit_log.read_text()
    assert TOKEN not in said
    kept = server.apps / "with-token/.ikoma/source-tokens.json"
    assert TOKEN in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    for path in server.apps.rglob("*"):
        if path.is_file() and path != kept:
            assert TOKEN.encode() not in path.read_bytes(), path
    trash = server.do("apps.remove", {"appName": "with-token"})["details"]["trash"]
    assert find_holding(Path(trash), TOKEN.encode()) == {("source-tokens.json", 0o600)}  # it comes back with the app


def test_a_deploy_key_of_the_platforms_making_opens_a_repository_over_ssh(server: Server, host: GitHost) -> None:
    host.make("keyed", {"a": "1"})
    server.do("apps.init", {"appName": "with-key"})
    asked = {"appName": "with-key", "url": host.ssh_url("keyed")}
    assert server.call("source.clone", asked).code == "source_unavailable"
    place = {"appName": "with-key", "host": "localhost"}
    made = server.do("source.key", place)
    assert made["publicKey"].startswith("ssh-ed25519 ")
    assert server.do("source.key", place) == {**made, "created": False}
    host.make("keyed", {"big": host.keep_large(b"large, by ssh")}, message="large")
    with (host.folder / "authorized").open("a") as file:
        file.write(f"\n{made['publicKey']}\n")
    server.do("source.clone", asked)
    assert (server.apps / "with-key/src/a").read_text() == "1"
    assert (server.apps / "with-key/src/big").read_text() == "large, by ssh"
    other = server.do("source.key", {"appName": "with-key", "host": "localhost/some/other"})
    assert other["publicKey"] != made["publicKey"]
    keys = server.apps / "with-key/.ikoma/source-keys"
    assert {path.stat().st_mode & 0o777 for path in keys.iterdir()} == {0o600}
    private = (keys / "localhost").read_text().splitlines()[2]
    assert private not in json.dumps(server.do("operations.list", {"limit": 100})) + server.log()
    trash = server.do("apps.remove", {"appName": "with-key"})["details"]["trash"]
    assert find_holding(Path(trash), private.encode()) == {("localhost", 0o600)}  # it comes back with the app


def find_holding(folder: Path, secret: bytes) -> set[tuple[str, int]]:
    """Find the files that hold a secret: name and mode."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {(path.name, path.stat().st_mode & 0o777) for path in files if secret in path.read_bytes()}
