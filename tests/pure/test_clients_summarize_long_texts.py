"""`summarize` and `long_context_processing` of both clients: the documented events, results, stops and failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import pytest

from lollms_client import MSG_TYPE, LollmsClient
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.testing import scripted_async_client, scripted_client
from lollms_core.errors import AuthFailed, IdleTimeout, InvalidRequest, Overloaded
from lollms_core.types import Batch, Done, GenerationCall, TextDelta, Usage

Run: TypeAlias = Callable[..., Any]

CHUNKS = 6
SIZES: Mapping[str, Any] = {"chunk_size_tokens": 60, "overlap_tokens": 0}
TEXT = "".join(
    f"Paragraph {number} has fifty words, " + "and this is one of them. " * 7 + "The end of it.\n\n"
    for number in range(CHUNKS)
)


def sync_run(answers: Any, method: str, *args: Any, parallel: int = 1, **kwargs: Any) -> tuple[Any, list[Any]]:
    client = scripted_client(answers)
    client.binding.parallel_calls = parallel  # type: ignore[union-attr]
    try:
        return getattr(client, method)(*args, **kwargs), client.binding.calls  # type: ignore[union-attr]
    finally:
        client.close()


def async_run(
    answers: Any, method: str, *args: Any, parallel: int = 1, threads: bool = False, **kwargs: Any
) -> tuple[Any, list[Any]]:
    gates = {1 << 30: threading.Event()} if threads else None  # never reached; the answers run on threads then

    async def work() -> Any:
        client = scripted_async_client(answers, gates=gates)
        client.binding.parallel_calls = parallel  # type: ignore[union-attr]
        try:
            return await getattr(client, method)(*args, **kwargs), client.binding.calls  # type: ignore[union-attr]
        finally:
            await client.close()

    return asyncio.run(work())


both = pytest.mark.parametrize("run", [sync_run, async_run], ids=["sync", "async"])
both_on_threads = pytest.mark.parametrize("run", [sync_run, partial(async_run, threads=True)], ids=["sync", "async"])
"""For answers that wait for each other."""


def number_of(call: GenerationCall) -> int:
    """Which part a call is for; 0 for the last one."""
    prompt = call.messages[-1].text
    return int(prompt.split("This is part ")[1].split(" ")[0]) if "This is part " in prompt else 0


def by_number(call: GenerationCall) -> str:
    number = number_of(call)
    return f"summary {number}" if number else "All is told."


class Watch:
    """A callback that keeps what it is told, and stops at an event when it is told to."""

    def __init__(self, stop: Callable[[str, MSG_TYPE, dict[str, Any]], bool] = lambda *_: False) -> None:
        self.events: list[tuple[str, MSG_TYPE, dict[str, Any]]] = []
        self._stop = stop

    def __call__(self, chunk: str, kind: MSG_TYPE, params: dict[str, Any] | None = None, **_: Any) -> bool:
        self.events.append((chunk, kind, params or {}))
        return not self._stop(chunk, kind, params or {})

    def of(self, kind: MSG_TYPE) -> list[dict[str, Any]]:
        return [params for _, each, params in self.events if each == kind]

    def ids(self, kind: MSG_TYPE) -> list[str]:
        return [params["id"] for params in self.of(kind)]

    @property
    def text(self) -> str:
        return "".join(chunk for chunk, kind, _ in self.events if kind == MSG_TYPE.MSG_TYPE_CHUNK)


IDS = [f"chunk_{place + 1}" for place in range(CHUNKS)] + ["final_synthesis"]


@both
@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("method", ["summarize", "long_context_processing"])
def test_the_documented_events_and_the_final_text(run: Run, method: str, parallel: int) -> None:
    watch = Watch()
    text, calls = run(by_number, method, TEXT, "Be exact.", streaming_callback=watch, parallel=parallel, **SIZES)
    assert text == watch.text == "All is told."
    assert len(calls) == CHUNKS + 1
    assert sorted(watch.ids(MSG_TYPE.MSG_TYPE_STEP_START)) == sorted(IDS)
    assert sorted(watch.ids(MSG_TYPE.MSG_TYPE_STEP_END)) == sorted(IDS)
    for params in watch.of(MSG_TYPE.MSG_TYPE_STEP_START):
        assert set(params) - {"of"} == {"id", "kind", "fraction"}
        assert params.get("of") == (CHUNKS if params["id"].startswith("chunk") else None)
    for params in watch.of(MSG_TYPE.MSG_TYPE_STEP_END):
        number = params["id"].removeprefix("chunk_")
        assert params["summary_snippet"] == (f"summary {number}" if number.isdigit() else "All is told.")
    fractions = [params["fraction"] for _, _, params in watch.events if "fraction" in params]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert all(call.messages[-1].text.startswith("Be exact.") for call in calls)
    together = calls[-1].messages[-1].text
    assert [together.index(f"summary {place + 1}") for place in range(CHUNKS)] == sorted(
        together.index(f"summary {place + 1}") for place in range(CHUNKS)
    )


@both_on_threads
def test_chunks_may_end_in_any_order_with_the_same_result(run: Run) -> None:
    gates = {place + 1: threading.Event() for place in range(CHUNKS)}
    gates[CHUNKS].set()

    def answers(call: GenerationCall) -> Iterator[Batch]:
        number = number_of(call)
        if number:
            assert gates[number].wait(20)
        yield (TextDelta(by_number(call)),)
        yield (Done("stop", Usage(number, 1, number + 1)),)

    def open_the_one_before(_: str, kind: MSG_TYPE, params: dict[str, Any]) -> bool:
        if kind == MSG_TYPE.MSG_TYPE_STEP_END and params["id"].startswith("chunk_"):
            gates.get(int(params["id"][6:]) - 1, threading.Event()).set()
        return False

    watch = Watch(open_the_one_before)
    text, calls = run(answers, "summarize", TEXT, streaming_callback=watch, parallel=CHUNKS, **SIZES)
    one_by_one, in_order = run(by_number, "summarize", TEXT, **SIZES)
    assert text == one_by_one
    assert watch.ids(MSG_TYPE.MSG_TYPE_STEP_END) == [*reversed(IDS[:-1]), "final_synthesis"]
    assert calls[-1].messages == in_order[-1].messages
    fractions = [params["fraction"] for _, _, params in watch.events if "fraction" in params]
    assert fractions == sorted(fractions)


@both_on_threads
def test_no_more_calls_run_at_once_than_the_binding_allows(run: Run) -> None:
    running, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(2, timeout=20)

    def answers(call: GenerationCall) -> Iterator[Batch]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if number_of(call):
            together.wait()  # two are there at the same time
        with lock:
            running -= 1
        yield (TextDelta(by_number(call)),)

    text, _ = run(answers, "summarize", TEXT, parallel=2, **SIZES)
    assert text == "All is told."
    assert most == 2


@both
def test_a_short_text_is_one_call_and_a_blank_one_none(run: Run) -> None:
    watch = Watch()
    text, calls = run(["It is short."], "summarize", "Short.", streaming_callback=watch)
    assert (text, len(calls)) == ("It is short.", 1)
    assert watch.events[0][:2] == ("Text is short enough for a single summary.", MSG_TYPE.MSG_TYPE_STEP)
    assert watch.of(MSG_TYPE.MSG_TYPE_STEP_START) == []
    assert run([], "summarize", " \n ") == ("", [])
    assert run([], "long_context_processing", "") == ("", [])


@both
def test_parameters_and_system_prompt_go_with_every_call(run: Run) -> None:
    _, calls = run(
        by_number, "summarize", TEXT, system_prompt="Be kind.", temperature=0.1, n_predict=77, seed=3, **SIZES
    )
    assert {call.messages[0].text for call in calls} == {"Be kind."}
    assert {(c.params.temperature, c.params.max_tokens, c.params.seed) for c in calls} == {(0.1, 77, 3)}


@both
def test_a_stop_returns_what_there_is(run: Run) -> None:
    for place in range(1, CHUNKS + 1):
        watch = Watch(
            lambda _, kind, params, place=place: (
                kind == MSG_TYPE.MSG_TYPE_STEP_END and params["id"] == f"chunk_{place}"  # type: ignore[misc]
            )
        )
        text, calls = run(by_number, "summarize", TEXT, streaming_callback=watch, **SIZES)
        assert text == "\n\n".join(f"summary {each + 1}" for each in range(place))
        assert len(calls) == place
    watch = Watch(lambda chunk, kind, _: kind == MSG_TYPE.MSG_TYPE_CHUNK and "is" in chunk)
    text, _ = run(by_number, "summarize", TEXT, streaming_callback=watch, **SIZES)
    assert text == "All is"


@both
def test_an_error_is_told_to_the_callback_and_raised(run: Run) -> None:
    watch = Watch()
    with pytest.raises(AuthFailed):
        run(lambda call: AuthFailed("No key."), "summarize", TEXT, streaming_callback=watch, parallel=3, **SIZES)
    assert [chunk for chunk, kind, _ in watch.events if kind == MSG_TYPE.MSG_TYPE_EXCEPTION] == ["No key."]
    with pytest.raises(InvalidRequest):
        run([], "summarize", 7)
    with pytest.raises(InvalidRequest):
        run([], "summarize", TEXT, chunk_size_tokens=0)
    with pytest.raises(InvalidRequest):
        run([], "summarize", TEXT, temperature="hot")


@both
@pytest.mark.parametrize("parallel", [1, 4])
def test_parts_that_fail_are_named_at_the_end(run: Run, parallel: int) -> None:
    tries: dict[int, int] = {}

    def answers(call: GenerationCall) -> Any:
        number = number_of(call)
        tries[number] = tries.get(number, 0) + 1
        if number == 2:
            return Overloaded("Too busy.")
        if number == 5 and tries[5] == 1:
            return IdleTimeout("It stands still.")
        return by_number(call)

    watch = Watch()
    text, _ = run(answers, "summarize", TEXT, streaming_callback=watch, parallel=parallel, **SIZES)
    assert text == watch.text
    assert text == "All is told.\n\n[Missing here, because the model gave no result for it: part 2 (Too busy.)]"
    warnings = {chunk for chunk, kind, _ in watch.events if kind == MSG_TYPE.MSG_TYPE_WARNING}
    assert warnings == {
        "Part 2 failed and is tried again: Too busy.",
        "Part 2 is left out, because it failed: Too busy.",
        "Part 5 failed and is tried again: It stands still.",
    }
    assert (tries[2], tries[5]) == (2, 2)


# ---- the context of the model


class Counted(LollmsLLMBinding):
    """A binding as others write them."""

    def __init__(self, context: int | None = None, **kwargs: Any) -> None:
        super().__init__("counted")
        self.context = context
        self.asked_for_context = 0
        self.prompts: list[str] = []
        self.at_once = 0

    def get_ctx_size(self, model_name: str | None = None) -> int | None:
        self.asked_for_context += 1
        return self.context

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def generate_text(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        self.at_once += 1
        assert self.at_once == 1
        self.prompts.append(prompt)
        self.at_once -= 1
        return f"answer {len(self.prompts)}"


def client_of(binding: LollmsLLMBinding, **kwargs: Any) -> LollmsClient:
    client = LollmsClient(binding_name=None, **kwargs)
    client.binding = binding
    return client


def test_the_context_is_asked_for_only_where_it_matters() -> None:
    binding = Counted(600)
    client = client_of(binding)
    assert client.summarize("A short text.") == "answer 1"
    assert binding.asked_for_context == 0
    client.long_context_processing(TEXT * 20, "List it.")
    assert binding.asked_for_context == 1
    assert len(binding.prompts) > 10
    assert all(len(prompt.split()) < 450 for prompt in binding.prompts)


@pytest.mark.parametrize(("of_the_client", "of_the_call"), [({}, {"ctx_size": 100_000}), ({"ctx_size": 100_000}, {})])
def test_a_context_that_the_caller_gives_is_not_asked_for(of_the_client: Any, of_the_call: Any) -> None:
    binding = Counted(600)
    text = client_of(binding, **of_the_client).long_context_processing(TEXT * 20, "List it.", **of_the_call)
    assert text == "answer 1"
    assert binding.asked_for_context == 0


def test_a_binding_of_somebody_else_is_asked_one_call_at_a_time() -> None:
    binding = Counted()
    assert client_of(binding).summarize(TEXT, **SIZES) == f"answer {CHUNKS + 1}"


def test_bindings_say_how_many_calls_they_take_at_once() -> None:
    client = LollmsClient(binding_name="ollama", model_name="m")
    assert client.binding is not None
    assert client.binding.parallel_calls == 4
    client = LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano", llm_binding_config={"parallel": 3})
    assert client.binding is not None
    assert client.binding.parallel_calls == 3
    assert LollmsLLMBinding.parallel_calls == 1
    assert scripted_client(["one", "after another"]).binding.parallel_calls == 1  # type: ignore[union-attr]
