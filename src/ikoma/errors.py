"""Every error a caller can meet, in one list.

A class is one situation: `code` is stable and made for programs, `status` is the HTTP status, the docstring is
the sentence a person reads (unless a better one is known where it is raised) and `hint` says what to do next.
Messages never hold secrets. What may quote a user's own text (SQL, log lines) travels in `details`, which is
given to the caller and never written to the audit log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar


class IkomaError(Exception):
    """Something went wrong inside IKOMA."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    default_hint: ClassVar[str] = "The server's log holds the cause; quote the requestId when you report it."

    def __init__(
        self,
        message: str | None = None,
        *,
        hint: str | None = None,
        audit_message: str | None = None,
        **details: Any,
    ) -> None:
        """
        Args:
            message: one sentence for the caller; the class's docstring when omitted.
            hint: the next safe step; the class's own when omitted.
            audit_message: what the audit log says instead of `message`, where `message` quotes a user's text.
            details: further JSON-ready facts for the caller only.
        """
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.hint = hint or self.default_hint
        self.audit_message = audit_message or self.message
        self.details = details
        super().__init__(self.message)


def stored_failure(
    *, code: str, error: str, hint: str, details: dict[str, Any], audit: str | None = None
) -> IkomaError:
    """The error again that was written down with these facts."""
    kinds = {kind.code: kind for kind in _kinds(IkomaError)}
    return kinds.get(code, IkomaError)(error, hint=hint, audit_message=audit, **details)


def _kinds(parent: type[IkomaError]) -> Iterator[type[IkomaError]]:
    yield parent
    for child in parent.__subclasses__():
        yield from _kinds(child)


# --- the request itself ------------------------------------------------------------------------------------


class MalformedRequest(IkomaError):
    """The body is not a JSON object."""

    code, status = "malformed_request", 400
    default_hint = 'Send a JSON object, for example {"appName": "myapp"}.'


class UnknownRole(IkomaError):
    """X-Role names no role."""

    code, status = "unknown_role", 400
    default_hint = "Roles are observer, operator, builder and admin."


class Unauthenticated(IkomaError):
    """No valid API key was given."""

    code, status = "unauthenticated", 401
    default_hint = "Send the key in the X-Api-Key header; on the server it is in api-key.txt of IKOMA_HOME."


class TooManyFailures(IkomaError):
    """Too many wrong keys came from this address."""

    code, status = "too_many_failures", 429
    default_hint = "Wait as long as Retry-After says, then try again with the right key."


class RoleTooLow(IkomaError):
    """The key's role does not allow this."""

    code, status = "role_too_low", 403
    default_hint = "Use a key with a higher role; X-Role can only lower the role of a key."


class OutOfScope(IkomaError):
    """The key does not reach this app or capability."""

    code, status = "out_of_scope", 403
    default_hint = "Ask an admin for a key whose apps and capabilities include this call."


class HookRefused(IkomaError):
    """No webhook here takes what is signed like this."""

    code, status = "hook_refused", 401
    default_hint = "hook.create makes a webhook and its secret; sign the raw body with it (docs/webhooks.md)."


class HookReplayed(IkomaError):
    """This delivery was taken before."""

    code, status = "hook_replayed", 409
    default_hint = "Each delivery is taken once. Push again; or hook.deploy deploys what the branch holds now."


class HookWornOut(IkomaError):
    """This webhook's secret has signed as many deliveries as are remembered."""

    code, status = "hook_worn_out", 409
    default_hint = "hook.create makes a new secret; give it to the git host."


class NotFound(IkomaError):
    """There is nothing at this address."""

    code, status = "not_found", 404
    default_hint = "GET /capabilities lists what can be called; POST /execute/<capability> calls it."


class MethodNotAllowed(IkomaError):
    """This address does not take that HTTP method."""

    code, status = "method_not_allowed", 405
    default_hint = "Capabilities are called with POST /execute/<capability>."


class UnknownCapability(IkomaError):
    """There is no such capability."""

    code, status = "unknown_capability", 404
    default_hint = "GET /capabilities lists what can be called."


class BodyTooLarge(IkomaError):
    """The body is larger than this capability takes."""

    code, status = "body_too_large", 413
    default_hint = "Bodies are limited to 1 MiB, to 25 MiB from git hosts, and to 32 MiB where SQL is sent."


