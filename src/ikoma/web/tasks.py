"""The tasks of people: the sections of `ikoma --help` and of the reference. Each capability names its own.

A test fails where a capability names none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """One of them, as it is shown."""

    title: str
    about: str
    guides: tuple[str, ...]
    """Pages of the documentation, without `.md`."""
    errors: str
    """Codes of what may go wrong, besides what may in any call."""

    @property
    def word(self) -> str:
        """The word as capabilities name it."""
        return self.title.split()[0].lower()

    @property
    def slug(self) -> str:
        return self.title.lower().replace(" ", "-")


TASKS = (
    Task(
        "Start",
        "A folder for an app, what is wrong with it, and what the compose file should become.",
        ("start", "compose", "policy", "frameworks/django", "frameworks/flask-fastapi", "frameworks/express"),
        "has_compose_file invalid_compose policy_violation not_adaptable "
        "not_importable project_not_found database_not_moved not_waivable file_missing env_unreadable",
    ),
    Task(
        "Deploy",
        "From the folder to healthy containers, or what served before goes on.",
        ("deploy", "releases"),
        "deploy_failed invalid_compose policy_violation plan_drifted env_unreadable file_missing domain_taken "
        "project_name_taken image_gone sql_failed sql_stopped migration_changed database_ahead backup_unproven "
        "restore_failed not_deployed service_not_found service_is_built cannot_run_twice state_unreadable "
        "command_not_started command_timed_out",
    ),
    Task(
        "Look",
        "What runs, how it is, what it says, and what visitors see.",
        ("operate", "runbook"),
        "not_deployed service_not_found no_web_service answer_timeout answer_unreadable not_following",
    ),
    Task(
        "Database",
        "The app's own PostgreSQL database: create, migrate, read, back up.",
        ("database",),
        "database_missing database_foreign sql_failed sql_stopped sql_file_foreign migration_changed ledger_spoiled "
        "cannot_revert not_a_query query_failed query_timeout query_too_large backup_exists backup_foreign "
        "backup_failed backup_unproven backup_missing backup_damaged restore_failed undo_missing point_in_time_off "
        "sandbox_missing table_missing tables_differ tables_unmatched too_many_downloads "
        "time_outside_window archive_broken archive_failed recovery_failed "
        "offsite_off offsite_unreachable offsite_refused offsite_missing offsite_damaged offsite_sealed",
    ),
    Task(
        "Files",
        "Source and configuration in the app's folder.",
        ("deploy", "undo"),
        "file_missing file_changed not_a_file path_outside text_not_found version_not_found release_not_found",
    ),
    Task(
        "Variables",
        "The app's `.env`.",
        ("deploy", "undo"),
        "env_unreadable variable_missing variable_exists unrepresentable_value version_not_found",
    ),
    Task(
        "Domains",
        "Names, HTTPS, and a page for the time of works.",
        ("routing",),
        "domain_taken domain_not_found domain_in_compose no_web_service web_needed certificate_missing not_deployed",
    ),
    Task(
        "Releases and undo",
        "Earlier deployments: look, compare, go back.",
        ("undo", "releases"),
        "release_not_found not_deployed nothing_to_go_back_to already_serving cannot_go_back database_ahead image_gone "
        "restore_failed nothing_to_abandon deploy_failed",
    ),
    Task(
        "Git",
        "Source from a repository, and pushes that deploy.",
        ("git", "webhooks"),
        "source_unavailable source_changed source_missing source_too_large source_unsafe host_not_listed hook_refused "
        "hook_replayed hook_worn_out",
    ),
    Task(
        "Previews",
        "A branch beside the app.",
        ("previews",),
        "source_missing source_unavailable too_many_previews preview_name_taken preview_not_found preview_of_preview "
        "name_too_long deploy_failed",
    ),
    Task(
        "Keys and approvals",
        "Who may do what.",
        ("keys-and-audit", "security"),
        "approval_closed approval_not_yours approvals_full role_too_low",
    ),
    Task("Audit", "What was done, tried and refused.", ("keys-and-audit",), "audit_unavailable"),
    Task(
        "Operations",
        "Long calls: see, wait, cancel; and what is done by the clock.",
        ("operate", "http"),
        "operation_not_found operation_elsewhere operation_cancelled schedule_not_found",
    ),
    Task(
        "Server",
        "This server itself, its alerts and its nodes; and the way out for an app.",
        ("install", "operate", "upgrade", "undo"),
        "backup_failed app_name_taken volume_in_use trash_entry_missing trash_entry_incomplete trash_entry_busy",
    ),
)
