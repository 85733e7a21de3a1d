"""The API, fuzzed from its OpenAPI document: no answer is a 500, none holds a secret, and none is long in coming."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error

from ikoma import capabilities
from tests.fuzzing import APP, AS_OBSERVER, SECONDS, role_for, secrets_of
from tests.support import Server


@pytest.fixture(scope="module")
def secrets(server: Server) -> Iterator[Mapping[str, str]]:
    with secrets_of(server) as made:
        yield made


@pytest.mark.timeout(1800)
def test_no_call_answers_500_or_a_secret_or_hangs(server: Server, secrets: Mapping[str, str]) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")

    for operation in schema.get_all_operations():
        _fuzz(operation.ok(), server, secrets)


def test_what_is_fuzzed_as_an_observer_exists_and_is_above_one() -> None:
    above = {item.name for item in capabilities.load() if str(item.role) != "observer"}
    assert above >= AS_OBSERVER


def _fuzz(operation: schemathesis.APIOperation, server: Server, secrets: Mapping[str, str]) -> None:
    role = role_for(operation.label.split("/")[-1])

    @given(case=operation.as_strategy(), aimed=st.booleans())
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def every_answer_is_in_form(case: schemathesis.Case, aimed: bool) -> None:
        if aimed and isinstance(case.body, dict) and "appName" in case.body:
            case.body["appName"] = APP
        response = case.call(headers={"X-Api-Key": server.key, "X-Role": role}, timeout=SECONDS)
        case.validate_response(response, checks=[not_a_server_error])
        assert response.status_code < 500 or response.status_code == 503
        said = response.text + json.dumps(dict(response.headers))
        assert [what for what, secret in secrets.items() if secret in said] == []

    every_answer_is_in_form()
