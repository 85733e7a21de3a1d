"""The command line, as a person and as a script use it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.apps import make_app
from tests.support import IKOMA, Server, free_port


def test_verbs_take_the_app_and_options_from_the_request_models(server: Server) -> None:
    done = server.cli("init", "verbs", "--template", "static")
    assert done.returncode == 0
    assert "verbs is ready" in done.stdout
    assert (server.apps / "verbs" / "docker-compose.yml").is_file()
    listed = json.loads(server.cli("list", "--json").stdout)
    assert "verbs" in {app["name"] for app in listed["apps"]}


def test_a_deploy_reports_its_progress_and_scripts_get_json(server: Server) -> None:
    make_app(server, "cli-deploy")
    done = server.cli("deploy", "cli-deploy", "--env", "A=b=c", "--timeout", "60", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["success"] is True
    assert "web: healthy" in done.stderr
    assert server.cli("verify", "cli-deploy").returncode == 0
    assert "healthy" in server.cli("status", "cli-deploy").stdout
    assert "succeeded (current)" in server.cli("releases", "cli-deploy").stdout


def test_a_failure_says_what_why_and_what_next_and_ends_with_one(server: Server) -> None:
    done = server.cli("deploy", "cli-deplog")
    assert done.returncode == 1
    assert "error: There is no app 'cli-deplog'." in done.stderr
    assert "hint:" in done.stderr
    assert "app_not_found" in done.stderr
    failed = json.loads(server.cli("status", "nothing", "--json").stdout)
    assert failed["code"] == "app_not_found"


def test_a_failed_deploy_shows_the_last_log_lines(server: Server) -> None:
    make_app(server, "cli-fails", command='["sh", "-c", "echo the reason is here; exit 4"]')
    done = server.cli("deploy", "cli-fails")
    assert done.returncode == 1
    assert "| the reason is here" in done.stderr
    assert "code 4" in done.stderr


def test_call_takes_any_capability_with_typed_arguments_and_files(server: Server, tmp_path: Path) -> None:
    make_app(server, "cli-call")
    server.do("db.create", {"appName": "cli-call"})
    (tmp_path / "a.sql").write_text("CREATE TABLE a (i int);\n")
    done = server.cli(
        "call", "db.migrate", "--app", "cli-call", "--arg", f"sql=@{tmp_path}/a.sql", "--arg", "timeout=9"
    )
    assert done.returncode == 0, done.stderr
    assert "a" in json.loads(server.cli("db-status", "cli-call", "--json").stdout)["tables"]
    refused = server.cli("call", "db.migrate", "--app", "cli-call", "--arg", "timeout=soon")
    assert "invalid_arguments" in refused.stderr
    assert server.cli("call", "nothing.here").returncode == 1


def test_psql_opens_the_apps_own_database(server: Server) -> None:
    make_app(server, "cli-psql")
    server.do("db.create", {"appName": "cli-psql"})
    done = server.cli("psql", "cli-psql", "-Atc", "SELECT current_user, current_database()")
    assert done.stdout == "cli-psql|cli-psql\n"
    done = server.cli("psql", "--admin", "cli-psql", "-Atc", "SELECT current_user, current_database()")
    assert done.stdout == "ikoma|cli-psql\n"
    assert server.cli("psql", "nothing").returncode == 1


def test_psql_without_a_database_says_which_command_makes_one(server: Server) -> None:
    server.cli("init", "cli-none")
    done = server.cli("psql", "cli-none")
    assert done.returncode == 1
    assert "hint:  Call `ikoma db-create cli-none` first." in done.stderr


def test_a_backup_restores_through_psql(server: Server) -> None:
    make_app(server, "cli-back")
    server.do("db.create", {"appName": "cli-back"})
    server.do("db.migrate", {"appName": "cli-back", "sql": "CREATE TABLE t AS SELECT generate_series(1, 5) AS i"})
    path = json.loads(server.cli("backup", "cli-back", "--json").stdout)["backupPath"]
    server.do("db.migrate", {"appName": "cli-back", "sql": "DELETE FROM t; CREATE TABLE later (i int)"})
    for _ in range(2):
        with Path(path).open() as dump:
            done = subprocess.run(
                [IKOMA, "psql", "--admin", "cli-back"],
                env=server.env, stdin=dump, capture_output=True, text=True, check=False,
            )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "ERROR" not in done.stderr
    state = server.do("db.status", {"appName": "cli-back"})
    assert state["tables"] == ["t"]
    assert server.cli("psql", "cli-back", "-Atc", "SELECT count(*) FROM t").stdout == "5\n"


def test_keys_are_made_listed_and_revoked(server: Server) -> None:
    made = json.loads(server.cli("keys", "create", "ci", "--role", "operator", "--apps", "web-*", "--json").stdout)
    env = server.env | {"IKOMA_API_KEY": made["key"]}
    refused = subprocess.run([IKOMA, "init", "other"], env=env, capture_output=True, text=True, check=False)
    assert "role_too_low" in refused.stderr
    assert "ci" in server.cli("keys", "list").stdout
    assert server.cli("keys", "revoke", made["id"], "--yes").returncode == 0
    ended = subprocess.run([IKOMA, "list"], env=env, capture_output=True, text=True, check=False)
    assert "unauthenticated" in ended.stderr


def test_the_audit_log_is_shown_and_filtered(server: Server) -> None:
    server.call("apps.status", {"appName": "not-there"})
    lines = server.cli("audit", "--app", "not-there", "--result", "error", "--json").stdout.splitlines()
    shown = [json.loads(line) for line in lines]
    assert {entry["arguments"]["appName"] for entry in shown} == {"not-there"}
    assert {entry["code"] for entry in shown} == {"app_not_found"}
    assert "app_not_found" in server.cli("audit", "--app", "not-there").stdout


def test_without_a_server_it_says_how_to_start_one(server: Server, tmp_path: Path) -> None:
    env = server.env | {"HTTP_PORT": str(free_port()), "IKOMA_STATE": str(tmp_path)}
    done = subprocess.run([IKOMA, "list"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "`ikoma up`" in done.stderr


def test_doctor_names_what_is_missing(server: Server) -> None:
    assert server.cli("doctor").returncode == 0
    env = server.env | {"DOCKER_HOST": "unix:///nowhere.sock"}
    done = subprocess.run([IKOMA, "doctor", "--json"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [item["check"] for item in json.loads(done.stdout) if item["ok"] is False] == ["docker"]


def test_help_and_completion_need_no_server() -> None:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "IKOMA_HOME": "/nonexistent"}
    for arguments in (["--help"], ["--version"], ["completion", "bash"], ["deploy", "--help"], ["call", "--help"]):
        done = subprocess.run([IKOMA, *arguments], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, arguments
        assert done.stdout
    completing = env | {"_IKOMA_COMPLETE": "bash_complete", "COMP_WORDS": "ikoma dep", "COMP_CWORD": "1"}
    done = subprocess.run([IKOMA], env=completing, capture_output=True, text=True, check=False)
    assert "deploy" in done.stdout


def test_a_wrong_setting_is_one_clear_sentence() -> None:
    env = {"PATH": os.environ["PATH"], "HTTP_PORT": "x", "IKOMA_HOME": "/nonexistent"}
    done = subprocess.run([IKOMA, "up"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "HTTP_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistyped_command_gets_the_one_that_was_meant(server: Server) -> None:
    for wrong, right in (("deplpy", "deploy"), ("backpu", "backup")):
        done = server.cli(wrong, "shop")
        assert done.returncode == 2
        assert f"No such command '{wrong}'. Did you mean {right}?" in done.stderr
    assert "Did you mean" not in server.cli("qqqq").stderr
