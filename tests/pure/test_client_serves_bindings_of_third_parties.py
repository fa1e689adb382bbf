"""A binding that has only `generate_text` or only `chat` is served through the same streams, whatever its manners."""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lollms_client import LollmsClient
from lollms_client.lollms_llm_binding import MSG_TYPE, LollmsLLMBinding
from lollms_core.errors import (
    AuthFailed,
    Cancelled,
    ConnectFailed,
    MissingDependency,
    UnsupportedFeature,
    UpstreamFailed,
    UpstreamTimeout,
)
from lollms_core.types import Message, Progress, ReceiptItem, TextDelta, ThoughtDelta
from tests.support.media_files import png

PNG = png()


def client_of(binding: LollmsLLMBinding) -> LollmsClient:
    client = LollmsClient(binding_name=None)
    client.binding = binding
    return client


class Echo(LollmsLLMBinding):
    """As the documentation shows: stops at a falsy answer of its callback."""

    def __init__(self) -> None:
        super().__init__(binding_name="echo")
        self.model_name = "echo-1"
        self.got: dict[str, Any] = {}
        self.answers: list[Any] = []

    def generate_text(  # type: ignore[override]
        self,
        prompt: str,
        images: list[str] | None = None,
        system_prompt: str = "",
        n_predict: int | None = None,
        stream: bool | None = None,
        streaming_callback: Callable[[str, MSG_TYPE], Any] | None = None,
        split: bool = False,
    ) -> str | dict[str, Any]:
        self.got = {"prompt": prompt, "images": images, "system": system_prompt, "n": n_predict, "split": split}
        self.got["files"] = [Path(path).read_bytes() for path in images or []]
        words = prompt.split(" ")
        if stream and streaming_callback:
            for word in words:
                self.answers.append(streaming_callback(f"{word} ", MSG_TYPE.MSG_TYPE_CHUNK))
                if not self.answers[-1]:
                    break
        return prompt


def test_text_streams_and_comes_whole() -> None:
    binding = Echo()
    client = client_of(binding)
    assert client.generate_text("a b c") == "a b c"
    events = list(client.stream("a b c"))
    assert [each.text for each in events if isinstance(each, TextDelta)] == ["a ", "b ", "c "]
    assert binding.answers == [True, True, True]
    chunks: list[str] = []
    assert client.generate_text("a b", streaming_callback=lambda chunk, _: chunks.append(chunk)) == "a b "
    assert chunks == ["a ", "b "]  # the callback returned None, the binding was told True
    reply = client.complete("a b c")
    assert (reply.text, reply.model, reply.finish_reason) == ("a b c", "echo-1", "stop")


def test_it_gets_what_its_signature_accepts_and_the_rest_is_reported() -> None:
    binding = Echo()
    reply = client_of(binding).complete("Hi", system="Be kind.", n_predict=5, top_k=3, odd=1)
    assert binding.got == {
        "prompt": "Hi",
        "images": None,
        "system": "Be kind.",
        "n": 5,
        "split": False,
        "files": [],
    }
    assert reply.receipt == (
        ReceiptItem("top_k", "dropped", "the binding 'echo' does not take it"),
        ReceiptItem("odd", "dropped", "the binding 'echo' does not take it"),
    )


def test_several_turns_are_sent_as_a_discussion_to_split() -> None:
    binding = Echo()
    client_of(binding).complete([Message.system("S"), Message.user("a"), Message.assistant("b"), Message.user("c")])
    assert binding.got["prompt"] == "!@>user:\na\n!@>assistant:\nb\n!@>user:\nc"
    assert binding.got["split"] is True
    assert binding.split_discussion(binding.got["prompt"]) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]


def test_images_are_files_while_the_call_runs() -> None:
    binding = Echo()
    client_of(binding).complete("See", images=[PNG])
    (path,) = binding.got["images"]
    assert binding.got["files"] == [PNG]
    assert path.endswith(".png")
    assert not Path(path).exists()


def test_false_of_the_callback_reaches_it() -> None:
    told = threading.Event()

    def speaks(streaming_callback: Any, **_: Any) -> str:
        while streaming_callback("word "):
            pass
        told.set()
        return ""

    words: list[str] = []

    def callback(chunk: str, kind: MSG_TYPE) -> bool:
        words.append(chunk)
        return len(words) < 3

    assert client_of(Says(speaks)).generate_text("x", streaming_callback=callback) == "word word word "
    assert told.wait(5)