class UrlTooLong(IkomaError):
    """The address of this request is too long."""

    code, status = "url_too_long", 414
    default_hint = "Arguments go into the body, as a JSON object."


class HeadersTooLarge(IkomaError):
    """The headers of this request are too many or too long."""

    code, status = "headers_too_large", 431
    default_hint = "A request has at most 100 headers, of 32 KiB together."


class RequestTooSlow(IkomaError):
    """The request did not arrive in time."""

    code, status = "request_too_slow", 408
    default_hint = "Send the request without long pauses; it was not carried out."


class TooManyConnections(IkomaError):
    """All connections of this server are in use."""

    code, status = "too_many_connections", 503
    default_hint = "Close connections that are not needed, and try again in a moment."


class InvalidArguments(IkomaError):
    """The arguments do not fit this capability."""

    code, status = "invalid_arguments", 422
    default_hint = "GET /capabilities shows each capability's arguments."


class HostNotAllowed(IkomaError):
    """This server is not known by that name."""

    code, status = "host_not_allowed", 421
    default_hint = "Use its address or localhost, or put the name into ALLOWED_HOSTS."


class OriginNotAllowed(IkomaError):
    """Pages of that origin may not call this server."""

    code, status = "origin_not_allowed", 403
    default_hint = "Put the page's host into ALLOWED_HOSTS if it is yours."


class ApprovalNeeded(IkomaError):
    """This call waits for the consent of another key."""

    code, status = "approval_needed", 409
    default_hint = (
        "Someone with an admin key approves it (approvals.approve, `ikoma approvals approve ID`); then make the very "
        "same call again. A request ends after an hour."
    )


class ApprovalDenied(IkomaError):
    """Another key's holder has refused this call."""

    code, status = "approval_denied", 403
    default_hint = "Ask them why; the same call can be asked for again an hour after it first was."


class ApprovalNotYours(IkomaError):
    """Nobody decides on their own request, and no key that needs approval decides at all."""

    code, status = "approval_not_yours", 403
    default_hint = "Another key of role admin decides."


class ApprovalsFull(IkomaError):
    """Too many calls of this key wait for consent."""

    code, status = "approvals_full", 409
    default_hint = "Have some of them decided (approvals.list), or wait: each ends an hour after it was asked for."


class ApprovalClosed(IkomaError):
    """This request was decided already, or has ended."""

    code, status = "approval_closed", 409
    default_hint = "approvals.list shows those that wait; the caller can ask again."


class RateLimited(IkomaError):
    """This key has made too many requests."""

    code, status = "rate_limited", 429
    default_hint = "Wait as long as Retry-After says, then try again."


class AuditUnavailable(IkomaError):
    """The audit log cannot be written, so nothing was changed."""

    code, status = "audit_unavailable", 503
    default_hint = "Free space on the disk of AUDIT_LOG or correct its permissions; reading calls still work."


class ConfirmationNeeded(IkomaError):
    """A person must agree to this first; nothing was changed."""

    code, status = "confirmation_needed", 409
    default_hint = (
        "Show a person what would be lost. If they agree, make the same call again with the argument confirmation set "
        "to this answer's confirmation; it works once, for ten minutes."
    )


class ConfirmationInvalid(IkomaError):
    """This confirmation is not for this very call, has ended, or was used before; nothing was changed."""

    code, status = "confirmation_invalid", 409
    default_hint = "Make the call without a confirmation: the answer lists what would be lost and carries a new one."


class Declined(IkomaError):
    """A person was asked and did not agree; nothing was changed."""

    code, status = "declined", 409
    default_hint = "Do not try again unless the person asks for it."


class IdempotencyMismatch(IkomaError):
    """This idempotency key was used for another call."""

    code, status = "idempotency_mismatch", 409
    default_hint = "Use a new key for every new call, and the same one only for its retries."


# --- operations --------------------------------------------------------------------------------------------


class OperationNotFound(IkomaError):
    """There is no such operation."""

    code, status = "operation_not_found", 404
    default_hint = "operations.list shows the operations and their ids."


class OperationCancelled(IkomaError):
    """The operation was cancelled before it ended."""

    code, status = "operation_cancelled", 409
    default_hint = "apps.status shows what is there now; make the call again when it should be done after all."


