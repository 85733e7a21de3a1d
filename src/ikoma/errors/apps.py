"""Errors of an app: its folder, its compose file, its services and its domains."""

from __future__ import annotations

from ikoma.errors.base import IkomaError, Next


class AppNotFound(IkomaError):
    """There is no such app."""

    code, status = "app_not_found", 404
    default_hint = "apps.list shows the apps; apps.init creates one."
    default_next = (Next("apps.list"),)


class AppBusy(IkomaError):
    """Another operation is working on this app."""

    code, status = "app_busy", 409
    default_hint = "Wait until it has ended, then try again."
    default_next = (Next("operations.list"),)


class InvalidCompose(IkomaError):
    """The compose file cannot be deployed."""

    code, status = "invalid_compose", 422
    default_hint = "apps.validate lists each problem with its place and its fix."
    default_next = (Next("apps.validate"),)


class PolicyViolation(InvalidCompose):
    """The compose file asks for what no app may have here."""

    code = "policy_violation"
    default_hint = "apps.validate lists each finding with its place, its rule and the safe way."


class NotWaivable(IkomaError):
    """This rule holds for every app and cannot be waived."""

    code, status = "not_waivable", 422
    default_hint = "Change the compose file as apps.validate says."
    default_next = (Next("apps.validate"),)


class StateUnreadable(IkomaError):
    """What IKOMA has noted about this app cannot be read."""

    code, status = "state_unreadable", 500
    default_hint = "Look at the app's .ikoma folder on the server: its files are IKOMA's own. Other apps go on."


class AppNameTaken(IkomaError):
    """An app cannot be brought back under this name: something has it."""

    code, status = "app_name_taken", 409
    default_hint = "Give it another name with `as`, or remove what has the name now. Nothing was changed."
    default_next = (Next("trash.list"),)


class VolumeInUse(IkomaError):
    """Something that is not the app's own has one of its volumes, which cannot be replaced or removed under it."""

    code, status = "volume_in_use", 409
    default_hint = "Remove the container that is named (`docker rm --force NAME`), then try again. Nothing was changed."


class TrashEntryMissing(IkomaError):
    """There is no such entry in the trash."""

    code, status = "trash_entry_missing", 404
    default_hint = "trash.list shows what there is."
    default_next = (Next("trash.list"),)


class TrashEntryIncomplete(IkomaError):
    """The entry of the trash does not hold the whole app."""

    code, status = "trash_entry_incomplete", 409
    default_hint = "A removal that was interrupted goes on when apps.remove is called again. The entry stays as it is."
    default_next = (Next("trash.list"),)


class TrashEntryBusy(IkomaError):
    """This entry of the trash is being brought back."""

    code, status = "trash_entry_busy", 409
    default_hint = "Wait until that has ended; one that was cut off goes on by itself, or when it is called again."
    default_next = (Next("trash.list"),)


class ProjectNameTaken(IkomaError):
    """Containers of this name belong to something else on this machine."""

    code, status = "project_name_taken", 409
    default_hint = "Choose another app name, or remove the other Compose project first."


class NotAdaptable(IkomaError):
    """The compose file cannot be changed by itself."""

    code, status = "not_adaptable", 409
    default_hint = "apps.validate names the changes: make them by hand with files.edit."
    default_next = (Next("apps.validate"),)


class HasComposeFile(IkomaError):
    """The app has a compose file already."""

    code, status = "has_compose_file", 409
    default_hint = "Choose another name; or change the file with files.edit, or adapt it with apps.adapt."
    default_next = (Next("apps.adapt"),)


class ProjectNotFound(IkomaError):
    """There is no such Compose project on this machine."""

    code, status = "project_not_found", 404
    default_hint = "Give the project's name as `docker compose ls --all` shows it, or the folder of its compose file."


class NotImportable(IkomaError):
    """The Compose project cannot be taken over as it is; it runs on, untouched."""

    code, status = "not_importable", 409
    default_hint = "Mend what is named in the project's own files, then call apps.import again."


class CannotRunTwice(IkomaError):
    """Two containers of this service cannot run at once."""

    code, status = "cannot_run_twice", 409
    default_hint = "Keep one, or change in the compose file what stands in the way and deploy it."
    default_next = (Next("files.read"),)


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
    default_next = (Next("apps.validate"),)


class CertificateMissing(IkomaError):
    """The proxy has no certificate for this name yet."""

    code, status = "certificate_missing", 409
    default_hint = "domain.list says why; apps.request takes another name of the app as `domain`."
    default_next = (Next("domain.list"),)


class AnswerTimeout(IkomaError):
    """The app did not answer in time."""

    code, status = "answer_timeout", 504
    default_hint = "apps.logs shows what it does; `timeout` gives it longer."
    default_next = (Next("apps.logs"),)


class AnswerUnreadable(IkomaError):
    """What came back is no HTTP answer that can be read."""

    code, status = "answer_unreadable", 502
    default_hint = "apps.logs shows what the app does."
    default_next = (Next("apps.logs"),)


class ServiceNotFound(IkomaError):
    """The app has no such service."""

    code, status = "service_not_found", 404
    default_hint = "apps.status lists the services."
    default_next = (Next("apps.status"),)


class NotDeployed(IkomaError):
    """The app has not been deployed yet."""

    code, status = "not_deployed", 409
    default_hint = "Call deploy.up first."
    default_next = (Next("deploy.up"), Next("apps.validate"))


class DomainTaken(IkomaError):
    """The domain belongs to another app."""

    code, status = "domain_taken", 409
    default_hint = "Remove it there first (domain.remove), or choose another."


class ScheduleNotFound(IkomaError):
    """The app has no schedule of that name."""

    code, status = "schedule_not_found", 404
    default_hint = "schedules.list shows its schedules."
    default_next = (Next("schedules.list"),)


class DomainNotFound(IkomaError):
    """The app does not have this domain."""

    code, status = "domain_not_found", 404
    default_hint = "domain.list shows its domains."
    default_next = (Next("domain.list"),)


class DomainInCompose(IkomaError):
    """The app's compose file says what becomes of this domain."""

    code, status = "domain_in_compose", 409
    default_hint = "Change domains or redirects of x-ikoma in the compose file, then call deploy.up."
    default_next = (Next("files.read"),)
