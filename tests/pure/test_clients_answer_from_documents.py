"""`generate_text_with_rag` of both clients: the documented result, any function, any failure, any stop."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pytest

from lollms_client.lollms_types import MSG_TYPE
from lollms_client.testing import scripted_async_client, scripted_client
from lollms_core.errors import CallbackFailed, Cancelled, InvalidRequest, LollmsError, Refused, UpstreamFailed
from lollms_core.types import Reply, TextDelta

OBJECTIVES = '{"objectives": ["the food of parrots"]}'
QUERY = '{"query": "parrots food"}'
ENOUGH = '{"enough": true, "query": ""}'
MORE = '{"enough": false, "query": "parrots drink"}'
REPLIES = [OBJECTIVES, QUERY, ENOUGH, "Nuts, says birds.txt."]
NUTS = {"chunk_text": "Parrots eat nuts.", "file_path": "birds.txt", "similarity_percent": 91.5}
WATER = {"chunk_text": "They drink water.", "file_path": "birds.txt", "similarity_percent": 80.0}


def with_threads(replies: Any, function: Any, prompt: str = "What do parrots eat?", **asked: Any) -> dict[str, Any]:
    with scripted_client(replies) as client:
        result: dict[str, Any] = client.generate_text_with_rag(prompt, function, **asked)
        return result


def with_coroutines(replies: Any, function: Any, prompt: str = "What do parrots eat?", **asked: Any) -> dict[str, Any]:
    async def work() -> dict[str, Any]:
        async with scripted_async_client(replies) as client:
            result: dict[str, Any] = await client.generate_text_with_rag(prompt, function, **asked)
            return result

    return asyncio.run(work())


BOTH = pytest.mark.parametrize("ask", [with_threads, with_coroutines])
Ask = Callable[..., dict[str, Any]]


def finds(*found: Any) -> Callable[..., Any]:
    """A function that finds these, one after the other."""
    left = list(found)
    return lambda query, vectorizer, top_k, min_similarity: left.pop(0)


class Told:
    """A callback that remembers; it says False at the piece that `stops` names."""

    def __init__(self, stops: Callable[[str, MSG_TYPE, dict[str, Any]], bool] | None = None) -> None:
        self.all: list[tuple[str, MSG_TYPE, dict[str, Any]]] = []
        self._stops = stops

    def __call__(self, chunk: str, msg_type: MSG_TYPE, params: dict[str, Any] | None = None) -> bool:
        self.all.append((chunk, msg_type, params or {}))
        return not (self._stops and self._stops(*self.all[-1]))

    def of(self, *kinds: str) -> list[str]:
        return [chunk for chunk, kind, _ in self.all if kind.name.removeprefix("MSG_TYPE_") in kinds]


# ---- the documented result


@BOTH
def test_the_documented_result(ask: Ask) -> None:
    assert ask(REPLIES, finds([NUTS])) == {
        "final_answer": "Nuts, says birds.txt.",
        "rag_hops_history": [
            {"hop": 1, "query": "parrots food", "retrieved_chunks_details": [NUTS], "new_chunks_count": 1}
        ],
        "all_retrieved_sources": [NUTS],
        "error": None,
    }


@BOTH
def test_several_hops(ask: Ask) -> None:
    replies = [OBJECTIVES, MORE, ENOUGH, "Nuts and water."]
    result = ask(replies, finds([WATER], [WATER, NUTS]), rag_query_text="parrots")
    assert [hop["query"] for hop in result["rag_hops_history"]] == ["parrots", "parrots drink"]
    assert result["all_retrieved_sources"] == [NUTS, WATER]
    assert result["final_answer"] == "Nuts and water."


@BOTH
def test_the_function_gets_the_documented_arguments_by_position(ask: Ask) -> None:
    got: list[Any] = []

    def search(a: str, b: str | None, c: int, d: float, /) -> list[Any]:
        got.append((a, b, c, d))
        return [NUTS]

    ask(REPLIES, search)
    ask(
        [ENOUGH, "Nuts."],
        search,
        rag_query_text="nuts",
        rag_vectorizer_name="bert",
        rag_top_k=3,
        rag_min_similarity_percent=12,
        extract_objectives=False,
    )
    assert got == [("parrots food", None, 5, 70.0), ("nuts", "bert", 3, 12)]


def test_the_documented_order_of_arguments() -> None:
    got: list[Any] = []
    with scripted_client([OBJECTIVES, "Nuts."]) as client:
        result = client.generate_text_with_rag(
            "P?", lambda *given: got.append(given) or [NUTS], "Rhyme.", "Aims!", "nuts", "bert", 3, 12.5, 1
        )
        calls = client.binding.calls
    assert result["final_answer"] == "Nuts."
    assert got == [("nuts", "bert", 3, 12.5)]
    assert [call.messages[0].text for call in calls] == ["Aims!", "Rhyme."]


def test_parameters_go_to_the_model() -> None:
    with scripted_client(["Nuts."], temperature=0.9) as client:
        asked = {"n_predict": 7, "top_k": 3, "seed": 1, "stop": ["!"], "images": None}
        client.generate_text_with_rag(
            "P?", finds([NUTS]), rag_query_text="x", extract_objectives=False, max_rag_hops=1, **asked
        )
        (call,) = client.binding.calls
    given = call.params
    assert (given.max_tokens, given.temperature, given.top_k, given.seed, given.stop) == (7, 0.9, 3, 1, ("!",))


# ---- what a callback is told


@BOTH
def test_a_callback_is_told_of_the_steps_and_shown_the_answer_alone(ask: Ask) -> None:
    told = Told()
    ask(REPLIES, finds([NUTS]), streaming_callback=told)
    assert "".join(told.of("CHUNK")) == "Nuts, says birds.txt."
    steps = [(kind.name, params["id"]) for _, kind, params in told.all if kind.name.startswith("MSG_TYPE_STEP_")]
    assert steps == [
        (f"MSG_TYPE_STEP_{kind}", name)
        for name in ("objectives", "rag_hop_1", "final_answer")
        for kind in ("START", "END")
    ]
    assert set(told.of("STEP_START")) == set(told.of("STEP_END"))


@BOTH
def test_every_name_of_the_callback_is_taken(ask: Ask) -> None:
    for name in ("streaming_callback", "callback"):
        told = Told()
        ask(REPLIES, finds([NUTS]), **{name: told})
        assert told.of("CHUNK")


@BOTH
def test_a_callback_can_stop_it_at_any_moment_with_what_there_is(ask: Ask) -> None:
    told = Told()
    ask(REPLIES, finds([NUTS]), streaming_callback=told)
    for place in range(len(told.all)):
        stopping = Told(lambda *_: len(stopping.all) > place)  # noqa: B023  it is called within the loop
        result = ask(REPLIES, finds([NUTS]), streaming_callback=stopping)
        assert result["error"] is None
        assert len(stopping.all) == place + 1
        assert "Nuts, says birds.txt.".startswith(result["final_answer"])
        ended = [params["id"] for _, kind, params in stopping.all if kind is MSG_TYPE.MSG_TYPE_STEP_END]
        assert len(result["rag_hops_history"]) == (1 if "rag_hop_1" in ended else 0)


@BOTH
def test_a_callback_that_raises_ends_it_with_what_there_is(ask: Ask) -> None:
    def fails(chunk: str, msg_type: MSG_TYPE) -> None:
        raise ValueError("no room on the screen")

    result = ask(REPLIES, finds([NUTS]), streaming_callback=fails)
    assert result["error"] == "The streaming callback raised ValueError: no room on the screen"
    assert result["all_retrieved_sources"] == [NUTS]


# ---- any function


@dataclass
class Chunk:
    chunk_text: str
    file_path: PurePosixPath
    similarity_percent: object


class Number:
    """As a number of numpy."""

    def tolist(self) -> float:
        return 91.5


def pieces() -> Iterator[dict[str, Any]]:
    yield NUTS


@pytest.mark.parametrize(
    "found",
    [
        [Chunk("Parrots eat nuts.", PurePosixPath("birds.txt"), Number())],
        (Chunk("Parrots eat nuts.", PurePosixPath("birds.txt"), "91.5 %"),),
        pieces,
        {1: NUTS}.values(),
        [{"chunk_text": b"Parrots eat nuts.", "file_path": "birds.txt", "similarity_percent": "91.5"}],
        {"results": [NUTS]},
    ],
)
def test_other_objects_are_understood(found: Any) -> None:
    result = with_threads(REPLIES, finds(found() if callable(found) else found))
    assert result["all_retrieved_sources"] == [NUTS]


@BOTH
@pytest.mark.parametrize("found", [None, [], "", (), iter(())])
def test_nothing_found_is_no_failure(ask: Ask, found: Any) -> None:
    result = ask([OBJECTIVES, QUERY, "I do not know."], finds(found))
    assert (result["final_answer"], result["error"]) == ("I do not know.", None)
    assert result["rag_hops_history"][0]["retrieved_chunks_details"] == []


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@BOTH
@pytest.mark.parametrize(
    ("found", "said"),
    [
        (7, "returned a number"),
        ({"answer": 1}, "returned an object with 'answer'"),
        ([1], "none of which has a text"),
        (CIRCLE, "cannot be written as JSON"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(ask: Ask, found: Any, said: str) -> None:
    result = ask(REPLIES, finds(found))
    assert said in result["error"]
    assert result["final_answer"] == ""


def raises(error: BaseException) -> Callable[..., Any]:
    def search(*given: Any) -> Any:
        raise error

    return search


FAILURES = [
    ValueError("no index"),
    StopIteration("odd"),
    KeyError("x"),
    Refused("nobody there"),
    Cancelled("of another call"),
    CallbackFailed("of another callback"),
]


@BOTH
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_what_the_function_raises_is_told(ask: Ask, error: Exception) -> None:
    result = ask(REPLIES, raises(error))
    assert type(error).__name__ in result["error"]
    assert result["error"].startswith("The function that finds passages raised")
    assert (result["final_answer"], result["rag_hops_history"]) == ("", [])
    with pytest.raises(CallbackFailed) as failed:
        ask(REPLIES, raises(error), raise_errors=True)
    assert failed.value.__cause__ is not None
    assert failed.value.param == "rag_query_function"


@BOTH
def test_what_was_found_before_a_failure_is_there(ask: Ask) -> None:
    left = [[NUTS]]
    replies = [OBJECTIVES, QUERY, MORE]
    result = ask(replies, lambda *given: left.pop(0))
    assert "IndexError" in result["error"]
    assert result["all_retrieved_sources"] == [NUTS]
    assert len(result["rag_hops_history"]) == 1


@BOTH
@pytest.mark.parametrize("function", [None, "birds", 7, [NUTS]])
def test_what_cannot_be_called_is_refused_before_anything_is_asked(ask: Ask, function: Any) -> None:
    asked: list[Any] = []
    result = ask(lambda call: asked.append(call) or "x", function)
    assert "cannot be called" in result["error"]
    assert asked == []
    with pytest.raises(InvalidRequest):
        ask([], function, raise_errors=True)


# ---- coroutines


async def find_later(query: str, vectorizer: str | None, top_k: int, min_similarity: float) -> list[Any]:
    await asyncio.sleep(0)
    return [NUTS]


class Finder:
    async def __call__(self, query: str, vectorizer: str | None, top_k: int, min_similarity: float) -> list[Any]:
        return await find_later(query, vectorizer, top_k, min_similarity)


LATER: list[Any] = [find_later, Finder(), lambda *given: find_later(*given)]


@pytest.mark.parametrize("function", LATER)
def test_a_coroutine_function_is_awaited_by_the_client_for_coroutines(function: Any) -> None:
    assert with_coroutines(REPLIES, function)["all_retrieved_sources"] == [NUTS]


@pytest.mark.parametrize("function", LATER)
def test_a_coroutine_function_is_refused_by_the_client_for_threads(function: Any) -> None:
    result = with_threads(REPLIES, function)
    assert "only AsyncLollmsClient can wait for" in result["error"]
    with pytest.raises(InvalidRequest):
        with_threads(REPLIES, function, raise_errors=True)


def test_what_a_coroutine_raises_is_told() -> None:
    async def fails(*given: Any) -> Any:
        await asyncio.sleep(0)
        raise ValueError("no index")

    for function in (fails, lambda *given: fails(*given)):
        result = with_coroutines(REPLIES, function)
        assert result["error"] == "The function that finds passages raised ValueError: no index"


def test_a_slow_function_leaves_the_event_loop_free() -> None:
    on_a_thread = threading.Event()
    go_on = threading.Event()

    def slow(*given: Any) -> list[Any]:
        on_a_thread.set()
        assert go_on.wait(10)
        return [NUTS]

    async def work() -> None:
        async with scripted_async_client(REPLIES) as client:
            task = asyncio.ensure_future(client.generate_text_with_rag("P?", slow))
            await asyncio.to_thread(on_a_thread.wait, 10)
            assert not task.done()
            go_on.set()  # what runs here, runs while the function waits
            assert (await task)["error"] is None

    asyncio.run(work())


# ---- what the function may do


def test_the_function_may_ask_the_client_again() -> None:
    replies = [OBJECTIVES, QUERY, "nuts", ENOUGH, "Nuts."]
    with scripted_client(replies) as client:
        result = client.generate_text_with_rag("P?", lambda query, *rest: [client.generate_text(query)])
    assert result["all_retrieved_sources"][0]["chunk_text"] == "nuts"
    assert result["final_answer"] == "Nuts."


def test_a_coroutine_function_may_ask_the_client_again() -> None:
    async def work() -> None:
        async with scripted_async_client([OBJECTIVES, QUERY, "nuts", ENOUGH, "Nuts."]) as client:

            async def search(query: str, *rest: Any) -> list[Any]:
                return [await client.generate_text(query)]

            result = await client.generate_text_with_rag("P?", search)
            assert result["all_retrieved_sources"][0]["chunk_text"] == "nuts"
            assert result["final_answer"] == "Nuts."

    asyncio.run(work())


# ---- failures of the backend


@BOTH
@pytest.mark.parametrize("place", range(4))
def test_an_error_of_the_backend_is_told_with_what_there_is(ask: Ask, place: int) -> None:
    replies: list[Any] = [*REPLIES[:place], Refused("Nobody is there."), *REPLIES[place + 1 :]]
    told = Told()
    result = ask(replies, finds([NUTS]), streaming_callback=told)
    assert result["error"] == "Nobody is there."
    assert told.of("EXCEPTION") == ["Nobody is there."]
    assert len(result["rag_hops_history"]) == (1 if place > 1 else 0)
    with pytest.raises(Refused):
        ask(replies, finds([NUTS]), raise_errors=True)


@BOTH
def test_an_answer_that_breaks_off_is_given_as_far_as_it_came(ask: Ask) -> None:
    def broken(call: Any) -> Any:
        if call.schema is not None:
            return ENOUGH
        return [(TextDelta("Nu"),), UpstreamFailed("It broke.")]

    result = ask(broken, finds([NUTS]), rag_query_text="x", extract_objectives=False)
    assert (result["final_answer"], result["error"]) == ("Nu", "It broke.")


@BOTH
def test_wrong_arguments_are_told(ask: Ask) -> None:
    for wrong in (
        {"max_rag_hops": 0},
        {"rag_top_k": 0},
        {"max_rag_context_characters": "many"},
        {"temperature": "hot"},
    ):
        result = ask([], finds([NUTS]), **wrong)
        assert next(iter(wrong)) in result["error"]
        with pytest.raises(InvalidRequest):
            ask([], finds([NUTS]), raise_errors=True, **wrong)


def test_the_client_may_raise_by_default() -> None:
    with scripted_client([], raise_errors=True) as client, pytest.raises(LollmsError):
        client.generate_text_with_rag("P?", None)


@BOTH
def test_no_more_calls_than_the_docstring_says(ask: Ask) -> None:
    for hops in (1, 2, 4):
        asked: list[Any] = []

        def chatters(call: Any, asked: list[Any] = asked) -> Reply:
            asked.append(call)
            return Reply(text=json.dumps({"query": f"q{len(asked)}"}) if len(asked) % 2 else "Well...")

        numbers = iter(range(99))
        ask(chatters, lambda *given, numbers=numbers: [str(next(numbers))], max_rag_hops=hops)
        assert len(asked) <= 1 + hops + 1