class OperationElsewhere(IkomaError):
    """Another server works on this operation."""

    code, status = "operation_elsewhere", 409
    default_hint = "Ask the server that took the call."


# --- apps --------------------------------------------------------------------------------------------------


class AppNotFound(IkomaError):
    """There is no such app."""

    code, status = "app_not_found", 404
    default_hint = "apps.list shows the apps; apps.init creates one."


class AppBusy(IkomaError):
    """Another operation is working on this app."""

    code, status = "app_busy", 409
    default_hint = "Wait until it has ended (operations.wait takes its request as operationId), then try again."


class PathOutside(IkomaError):
    """A path leads outside the app's folder."""

    code, status = "path_outside", 422
    default_hint = "Keep the app's files inside its own folder, and not behind symbolic links that leave it."


class FileMissing(IkomaError):
    """A file that this needs is not there."""

    code, status = "file_missing", 404
    default_hint = "Create the file in the app's folder, then try again."


class NotAFile(IkomaError):
    """This is something else than a file."""

    code, status = "not_a_file", 409
    default_hint = "files.list shows what is there, and of which kind."


class FileChanged(IkomaError):
    """The file was changed meanwhile, and was not written."""

    code, status = "file_changed", 409
    default_hint = "Read it again, and write what you want with the sha256 of that answer."


class VersionNotFound(IkomaError):
    """No such version of the file is kept."""

    code, status = "version_not_found", 404
    default_hint = "files.history shows what is kept; it is kept for thirty days."


class TextNotFound(IkomaError):
    """The text that is to be replaced does not stand in the file exactly once, and nothing was written."""

    code, status = "text_not_found", 409
    default_hint = "Read the file, and give a piece of it that stands there once, with its spaces and line ends."


class VariableExists(IkomaError):
    """The variable has a value already, and nothing was changed."""

    code, status = "variable_exists", 409
    default_hint = "Say replace to give it another; what uses the old one must then be deployed again."


class VariableMissing(IkomaError):
    """There is no such environment variable."""

    code, status = "variable_missing", 404
    default_hint = "env.list shows the names."


class EnvUnreadable(IkomaError):
    """The app's .env file cannot be read."""

    code, status = "env_unreadable", 422
    default_hint = "Save the file as UTF-8."


class UnrepresentableValue(IkomaError):
    """This value cannot be written into a .env file."""

    code, status = "unrepresentable_value", 422
    default_hint = "Encode it, for example as base64, and let the app decode it."


class HostNotListed(IkomaError):
    """Source may not come from that host."""

    code, status = "host_not_listed", 403
    default_hint = "An admin names the hosts that source may come from in SOURCE_HOSTS."


class SourceUnavailable(IkomaError):
    """The repository could not be fetched."""

    code, status = "source_unavailable", 422
    default_hint = "details holds what git said; correct url, ref or token and call again. All files are as they were."


class SourceTooLarge(IkomaError):
    """The repository is too large."""

    code, status = "source_too_large", 422
    default_hint = "Give only a folder of it as path, or keep large files elsewhere. All files are as they were."


class SourceUnsafe(IkomaError):
    """The repository holds what must not be in an app."""

    code, status = "source_unsafe", 422
    default_hint = "Take the link out of the repository. All files are as they were."


class SourceChanged(IkomaError):
    """The app's folder holds what did not come from the repository."""

    code, status = "source_changed", 409
    default_hint = "Save what you need, then call again with overwrite: it is moved aside, not deleted."


class SourceMissing(IkomaError):
    """The app's source did not come from a repository."""

    code, status = "source_missing", 409
    default_hint = "Call source.clone first."


class InvalidCompose(IkomaError):
    """The compose file cannot be deployed."""

    code, status = "invalid_compose", 422
    default_hint = "apps.validate lists each problem with its place and its fix."


class PolicyViolation(InvalidCompose):
    """The compose file asks for what no app may have here."""

    code = "policy_violation"
    default_hint = "apps.validate lists each finding with its place, its rule and the safe way."


class NotWaivable(IkomaError):
    """This rule holds for every app and cannot be waived."""

    code, status = "not_waivable", 422
    default_hint = "Change the compose file as apps.validate says."