def test_the_context_of_the_caller_is_there() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    class Reads(LollmsLLMBinding):
        def generate_text(self, prompt: str, **kwargs: Any) -> str:  # type: ignore[override]
            return variable.get()

    variable.set("mine")
    assert client_of(Reads()).complete("x").text == "mine"


class Blocks(LollmsLLMBinding):
    """Says one word, then blocks until it is let go, looking at nothing."""

    def __init__(self) -> None:
        super().__init__("blocks")
        self.go, self.back = threading.Event(), threading.Event()
        self.told: list[Any] = []

    def generate_text(self, prompt: str, streaming_callback: Any = None, **kwargs: Any) -> str:  # type: ignore[override]
        streaming_callback("one", MSG_TYPE.MSG_TYPE_CHUNK)
        self.go.wait(30)
        self.told.append(streaming_callback("two", MSG_TYPE.MSG_TYPE_CHUNK))
        self.back.set()
        return "one two"


@pytest.mark.parametrize("how", ["close", "cancel", "interrupt"])
def test_a_caller_is_not_held_up_by_one_that_does_not_come_back(how: str) -> None:
    binding = Blocks()
    stream = client_of(binding).stream("x")
    assert next(stream) == TextDelta("one")
    start = time.monotonic()
    if how == "close":
        stream.close()
    elif how == "cancel":
        threading.Timer(0.02, stream.cancel).start()
        with pytest.raises(Cancelled):
            next(stream)
    else:
        with pytest.raises(KeyboardInterrupt), stream:
            raise KeyboardInterrupt
    assert time.monotonic() - start < 2
    binding.go.set()  # it comes back later, is told to stop, and its thread ends: the shared fixture looks
    assert binding.back.wait(5)
    assert binding.told == [False]


class Says(LollmsLLMBinding):
    """Returns or raises what it is given."""

    def __init__(self, result: Any) -> None:
        super().__init__("says")
        self.result = result

    def generate_text(self, prompt: str, **kwargs: Any) -> Any:  # type: ignore[override]
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result(**kwargs) if callable(self.result) else self.result


@pytest.mark.parametrize(
    ("result", "text"),
    [("yes", "yes"), ("", ""), ({"text": "yes"}, "yes"), ({"status": True, "content": "yes"}, "yes")],
)
def test_its_results_become_text(result: Any, text: str) -> None:
    assert client_of(Says(result)).complete("x").text == text


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        ({"status": False, "error": "No key"}, UpstreamFailed, "No key"),
        ({"status": "error", "message": "No key"}, UpstreamFailed, "No key"),
        ({"error": "No key"}, UpstreamFailed, "No key"),
        ({"weather": "fine"}, UpstreamFailed, "it returned .'weather'"),
        (None, UpstreamFailed, "returned NoneType"),
        (42, UpstreamFailed, "returned int"),
        (NotImplementedError("later"), UnsupportedFeature, "later"),
        (ImportError("no torch"), MissingDependency, "no torch"),
        (ConnectionRefusedError("nobody"), ConnectFailed, "nobody"),
        (TimeoutError("slow"), UpstreamTimeout, "slow"),
        (PermissionError("key"), AuthFailed, "key"),
        (RuntimeError("broke"), UpstreamFailed, "RuntimeError: broke"),
        (SystemExit(3), UpstreamFailed, "SystemExit: 3"),
    ],
)
def test_its_errors_are_typed(result: Any, kind: type[Exception], words: str) -> None:
    client = client_of(Says(result))
    with pytest.raises(kind, match=words) as caught:
        client.complete("x")
    if isinstance(result, BaseException):
        assert caught.value.__cause__ is result
    returned = client.generate_text("x")
    assert isinstance(returned, dict)
    assert returned["status"] is False


def test_everything_it_tells_its_callback_is_an_event() -> None:
    def speaks(streaming_callback: Any, **_: Any) -> str:
        for chunk, kind in [
            ("", MSG_TYPE.MSG_TYPE_CHUNK),
            (None, MSG_TYPE.MSG_TYPE_CHUNK),
            ("hm", MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK),
            ("a", 0),
            ("b", "odd"),
            ("step", MSG_TYPE.MSG_TYPE_STEP_START),
        ]:
            assert streaming_callback(chunk, kind, {"extra": 1}, turn_history=[]) is True
        assert streaming_callback("c") is True
        return "abc, but longer"

    events = list(client_of(Says(speaks)).stream("x"))
    assert events[:5] == [
        ThoughtDelta("hm"),
        TextDelta("a"),
        TextDelta("b"),
        Progress("step_start", "step"),
        TextDelta("c"),
    ]
    assert client_of(Says(speaks)).stream("x").result().text == "abc"


