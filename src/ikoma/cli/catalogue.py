"""What the command line offers: names and one line each, without loading anything."""

from __future__ import annotations

from typing import NamedTuple


class Local(NamedTuple):
    """A command of its own, and the module that has it."""

    module: str
    summary: str


class Verb(NamedTuple):
    """A friendly name for a capability."""

    capability: str
    summary: str
    optional: tuple[str, ...] = ()
    """Arguments that may be left out, and need no name where they are given."""


LOCAL = {
    "up": Local("ikoma.cli.commands.up", "Start the server (and its PostgreSQL) and serve until it is stopped."),
    "mcp": Local("ikoma.cli.commands.mcp", "Speak MCP on stdin and stdout, for an AI assistant's host."),
    "proxy-stop": Local("ikoma.cli.commands.proxy", "End the proxy that serves apps while the server is stopped."),
    "doctor": Local("ikoma.cli.doctor.command", "Check this machine and say what is missing."),
    "call": Local("ikoma.cli.commands.call", "Call any capability by its name."),
    "keys": Local("ikoma.cli.commands.keys", "Create, list, rotate and revoke API keys."),
    "approvals": Local("ikoma.cli.commands.approvals", "Decide on calls that wait for another key's consent."),
    "audit": Local("ikoma.cli.commands.audit", "Show what was done, tried and refused."),
    "logs": Local("ikoma.cli.commands.logs", "Show what an app's containers say; --follow goes on."),
    "run": Local("ikoma.cli.commands.run", "Run a command once on an app's code and data."),
    "cat": Local("ikoma.cli.commands.files", "Print a file of an app, byte for byte."),
    "put": Local("ikoma.cli.commands.files", "Write a file of an app, from stdin or a file."),
    "deploy": Local("ikoma.cli.commands.deploy", "Deploy an app and wait until it is healthy."),
    "wait": Local("ikoma.cli.commands.wait", "Wait until an operation has ended."),
    "open": Local("ikoma.cli.commands.browse", "Open an app's address in the browser, or print it."),
    "top": Local("ikoma.cli.commands.top", "Show what apps take of CPU and memory."),
    "psql": Local("ikoma.cli.commands.psql", "Open psql in an app's database, as the app's own role."),
    "completion": Local("ikoma.cli.commands.completion", "Let your shell complete commands and names."),
}

