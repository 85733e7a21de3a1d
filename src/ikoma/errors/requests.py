"""Errors of the request itself: its form, its size, what it asks for."""

from __future__ import annotations

from ikoma.errors.base import IkomaError, Next


class MalformedRequest(IkomaError):
    """The body is not a JSON object."""

    code, status = "malformed_request", 400
    default_hint = 'Send a JSON object, for example {"appName": "myapp"}.'


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
    default_hint = "platform.info lists what can be called."
    default_next = (Next("platform.info"),)


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
    default_hint = "Correct what the message names."


class NotFollowing(IkomaError):
    """This answer is not a stream, so new lines cannot be followed."""

    code, status = "not_following", 406
    default_hint = "Send Accept: application/x-ndjson; without follow, ask again."
