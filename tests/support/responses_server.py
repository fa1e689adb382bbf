"""A stand-in for OpenAI's Responses endpoint, as a mode of the chaos server: it answers with what it was asked.

    with ChaosServer() as chaos:
        base_url = chaos.add("openai", responding)

Requests are checked as the API reference says (see `responses_rules`), and refused with the words of the real one. What
is said back follows `openai_server`, which also answers everything that is not /responses; but the model `deep` is
served over /responses alone. `thinker` and `deep` give their thoughts encrypted and want them back with their calls;
`long` and `censored` stop in the middle, `failing` and `erring` report an error there, `leaving` hangs up, and
`silent` leaves the deltas out. `nobody` is not found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.support.chaos import Connection, Seen
from tests.support.chaos_modes import END, chunk, reply, stream_head
from tests.support.openai_server import answering
from tests.support.responses_rules import Refusal, check, encrypted

__all__ = ["ARGUMENTS", "USAGE", "answer_to", "events_of", "responding"]

USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 18,
}
ARGUMENTS = '{"n": 0, "ü": ["☃"]}'
THOUGHTS = ("Let me see.", "There it is.")
ONLY_HERE = "This model is only supported in v1/responses and not in v1/chat/completions."
_ENDS = {"long": "max_output_tokens", "censored": "content_filter"}


async def responding(connection: Connection, seen: Seen) -> None:
    """See the module."""
    path = seen.path.partition("/")[2].partition("/")[2]
    if path != "responses":
        if path == "chat/completions" and seen.json().get("model") == "deep":
            return await _refuse(connection, Refusal(ONLY_HERE, "model", None, 404))
        return await answering(connection, seen)
    body = seen.json()
    try:
        check(body)
    except Refusal as refusal:
        return await _refuse(connection, refusal)
    response = answer_to(body)
    if not body.get("stream"):
        return await reply(connection, json.dumps(response).encode())
    await connection.packet(stream_head())
    for event in events_of(response):
        await connection.packet(chunk(_event(event)))
        if body["model"] == "leaving" and event["type"] == "response.output_text.delta":
            return connection.rst()
        if body["model"] == "erring" and event["type"] == "response.output_text.delta":
            error = {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": None}
            await connection.packet(chunk(_event({**error, "sequence_number": 99})))
            break
    await connection.send(END)


def answer_to(body: dict[str, Any]) -> dict[str, Any]:
    """The whole `response` object for a request that has been checked."""
    model = body["model"]
    output = _output(body)
    ended = _ENDS.get(model)
    status = "incomplete" if ended else "failed" if model == "failing" else "completed"
    for item in output:
        item.setdefault("status", "incomplete" if ended and item["type"] == "message" else "completed")
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": {"code": "server_error", "message": "The model gave up."} if status == "failed" else None,
        "incomplete_details": {"reason": ended} if ended else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": body.get("tools", []),
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": USAGE,
        "user": None,
    }


def events_of(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events that a response is streamed in, in the order of the reference."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "error": None}
    events: list[dict[str, Any]] = [
        {"type": f"response.{each}", "response": {**begun, "incomplete_details": None}}
        for each in ("created", "in_progress")
    ]
    for at, item in enumerate(response["output"]):
        pieces = {"reasoning": _thought_events, "message": _message_events, "function_call": _call_events}[item["type"]]
        empty = {"reasoning": {"summary": []}, "message": {"content": []}, "function_call": {"arguments": ""}}
        started = {**item, **empty[item["type"]], "status": "in_progress"}
        events.append({"type": "response.output_item.added", "output_index": at, "item": started})
        found = [{**event, "item_id": item["id"], "output_index": at} for event in pieces(item)]
        events += [event for event in found if response["model"] != "silent" or not event["type"].endswith(".delta")]
        events.append({"type": "response.output_item.done", "output_index": at, "item": item})
    events.append({"type": f"response.{response['status']}", "response": response})
    for number, event in enumerate(events):
        yield {**event, "sequence_number": number}


# ---- what is answered ----------------------------------------------------------------------------------------------


def _output(body: dict[str, Any]) -> list[dict[str, Any]]:
    last = body["input"][-1] if isinstance(body["input"], list) else {"role": "user", "content": body["input"]}
    said = f"{last['call_id']} said {last['output']}" if "call_id" in last else _said(last["content"])
    offered = [tool["name"] for tool in body.get("tools") or ()]
    output: list[dict[str, Any]] = []
    if body["model"] in ("thinker", "deep"):
        output.append(
            {
                "type": "reasoning",
                "id": f"rs_{len(body['input'])}",
                "summary": [{"type": "summary_text", "text": text} for text in THOUGHTS],
                "encrypted_content": encrypted(len(body["input"])) if body.get("include") else None,
            }
        )
    if said.startswith("tool:") and said[5:] in offered:
        call = {"type": "function_call", "name": said[5:], "arguments": ARGUMENTS}
        return [*output, *({**call, "id": f"fc_{at}", "call_id": f"call_{at}"} for at in "ab")]
    shape = (body.get("text") or {}).get("format") or {}
    if shape.get("type") == "json_schema":
        said = json.dumps(dict.fromkeys(shape["schema"]["properties"], 1))
    if said == "refuse":
        part: dict[str, Any] = {"type": "refusal", "refusal": "I cannot help."}
    else:
        part = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
    return [*output, {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}]


def _said(content: Any) -> str:
    if isinstance(content, str):
        return content
    images = sum(part["type"] == "input_image" for part in content)
    return f"{images} images" if images else "".join(part["text"] for part in content)


# ---- events --------------------------------------------------------------------------------------------------------


def _thought_events(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for at, part in enumerate(item["summary"]):
        common = {"summary_index": at}
        yield {"type": "response.reasoning_summary_part.added", **common, "part": {**part, "text": ""}}
        for piece in _pieces(part["text"]):
            yield {"type": "response.reasoning_summary_text.delta", **common, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **common, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", **common, "part": part}


def _message_events(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for at, part in enumerate(item["content"]):
        kind = part["type"]
        field = "refusal" if kind == "refusal" else "text"
        common: dict[str, Any] = {"content_index": at}
        more: dict[str, Any] = {} if kind == "refusal" else {"logprobs": []}
        yield {"type": "response.content_part.added", **common, "part": {**part, field: ""}}
        for piece in _pieces(part[field]):
            yield {"type": f"response.{kind}.delta", **common, "delta": piece, **more}
        yield {"type": f"response.{kind}.done", **common, field: part[field], **more}
        yield {"type": "response.content_part.done", **common, "part": part}


def _call_events(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for piece in _pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", "delta": piece}
    done = {"arguments": item["arguments"], "name": item["name"]}
    yield {"type": "response.function_call_arguments.done", **done}


def _pieces(text: str) -> list[str]:
    return [text[at : at + 3] for at in range(0, len(text), 3)]


def _event(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event, ensure_ascii=False).encode())


async def _refuse(connection: Connection, refusal: Refusal) -> None:
    error = {"message": refusal.words, "type": "invalid_request_error", "param": refusal.param, "code": refusal.code}
    await reply(connection, json.dumps({"error": error}).encode(), refusal.status, "Error")