VERBS = {
    "init": Verb("apps.init", "Create an app's folder from a template.", ("template",)),
    "adapt": Verb("apps.adapt", "Show what an app's compose file would become here, and write it."),
    "env-example": Verb("apps.env.example", "Print a .env file to start from."),
    "files": Verb("files.list", "List an app's files.", ("path",)),
    "edit": Verb("files.edit", "Replace a text in a file of an app."),
    "rm": Verb("files.delete", "Delete a file of an app."),
    "history": Verb("files.history", "List what is kept of overwritten and deleted files.", ("path",)),
    "unrm": Verb("files.restore", "Bring files back: overwritten, deleted, or of a release.", ("path", "version")),
    "clone": Verb("source.clone", "Bring a git repository into an app.", ("ref",)),
    "checkout": Verb("source.checkout", "Bring an app to another commit of its repository."),
    "source-key": Verb(
        "source.key", "Show an app's deploy key for a git host; make it where there is none.", ("host",)
    ),
    "source-token": Verb("source.token", "Keep a token for an app's private repositories."),
    "hook": Verb("hook.show", "Show whether pushes deploy an app, and the last ones."),
    "hook-create": Verb("hook.create", "Let pushes to a git host deploy an app."),
    "hook-remove": Verb("hook.remove", "Let pushes deploy an app no more."),
    "env-list": Verb("env.list", "List the names of an app's variables."),
    "env-set": Verb("env.set", "Set a variable of an app."),
    "env-import": Verb("env.import", "Take a whole .env file for an app."),
    "env-generate": Verb("env.generate", "Give a variable a random value that nobody sees."),
    "env-unset": Verb("env.unset", "Remove a variable of an app."),
    "env-history": Verb("env.history", "List which former values of variables are kept.", ("name",)),
    "env-restore": Verb("env.restore", "Bring back a former value of a variable.", ("name", "version")),
    "validate": Verb("apps.validate", "Check an app before it is deployed."),
    "waive": Verb("policy.waive", "Let an app break one rule of the policy for a time."),
    "unwaive": Verb("policy.unwaive", "End a waiver."),
    "plan": Verb("deploy.plan", "Show what a deploy or a rollback would do."),
    "deploy": Verb("deploy.up", "Deploy an app and wait until it is healthy; --follow shows its logs then."),
    "restart": Verb("deploy.restart", "Restart an app."),
    "rollback": Verb("deploy.rollback", "Let an earlier release serve again.", ("to",)),
    "scale": Verb("deploy.scale", "Give a service another number of containers."),
    "image": Verb("deploy.image", "Let a service run another image."),
    "preview": Verb("deploy.preview", "Deploy another ref beside an app, for a time."),
    "previews": Verb("preview.list", "List the previews of an app."),
    "preview-remove": Verb("preview.remove", "End a preview."),
    "maintenance": Verb("apps.maintenance", "Show people a page instead of an app, or the app again."),
    "down": Verb("deploy.down", "Stop an app; its data stays."),
    "remove": Verb("apps.remove", "Move an app with its data to the trash."),
    "trash": Verb("trash.list", "List removed apps that can be brought back."),
    "list": Verb("apps.list", "List all apps."),
    "status": Verb("apps.status", "Show an app, service by service."),
    "health": Verb("apps.health", "Look at an app and say how it is."),
    "request": Verb("apps.request", "Ask an app for a page, as its visitors do.", ("path",)),
    "verify": Verb("artifact.verify_release", "Answer the post-deployment checklist."),
    "runbook": Verb("artifact.generate_runbook", "Print the app's own runbook."),
    "db-create": Verb("db.create", "Create the app's database."),
    "migrate": Verb("db.migrate", "Apply pending migrations.", ("file",)),
    "seed": Verb("db.seed", "Run the app's seed files.", ("file",)),
    "db-status": Verb("db.status", "Show the app's database and migrations."),
    "query": Verb("db.query", "Read the app's database with one SQL statement."),
    "backup": Verb("db.backup", "Dump the app's database to a file.", ("backupName",)),
    "releases": Verb("release.list", "List the deployments of an app."),
    "release": Verb("release.show", "Show one deployment of an app.", ("release",)),
    "diff": Verb("release.diff", "Compare two deployments of an app.", ("release", "to")),
    "pin": Verb("release.pin", "Keep a release whatever its age."),
    "release-abandon": Verb("release.abandon", "Go on where a database cannot be taken back."),
    "domains": Verb("domain.list", "List the domains of an app."),
    "domain-add": Verb("domain.add", "Serve an app under one more domain."),
    "domain-remove": Verb("domain.remove", "Serve an app no longer under a domain."),
    "operations": Verb("operations.list", "List what is being done, and what was.", ("appName",)),
    "wait": Verb("operations.wait", "Wait until an operation has ended."),
    "cancel": Verb("operations.cancel", "Stop an operation."),
    "check": Verb("platform.check", "Check Docker, PostgreSQL and the apps' folder."),
    "info": Verb("platform.info", "Show version, uptime and limits."),
}

OWN = {
    "apps.logs": "logs",
    "apps.run": "run",
    "apps.top": "top",
    "approvals.approve": "approvals approve",
    "approvals.deny": "approvals deny",
    "approvals.list": "approvals list",
    "audit.query": "audit",
    "audit.verify": "audit verify",
    "files.read": "cat",
    "files.write": "put",
    "keys.create": "keys create",
    "keys.list": "keys list",
    "keys.revoke": "keys revoke",
    "keys.rotate": "keys rotate",
}
"""Capability → the command of its own that calls it."""

FROM_FILES = {("apps.init", "compose"): "--from", ("env.import", "content"): "--from"}
"""(capability, argument) → the option that takes it from a file."""

UNSEEN = {("source.token", "token"): "remove"}
"""(capability, secret) → the argument that stands for it; where neither is given, the secret is asked for."""

SECTIONS = [
    ("Server", ["up", "proxy-stop", "mcp", "doctor", "check", "info", "keys", "approvals", "audit", "completion"]),
    (
        "Apps",
        [
            "init",
            "adapt",
            "files",
            "cat",
            "put",
            "edit",
            "rm",
            "history",
            "unrm",
            "clone",
            "checkout",
            "source-key",
            "source-token",
            "hook",
            "hook-create",
            "hook-remove",
            "env-list",
            "env-set",
            "env-import",
            "env-generate",
            "env-unset",
            "env-history",
            "env-restore",
            "env-example",
            "validate",
            "waive",
            "unwaive",
            "plan",
            "deploy",
            "restart",
            "rollback",
            "scale",
            "image",
            "preview",
            "previews",
            "preview-remove",
            "domains",
            "domain-add",
            "domain-remove",
            "run",
            "maintenance",
            "down",
            "remove",
            "trash",
        ],
    ),
    ("Releases", ["releases", "release", "diff", "pin", "release-abandon"]),
    (
        "Looking",
        [
            "list",
            "status",
            "open",
            "health",
            "request",
            "logs",
            "top",
            "verify",
            "runbook",
            "operations",
            "wait",
            "cancel",
        ],
    ),
    ("Databases", ["db-create", "migrate", "seed", "db-status", "query", "backup", "psql"]),
    ("Everything else", ["call"]),
]
