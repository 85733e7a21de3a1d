"""A git host on this machine for tests: real git over real https, with a certificate of its own, and over real ssh."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.ssh_server import start_ssh_server
from tests.support import free_port

TOKEN = "s3cret-token-of-a-repository"


@dataclass
class GitHost:
    """Serves the repositories under `folder/repositories`.

    `TOKEN` is wanted for those named private-*. Those named old-* give out no commit that no ref names.
    """

    folder: Path
    port: int
    ssh_port: int = 0
    redirects: dict[str, str] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    """Files that Git LFS keeps, by their SHA-256."""
    large_at: str = ""
    """Where it says that those are, in place of its own address."""
    statuses: list[dict[str, Any]] = field(default_factory=list)
    """Commit statuses that it was told, with the path and the headers they came with."""

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def url(self, name: str) -> str:
        return f"https://localhost:{self.port}/{name}.git"

    @property
    def address(self) -> str:
        return f"https://localhost:{self.port}"

    def keep_large(self, content: bytes) -> str:
        """Keep this in Git LFS; the pointer to it."""
        oid = hashlib.sha256(content).hexdigest()
        self.large[oid] = content
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"

    def add_submodule(self, name: str, path: str, url: str, commit: str) -> str:
        """One more commit with a submodule; the commit's id. `url` is written as it is."""
        work = self.folder / "work" / name
        with (work / ".gitmodules").open("a") as file:
            file.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
        git(work, "add", "-A")
        git(work, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        (work / path).mkdir(parents=True, exist_ok=True)
        return self.commit_index(name, f"submodule {path}")

    def commit_index(self, name: str, message: str) -> str:
        work = self.folder / "work" / name
        git(work, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", message)
        git(work, "push", "-q", "--force", "origin", "HEAD:refs/heads/main")
        return git(work, "rev-parse", "HEAD").strip()

    def remove(self, name: str, *paths: str) -> None:
        """Take files out of the work tree; the next commit is without them."""
        for path in paths:
            (self.folder / "work" / name / path).unlink()

    def ssh_url(self, name: str) -> str:
        return f"ssh://root@localhost:{self.ssh_port}{self.folder}/repositories/{name}.git"

    def make(self, name: str, files: Mapping[str, str], *, message: str = "first") -> str:
        """A repository with one commit of these files, or one more commit in it; the commit's id."""
        work = self.folder / "work" / name
        if not work.exists():
            work.mkdir(parents=True)
            git(work, "init", "-q", "-b", "main")
            git(self.folder, "init", "-q", "--bare", "-b", "main", str(self.folder / "repositories" / f"{name}.git"))
            git(work, "remote", "add", "origin", str(self.folder / "repositories" / f"{name}.git"))
            bare = self.folder / "repositories" / f"{name}.git"
            git(bare, "config", "uploadpack.allowReachableSHA1InWant", "false" if name.startswith("old-") else "true")
        for path, text in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("-> "):
                (work / path).unlink(missing_ok=True)
                (work / path).symlink_to(text[3:])
            else:
                (work / path).write_text(text)
        return self.commit(name, message)

    def branch(self, name: str, branch: str, files: Mapping[str, str | None]) -> str:
        """A branch of main with one commit, in which files are these or gone (None); the commit's id."""
        work = self.folder / "work" / name
        git(work, "checkout", "-q", "-B", branch, "main")
        for path, text in files.items():
            if text is None:
                (work / path).unlink()
            else:
                (work / path).write_text(text)
        commit = self.commit(name, branch, to=branch)
        git(work, "checkout", "-q", "main")
        return commit

    def commit(self, name: str, message: str, *, to: str = "main") -> str:
        work = self.folder / "work" / name
        git(work, "add", "-A")
        git(work, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", message)
        git(work, "push", "-q", "--force", "origin", f"HEAD:refs/heads/{to}")
        return git(work, "rev-parse", "HEAD").strip()


def git(folder: Path, *arguments: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout


@contextmanager
def git_host(folder: Path) -> Iterator[GitHost]:
    (folder / "repositories").mkdir(parents=True)
    _certificate(folder)
    host = GitHost(folder, free_port())
    server = ThreadingHTTPServer(("127.0.0.1", host.port), _handler(host))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    daemon = _start_ssh(host)
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        daemon.terminate()
        daemon.wait(60)


def _certificate(folder: Path) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    shutil.copy(folder / "cert.pem", folder / "ca.pem")


def _start_ssh(host: GitHost) -> subprocess.Popen[bytes]:
    """Start an ssh server whose `git-lfs-authenticate` is this host's."""
    host.ssh_port = free_port()
    programs = host.folder / "bin"
    programs.mkdir()
    authenticate = programs / "git-lfs-authenticate"
    authenticate.write_text(
        f'#!/bin/sh\nprintf \'%s\' \'{{"href": "{host.address}/private-by-ssh.git/info/lfs",'
        ' "header": {"Authorization": "of-the-key"}}\'\n'
    )
    authenticate.chmod(0o755)
    return start_ssh_server(host.folder, host.ssh_port, SetEnv=f"PATH={programs}:{os.environ['PATH']}")


def _handler(host: GitHost) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            name = path.split("/")[1]
            if self._is_answered(path, name):
                return
            if name in host.redirects:
                self.send_response(301)
                self.send_header("Location", self.path.replace(f"/{name}", host.redirects[name], 1))
                self.end_headers()
                return
            wanted = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
            if name.startswith("private-") and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = subprocess.run(
                ["git", "http-backend"],
                input=body,
                capture_output=True,
                check=False,
                env={
                    "PATH": os.environ["PATH"],
                    "GIT_PROJECT_ROOT": str(host.folder / "repositories"),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": "" if name.startswith("old-") else self.headers.get("Git-Protocol", ""),
                    "CONTENT_LENGTH": str(len(body)),
                },
            ).stdout
            head, _, content = answer.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for field_name, value in fields.items():
                self.send_header(field_name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def _is_answered(self, path: str, name: str) -> bool:
            """Whether this is a request to one of the host's APIs: Git LFS, or commit statuses."""
            if path.endswith("/info/lfs/objects/batch"):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if name.startswith("private-") and not self.headers.get("Authorization"):
                    self._say(401, b"{}")
                else:
                    self._say(200, json.dumps({"objects": [self._large(item) for item in body["objects"]]}).encode())
            elif name == "large":
                self._say(200, host.large[path.split("/")[2]])
            elif name in ("api", "2.0"):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                host.statuses.append({"path": path, "headers": dict(self.headers), "body": body})
                self._say(201, b"{}")
            else:
                return False
            return True

        def _large(self, item: dict[str, Any]) -> dict[str, Any]:
            if item["oid"] not in host.large:
                return {**item, "error": {"code": 404, "message": "not here"}}
            href = f"{host.large_at or host.address}/large/{item['oid']}"
            return {**item, "actions": {"download": {"href": href, "header": {"X-For": "large"}}}}

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
