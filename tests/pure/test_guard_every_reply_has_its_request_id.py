"""Every reply carries a request id, a failure shows nothing of our insides, and noise from outside is bounded."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from lollms_core import errors
from lollms_server.core.log import REQUEST_ID
from lollms_server.core.responses import INTERNAL, FieldError, error_body
from lollms_server.middleware.failures import FailureTable
from tests.support.asgi_calls import acall, call, request_scope
from tests.support.guarded import KEY, Recorder, guarded, settings

AUTH = {"X-API-Key": KEY}
OWN = ["0123456789abcdef", "a" * 64, "550e8400-e29b-41d4-a716-446655440000"]
NOT_AN_ID = [
    "",
    "short",
    "a" * 65,
    "0123456789abcde_",
    "0123456789abcdef\n",
    "0123456789abcde\u00e9",
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("own", OWN)
def test_a_callers_own_id_is_used(own: str) -> None:
    app, recorder = guarded()
    assert call(app, "/x", headers={**AUTH, "X-Request-ID": own}).header("x-request-id") == own
    assert recorder.scopes[0]["state"]["request_id"] == own


@pytest.mark.parametrize("own", NOT_AN_ID)
def test_what_is_no_id_is_replaced(own: str) -> None:
    app, recorder = guarded()
    answer = call(app, "/x", headers={**AUTH, "X-Request-ID": own})
    given = answer.header("x-request-id")
    assert given and given != own and len(given) == 32
    assert recorder.scopes[0]["state"]["request_id"] == given


def test_two_ids_are_replaced_and_ids_differ() -> None:
    app, _ = guarded()
    two = [*AUTH.items(), ("X-Request-ID", OWN[0]), ("X-Request-ID", OWN[0])]
    ids = {call(app, "/x", headers=two).header("x-request-id") for _ in range(50)}
    assert len(ids) == 50 and OWN[0] not in ids


def test_every_kind_of_reply_has_the_id_and_is_not_sniffed() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("x")

    app, _ = guarded()
    broken, _ = guarded(fails)
    own = {"X-Request-ID": OWN[0]}
    answers = [
        call(app, "/health", headers=own),
        call(app, "/x", headers=own),
        call(app, "/x", headers={**own, **AUTH, "Host": "evil.example"}),
        call(app, "/x", headers={**own, **AUTH, "Origin": "http://evil.example"}),
        call(app, "/x", "POST", {**own, **AUTH}, b"x"),
        call(broken, "/x", headers={**own, **AUTH}),
        call(app, "/x", "OPTIONS", {**own, "Origin": "http://localhost", "Access-Control-Request-Method": "POST"}),
    ]
    assert [answer.status for answer in answers] == [200, 403, 421, 403, 415, 500, 204]
    for answer in answers:
        assert answer.header("x-request-id") == OWN[0]
        assert answer.header("x-content-type-options") == "nosniff"
        if answer.status >= 400:
            assert answer.header("content-type") == "application/json"
            assert answer.header("content-length") == str(len(answer.body))
            assert answer.json()["request_id"] == OWN[0]


class Mine(errors.InvalidRequest):
    """An error class made elsewhere."""


EVERY_ERROR = [*errors.MEANINGS, Mine]
SECRETS = "secret at /home/someone/.config/lollms/api_key and C:\\Users\\someone\\key.txt"


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_every_error_becomes_its_own_status_and_the_uniform_body(kind: type[errors.LollmsError]) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise kind(SECRETS)

    app, _ = guarded(fails)
    answer = call(app, "/x", headers=AUTH)
    assert answer.status == errors.meaning(kind).http_status
    assert set(answer.json()) == {"detail", "code", "request_id"}
    assert answer.json()["code"] == errors.meaning(kind).code
    for part in ("/home", "someone", ".config", "C:", "Traceback", 'File "'):
        assert part not in answer.body.decode()


@pytest.mark.parametrize(
    "failure",
    [ValueError(SECRETS), RecursionError(), MemoryError(), KeyError("/home/x/y"), OSError(2, "x", "/home/x/y")],
)
def test_an_unforeseen_failure_shows_nothing_and_logs_everything(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        seen.append(REQUEST_ID.get())
        raise failure

    app, _ = guarded(fails)
    answer = call(app, "/x", headers={**AUTH, "X-Request-ID": OWN[0]})
    assert answer.status == 500
    assert answer.json() == {"detail": INTERNAL, "code": "internal_error", "request_id": OWN[0]}
    assert any(record.exc_info and record.exc_info[1] is failure for record in caplog.records)
    assert seen == [OWN[0]]
    assert REQUEST_ID.get() == "-"


def test_a_failure_after_the_headers_leaves_the_reply_unfinished() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise ValueError(SECRETS)

    app, _ = guarded(fails)
    answer = call(app, "/x", headers=AUTH)
    assert answer.body == b"part"
    assert [message["type"] for message in answer.messages] == ["http.response.start", "http.response.body"]


def test_an_application_that_says_nothing_is_a_failure() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return

    app, _ = guarded(silent)
    assert call(app, "/x", headers=AUTH).json()["code"] == "internal_error"


def test_cancelling_a_request_is_not_swallowed() -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    app, _ = guarded(waits)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(acall(app, request_scope("/x", headers=AUTH)))


def test_the_body_of_a_form_error_lists_the_fields() -> None:
    error = errors.MalformedBody("The body does not match.")
    body = json.loads(error_body(error, "id-1", [FieldError(["body", "input_data", 0], "is missing")]))
    assert body == {
        "detail": "The body does not match.",
        "code": "malformed_body",
        "request_id": "id-1",
        "errors": [{"loc": ["body", "input_data", 0], "msg": "is missing"}],
    }


def test_paths_are_cut_and_addresses_stay() -> None:
    def said(text: str) -> Any:
        return json.loads(error_body(errors.UpstreamFailed(text), "x"))["detail"]

    assert said("Ask GET /api/v1/health at http://localhost:9600/api/v1/x and/or wait.") == (
        "Ask GET /api/v1/health at http://localhost:9600/api/v1/x and/or wait."
    )
    assert said('File "/usr/lib/python3/x.py", line 3') == 'File "…/x.py", line 3'
    assert len(said("x" * 100_000)) == 2000


def test_a_request_sees_only_its_own_state() -> None:
    app, recorder = guarded()

    async def both() -> None:
        scopes = [request_scope("/x", headers={**AUTH, "X-Request-ID": f"{n:016x}"}) for n in range(100)]
        answers = await asyncio.gather(*(acall(app, scope) for scope in scopes))
        assert [answer.header("x-request-id") for answer in answers] == [f"{n:016x}" for n in range(100)]

    asyncio.run(both())
    assert {scope["state"]["request_id"] for scope in recorder.scopes} == {f"{n:016x}" for n in range(100)}


def test_an_application_that_sends_one_object_for_all_requests_mixes_nothing_up() -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}

    async def constant(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send({"type": "http.response.body"})

    app, _ = guarded(constant)
    for own in OWN:
        assert call(app, "/x", headers={**AUTH, "X-Request-ID": own}).header("x-request-id") == own
    assert start["headers"] == [(b"content-length", b"0")]


def test_too_many_failures_of_one_address_are_told_to_wait_and_a_key_still_opens() -> None:
    now = [1000.0]
    app, recorder = guarded(clock=lambda: now[0], config=settings(limits={"failed_keys_per_minute": 5}))
    statuses = [call(app, "/x", headers={"X-API-Key": "wrong"}).status for _ in range(8)]
    assert statuses == [401] * 5 + [429] * 3
    now[0] += 20
    late = call(app, "/x")
    assert (late.status, late.json()["code"], late.header("retry-after")) == (429, "too_many_requests", "40")
    assert call(app, "/x", headers=AUTH).status == 200
    assert call(app, "/health").status == 200
    assert call(app, "/x", client="127.0.0.2").status == 403
    now[0] += 41
    assert call(app, "/x").status == 403
    assert len(recorder.scopes) == 2


def test_refusals_log_no_key_and_stop_after_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="lollms_server")
    app, _ = guarded(config=settings(limits={"failed_keys_per_minute": 3}))
    for number in range(50):
        call(app, "/x", headers={"X-API-Key": f"canary-{number}-{KEY[:30]}"})
    call(app, "/x", headers=AUTH)
    assert len([record for record in caplog.records if record.name.startswith("lollms_server")]) == 4
    text = " ".join(record.getMessage() for record in caplog.records)
    assert "canary" not in text and KEY[:4] not in text
    assert "127.0.0.1" in text and "key_rejected" in text


def test_the_table_of_failures_does_not_grow() -> None:
    table = FailureTable(2, lambda: 0.0, size=100)
    for number in range(10_000):
        table.record(f"10.{number >> 8}.{number & 255}.1")
    assert len(table) == 100


def test_an_ipv6_network_counts_as_one_address() -> None:
    table = FailureTable(2, lambda: 0.0)
    counts = [table.record(f"2001:db8::{n:x}")[0] for n in range(1, 4)]
    assert counts == [1, 2, 3]
    assert table.record("2001:db8:0:1::1")[0] == 1
    assert table.record("fe80::1%eth0")[0] == 1
    assert table.record("not:an:address")[0] == 1


def test_a_request_from_a_socket_without_an_address_is_refused_like_any_other() -> None:
    app, _ = guarded()
    scope = request_scope("/x")
    scope["client"] = None
    assert asyncio.run(acall(app, scope)).status == 403


def test_start_and_end_of_the_server_pass_through() -> None:
    recorder = Recorder()
    messages: list[str] = []

    async def lifespan(scope: Any, receive: Any, send: Any) -> None:
        messages.append(scope["type"])

    app, _ = guarded(lifespan)
    asyncio.run(app({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert messages == ["lifespan"] and recorder.scopes == []
