"""The API, fuzzed from its own OpenAPI document: whatever is sent, no answer is a 500."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error

from tests.support import Server

# What would take minutes or remove what other tests need is fuzzed as an observer, who is refused after validation
# of the request's form; everything else as admin.
_AS_OBSERVER = {"apps.remove", "deploy.up", "deploy.restart", "keys.revoke"}


def test_no_call_answers_500(server: Server) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")

    for operation in schema.get_all_operations():
        _fuzz(operation.ok(), server)


def _fuzz(operation: schemathesis.APIOperation, server: Server) -> None:
    role = "observer" if operation.label.split("/")[-1] in _AS_OBSERVER else "admin"

    @given(case=operation.as_strategy())
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def every_answer_is_in_form(case: schemathesis.Case) -> None:
        response = case.call(headers={"X-Api-Key": server.key, "X-Role": role})
        case.validate_response(response, checks=[not_a_server_error])
        assert response.status_code < 500 or response.status_code == 503

    every_answer_is_in_form()
