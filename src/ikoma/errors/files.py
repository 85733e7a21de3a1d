"""Errors of an app's files, variables and source."""

from __future__ import annotations

from ikoma.errors.base import IkomaError, Next


class PathOutside(IkomaError):
    """A path leads outside the app's folder."""

    code, status = "path_outside", 422
    default_hint = "Keep the app's files inside its own folder, and not behind symbolic links that leave it."
    default_next = (Next("files.list"),)


class FileMissing(IkomaError):
    """A file that this needs is not there."""

    code, status = "file_missing", 404
    default_hint = "Create the file in the app's folder, then try again."
    default_next = (Next("files.list"),)


class NotAFile(IkomaError):
    """This is something else than a file."""

    code, status = "not_a_file", 409
    default_hint = "files.list shows what is there, and of which kind."
    default_next = (Next("files.list"),)


class FileChanged(IkomaError):
    """The file was changed meanwhile, and was not written."""

    code, status = "file_changed", 409
    default_hint = "Read it again, and write what you want with the `sha256` of that answer."
    default_next = (Next("files.read"),)


class VersionNotFound(IkomaError):
    """No such version of the file is kept."""

    code, status = "version_not_found", 404
    default_hint = "files.history shows what is kept; it is kept for thirty days."
    default_next = (Next("files.history"),)


class TextNotFound(IkomaError):
    """The text that is to be replaced does not stand in the file exactly once, and nothing was written."""

    code, status = "text_not_found", 409
    default_hint = "Read the file, and give a piece of it that stands there once, with its spaces and line ends."
    default_next = (Next("files.read"),)


class VariableExists(IkomaError):
    """The variable has a value already, and nothing was changed."""

    code, status = "variable_exists", 409
    default_hint = "Say `replace` to give it another; what uses the old one must then be deployed again."
    default_next = (Next("env.list"),)


class VariableMissing(IkomaError):
    """There is no such environment variable."""

    code, status = "variable_missing", 404
    default_hint = "env.list shows the names."
    default_next = (Next("env.list"),)


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
    default_hint = (
        "git's own words say why; correct `url`, `ref` or `token` and call again. All files are as they were."
    )


class SourceTooLarge(IkomaError):
    """The repository is too large."""

    code, status = "source_too_large", 422
    default_hint = "Give only a folder of it as `path`, or keep large files elsewhere. All files are as they were."


class SourceUnsafe(IkomaError):
    """The repository holds what must not be in an app."""

    code, status = "source_unsafe", 422
    default_hint = "Take the link out of the repository. All files are as they were."


class SourceChanged(IkomaError):
    """The app's folder holds what did not come from the repository."""

    code, status = "source_changed", 409
    default_hint = "Save what you need, then call again with `overwrite`: it is moved aside, not deleted."
    default_next = (Next("files.list"),)


class SourceMissing(IkomaError):
    """The app's source did not come from a repository."""

    code, status = "source_missing", 409
    default_hint = "Call source.clone first."
    default_next = (Next("files.list"),)
