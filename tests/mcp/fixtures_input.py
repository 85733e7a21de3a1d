"""The suite's tools that ask the client back: for a form, a sample of its model, or its roots.

Up to 2025-11-25 a tool asks while it runs (a request from server to client). From 2026-07-28 it returns
`InputRequiredResult` and is called again with the answers: first round, second round, each a call of its own. What has
to survive between rounds goes into `request_state`, plain here; the server's `RequestStateBoundary` seals it.
"""

from __future__ import annotations

import json
from typing import Any

import mcp_types as types

from tests.mcp.fixture import Context, Fixture, Outcome, missing_capability, schema, text

STRING = {"type": "string"}
NAME_FORM = schema(name=STRING)
CONFIRM_FORM = schema(ok={"type": "boolean"})


# --- up to 2025-11-25: asking while running ---


async def sampling(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    answer = await ctx.session.create_message(
        [_user_says((params.arguments or {})["prompt"])], max_tokens=100, related_request_id=ctx.request_id
    )
    return text(f"LLM response: {getattr(answer.content, 'text', answer.content)}")


async def elicitation(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    form = schema(
        username={**STRING, "description": "User's response"}, email={**STRING, "description": "User's email address"}
    )
    answer = await ctx.session.elicit_form((params.arguments or {})["message"], form, ctx.request_id)
    return text(f"User response: {_described(answer)}")


async def elicitation_defaults(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    form = schema(
        required=[],
        name={**STRING, "default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status={**STRING, "enum": ["active", "inactive", "pending"], "default": "active"},
        verified={"type": "boolean", "default": True},
    )
    answer = await ctx.session.elicit_form("Please check these defaults", form, ctx.request_id)
    return text(f"Elicitation completed: {_described(answer)}")


async def elicitation_enums(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    options = ["option1", "option2", "option3"]
    titled = [
        {"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second", "Third"), 1)
    ]
    form = schema(
        required=[],
        untitledSingle={**STRING, "enum": options},
        titledSingle={**STRING, "oneOf": titled},
        legacyEnum={
            **STRING,
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        untitledMulti={"type": "array", "items": {**STRING, "enum": options}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    answer = await ctx.session.elicit_form("Please choose", form, ctx.request_id)
    return text(f"Elicitation completed: {_described(answer)}")


def _described(answer: types.ElicitResult) -> str:
    return f"action={answer.action}, content={json.dumps(answer.content)}"


# --- from 2026-07-28: asking by the result ---


def ask(message: str, form: dict[str, Any]) -> types.ElicitRequest:
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=form))


def ask_model(prompt: str, max_tokens: int) -> types.CreateMessageRequest:
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[_user_says(prompt)], max_tokens=max_tokens)
    )


def answered(params: types.InputResponseRequestParams, key: str) -> dict[str, Any] | None:
    """Return what the user filled in for `key`; None when the client has not answered, or its user declined."""
    answer = (params.input_responses or {}).get(key)
    if isinstance(answer, types.ElicitResult) and answer.action == "accept":
        return dict(answer.content or {})
    return None


def _user_says(prompt: str) -> types.SamplingMessage:
    return types.SamplingMessage(role="user", content=types.TextContent(text=prompt))


async def asks_name(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    """Wrong keys are asked again and extra ones ignored; what is no answer at all the SDK refuses (-32602)."""
    answer = answered(params, "user_name")
    if answer is None or "name" not in answer:
        return types.InputRequiredResult(input_requests={"user_name": ask("What is your name?", NAME_FORM)})
    return text(f"Hello, {answer['name']}!")


async def asks_model(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    answer = (params.input_responses or {}).get("capital_question")
    if not isinstance(answer, types.CreateMessageResult | types.CreateMessageResultWithTools):
        question = ask_model("What is the capital of France?", 100)
        return types.InputRequiredResult(input_requests={"capital_question": question})
    return text(f"The model says: {getattr(answer.content, 'text', answer.content)}")


async def asks_roots(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    answer = (params.input_responses or {}).get("client_roots")
    if not isinstance(answer, types.ListRootsResult):
        return types.InputRequiredResult(input_requests={"client_roots": types.ListRootsRequest()})
    return text(f"Roots: {', '.join(str(root.uri) for root in answer.roots)}")


async def keeps_state(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    if params.request_state != "asked" or answered(params, "confirm") is None:
        return types.InputRequiredResult(
            input_requests={"confirm": ask("Please confirm", CONFIRM_FORM)}, request_state="asked"
        )
    return text("state-ok")


async def asks_everything(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    answers = params.input_responses or {}
    if params.request_state != "asked" or not {"user_name", "greeting", "client_roots"} <= answers.keys():
        return types.InputRequiredResult(
            input_requests={
                "user_name": ask("What is your name?", NAME_FORM),
                "greeting": ask_model("Generate a greeting", 50),
                "client_roots": types.ListRootsRequest(),
            },
            request_state="asked",
        )
    return text(f"Got answers to {', '.join(sorted(answers))}")


async def asks_twice(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    """Three rounds; what the first one brought travels in the state of the second."""
    state = json.loads(params.request_state or "{}")
    if "name" in state:
        color = answered(params, "step2")
        if color is not None:
            return text(f"{state['name']} likes {color['color']}")
    elif (name := answered(params, "step1")) is not None and state:
        return types.InputRequiredResult(
            input_requests={"step2": ask("Step 2: What is your favorite color?", schema(color=STRING))},
            request_state=json.dumps({"round": 2, "name": name["name"]}),
        )
    return types.InputRequiredResult(
        input_requests={"step1": ask("Step 1: What is your name?", NAME_FORM)}, request_state=json.dumps({"round": 1})
    )


async def asks_what_client_can(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    """Asks only what the client said it can answer."""
    can = ctx.session.client_capabilities
    requests: types.InputRequests = {}
    if can is not None and can.sampling is not None:
        requests["greeting"] = ask_model("Generate a greeting", 50)
    if can is not None and can.elicitation is not None:
        requests["user_name"] = ask("What is your name?", NAME_FORM)
    if not requests or params.input_responses:
        return text(f"Got answers to {', '.join(sorted(params.input_responses or {})) or 'nothing'}")
    return types.InputRequiredResult(input_requests=requests)


async def needs_sampling(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    can = ctx.session.client_capabilities
    if can is None or can.sampling is None:
        raise missing_capability(sampling={})
    return text("The client can sample.")


def _tools(*fixtures: Fixture) -> dict[str, Fixture]:
    return {fixture.name: fixture for fixture in fixtures}


ASKING_TOOLS = _tools(
    Fixture("test_sampling", "Asks the client's model (to 2025-11-25).", sampling, schema(prompt=STRING)),
    Fixture("test_elicitation", "Asks the user (to 2025-11-25).", elicitation, schema(message=STRING)),
    Fixture("test_elicitation_sep1034_defaults", "Asks the user, with defaults.", elicitation_defaults),
    Fixture("test_elicitation_sep1330_enums", "Asks the user, with choices.", elicitation_enums),
    Fixture("test_input_required_result_elicitation", "Asks the user's name.", asks_name),
    Fixture("test_input_required_result_sampling", "Asks the client's model.", asks_model),
    Fixture("test_input_required_result_list_roots", "Asks for the client's roots.", asks_roots),
    Fixture("test_input_required_result_request_state", "Asks, and keeps a state.", keeps_state),
    Fixture("test_input_required_result_multiple_inputs", "Asks three things at once.", asks_everything),
    Fixture("test_input_required_result_multi_round", "Asks twice, one after the other.", asks_twice),
    Fixture("test_input_required_result_tampered_state", "Asks; its state must not be altered.", keeps_state),
    Fixture("test_input_required_result_capabilities", "Asks what the client can answer.", asks_what_client_can),
    Fixture("test_missing_capability", "Refuses a client without sampling.", needs_sampling),
    Fixture("test_streaming_elicitation", "Asks the user's name.", asks_name),
)