class OnlyChat(LollmsLLMBinding):
    def __init__(self) -> None:
        super().__init__("chatter")
        self.exports: dict[str, Any] = {}

    def chat(self, discussion: Any, branch_tip_id: str | None = None, streaming_callback: Any = None, **kw: Any) -> str:
        for form in ("openai_chat", "ollama_chat", "lollms_text", "markdown"):
            self.exports[form] = discussion.export(form, branch_tip_id)
        with pytest.raises(ValueError, match="Unsupported export format_type: pdf"):
            discussion.export("pdf")
        self.exports["system"] = discussion.system_prompt
        if streaming_callback:
            streaming_callback("hello", MSG_TYPE.MSG_TYPE_CHUNK)
        return "hello"


def test_one_that_only_chats() -> None:
    binding = OnlyChat()
    client = client_of(binding)
    assert client.generate_text("Hi", system_prompt="Be kind.", streaming_callback=lambda *_: None) == "hello"
    assert binding.exports == {
        "openai_chat": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
        "ollama_chat": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
        "lollms_text": "!@>system:\nBe kind.\n!@>user:\nHi",
        "markdown": "system: Be kind.\n**User**: Hi\n",
        "system": "Be kind.",
    }
    client.complete("See", images=[PNG])
    assert binding.exports["openai_chat"][0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert len(binding.exports["ollama_chat"][0]["images"]) == 1


def test_one_that_takes_messages_gets_them() -> None:
    class Messages(LollmsLLMBinding):
        def generate_text(self, prompt: str, **kwargs: Any) -> str:  # type: ignore[override]
            return "single"

        def generate_from_messages(self, messages: list[dict[str, Any]], **kwargs: Any) -> str:
            return f"{len(messages)} messages"

    client = client_of(Messages())
    assert client.complete("x", system="s").text == "single"
    assert client.complete([Message.user("a"), Message.assistant("b"), Message.user("c")]).text == "3 messages"


def test_what_would_change_the_meaning_is_refused() -> None:
    class NoImages(LollmsLLMBinding):
        def generate_text(self, prompt: str) -> str:  # type: ignore[override]
            return prompt

    client = client_of(NoImages())
    assert client.complete("x", system="Be kind.").text == "Be kind.\n\nx"
    for arguments in (
        {"images": [PNG]},
        {"tools": [{"name": "f"}]},
        {"schema": {"type": "object"}},
        {"model": "other"},
    ):
        with pytest.raises(UnsupportedFeature):
            client.complete("x", **arguments)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedFeature, match="neither generate_text nor chat"):
        client_of(LollmsLLMBinding("bare")).complete("x")


def test_a_signature_that_insists_gets_nothing_instead_of_failing() -> None:
    class Insists(LollmsLLMBinding):
        def generate_text(self, prompt, images, system_prompt, n_predict, temperature):  # type: ignore[no-untyped-def,override]
            return repr((images, system_prompt, n_predict, temperature))

    assert client_of(Insists()).complete("x", temperature=0.5).text == "(None, '', None, 0.5)"


def test_the_base_class_says_what_it_cannot_do() -> None:
    binding = LollmsLLMBinding("bare", whatever=1)
    for ask in (
        lambda: binding.generate_text("x"),
        lambda: binding.chat(None),
        lambda: binding.generate_from_messages([]),
        lambda: binding.tokenize("x"),
        lambda: binding.detokenize([]),
        lambda: binding.count_tokens("x"),
        lambda: binding.embed("x"),
        binding.list_models,
        binding.listModels,
    ):
        with pytest.raises(NotImplementedError, match="'bare'"):
            ask()
    assert binding.load_model("m")
    assert binding.get_model_info() == {"binding_name": "bare", "model_name": "m"}
    assert binding.get_ctx_size() is None

    class Lists(LollmsLLMBinding):
        def listModels(self) -> list[Any]:
            return ["m"]

    assert Lists().list_models() == Lists().listModels() == ["m"]
    assert client_of(Lists()).listModels() == ["m"]


def test_no_thread_is_started_for_what_is_refused() -> None:
    before = threading.active_count()
    with pytest.raises(UnsupportedFeature):
        client_of(LollmsLLMBinding("bare")).complete("x")
    assert threading.active_count() == before
    assert "torch" not in sys.modules
