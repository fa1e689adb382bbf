"""Documented methods tell the callback and return the error dictionary, or raise when asked; typed ones raise."""

from __future__ import annotations

from typing import Any

import pytest

from lollms_client import MSG_TYPE, LollmsClient
from lollms_client.testing import scripted_client
from lollms_core.errors import CallbackFailed, Overloaded, Refused, UnknownBinding, UpstreamFailed
from lollms_core.types import Done, TextDelta

BUSY = {"status": False, "error": "Busy. Try later.", "message": "Busy. Try later.", "code": "overloaded"}


def busy() -> Overloaded:
    return Overloaded("Busy. Try later.")


METHODS: list[tuple[str, tuple[Any, ...]]] = [
    ("generate_text", ("Hi",)),
    ("generate", ("Hi",)),
    ("generate_with_images", ("Hi", [])),
    ("generate_from_messages", ([{"role": "user", "content": "Hi"}],)),
]


@pytest.mark.parametrize(("method", "arguments"), METHODS)
def test_a_dictionary_comes_back_after_an_event(method: str, arguments: tuple[Any, ...]) -> None:
    events: list[Any] = []
    client = scripted_client([busy(), busy()])
    assert getattr(client, method)(*arguments) == BUSY
    assert getattr(client, method)(*arguments, streaming_callback=lambda *a: events.append(a)) == BUSY
    assert events == [("Busy. Try later.", MSG_TYPE.MSG_TYPE_EXCEPTION)]


@pytest.mark.parametrize(("method", "arguments"), METHODS)
def test_it_is_raised_when_asked(method: str, arguments: tuple[Any, ...]) -> None:
    events: list[Any] = []
    client = scripted_client([busy()], raise_errors=True)
    with pytest.raises(Overloaded):
        getattr(client, method)(*arguments, streaming_callback=lambda *a: events.append(a))
    assert events == [("Busy. Try later.", MSG_TYPE.MSG_TYPE_EXCEPTION)]

    client = scripted_client([busy(), busy()])
    with pytest.raises(Overloaded):
        getattr(client, method)(*arguments, raise_errors=True)
    client.raise_errors = True
    assert getattr(client, method)(*arguments, raise_errors=False) == BUSY


def test_params_of_the_event_hold_the_code() -> None:
    events: list[Any] = []
    scripted_client([busy()]).generate_text("Hi", streaming_callback=lambda c, t, params: events.append(params))
    assert events == [{"code": "overloaded"}]


def test_typed_methods_raise_with_what_came() -> None:
    client = scripted_client([[(TextDelta("One"),), (TextDelta(" two"),), busy()]] * 2)
    with pytest.raises(Overloaded) as caught:
        client.complete("Hi")
    assert caught.value.partial is not None
    assert caught.value.partial.text == "One two"
    with client.stream("Hi") as stream:
        assert next(stream) == TextDelta("One")
        with pytest.raises(Overloaded):
            list(stream)
        with pytest.raises(Overloaded):
            stream.result()
        assert list(stream) == []


def test_a_callback_that_raises_is_wrapped_with_its_error_and_what_came() -> None:
    chunks: list[str] = []

    def callback(chunk: str, msg_type: MSG_TYPE) -> None:
        chunks.append(chunk)
        if len(chunks) == 2:
            raise KeyError("mine")

    client = scripted_client(["one two three"] * 2)
    result = client.generate_text("Hi", streaming_callback=callback)
    assert result == {
        "status": False,
        "error": "The streaming callback raised KeyError: 'mine'",
        "message": "The streaming callback raised KeyError: 'mine'",
        "code": "callback_failed",
    }
    assert chunks == ["one", " two"]  # it is not told about its own failure
    chunks.clear()
    with pytest.raises(CallbackFailed) as caught:
        client.generate_text("Hi", streaming_callback=callback, raise_errors=True)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one two"
    assert client.binding.script.running == 0  # type: ignore[union-attr]
    assert client.binding.script.left_early == 2  # type: ignore[union-attr]


def test_a_callback_that_fails_when_told_of_an_error_does_not_hide_it() -> None:
    def callback(chunk: str, msg_type: MSG_TYPE) -> None:
        raise RuntimeError("mine")

    client = scripted_client([busy(), busy()])
    assert client.generate_text("Hi", streaming_callback=callback) == BUSY
    with pytest.raises(Overloaded) as caught:
        client.generate_text("Hi", streaming_callback=callback, raise_errors=True)
    assert caught.value.__notes__ == ["The streaming callback failed as well when it was told: RuntimeError('mine')"]


def test_a_callback_that_fails_on_the_last_tool_call_keeps_the_reply() -> None:
    from lollms_core.types import ToolCallDelta

    def callback(chunk: str, msg_type: MSG_TYPE) -> None:
        if msg_type is MSG_TYPE.MSG_TYPE_TOOL_CALL:
            raise RuntimeError("mine")

    client = scripted_client([[(TextDelta("a"), ToolCallDelta(0, "1", "f", "{}"))]])
    with pytest.raises(CallbackFailed) as caught:
        client.generate_text("Hi", streaming_callback=callback, raise_errors=True)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "a"


@pytest.mark.parametrize("stops", [KeyboardInterrupt, SystemExit])
def test_what_is_not_an_exception_passes_and_the_stream_is_closed(stops: type[BaseException]) -> None:
    def callback(chunk: str, msg_type: MSG_TYPE) -> None:
        raise stops

    client = scripted_client(["one two"])
    with pytest.raises(stops):
        client.generate_text("Hi", streaming_callback=callback)
    assert client.binding.script.running == 0  # type: ignore[union-attr]


def test_a_defect_is_not_dressed_up() -> None:
    client = scripted_client([ZeroDivisionError("defect")])
    with pytest.raises(ZeroDivisionError):
        client.generate_text("Hi")


def test_wrong_arguments_are_errors_like_any_other() -> None:
    client = scripted_client([])
    result = client.generate_text("Hi", temperature="hot")  # type: ignore[arg-type]
    assert isinstance(result, dict)
    assert result["error"] == "temperature is 'hot'; it must be a number."
    with pytest.raises(ValueError, match="temperature"):
        client.complete("Hi", temperature="hot")
    assert client.binding.calls == []  # type: ignore[union-attr]


def test_built_in_classes_catch_ours() -> None:
    with pytest.raises(ConnectionRefusedError):
        scripted_client([Refused("Nobody there.")]).complete("Hi")
    with pytest.raises(ValueError, match=r"no LLM binding named 'nonsense'\. Available: azure_openai, "):
        LollmsClient(binding_name="nonsense")


def test_without_a_binding_it_says_so() -> None:
    client = LollmsClient(binding_name=None)
    assert client.llm is None
    result = client.generate_text("Hi")
    assert isinstance(result, dict)
    assert "no LLM binding" in result["error"]
    for ask in (client.list_models, client.get_model_info, client.get_model_name, lambda: client.tokenize("a")):
        with pytest.raises(UnknownBinding, match="update_llm_binding"):
            ask()


def test_personalities_of_a_binding_without_are_a_dictionary() -> None:
    client = scripted_client([])
    result = client.listMountedPersonalities()
    assert isinstance(result, dict)
    assert result["status"] is False
    assert "'scripted' knows no personalities" in result["error"]


def test_what_came_before_an_error_was_shown() -> None:
    chunks: list[str] = []
    client = scripted_client([[(TextDelta("One"),), UpstreamFailed("Broke."), (Done(),)]])
    result = client.generate_text("Hi", streaming_callback=lambda chunk, _: chunks.append(chunk))
    assert isinstance(result, dict)
    assert chunks == ["One", "Broke."]
