"""How the server with the conformance suite's fixtures asks its client, in both eras.

A tool or a prompt has rounds of questions; a round is named requests, each of them what a server
can ask a client for. The handshake era sends them; the stateless one answers with the questions of
the round that is due, and the client calls again with its answers.
"""

import json
from collections.abc import Mapping
from typing import TypeAlias

from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from pydantic import BaseModel, TypeAdapter

from tests.servers.eras import STATELESS

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"
Asked: TypeAlias = "types.CallToolRequestParams | types.GetPromptRequestParams"
Answer: TypeAlias = types.ElicitResult | types.CreateMessageResult | types.ListRootsResult

QUESTION: TypeAdapter[types.InputRequest] = TypeAdapter(types.InputRequest)
ANSWERS: dict[str, type[Answer]] = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}
CAPABILITIES = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}


async def ask(
    context: ServerRequestContext, params: Asked, rounds: list[JsonObject]
) -> "JsonObject | types.InputRequiredResult":
    """Ask what there is to ask, in the way of the era in use; give the last round's answers."""
    if context.protocol_version == STATELESS:
        return _next_round(context, params, rounds)
    answers: JsonObject = {}
    for questions in rounds:
        answers = {
            key: await _answer(context, _request(question, params))
            for key, question in _permitted(context, questions).items()
        }
    return answers


def filled(value: Json, arguments: Mapping[str, Json]) -> Json:
    """Put arguments in the place of their names in braces, in all text."""
    if isinstance(value, dict):
        return {key: filled(member, arguments) for key, member in value.items()}
    if isinstance(value, list):
        return [filled(member, arguments) for member in value]
    if isinstance(value, str):
        for name, argument in arguments.items():
            said = argument if isinstance(argument, str) else json.dumps(argument)
            value = value.replace(f"{{{name}}}", said)
    return value


def _next_round(
    context: ServerRequestContext, params: Asked, rounds: list[JsonObject]
) -> "JsonObject | types.InputRequiredResult":
    """Return the answers when all are there, else the questions of the round that is due.

    The state is the number of the round; the SDK seals it.
    """
    given = params.input_responses or {}
    due = int(params.request_state or 0)
    if due < len(rounds) and rounds[due].keys() <= given.keys():
        due += 1
    if due >= len(rounds):
        return {key: _plain(answer) for key, answer in given.items()}
    asked = {
        key: _request(question, params)
        for key, question in _permitted(context, rounds[due]).items()
    }
    return types.InputRequiredResult(input_requests=asked, request_state=str(due))


def _permitted(context: ServerRequestContext, questions: JsonObject) -> JsonObject:
    """Return the questions that the client can be asked; it is refused when there are none."""
    declared = context.session.client_capabilities or types.ClientCapabilities()
    needed = {key: CAPABILITIES[_method(question)] for key, question in questions.items()}
    can = {key: question for key, question in questions.items() if getattr(declared, needed[key])}
    if not can:
        missing: JsonObject = {name: {} for name in needed.values()}
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            f"This needs a client with: {', '.join(missing)}",
            {"requiredCapabilities": missing},
        )
    return can


async def _answer(context: ServerRequestContext, request: types.InputRequest) -> Json:
    related = ServerMessageMetadata(related_request_id=context.request_id)
    kind = ANSWERS[request.method]
    return _plain(await context.session.send_request(request, kind, metadata=related))


def _request(question: Json, params: Asked) -> types.InputRequest:
    return QUESTION.validate_python(filled(question, params.arguments or {}))


def _plain(answer: BaseModel) -> Json:
    plain: Json = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain


def _method(question: Json) -> str:
    assert isinstance(question, dict)
    return str(question["method"])