class StateUnreadable(IkomaError):
    """What IKOMA has noted about this app cannot be read."""

    code, status = "state_unreadable", 500
    default_hint = "Look at the app's .ikoma folder on the server: its files are IKOMA's own. Other apps go on."


class ProjectNameTaken(IkomaError):
    """Containers of this name belong to something else on this machine."""

    code, status = "project_name_taken", 409
    default_hint = "Choose another app name, or remove the other Compose project first."


class DeployFailed(IkomaError):
    """The deployment failed."""

    code, status = "deploy_failed", 422
    default_hint = "Correct what the message names, and try again."

    def __init__(self, message: str | None = None, *, hint: str | None = None, **more: Any) -> None:
        if hint is None and (more.get("exitCode") is not None or more.get("logs")):
            hint = "details holds the failing service, its exit code and its last log lines."
        super().__init__(message, hint=hint, **more)


class CommandNotStarted(DeployFailed):
    """The command could not be started."""

    code, status = "command_not_started", 422
    default_hint = (
        "Give the program and each of its arguments as an item of the list; a shell is `sh`, `-c`, and a text."
    )


class CommandTimedOut(DeployFailed):
    """The command took longer than it may, and was ended."""

    code, status = "command_timed_out", 422
    default_hint = "Raise timeout, or let it do less at a time. What it did until then is done."


class ReleaseNotFound(IkomaError):
    """There is no such release."""

    code, status = "release_not_found", 404
    default_hint = "release.list shows the releases that are kept."


class AlreadyServing(IkomaError):
    """This release serves already."""

    code, status = "already_serving", 409
    default_hint = "release.list shows which release serves; deploy.restart replaces its containers."


class NothingToGoBackTo(IkomaError):
    """There is no other release that has served."""

    code, status = "nothing_to_go_back_to", 409
    default_hint = "release.list shows what was deployed; deploy.up deploys the folder as it is."


class PlanDrifted(IkomaError):
    """The app is not as it was when the plan was made."""

    code, status = "plan_drifted", 409
    default_hint = "Make a new plan (deploy.plan), look at it, and deploy with that."


class CannotGoBack(IkomaError):
    """The database cannot go back to what that release knew."""

    code, status = "cannot_go_back", 409
    default_hint = "Write a migration that undoes it, or deploy a release that fits the database (deploy.up)."


class NothingToAbandon(IkomaError):
    """No database is waiting to be taken back."""

    code, status = "nothing_to_abandon", 409
    default_hint = "release.list shows how the deployments ended; deploy.up makes another."


class DatabaseAhead(IkomaError):
    """The database was changed in a way that this release cannot run with."""

    code, status = "database_ahead", 409
    default_hint = (
        'Call deploy.rollback with "database": true to take the database back too;'
        ' deploy.plan with "rollback" and "database" says what is lost.'
    )


class ImageGone(IkomaError):
    """An image of the release is not on this machine any more."""

    code, status = "image_gone", 409
    default_hint = "Check out its source (source.checkout) and deploy it anew with deploy.up."


class NameTooLong(IkomaError):
    """The name would be too long."""

    code, status = "name_too_long", 422
    default_hint = "Names of apps that have previews take at most 51 characters."


class TooManyPreviews(IkomaError):
    """The app has as many previews as it may."""

    code, status = "too_many_previews", 409
    default_hint = "preview.list shows them; preview.remove ends one."


class PreviewNameTaken(IkomaError):
    """Something else stands where the preview's folder would."""

    code, status = "preview_name_taken", 409
    default_hint = "Names with -- are those of previews: move that folder away, then call again."


class PreviewOfPreview(IkomaError):
    """A preview has no previews."""

    code, status = "preview_of_preview", 409
    default_hint = "Call deploy.preview for the app itself."


class PreviewNotFound(IkomaError):
    """There is no such preview."""

    code, status = "preview_not_found", 404
    default_hint = "preview.list shows those there are; deploy.preview makes one."


class DomainTaken(IkomaError):
    """The domain belongs to another app."""

    code, status = "domain_taken", 409
    default_hint = "Remove it there first (domain.remove), or choose another."


class DomainNotFound(IkomaError):
    """The app does not have this domain."""

    code, status = "domain_not_found", 404
    default_hint = "domain.list shows its domains."


