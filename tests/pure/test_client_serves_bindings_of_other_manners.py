"""Generators, coroutines, bytes, callbacks from other threads: what a binding does instead of the plain way works."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from lollms_client import MSG_TYPE, AsyncLollmsClient, LollmsClient, LollmsLLMBinding
from lollms_core.errors import Cancelled, UnsupportedFeature, UpstreamFailed
from lollms_core.types import Message, Reply, TextDelta, ThoughtDelta
from tests.support.media_files import png


def client_of(binding: LollmsLLMBinding) -> LollmsClient:
    client = LollmsClient(binding_name=None)
    client.binding = binding
    return client


def both(binding: LollmsLLMBinding, prompt: str = "a b c") -> Reply:
    """The reply, whole, streamed, and of an async client, which are all the same."""

    async def later() -> Reply:
        client = AsyncLollmsClient(binding_name=None)
        client.binding = binding
        return await client.complete(prompt)

    whole = client_of(binding).complete(prompt)
    assert client_of(binding).stream(prompt).result() == asyncio.run(later()) == whole
    return whole


class Generator(LollmsLLMBinding):
    """Yields what it is given, and notes when it is closed."""

    def __init__(self, *pieces: Any, result: Any = None) -> None:
        super().__init__("generator")
        self._pieces, self._result, self.closed = pieces, result, threading.Event()

    def generate_text(self, prompt: str, **kwargs: Any) -> Any:  # type: ignore[override]
        try:
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            return self._result
        finally:
            self.closed.set()


@pytest.mark.parametrize(
    ("pieces", "result", "text"),
    [
        (["a", " b"], None, "a b"),
        (["a", None, "", {"text": " b"}, (" c", MSG_TYPE.MSG_TYPE_CHUNK)], None, "a b c"),
        (["a"], "all of it", "a"),
        ([], "all of it", "all of it"),
        ([], None, ""),
        (["é".encode()[:1], "é".encode()[1:], b"!"], None, "é!"),
    ],
)
def test_a_generator_is_a_stream(pieces: list[Any], result: Any, text: str) -> None:
    assert both(Generator(*pieces, result=result)).text == text


def test_the_pieces_of_a_generator_come_one_by_one() -> None:
    binding = Generator("a", ("hm", MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK), "b", "c")
    heard: list[str] = []
    assert list(client_of(binding).stream("x"))[:3] == [TextDelta("a"), ThoughtDelta("hm"), TextDelta("b")]
    client_of(binding).generate_text("x", streaming_callback=lambda chunk, _: heard.append(chunk))
    assert heard == ["a", "hm", "b", "c"]


@pytest.mark.parametrize("last", [RuntimeError("broke"), {"error": "broke"}, {"status": "error", "message": "broke"}])
def test_a_generator_that_fails_keeps_what_it_said(last: Any) -> None:
    with pytest.raises(UpstreamFailed, match="broke") as caught:
        client_of(Generator("half", last)).complete("x")
    assert caught.value.partial is not None
    assert caught.value.partial.text == "half"


def test_a_generator_without_an_end_is_closed_when_nobody_listens() -> None:
    class Endless(Generator):
        def generate_text(self, prompt: str, **kwargs: Any) -> Any:  # type: ignore[override]
            try:
                while True:
                    yield "word "
            finally:
                self.closed.set()

    binding = Endless()
    words: list[str] = []

    def three(chunk: str, kind: MSG_TYPE) -> bool:
        words.append(chunk)
        return len(words) < 3

    assert client_of(binding).generate_text("x", streaming_callback=three) == "word word word "
    assert binding.closed.wait(5)


class Coroutine(LollmsLLMBinding):
    def __init__(self) -> None:
        super().__init__("coroutine")
        self.ended = threading.Event()

    async def generate_text(self, prompt: str, streaming_callback: Any = None, **kw: Any) -> Any:  # type: ignore[override]
        try:
            for word in prompt.split():
                await asyncio.sleep(0)
                if streaming_callback is not None:
                    streaming_callback(f"{word} ", MSG_TYPE.MSG_TYPE_CHUNK)
            if prompt == "wait":
                await asyncio.Event().wait()
            if prompt == "fail":
                raise ValueError("broke")
            return "".join(f"{word} " for word in prompt.split())
        finally:
            self.ended.set()


def test_a_coroutine_runs_on_a_thread_of_its_own() -> None:
    assert both(Coroutine()).text == "a b c "
    with pytest.raises(UpstreamFailed, match="ValueError: broke"):
        client_of(Coroutine()).complete("fail")


@pytest.mark.parametrize("prompt", ["wait", "a"])
def test_a_coroutine_is_cancelled_when_nobody_listens(prompt: str) -> None:
    binding = Coroutine()
    with client_of(binding).stream(prompt) as stream:
        next(stream)
    assert binding.ended.wait(5)


def test_an_asynchronous_generator_is_a_stream() -> None:
    closed = threading.Event()

    class Pieces(LollmsLLMBinding):
        async def generate_text(self, prompt: str, **kwargs: Any) -> AsyncIterator[str]:  # type: ignore[override]
            try:
                for word in prompt.split():
                    yield word
            finally:
                closed.set()

    assert both(Pieces()).text == "abc"
    closed.clear()
    assert client_of(Pieces()).generate_text("a b c", streaming_callback=lambda chunk, _: chunk != "b") == "ab"
    assert closed.wait(5)


class Does(LollmsLLMBinding):
    """Does with its callback what it is told."""

    def __init__(self, does: Any) -> None:
        super().__init__("does")
        self._does = does

    def generate_text(self, prompt: str, streaming_callback: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        return self._does(streaming_callback)


@pytest.mark.parametrize("result", ["é".encode(), bytearray("é", "utf-8"), memoryview("é".encode())])
def test_bytes_are_text(result: Any) -> None:
    assert both(Does(lambda _: result)).text == "é"


@pytest.mark.parametrize("chunks", [[b"\xff"], [b"a", "é".encode()[:1]]])
def test_bytes_that_are_no_text_are_an_error(chunks: list[bytes]) -> None:
    def speaks(callback: Any) -> str:
        for chunk in chunks:
            callback(chunk, MSG_TYPE.MSG_TYPE_CHUNK)
        return ""

    for binding in (Does(speaks), Does(lambda _: b"\xff"), Generator(*chunks)):
        with pytest.raises(UpstreamFailed, match="not UTF-8"):
            client_of(binding).stream("x").result()


def test_a_callback_may_be_called_by_keyword_and_from_another_thread() -> None:
    def speaks(callback: Any) -> str:
        answers: list[bool] = []

        def talk() -> None:
            answers.append(callback(chunk="a", msg_type=MSG_TYPE.MSG_TYPE_CHUNK))
            answers.append(callback(msg_type=MSG_TYPE.MSG_TYPE_CHUNK, chunk="b"))

        thread = threading.Thread(target=talk)
        thread.start()
        thread.join()
        assert answers == [True, True]
        return "ab"

    assert client_of(Does(speaks)).stream("x").result().text == "ab"


def test_a_callback_that_is_kept_says_stop_once_the_call_is_over() -> None:
    kept: list[Any] = []

    def speaks(callback: Any) -> str:
        kept.append(callback)
        return "done"

    first, second = client_of(Does(speaks)), client_of(Does(speaks))
    assert first.stream("x").result().text == second.stream("x").result().text == "done"
    assert [callback("late", MSG_TYPE.MSG_TYPE_CHUNK) for callback in kept] == [False, False]


def soon(seconds: Callable[[], float]) -> bool:
    """Whether it took less than 250 ms in one of three tries: the machine may be busy, the binding takes for ever."""
    return any(seconds() < 0.25 for _ in range(3))


class Deaf(LollmsLLMBinding):
    """Says one word, then takes for ever and looks at nothing; `with` lets it go at last."""

    def __init__(self) -> None:
        super().__init__("deaf")
        self._go, self._back = threading.Event(), threading.Event()
        self.started = threading.Event()

    def generate_text(self, prompt: str, streaming_callback: Any = None, **kwargs: Any) -> str:  # type: ignore[override]
        self.started.set()
        if streaming_callback is not None:
            streaming_callback("one", MSG_TYPE.MSG_TYPE_CHUNK)
        self._go.wait(30)
        self._back.set()
        return "one"

    def __enter__(self) -> Deaf:
        return self

    def __exit__(self, *_: object) -> None:
        assert not self._back.is_set()
        self._go.set()
        assert self._back.wait(5)


@pytest.mark.parametrize("how", ["callback", "cancel", "close"])
def test_the_caller_is_free_at_once_whatever_the_binding_does(how: str) -> None:
    def seconds() -> float:
        with Deaf() as binding:
            client = client_of(binding)
            if how == "callback":
                start = time.monotonic()
                assert client.generate_text("x", streaming_callback=lambda *_: False) == "one"
                return time.monotonic() - start
            stream = client.stream("x")
            assert next(stream) == TextDelta("one")
            start = time.monotonic()
            if how == "close":
                stream.close()
            else:
                stream.cancel()
                with pytest.raises(Cancelled):
                    next(stream)
            return time.monotonic() - start

    assert soon(seconds)


def test_a_task_that_is_cancelled_is_free_at_once() -> None:
    async def cancelled(binding: Deaf) -> float:
        client = AsyncLollmsClient(binding_name=None)
        client.binding = binding
        task = asyncio.create_task(client.complete("x"))
        while not binding.started.is_set():
            await asyncio.sleep(0.001)
        start = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - start

    def seconds() -> float:
        with Deaf() as binding:
            return asyncio.run(cancelled(binding))

    assert soon(seconds)


def test_what_it_prints_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def speaks(_: Any) -> str:
        print("loading ...")
        return "text"

    assert client_of(Does(speaks)).complete("x").text == "text"
    assert capsys.readouterr().out == "loading ...\n"


def test_defaults_of_the_binding_stand_where_neither_caller_nor_client_has_a_value() -> None:
    class Notes(LollmsLLMBinding):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__("notes", **kwargs)
            self.got: dict[str, Any] = {}

        def generate_text(self, prompt: str, temperature: Any = None, n_predict: Any = None, **_: Any) -> str:  # type: ignore[override]
            self.got = {"temperature": temperature, "n_predict": n_predict}
            return prompt

    binding = Notes(temperature=0.2, n_predict=9, model_name="m", odd=1)
    assert (binding.default_temperature, binding.default_top_k, binding.model_name) == (0.2, None, "m")
    client = client_of(binding)
    client.complete("x")
    assert binding.got == {"temperature": 0.2, "n_predict": 9}
    client.complete("x", temperature=0.9, max_tokens=3)
    assert binding.got == {"temperature": 0.9, "n_predict": 3}
    client.default_temperature = 0.5
    client.complete("x")
    assert binding.got["temperature"] == 0.5
    client.default_temperature = None

    class Narrow(LollmsLLMBinding):
        def generate_text(self, prompt: str) -> str:  # type: ignore[override]
            return prompt

    assert client_of(Narrow("narrow", temperature=0.2)).complete("x").receipt == ()


def test_a_callback_that_a_signature_insists_on_is_there() -> None:
    class Insists(LollmsLLMBinding):
        def generate_text(self, prompt, streaming_callback):  # type: ignore[no-untyped-def,override]
            streaming_callback("said", MSG_TYPE.MSG_TYPE_CHUNK)
            return "said"

    assert both(Insists()).text == "said"


class Chats(LollmsLLMBinding):
    """Has both methods, and says which was asked with what."""

    def generate_text(self, prompt: str, **kwargs: Any) -> str:  # type: ignore[override]
        return f"text {prompt}"

    def chat(self, discussion: Any, branch_tip_id: str | None = None, **kwargs: Any) -> str:  # type: ignore[override]
        return f"chat {discussion.export('openai_chat', branch_tip_id)}"


def test_chat_is_asked_where_generate_text_would_lose_something() -> None:
    client = client_of(Chats("chats"))
    assert client.complete("x").text == "text x"
    assert client.complete("x", system="s").text.startswith("chat [{'role': 'system', 'content': 's'}")
    assert client.complete([Message.user("a"), Message.user("b")]).text.startswith("chat [{'role': 'user'")
    assert "image_url" in client.complete("x", images=[png()]).text


def test_ones_own_discussion_is_handed_over_with_its_branch() -> None:
    class Own:
        def export(self, format_type: str, branch_tip_id: str | None = None) -> list[dict[str, Any]]:
            return [{"role": "user", "content": f"{format_type} {branch_tip_id}"}]

    seen: list[Any] = []

    class Looks(Chats):
        def chat(self, discussion: Any, branch_tip_id: str | None = None, **kwargs: Any) -> str:  # type: ignore[override]
            seen.append((discussion, branch_tip_id))
            return "fine"

    own = Own()
    client = client_of(Looks("looks"))
    assert client.chat(own, "tip") == client.chat(own) == "fine"
    assert seen == [(own, "tip"), (own, None)]
    client.chat(own, images=[png()])  # its export has no such image, so it gets one that does
    assert "image_url" in str(seen[-1][0].export("openai_chat"))


def test_what_the_base_class_says_for_bindings_that_do_not() -> None:
    binding = LollmsLLMBinding("bare")
    with pytest.raises(UnsupportedFeature, match="'bare' cannot say which models are loaded"):
        binding.ps()
    assert binding.count_image_tokens(png()) > 0
    assert client_of(binding).count_image_tokens(png()) == binding.count_image_tokens(png())


def test_iterators_of_other_kinds_are_streams() -> None:
    def words() -> Iterator[str]:
        return iter(["a", "b"])

    assert both(Does(lambda _: words())).text == "ab"
