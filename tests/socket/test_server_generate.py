"""POST /api/v1/generate: the documented shapes, the same answer whole and streamed, and what reaches the model."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core.fold import ReplyFold
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.protocols.lollms import LollmsCodec
from lollms_core.types import (
    Done,
    GenerationCall,
    ImagePart,
    Media,
    Message,
    Notice,
    Params,
    Progress,
    ReceiptItem,
    Reply,
    TextDelta,
    TextPart,
    Tool,
    ToolCall,
    Usage,
)
from lollms_runtime.scripted import Script
from tests.support.media_files import png
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import PortsBinding, Served, running_server

PNG = png(2, 2)
ANSWER = Reply(
    text="Paris.",
    thoughts="Easy.",
    tool_calls=(ToolCall("c1", "weather", {"city": "Paris"}),),
    media=(Media(PNG, "image/png"),),
    usage=Usage(3, 4, 7),
    finish_reason="tool_calls",
    model="m-2026",
    receipt=(ReceiptItem("top_k", "dropped", "no such thing"),),
)


class Seeing(PortsBinding):
    def get_supported_input_modalities(self) -> list[str]:
        return ["text", "image"]


@pytest.fixture(scope="module")
def script() -> Script:
    return Script(lambda call: ANSWER)


@pytest.fixture(scope="module", params=[True, False], ids=["quick route", "documented route"])
def server(script: Script, request: pytest.FixtureRequest) -> Iterator[Served]:
    with running_server({"main": PortsBinding(script), "seeing": Seeing(script)}, quick=request.param) as served:
        yield served


def generate(server: Served, **body: Any) -> Any:
    answer = ask(server.port, "POST", "/api/v1/generate", body, server.headers)
    assert answer.status == 200, answer
    return answer.events() if body.get("stream") else answer.json()


def last_call(script: Script) -> GenerationCall:
    return script.calls[-1]


def test_a_whole_answer_has_the_documented_shape_with_its_nulls(server: Served) -> None:
    said = generate(server, **prompt("What is the capital of France?"))
    assert list(said) == ["personality", "request_id", "output", "execution_time"]
    assert said["personality"] is None
    assert 0 <= said["execution_time"] < 5
    text, call, image = said["output"]
    assert text == {
        "type": "text",
        "data": "Paris.",
        "mime_type": None,
        "thoughts": "Easy.",
        "metadata": {
            "model_used": "m-2026",
            "finish_reason": "tool_calls",
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
            "receipt": [{"name": "top_k", "action": "dropped", "reason": "no such thing"}],
        },
    }
    assert call["data"] == {"id": "c1", "name": "weather", "arguments": {"city": "Paris"}}
    assert (call["type"], call["metadata"], call["thoughts"]) == ("json", {"kind": "tool_call"}, None)
    assert (image["type"], image["mime_type"]) == ("image", "image/png")
    assert base64.b64decode(image["data"]) == PNG


def test_a_stream_has_the_documented_events_and_ends_with_the_same_output(server: Served) -> None:
    with RawRequest(
        server.port, "POST", "/api/v1/generate", body=prompt("x", stream=True), headers=server.headers
    ) as request:
        answer = request.whole()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert all(block.startswith(b"data: ") for block in answer.body.removesuffix(b"\n\n").split(b"\n\n"))
    events = answer.events()
    assert all(list(event) == ["type", "content", "thoughts", "metadata"] for event in events)
    thought, text, call, final = events
    assert (thought["type"], thought["content"], thought["thoughts"]) == ("chunk", "", "Easy.")
    assert (text["type"], text["content"], text["thoughts"]) == ("chunk", "Paris.", None)
    assert (call["type"], call["content"]) == (
        "function_call",
        {"id": "c1", "name": "weather", "arguments": {"city": "Paris"}},
    )
    assert (final["type"], final["metadata"]) == ("final", {"request_id": answer.headers["x-request-id"]})
    whole = generate(server, **prompt("x"))
    assert final["content"] == whole["output"]


@pytest.mark.parametrize("stream", [False, True])
def test_our_own_codec_reads_the_answer_back_to_an_equal_reply(server: Served, stream: bool) -> None:
    codec = LollmsCodec()
    call = GenerationCall((Message.user("x"),), stream=stream)
    target = Target(server.url, key=server.key)
    made = codec.request(call, target)
    headers = {name: value for name, value in made.headers.items() if name not in ("host", "content-length")}
    answer = ask(server.port, made.method, made.url.removeprefix(server.url), made.body, headers)
    assert answer.status == 200, answer
    reader = codec.reader(call, answer.headers["content-type"])
    fold = ReplyFold()
    fold.add(reader.feed(answer.body))
    fold.add(reader.close())
    assert fold.done() == ANSWER


def test_errors_come_back_as_the_same_class(server: Served) -> None:
    codec, target = LollmsCodec(), Target(server.url, key=server.key)
    answer = ask(server.port, "POST", "/api/v1/generate", prompt("x", binding_name="nope"), server.headers)
    error = codec.error(HttpResponse(answer.status, answer.headers, answer.body), target)
    assert error.code == "not_found"
    assert error.request_id == answer.headers["x-request-id"]


def test_roles_become_a_conversation_in_order(server: Served, script: Script) -> None:
    items = [
        {"type": "text", "role": "system_context", "data": "Be brief."},
        {"type": "text", "role": "user_message", "data": "Weather?"},
        {
            "type": "text",
            "role": "assistant_message",
            "data": "",
            "metadata": {"tool_calls": [{"id": "c1", "name": "weather", "arguments": {"city": "Paris"}}]},
        },
        {"type": "text", "role": "tool_result", "data": "sunny", "metadata": {"tool_call_id": "c1"}},
        {"type": "text", "role": "assistant_message", "data": "It is sunny."},
        {"type": "text", "role": "system_context", "data": "Be kind."},
        {"type": "text", "role": "user_prompt", "data": "And tomorrow?"},
    ]
    generate(server, input_data=items, parameters={"system_message": "Be right."})
    assert last_call(script).messages == (
        Message.system("Be brief.\n\nBe kind.\n\nBe right."),
        Message.user("Weather?"),
        Message.assistant("", [ToolCall("c1", "weather", {"city": "Paris"})]),
        Message.tool("c1", "sunny"),
        Message.assistant("It is sunny."),
        Message.user("And tomorrow?"),
    )


def test_a_system_message_alone_is_a_system_message(server: Served, script: Script) -> None:
    generate(server, **prompt("x", parameters={"system_message": "Be right."}))
    assert last_call(script).messages == (Message.system("Be right."), Message.user("x"))


def test_tools_and_a_schema_reach_the_model(server: Served, script: Script) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": parameters}}
    generate(server, **prompt("x", tools=[tool], response_schema={"type": "object"}))
    assert last_call(script).tools == (Tool("weather", "d", parameters),)
    assert last_call(script).schema == {"type": "object"}


def test_parameters_reach_the_model_and_what_does_not_is_reported(server: Served, script: Script) -> None:
    given = {"temperature": 0.5, "n_predict": 7, "stop": ["END"], "mirostat": 1, "base_url": "http://evil.example"}
    said = generate(server, **prompt("x", parameters=given, functions=[], unknown_field=1))
    assert last_call(script).params == Params(max_tokens=7, temperature=0.5, stop=("END",), extra={"mirostat": 1})
    receipt = said["output"][0]["metadata"]["receipt"]
    assert [item["name"] for item in receipt] == ["base_url", "top_k"]
    assert "evil" not in json.dumps(said)


def test_nothing_is_sent_that_nobody_set(server: Served, script: Script) -> None:
    generate(server, **prompt("x"))
    assert last_call(script).params == Params()


def test_the_older_form_with_text_prompt_alone_still_works(server: Served, script: Script) -> None:
    generate(server, text_prompt="Hello")
    assert last_call(script).messages == (Message.user("Hello"),)
    generate(server, text_prompt="Hello", input_data=[{"type": "text", "role": "system_context", "data": "s"}])
    assert last_call(script).messages == (Message.system("s"), Message.user("Hello"))


def test_the_model_is_the_requests_else_the_instances(server: Served, script: Script) -> None:
    generate(server, **prompt("x", model_name="other"))
    assert last_call(script).model == "other"
    generate(server, **prompt("x"))
    assert last_call(script).model == "m"


def test_an_image_goes_with_the_prompt_where_the_instance_takes_images(server: Served, script: Script) -> None:
    image = {"type": "image", "role": "input_image", "data": base64.b64encode(PNG).decode(), "mime_type": "image/jpeg"}
    body = prompt("What is it?", binding_name="seeing")
    body["input_data"].append(image)
    generate(server, **body)
    assert last_call(script).messages == (Message("user", (TextPart("What is it?"), ImagePart(PNG, "image/png"))),)
    body["binding_name"] = "main"
    answer = ask(server.port, "POST", "/api/v1/generate", body, server.headers)
    assert answer.status == 400
    assert "input_data[1]" in answer.json()["detail"]


def test_a_callers_own_request_id_is_used(server: Served) -> None:
    own = "my-own-request-0001"
    answer = ask(server.port, "POST", "/api/v1/generate", prompt("x"), {**server.headers, "X-Request-ID": own})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == own


def test_a_batch_is_sent_in_one_piece(script: Script) -> None:
    batches = [
        (TextDelta("a"), TextDelta("b"), TextDelta("c")),
        (Progress("prefill", "Reading", 0.5), Notice("warning", "Careful", {"x": 1})),
        (TextDelta("d"), Done("length")),
    ]
    with running_server({"main": PortsBinding([batches])}) as server:
        with RawRequest(
            server.port, "POST", "/api/v1/generate", body=prompt("x", stream=True), headers=server.headers
        ) as request:
            pieces = list(request.read_head().pieces())
    assert [piece.count(b"data: ") for piece in pieces] == [3, 2, 1, 1]
    infos = [json.loads(line[6:]) for line in pieces[1].split(b"\n") if line]
    assert infos[0] == {
        "type": "info",
        "content": "Reading",
        "thoughts": None,
        "metadata": {"kind": "prefill", "fraction": 0.5},
    }
    assert infos[1]["metadata"] == {"kind": "notice", "level": "warning", "data": {"x": 1}}


def test_a_model_that_says_nothing_has_said_the_empty_text(script: Script) -> None:
    with running_server({"main": PortsBinding([[], [(Done("content_filter"),)]])}) as server:
        first = generate(server, **prompt("x"))["output"]
        assert [(item["type"], item["data"], item["metadata"]["finish_reason"]) for item in first] == [
            ("text", "", "stop")
        ]
        second = generate(server, **prompt("x", stream=True))
        assert [event["type"] for event in second] == ["final"]
        assert second[0]["content"][0]["metadata"]["finish_reason"] == "content_filter"