class DomainInCompose(IkomaError):
    """The app's compose file says what becomes of this domain."""

    code, status = "domain_in_compose", 409
    default_hint = "Change domains or redirects of x-ikoma in the compose file, then call deploy.up."


class NotAdaptable(IkomaError):
    """The compose file cannot be changed by itself."""

    code, status = "not_adaptable", 409
    default_hint = "apps.validate names the changes: make them by hand with files.edit."


class HasComposeFile(IkomaError):
    """The app has a compose file already."""

    code, status = "has_compose_file", 409
    default_hint = "Choose another name; or change the file with files.edit, or adapt it with apps.adapt."


class CannotRunTwice(IkomaError):
    """Two containers of this service cannot run at once."""

    code, status = "cannot_run_twice", 409
    default_hint = "Keep one, or change in the compose file what stands in the way and deploy it."


class WebNeeded(IkomaError):
    """Without a container of this service the app would answer nobody."""

    code, status = "web_needed", 409
    default_hint = "deploy.down takes the app out of service; apps.maintenance shows people a page meanwhile."


class ServiceIsBuilt(IkomaError):
    """The image of this service is built from the app's source."""

    code, status = "service_is_built", 409
    default_hint = "Change its source and call deploy.up; or give it an image instead of a build in the compose file."


class NoWebService(IkomaError):
    """The app answers no HTTP requests."""

    code, status = "no_web_service", 409
    default_hint = "Name service, port and health in x-ikoma of its compose file, then call deploy.up."


class ServiceNotFound(IkomaError):
    """The app has no such service."""

    code, status = "service_not_found", 404
    default_hint = "apps.status lists the services."


class NotFollowing(IkomaError):
    """This answer is not a stream, so new lines cannot be followed."""

    code, status = "not_following", 406
    default_hint = "Send Accept: application/x-ndjson, or use `ikoma logs APP --follow`; without follow, ask again."


class NotDeployed(IkomaError):
    """The app has not been deployed yet."""

    code, status = "not_deployed", 409
    default_hint = "Call deploy.up first."


# --- databases ---------------------------------------------------------------------------------------------


class DatabaseMissing(IkomaError):
    """The app has no database yet."""

    code, status = "database_missing", 409
    default_hint = "Call db.create first."


class DatabaseForeign(IkomaError):
    """A database or role of this name exists and was not made by IKOMA."""

    code, status = "database_foreign", 409
    default_hint = "Choose another app name, or rename the existing database; IKOMA never takes over another's."


class MigrationChanged(IkomaError):
    """A migration that was applied has been changed since."""

    code, status = "migration_changed", 409
    default_hint = "Restore the file as it was and put the change into a new migration."


class LedgerSpoiled(IkomaError):
    """The table ikoma.migrations is not as IKOMA made it, so nobody knows what was applied."""

    code, status = "ledger_spoiled", 409
    default_hint = "Undo in `ikoma psql APP` what was done to it, or restore a backup with db.restore."


class CannotRevert(IkomaError):
    """The database cannot go back that way."""

    code, status = "cannot_revert", 409
    default_hint = "Write a down-migration (NNN_name.down.sql), or restore a backup from before."


class SqlFailed(IkomaError):
    """PostgreSQL refused a statement, and nothing of this file was kept."""

    code, status = "sql_failed", 422
    default_hint = "Correct the statement that details names and call again: the transaction was rolled back."


class NotAQuery(IkomaError):
    """Only one statement that reads can be asked here."""

    code, status = "not_a_query", 422
    default_hint = "Send one SELECT, VALUES, TABLE, WITH, EXPLAIN or SHOW; db.migrate and db.seed write."


class QueryFailed(IkomaError):
    """PostgreSQL refused the query."""

    code, status = "query_failed", 422
    default_hint = "details holds PostgreSQL's own words; correct the query and ask again. Nothing was changed."


class QueryTimeout(IkomaError):
    """The query took longer than it may."""

    code, status = "query_timeout", 422
    default_hint = "Raise timeout (60 seconds at most), or ask for less: EXPLAIN shows what takes long."


class QueryTooLarge(IkomaError):
    """A single row is larger than an answer may be."""

    code, status = "query_too_large", 422
    default_hint = "Name the columns you need, or take a part of long values: left(column, 1000)."


