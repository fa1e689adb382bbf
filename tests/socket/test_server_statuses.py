"""Every way a generation can be refused has its status, its stable code and the uniform body."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core import errors
from lollms_core.errors import MEANINGS, LollmsError
from lollms_core.types import TextDelta
from lollms_server.core.bindings.manager import BindingManager
from tests.support.media_files import b64, png
from tests.support.raw_http import Answer, RawRequest, ask, prompt
from tests.support.server import PortsBinding, Served, running_server

RAISED: dict[str, Exception] = {
    **{row.code: kind(f"It is {row.code}.") for kind, row in MEANINGS.items()},
    "unforeseen": RuntimeError('File "/home/me/secret.py", line 5'),
}


class Image(PortsBinding):
    def get_supported_output_modalities(self) -> list[str]:
        return ["image"]


@pytest.fixture(scope="module", params=[True, False], ids=["quick route", "documented route"])
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    def answer(call: Any) -> Any:
        return RAISED.get(call.messages[-1].text, "fine")

    bindings = {"main": PortsBinding(answer), "image": Image(answer)}
    config = {
        "defaults": {"ttt_binding": "main", "tts_binding": "main"},
        "bindings_map": {"broken": "no_such_binding"},
        "limits": {"max_item_bytes": 5000, "max_body_bytes": 100_000},
    }
    with running_server(bindings, config, quick=request.param) as served:
        yield served


def post(server: Served, body: Any, **headers: str) -> Answer:
    return ask(server.port, "POST", "/api/v1/generate", body, {**server.headers, **headers})


def check_uniform(answer: Answer, status: int, code: str) -> dict[str, Any]:
    assert answer.status == status, answer
    body = answer.json()
    assert set(body) - {"errors"} == {"detail", "code", "request_id"}, body
    assert body["code"] == code, body
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    text = answer.body.decode()
    assert "/home" not in text and 'File "' not in text and "Traceback" not in text
    return dict(body)


@pytest.mark.parametrize("code", sorted(RAISED))
@pytest.mark.parametrize("stream", [False, True])
def test_each_error_before_the_first_event_is_its_status(server: Served, code: str, stream: bool) -> None:
    answer = post(server, prompt(code, stream=stream))
    kind = errors.error_for_code(code) or errors.InternalError
    body = check_uniform(answer, MEANINGS[kind].http_status, MEANINGS[kind].code)
    private = (errors.InternalError, errors.ConfigError, errors.StorageError, LollmsError)
    assert (body["detail"] == f"It is {code}.") == (kind not in private)


ITEM = {"type": "text", "role": "user_prompt", "data": "x"}
BAD_BODIES: list[Any] = [
    b"",
    b"[]",
    b"[1, 2]",
    b"null",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b'{"input_data": NaN}',
    b"[" * 90_000,
    b'{"a":' * 15_000 + b"1" + b"}" * 15_000,
    b'{"input_data": [{"type": "text", "role": "user_prompt", "data": "\\ud800"}]}',
    b'{"input_data": ' + b"9" * 5000 + b"}",
    {},
    {"input_data": []},
    {"input_data": {}},
    {"input_data": "x"},
    {"input_data": None},
    {"input_data": [{**ITEM, "type": "smell"}]},
    {"input_data": [{"type": "text", "data": "x"}]},
    {"input_data": [{"type": "text", "role": "user_prompt"}]},
    {"input_data": [{**ITEM, "data": 5}]},
    {"input_data": [{**ITEM, "role": ""}]},
    {"input_data": [{**ITEM, "role": "r" * 65}]},
    {"input_data": [{**ITEM, "metadata": []}]},
    {"input_data": [ITEM] * 1001},
    {"input_data": [ITEM], "stream": "true"},
    {"input_data": [ITEM], "stream": 1},
    {"input_data": [ITEM], "generation_type": "smell"},
    {"input_data": [ITEM], "parameters": []},
    {"input_data": [ITEM], "parameters": {f"p{i}": 1 for i in range(65)}},
    {"input_data": [ITEM], "binding_name": ""},
    {"input_data": [ITEM], "binding_name": 5},
    {"input_data": [ITEM], "tools": [{"type": "function"}]},
    {"input_data": [ITEM], "tools": [{"type": "function", "function": {"name": "x"}}] * 129},
    {"input_data": [ITEM], "response_schema": "{}"},
    {"text_prompt": 5},
    {"text_prompt": "x", "input_data": "y"},
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body)[:40])
def test_a_body_that_does_not_match_is_422_and_says_where(server: Served, body: Any) -> None:
    said = check_uniform(post(server, body), 422, "malformed_body")
    assert said["errors"]
    assert all(set(error) == {"loc", "msg"} for error in said["errors"])


@pytest.mark.parametrize(
    ("body", "place"), [(b"{", "line 1 column 1"), (b'{"a": 1,\n nope}', "line 2 column 2"), (b"\xff\xfe", "line 1")]
)
def test_what_is_not_json_is_said_with_its_place(server: Served, body: bytes, place: str) -> None:
    said = check_uniform(post(server, body), 422, "malformed_body")
    assert "not JSON" in said["detail"] and place in said["detail"], said
    (error,) = said["errors"]
    assert error["loc"] == ["body"] and place in error["msg"]


def test_null_is_as_good_as_nothing(server: Served) -> None:
    nothing = dict.fromkeys(("parameters", "stream", "generation_type", "personality", "binding_name", "tools"))
    answer = post(server, prompt("x", **nothing))
    assert answer.status == 200, answer
    assert answer.json()["output"][0]["data"] == "fine"


@pytest.mark.parametrize("path", ["/", "/health", "/api/v1/health"])
def test_public_pages_answer_head_without_a_body(server: Served, path: str) -> None:
    answer = ask(server.port, "HEAD", path)
    assert (answer.status, answer.body) == (200, b"")


def test_there_is_no_page_that_loads_programs_from_elsewhere(server: Served) -> None:
    for path in ("/docs", "/redoc"):
        check_uniform(ask(server.port, "GET", path, None, server.headers), 404, "not_found")
    assert ask(server.port, "GET", "/openapi.json", None, server.headers).status == 200


def test_what_was_sent_does_not_come_back(server: Served) -> None:
    answer = post(server, {"input_data": [{**ITEM, "type": "canary-7d1f"}], "canary-key-99": 1, "stream": "canary-5"})
    assert answer.status == 422
    assert b"canary" not in answer.body


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (prompt("x", personality="nobody"), 404, "not_found", "not found or disabled"),
        (prompt("x", binding_name="nobody"), 404, "not_found", "'nobody'"),
        (prompt("x", binding_name="../main"), 404, "not_found", ""),
        (prompt("x", binding_name="broken"), 503, "instance_unavailable", "'broken'"),
        (prompt("x", generation_type="tti"), 400, "invalid_request", "no default binding for tti"),
        (prompt("x", generation_type="i2i"), 400, "invalid_request", "serves text (ttt) only"),
        (prompt("x", generation_type="tts"), 501, "unsupported_feature", "does not produce audio"),
        (prompt("x", binding_name="image"), 501, "unsupported_feature", "does not produce text"),
        (prompt("x", parameters={"temperature": "hot"}), 400, "invalid_request", "temperature"),
        (prompt("x", parameters={"max_tokens": 0}), 400, "invalid_request", "max_tokens"),
        (prompt("x", parameters={"max_tokens": 10**12}), 400, "invalid_request", "max_tokens"),
        ({"input_data": [ITEM, {**ITEM, "role": "poet"}]}, 400, "invalid_request", "input_data[1]"),
        ({"input_data": [{**ITEM, "role": "system_context"}]}, 400, "invalid_request", "user_prompt"),
        ({"input_data": [ITEM, {**ITEM, "type": "image", "role": "input_image"}]}, 400, "invalid_request", "[1]"),
        ({"input_data": [{**ITEM, "type": "audio"}]}, 400, "invalid_request", "input_data[0]"),
        (
            {"input_data": [ITEM, {**ITEM, "role": "assistant_message", "metadata": {"tool_calls": [{"x": 1}]}}]},
            400,
            "invalid_request",
            "input_data[1]",
        ),
        (prompt("x" * 5001), 413, "payload_too_large", "input_data[0]"),
        (prompt("x" * 200_000), 413, "payload_too_large", "100000"),
    ],
)
def test_a_body_that_matches_but_cannot_be_served(
    server: Served, body: Any, status: int, code: str, words: str
) -> None:
    said = check_uniform(post(server, body), status, code)
    assert words in said["detail"], said


def test_the_roles_that_exist_are_listed(server: Served) -> None:
    said = post(server, {"input_data": [{**ITEM, "role": "poet"}]}).json()
    for role in ("user_prompt", "system_context", "user_message", "assistant_message", "tool_result"):
        assert role in said["detail"]


def padded(size: int) -> bytes:
    """An image of so many bytes."""
    image = png(2, 2)
    return image + b"\0" * (size - len(image))


def test_bad_base64_names_the_item() -> None:
    class Seeing(PortsBinding):
        def get_supported_input_modalities(self) -> list[str]:
            return ["text", "image"]

    image = {"type": "image", "role": "input_image", "data": "not base64!", "mime_type": "image/png"}
    with running_server({"main": Seeing(lambda call: "fine")}, {"limits": {"max_item_bytes": 3000}}) as server:
        said = check_uniform(post(server, {"input_data": [ITEM, image]}), 400, "invalid_request")
        assert "input_data[1]" in said["detail"]
        fits = {**image, "data": b64(padded(3000))}
        assert post(server, {"input_data": [ITEM, fits]}).status == 200
        over = {**image, "data": b64(padded(3003))}
        check_uniform(post(server, {"input_data": [ITEM, over]}), 413, "payload_too_large")


def test_other_content_types_and_no_body(server: Served) -> None:
    check_uniform(post(server, b"a=b", **{"Content-Type": "text/plain"}), 415, "unsupported_media_type")
    check_uniform(ask(server.port, "POST", "/api/v1/generate", None, server.headers), 422, "malformed_body")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v1/generate", 405), ("GET", "/nope", 404), ("POST", "/health/x", 404), ("GET", "/health/", 404)],
)
def test_paths_and_methods_that_do_not_exist(server: Served, method: str, path: str, status: int) -> None:
    answer = ask(server.port, method, path, {} if method == "POST" else None, server.headers)
    check_uniform(answer, status, "not_found" if status == 404 else "invalid_request")


def test_an_unforeseen_exception_in_a_route_is_a_bare_500(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: BindingManager) -> None:
        raise RuntimeError('File "/home/me/secret.py"')

    monkeypatch.setattr(BindingManager, "active", fail)
    answer = ask(server.port, "GET", "/api/v1/list_active_bindings", None, server.headers)
    check_uniform(answer, 500, "internal_error")


def test_errors_after_the_first_event_are_an_error_chunk_and_a_final(server: Served) -> None:
    script = [[(TextDelta("Par"),), (TextDelta("is"),), errors.RateLimited("Slow down.", retry_after=3)]]
    with running_server({"main": PortsBinding(script)}) as other:
        with RawRequest(
            other.port, "POST", "/api/v1/generate", body=prompt("x", stream=True), headers=other.headers
        ) as request:
            answer = request.whole()
    assert answer.status == 200
    *chunks, error, final = answer.events()
    assert [chunk["content"] for chunk in chunks] == ["Par", "is"]
    assert (error["type"], error["content"]) == ("error", "Slow down.")
    assert error["metadata"] == {"code": "rate_limited", "retry_after": 3.0}
    assert final["type"] == "final"
    assert final["metadata"] == {"request_id": answer.headers["x-request-id"], "status": "failed"}
    text, item = final["content"]
    assert (text["data"], text["metadata"]["finish_reason"], text["metadata"]["model_used"]) == ("Paris", "error", "m")
    assert (item["type"], item["data"]) == ("error", "Slow down.")


def test_retry_after_is_a_header_of_the_status() -> None:
    error = errors.TooManyRequests("Full.", retry_after=7)
    with running_server({"main": PortsBinding([error])}) as server:
        answer = post(server, prompt("x"))
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")


def test_the_status_codes_stand_in_the_openapi(server: Served) -> None:
    schema = ask(server.port, "GET", "/openapi.json", None, server.headers).json()
    generate = schema["paths"]["/api/v1/generate"]["post"]
    statuses = {str(row.http_status) for row in MEANINGS.values()} | {"200"}
    assert statuses <= set(generate["responses"]), statuses - set(generate["responses"])
    assert set(schema["paths"]["/api/v1/requests/{request_id}"]["delete"]["responses"]) >= {"204", "404", "401"}
    assert schema["components"]["securitySchemes"]["key"]["name"] == "X-API-Key"
