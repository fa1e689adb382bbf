"""Whatever way a caller stops, the server sees the connection closed within 250 ms and nothing is left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from lollms_client import MSG_TYPE, LollmsClient, Stream
from lollms_core.errors import Cancelled
from lollms_core.types import TextDelta
from tests.support.chaos import ChaosServer

LIMIT = 0.25


def client_of(chaos: ChaosServer, mode: str) -> LollmsClient:
    return LollmsClient("openai", chaos.url(mode), model_name="m", service_key="k")


def read_text(stream: Stream) -> str:
    """Read until some text has come."""
    for event in stream:
        if isinstance(event, TextDelta) and event.text:
            return event.text
    raise AssertionError("the stream ended")


@pytest.mark.parametrize("mode", ["drip", "endless_stream"])
def test_false_from_the_callback(mode: str) -> None:
    with ChaosServer() as chaos, client_of(chaos, mode) as client:
        chunks: list[str] = []

        def callback(chunk: str, msg_type: MSG_TYPE) -> bool:
            chunks.append(chunk)
            return len(chunks) < 3

        assert client.generate_text("Hi", streaming_callback=callback) == "".join(chunks)
        assert len(chunks) == 3
        assert chaos.wait_request().connection.closed_after() < LIMIT


@pytest.mark.parametrize("mode", ["drip", "stall", "endless_stream"])
def test_closing_a_stream(mode: str) -> None:
    with ChaosServer() as chaos, client_of(chaos, mode) as client:
        with client.stream("Hi") as stream:
            text = read_text(stream)
        assert chaos.wait_request().connection.closed_after() < LIMIT
        with pytest.raises(Cancelled) as caught:
            stream.result()
        assert caught.value.partial is not None
        assert caught.value.partial.text.startswith(text)


def test_dropping_a_stream() -> None:
    with ChaosServer() as chaos, client_of(chaos, "drip") as client:
        read_text(client.stream("Hi"))
        assert chaos.wait_request().connection.closed_after() < LIMIT


def blocked(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("mode", ["never", "slow_headers", "stall", "drip"])
def test_another_thread(mode: str) -> None:
    with ChaosServer() as chaos, client_of(chaos, mode) as client:
        stream = client.stream("Hi")
        thread, errors = blocked(stream.result)
        connection = chaos.wait_request().connection
        stream.cancel()
        assert connection.closed_after() < LIMIT
        thread.join(5)
        assert not thread.is_alive()
        assert [type(error) for error in errors] == [Cancelled]


def test_the_end_of_the_client_ends_what_runs() -> None:
    with ChaosServer() as chaos:
        client = client_of(chaos, "never")
        thread, errors = blocked(lambda: client.complete("Hi"))
        connection = chaos.wait_request().connection
        client.close()
        assert connection.closed_after() < LIMIT
        thread.join(5)
        assert len(errors) == 1


def test_an_exception_in_the_callback() -> None:
    def callback(chunk: str, msg_type: MSG_TYPE) -> None:
        raise ValueError("mine")

    with ChaosServer() as chaos, client_of(chaos, "drip") as client:
        result = client.generate_text("Hi", streaming_callback=callback)
        assert isinstance(result, dict)
        assert result["code"] == "callback_failed"
        assert chaos.wait_request().connection.closed_after() < LIMIT


def test_ctrl_c_in_the_callback() -> None:
    def callback(chunk: str, msg_type: MSG_TYPE) -> None:
        raise KeyboardInterrupt

    with ChaosServer() as chaos, client_of(chaos, "drip") as client:
        with pytest.raises(KeyboardInterrupt):
            client.generate_text("Hi", streaming_callback=callback)
        assert chaos.wait_request().connection.closed_after() < LIMIT


@pytest.mark.parametrize("mode", ["never", "stall"])
@pytest.mark.parametrize("streams", [True, False])
def test_ctrl_c_while_it_waits(mode: str, streams: bool) -> None:
    with ChaosServer() as chaos, client_of(chaos, mode) as client:
        pressed: list[float] = []

        def press() -> None:
            chaos.wait_request()
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            client.generate_text("Hi", stream=streams)
        prompt = time.monotonic()
        thread.join(5)
        assert prompt - pressed[0] < LIMIT
        assert chaos.requests[0].connection.closed_after() < LIMIT


def test_the_next_call_works_after_a_cancelled_one() -> None:
    with ChaosServer() as chaos:
        address = chaos.sequence("then", "drip", "ok")
        with LollmsClient("openai", address, model_name="m") as client:
            with client.stream("Hi") as stream:
                read_text(stream)
            assert client.complete("Hi").finish_reason == "stop"
        assert chaos.wait_connection(2).requests == 1


def test_a_callback_may_call_again_while_its_stream_is_open() -> None:
    with ChaosServer() as chaos:
        address = chaos.sequence("both", "drip", "ok")
        with LollmsClient("openai", address, model_name="m") as client:
            inner: list[Any] = []

            def callback(chunk: str, msg_type: MSG_TYPE) -> bool:
                inner.append(client.complete("again").finish_reason)
                return len(inner) < 2

            assert client.generate_text("Hi", streaming_callback=callback)
            assert inner == ["stop", "stop"]