class BackupExists(IkomaError):
    """A backup of this name exists, and backups are never overwritten."""

    code, status = "backup_exists", 409
    default_hint = "Choose another backupName, or leave it out to get one with the time in it."


class BackupFailed(IkomaError):
    """The backup failed and left no file."""

    code, status = "backup_failed", 500
    default_hint = "Check the free space under BACKUPS_ROOT and PostgreSQL's log."


class BackupUnproven(IkomaError):
    """A backup of the database cannot be restored, so nothing was stopped or changed."""

    code, status = "backup_unproven", 409
    default_hint = (
        "details holds psql's own words; correct what they name. A file that was written is kept. Where what serves "
        "can live with the migrations, mark them `-- ikoma: compatible`: nothing is stopped then, and nothing restored."
    )


class BackupMissing(IkomaError):
    """There is no such backup."""

    code, status = "backup_missing", 404
    default_hint = "Look under BACKUPS_ROOT for what there is."


class BackupDamaged(IkomaError):
    """The backup is not what was written once, and was not restored."""

    code, status = "backup_damaged", 409
    default_hint = "Restore another backup; nothing was changed."


class BackupForeign(IkomaError):
    """This is not a backup of this app's database."""

    code, status = "backup_foreign", 409
    default_hint = "Choose a backup of this app; nothing was changed."


class RestoreFailed(IkomaError):
    """The restore failed, and the database is as it was."""

    code, status = "restore_failed", 500
    default_hint = "details holds psql's own words; correct what they name, or restore another backup."


class SqlFileForeign(IkomaError):
    """The file is nothing that psql could run here."""

    code, status = "sql_file_foreign", 422
    default_hint = "Give SQL text, or a backup of this app."


class ToolMissing(IkomaError):
    """A program that this needs is not installed."""

    code, status = "tool_missing", 503
    default_hint = "Run `ikoma doctor` on the server: it names what is missing."


# --- what we stand on --------------------------------------------------------------------------------------


class EngineUnavailable(IkomaError):
    """The Docker Engine does not answer."""

    code, status = "docker_unavailable", 503
    default_hint = "Start Docker (`systemctl start docker`) or correct DOCKER_HOST; platform.check shows the state."


class EngineBusy(EngineUnavailable):
    """The Docker Engine is there, and too busy to answer in time."""

    code, status = "docker_busy", 503
    default_hint = "What was asked of it may still be done: look with apps.status before you ask again."


class NoAddressesLeft(IkomaError):
    """Docker has no addresses left for another network."""

    code, status = "no_addresses_left", 503
    default_hint = (
        "Name more in /etc/docker/daemon.json, such as "
        '"default-address-pools": [{"base": "10.128.0.0/12", "size": 24}], and restart Docker; '
        "or take apps down that nobody needs. What served serves on."
    )


class DatabasesUnavailable(IkomaError):
    """PostgreSQL does not answer."""

    code, status = "postgres_unavailable", 503
    default_hint = "The server restarts its own PostgreSQL by itself; check POSTGRES_* where it is external."


class ProxyUnavailable(IkomaError):
    """The proxy does not answer."""

    code, status = "proxy_unavailable", 503
    default_hint = "The server restarts its own proxy by itself; try again in a moment. What it served before is kept."


class ProxyRefused(IkomaError):
    """The proxy does not take these routes; what was served before goes on."""

    code, status = "proxy_refused", 422
    default_hint = "Correct what the message names: domains, redirects, ports and limits come from the app's x-ikoma."


class DiskFull(IkomaError):
    """There is no space left on the disk."""

    code, status = "disk_full", 503
    default_hint = "Remove old backups and unused images, then try again; nothing was half-written."


class ShuttingDown(IkomaError):
    """The server is stopping."""

    code, status = "shutting_down", 503
    default_hint = "Try again when it has started."


class InvalidSetting(IkomaError):
    """A setting has a wrong value."""

    code = "invalid_setting"
    default_hint = "Settings are environment variables, also read from .env in IKOMA_HOME."


class StartRefused(IkomaError):
    """The server cannot start here."""

    code = "start_refused"
    default_hint = "Correct what the message names, then start again."
