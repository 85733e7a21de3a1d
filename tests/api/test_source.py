"""source.clone and source.checkout against a real git host, over https and ssh."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from tests.apps import make_app
from tests.git_host import TOKEN, GitHost, git
from tests.support import Server, eventually


@pytest.fixture(scope="module")
def server(host: GitHost) -> Iterator[Server]:
    settings = {
        "SOURCE_HOSTS": "localhost",
        "SOURCE_CA_FILE": str(host.ca_file),
        "SOURCE_SSH_KEY": str(host.folder / "id"),
    }
    with support.server(**settings) as started:
        yield started


def app(server: Server, name: str) -> Path:
    server.do("apps.init", {"appName": name})
    return server.apps / name / "src"


def test_a_repository_comes_into_src_and_its_commit_is_on_record(server: Server, host: GitHost) -> None:
    commit = host.make("shop", {"index.js": "1", "lib/a.js": "a", "run.sh": "#!/bin/sh\n"})
    src = app(server, "src-shop")
    brought = server.do("source.clone", {"appName": "src-shop", "url": host.url("shop")})
    assert brought["commit"] == commit
    assert brought["entries"] == ["index.js", "lib", "run.sh"]
    assert (src / "lib" / "a.js").read_text() == "a"
    assert not (src / ".git").exists()
    second = host.make("shop", {"index.js": "2", "new.js": "n"}, message="second")
    assert server.do("source.checkout", {"appName": "src-shop", "ref": "main"})["commit"] == second
    assert (src / "index.js").read_text() == "2"
    assert server.do("source.checkout", {"appName": "src-shop", "ref": commit})["commit"] == commit
    assert (src / "index.js").read_text() == "1"
    assert not (src / "new.js").exists()
    record = json.loads((server.apps / "src-shop/.ikoma/source.json").read_text())
    assert (record["commit"], record["staged"]) == (commit, None)


def test_ssh_brings_the_same(server: Server, host: GitHost) -> None:
    commit = host.make("over-ssh", {"a": "1"})
    src = app(server, "src-ssh")
    assert server.do("source.clone", {"appName": "src-ssh", "url": host.ssh_url("over-ssh")})["commit"] == commit
    assert (src / "a").read_text() == "1"
    assert "localhost" in (server.home / "known_hosts").read_text()
    for name in ("host", "host.pub"):
        (host.folder / name).rename(host.folder / f"{name}.old")
    git_key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host.folder / "host")]
    subprocess.run(git_key, check=True)
    pid = int((host.folder / "sshd.pid").read_text())
    os.kill(pid, 1)  # it reads its key again, when it comes to it
    key = (host.folder / "host.pub").read_text().split()[1]
    shown = ["ssh-keyscan", "-t", "ed25519", "-p", str(host.ssh_port), "localhost"]
    eventually(lambda: key in subprocess.run(shown, capture_output=True, text=True, check=False).stdout)
    answer = server.call("source.checkout", {"appName": "src-ssh", "ref": "main"})
    assert answer.code == "source_unavailable"
    assert "key" in answer.body["error"]


def test_a_folder_of_a_repository_can_be_the_source(server: Server, host: GitHost) -> None:
    host.make("mono", {"apps/web/index.html": "web", "apps/api/main.py": "api"})
    src = app(server, "src-mono")
    server.do("source.clone", {"appName": "src-mono", "url": host.url("mono"), "path": "apps/web"})
    assert os.listdir(src) == ["index.html"]
    answer = server.call("source.clone", {"appName": "src-mono", "url": host.url("mono"), "path": "apps/none"})
    assert answer.code == "source_unavailable"


def test_a_token_opens_a_private_repository_and_is_kept_nowhere(server: Server, host: GitHost) -> None:
    host.make("private-shop", {"a": "1"})
    app(server, "src-private")
    asked = {"appName": "src-private", "url": host.url("private-shop")}
    assert server.call("source.clone", asked).code == "source_unavailable"
    wrong = server.call("source.clone", {**asked, "token": "wrong-token-12345"})
    assert "token" in wrong.body["error"]
    server.do("source.clone", {**asked, "token": TOKEN})
    for place, _, names in os.walk(server.folder):
        for name in names:
            path = Path(place, name)
            if path.is_file():
                assert TOKEN.encode() not in path.read_bytes(), path


def test_what_was_changed_by_hand_is_not_lost(server: Server, host: GitHost) -> None:
    host.make("edited", {"a": "1", "b": "1"})
    src = app(server, "src-edited")
    (src / "mine.txt").write_text("mine")
    asked = {"appName": "src-edited", "url": host.url("edited")}
    refused = server.call("source.clone", asked)
    assert refused.code == "source_changed"
    assert refused.body["details"]["changed"] == ["mine.txt"]
    server.do("source.clone", {**asked, "overwrite": True})
    assert sorted(os.listdir(src)) == ["a", "b"]
    kept = [path.read_text() for path in (server.apps / "src-edited/.ikoma/replaced").rglob("mine.txt*")]
    assert kept == ["mine"]
    (src / "a").write_text("changed")
    assert server.call("source.checkout", {"appName": "src-edited", "ref": "main"}).body["details"]["changed"] == ["a"]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc",
            "/etc",
            "../x",
            "git://localhost/x",
            "http://localhost/x",
            "ext::sh -c id",
            "-oProxyCommand=id",
        ),
        *("https://user:pw@localhost/x.git", "https://tok@localhost/x", "ssh://-oProxyCommand=id@localhost/x", ""),
        *(
            "https://localhost/x?y",
            "https:///x",
            "ssh://localhost",
            "https://localhost/a b",
            "localhost:--upload-pack=id",
        ),
    ],
)
def test_hostile_addresses_are_refused(server: Server, url: str) -> None:
    app(server, "src-url")
    assert server.call("source.clone", {"appName": "src-url", "url": url}).code == "invalid_arguments"
    assert os.listdir(server.apps / "src-url" / "src") == []


@pytest.mark.parametrize(
    "ref", ["--upload-pack=id", "a b", "../x", "a..b", "x@{1}", "", "a:b", "+x", "x/", "x.lock", "a~1", "a\nb"]
)
def test_hostile_refs_are_refused(server: Server, host: GitHost, ref: str) -> None:
    app(server, "src-url")
    asked = {"appName": "src-url", "url": host.url("shop"), "ref": ref}
    assert server.call("source.clone", asked).code == "invalid_arguments"


def test_a_password_in_an_address_is_refused_and_not_recorded(server: Server) -> None:
    app(server, "src-url")
    asked = {"appName": "src-url", "url": "https://ann:hunter2-hunter2@localhost/x.git"}
    assert server.call("source.clone", asked).code == "invalid_arguments"
    assert "hunter2" not in server.audit_log.read_text()


def test_hosts_that_are_not_listed_are_refused(server: Server) -> None:
    app(server, "src-url")
    for url in (
        "https://example.com/a/b",
        "https://127.0.0.1/a/b",
        "https://169.254.169.254/latest",
        "https://[::1]/a",
    ):
        assert server.call("source.clone", {"appName": "src-url", "url": url}).code == "host_not_listed"


def test_a_redirect_to_elsewhere_is_not_followed(server: Server, host: GitHost) -> None:
    host.make("moved", {"a": "1"})
    host.redirects["old-name.git"] = "/moved.git"
    app(server, "src-url")
    assert server.call("source.clone", {"appName": "src-url", "url": host.url("old-name")}).code == "source_unavailable"


def test_nothing_in_a_repository_runs_or_leads_out(server: Server, host: GitHost, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    hook = f"#!/bin/sh\ntouch {marker}\n"
    host.make("hostile", {"a": "1", ".gitattributes": "* filter=evil\n", ".githooks/post-checkout": hook})
    bare = host.folder / "repositories" / "hostile.git"
    for name in ("post-checkout", "post-merge", "pre-receive", "reference-transaction"):
        (bare / "hooks").mkdir(exist_ok=True)
        (bare / "hooks" / name).write_text(hook)
        (bare / "hooks" / name).chmod(0o755)
    git(bare, "config", "filter.evil.smudge", f"touch {marker}")
    work = host.folder / "work" / "hostile"
    modules = f'[submodule "x"]\n\tpath = x\n\turl = {host.url("shop")}\n'
    (work / ".gitmodules").write_text(f"{modules}\tupdate = !touch {marker}\n")
    host.commit("hostile", "a submodule that runs something")
    app(server, "src-hostile")
    refused = server.call("source.clone", {"appName": "src-hostile", "url": host.url("hostile")})
    assert refused.code == "source_unavailable"
    (work / ".gitmodules").write_text(modules)
    git(work, "reset", "-q", "--soft", "HEAD~1")
    host.commit("hostile", "a submodule")
    marker.unlink(missing_ok=True)  # pushing runs the host's own hooks; fetching must run none
    src = app(server, "src-hostile")
    server.do("source.clone", {"appName": "src-hostile", "url": host.url("hostile")})
    assert (src / "a").read_text() == "1"
    assert not marker.exists()
    for link in ("/etc/passwd", "../../../outside", "inner/../../x"):
        name = f"link{len(link)}"
        host.make(name, {"ok": "1", "inner/b": "1", "bad": f"-> {link}"})
        answer = server.call("source.clone", {"appName": "src-hostile", "url": host.url(name), "overwrite": True})
        assert answer.code == "source_unsafe"
        assert (src / "a").read_text() == "1"
    host.make("links", {"a": "1", "good": "-> a"})
    server.do("source.clone", {"appName": "src-hostile", "url": host.url("links"), "overwrite": True})
    assert os.readlink(src / "good") == "a"


def test_a_change_that_was_cut_off_is_finished_at_the_next_start(server: Server, host: GitHost) -> None:
    host.make("cut", {"a": "1", "b": "1", "c": "1"})
    src = app(server, "src-cut")
    server.do("source.clone", {"appName": "src-cut", "url": host.url("cut")})
    state = server.apps / "src-cut" / ".ikoma"
    before = json.loads((state / "source.json").read_text())
    host.make("cut", {"a": "2", "b": "2", "c": "2"}, message="second")
    server.do("source.checkout", {"appName": "src-cut", "ref": "main"})
    after = json.loads((state / "source.json").read_text())
    # As a kill between two renames leaves it: `a` is new, `b` and `c` still wait.
    staged = state / "staged-cut"
    staged.mkdir()
    for name in ("b", "c"):
        shutil.move(src / name, staged / name)
        (src / name).write_text("1")
    (state / "source.json").write_text(json.dumps({**after, "staged": "staged-cut"}))
    assert before["commit"] != after["commit"]
    server.kill()
    server.start()
    assert [(src / name).read_text() for name in "abc"] == ["2", "2", "2"]
    assert not staged.exists()
    assert json.loads((state / "source.json").read_text())["staged"] is None


def test_the_release_knows_its_commit(server: Server, host: GitHost) -> None:
    commit = host.make("served", {"ok": "ok"})
    folder = make_app(server, "src-served")
    (folder / "src" / "ok").unlink()
    server.do("source.clone", {"appName": "src-served", "url": host.url("served")})
    server.do("deploy.up", {"appName": "src-served"})
    assert server.do("release.list", {"appName": "src-served"})["releases"][0]["commit"] == commit
