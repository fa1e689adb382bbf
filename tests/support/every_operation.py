"""Every operation of the client as a row of a table: how it is called, what its model answers, and what it promises.

A new operation needs a row here, and then all promises are tested for it (`tests/pure/test_every_operation_*`).
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pydantic

from lollms_client import MSG_TYPE
from lollms_client.testing import ScriptedBinding, scripted_async_client, scripted_client
from lollms_core.errors import (
    ContextTooLong,
    LollmsError,
    RateLimited,
    TruncatedStream,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.testing.scripted import Scripted
from lollms_core.types import Batch, Done, GenerationCall, Reply, TextDelta, ThoughtDelta
from lollms_runtime.observe import Observer

__all__ = ["CLIENTS", "OPERATIONS", "RAISES", "Asking", "Operation", "Played", "Told", "in_async", "in_sync"]

RAISES = "raises"
"""The failure value of an operation that has none, since an error cannot be mistaken for a text."""

Errors: TypeAlias = tuple[type[LollmsError], ...]


class Book(pydantic.BaseModel):
    """What is asked for as an instance of a class."""

    title: str
    year: int


@dataclasses.dataclass(frozen=True, repr=False)
class Operation:
    """One way to use one operation.

    `replies` are those of an ordinary model, and `hard` those of one that makes it cost `most` calls, all that its
    table promises. `bound` is what it costs at most when calls fail as well, and `halved` so many more where the
    model's context is smaller than it was said to be. Of both replies comes `value`; it is `...` where `is_result`,
    whether a value has the promised form, says enough. `failure` is its documented failure value, or `RAISES`;
    `stopped` says whether a value may come of work that the callback has stopped, None where `Cancelled` is raised.

    `texts` are the arguments that the model gets word for word, `own` the parameters that it chooses itself for some
    of its calls, `survives` the errors of a first call after which the work still succeeds, `sizes` the numbers that
    the table names in words.
    """

    name: str
    given: Mapping[str, Any]
    replies: Sequence[Scripted]
    hard: Sequence[Scripted]
    value: Any
    most: int
    bound: int
    failure: Any
    stopped: Callable[[Any], bool] | None
    is_result: Callable[[Any], bool]
    texts: tuple[str, ...]
    survives: Errors = ()
    own: frozenset[str] = frozenset()
    halved: int = 0
    parallel: int = 1
    case: str = ""
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def is_failed(self, value: Any, error: BaseException | None, kind: type[LollmsError]) -> bool:
        """Whether a run has failed as documented: with the value, or where it has none with an error of that kind."""
        if self.failure == RAISES:
            return isinstance(error, kind)
        return error is None and self.is_failure(value)

    def is_good(self, value: Any) -> bool:
        """Whether a value may come of work that has succeeded: `value`, perhaps with a note of what is missing."""
        if self.failure == RAISES and isinstance(value, str):
            return value.startswith(str(self.value))
        if self.value is ...:
            return self.is_result(value) and value["error"] is None and bool(value["final_answer"])
        return type(value) is type(self.value) and bool(value == self.value)

    def is_failure(self, value: Any) -> bool:
        """Whether a value is the documented one of a failure, whatever sentence it has."""
        if isinstance(self.failure, dict) and isinstance(value, dict) and "error" in self.failure:
            return isinstance(value["error"], str) and all(
                value[name] == wanted for name, wanted in self.failure.items() if wanted is not ...
            )
        return type(value) is type(self.failure) and bool(value == self.failure)

    def __repr__(self) -> str:
        return f"{self.name}{self.case and '-'}{self.case}"


# ---- what a run of one looks like


class Told(NamedTuple):
    """One thing that the callback was told."""

    text: str
    kind: MSG_TYPE
    params: Mapping[str, Any]


class Watching(Observer):
    """Counts what the drivers do, and adds up the tokens that they are told of."""

    def __init__(self) -> None:
        self.started_calls: list[GenerationCall] = []
        self.ended_calls: list[GenerationCall] = []
        self.replies: list[Reply] = []
        self.errors: list[BaseException] = []

    def started(self, call: GenerationCall) -> None:
        self.started_calls.append(call)

    def finished(self, call: GenerationCall, reply: Reply) -> None:
        self.ended_calls.append(call)
        self.replies.append(reply)

    def failed(self, call: GenerationCall, error: BaseException) -> None:
        self.ended_calls.append(call)
        self.errors.append(error)


class Played(NamedTuple):
    """A run as everybody has seen it: the caller, the callback, the model, the observer."""

    value: Any
    error: BaseException | None
    told: list[Told]
    calls: list[GenerationCall]
    seen: Watching

    @property
    def exceptions(self) -> list[Told]:
        """The failures that the callback was told of."""
        return [each for each in self.told if each.kind == MSG_TYPE.MSG_TYPE_EXCEPTION]

    @property
    def outcome(self) -> tuple[Any, type[BaseException] | None]:
        """What came of it, to compare."""
        return self.value, None if self.error is None else type(self.error)


class Asking:
    """A callback that notes what it is told, and does something at one event, counted from 0.

    Attributes: `told`; `asked`, the calls of the model that there were at that event; `client`, and for coroutines the
    `task` that does the work, which are there when it is called.
    """

    def __init__(self, at: int | None = None, do: Callable[[Asking], Any] = lambda _: True) -> None:
        self.told: list[Told] = []
        self.asked = 0
        self.client: Any = None
        self.binding: Any = None
        self.task: Any = None
        self._at, self._do = at, do

    def __call__(self, chunk: str, kind: MSG_TYPE, params: Mapping[str, Any]) -> Any:
        self.told.append(Told(chunk, kind, params))
        if len(self.told) - 1 != self._at:
            return True
        self.asked = len(self.binding.calls)
        return self._do(self)


def _arguments(row: Operation, watcher: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    given = {**row.given, **more}
    return given if watcher is None else {"streaming_callback": watcher, **given}


def _looked_at(binding: ScriptedBinding, seen: Watching) -> None:
    """Nothing is open any more, and the observer has seen each call begin and end."""
    assert binding.script.running == 0
    assert len(seen.started_calls) == len(seen.ended_calls) == len(binding.calls)
    assert {id(each) for each in seen.started_calls} == {id(each) for each in seen.ended_calls}


def _cannot_count(text: str) -> int:
    """Each count takes a thread of the async client, and there would be thousands; an estimate takes none."""
    raise UnsupportedFeature("This model counts no tokens.")


def in_sync(
    row: Operation,
    replies: Any = None,
    watcher: Any = None,
    *,
    client: Mapping[str, Any] | None = None,
    without_binding: bool = False,
    **more: Any,
) -> Played:
    """One run with `LollmsClient`, which leaves nothing open; `client` are arguments of its constructor."""
    made = scripted_client(row.replies if replies is None else replies, **(client or {}))
    binding = made.binding
    assert isinstance(binding, ScriptedBinding)
    binding.parallel_calls = row.parallel
    binding.count_tokens = _cannot_count  # type: ignore[method-assign]
    made.observer = seen = Watching()
    if without_binding:
        made.binding = None
    value: Any = None
    error: BaseException | None = None
    if isinstance(watcher, Asking):
        watcher.client, watcher.binding = made, binding
    try:
        value = getattr(made, row.name)(**_arguments(row, watcher, more))
    except BaseException as raised:
        error = raised
    _looked_at(binding, seen)
    return Played(value, error, getattr(watcher, "told", []), list(binding.calls), seen)


def in_async(
    row: Operation,
    replies: Any = None,
    watcher: Any = None,
    *,
    client: Mapping[str, Any] | None = None,
    without_binding: bool = False,
    **more: Any,
) -> Played:
    """As `in_sync`, with `AsyncLollmsClient`, which leaves no task behind either."""
    made = scripted_async_client(row.replies if replies is None else replies, **(client or {}))
    binding = made.binding
    assert isinstance(binding, ScriptedBinding)
    binding.parallel_calls = row.parallel
    binding.count_tokens = _cannot_count  # type: ignore[method-assign]
    made.observer = seen = Watching()
    if without_binding:
        made.binding = None

    async def work() -> tuple[Any, BaseException | None]:
        task = asyncio.ensure_future(getattr(made, row.name)(**_arguments(row, watcher, more)))
        if isinstance(watcher, Asking):
            watcher.client, watcher.binding, watcher.task = made, binding, task
        await asyncio.wait([task])
        assert asyncio.all_tasks() == {asyncio.current_task()}
        if task.cancelled():
            return None, asyncio.CancelledError()
        raised = task.exception()
        return (None, raised) if raised is not None else (task.result(), None)

    value, error = asyncio.run(work())
    _looked_at(binding, seen)
    return Played(value, error, getattr(watcher, "told", []), list(binding.calls), seen)


CLIENTS: Mapping[str, Callable[..., Played]] = {"sync": in_sync, "async": in_async}


# ---- the rows


def _said(text: str, finish: str = "stop") -> list[Batch]:
    """An answer in two pieces."""
    half = len(text) // 2
    return [(ThoughtDelta("Hm."),), (TextDelta(text[:half]),), (TextDelta(text[half:]),), (Done(finish),)]


def _paragraph(word: str) -> str:
    return " ".join([f"{word.capitalize()} begins here.", *[f"It goes on with {word}."] * 8, f"So {word} ends."])


LONG = "\n\n".join(_paragraph(word) for word in ("earth", "water", "fire"))
"""Three chunks of 60 tokens."""

NOTES = [
    {"chunk_text": "The meeting is on Tuesday.", "file_path": "notes.txt", "similarity_percent": 91.0},
    {"chunk_text": "It begins at ten.", "file_path": "plan.txt", "similarity_percent": 80.0},
]


def _search(query: str, vectorizer: str | None, top_k: int, min_similarity_percent: float) -> list[dict[str, Any]]:
    """Finds something new for every query."""
    return [*NOTES, {"chunk_text": f"Of {query}.", "file_path": "all.txt", "similarity_percent": 75.0}]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_none(value: Any) -> bool:
    return value is None


def _is_found(value: Any) -> bool:
    keys = {"final_answer", "rag_hops_history", "all_retrieved_sources", "error"}
    return isinstance(value, dict) and set(value) == keys and isinstance(value["final_answer"], str)


def _is_update(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"success", "updated_code", "patch", "error"}


_HALVED = 2**5 - 1  # calls for a chunk that is halved four times
_BROKEN: Errors = (TruncatedStream, UpstreamFailed, UnsupportedFeature)
_PART: Errors = (RateLimited, TruncatedStream, UpstreamFailed, ContextTooLong)
_FACTS = '{"title": "Emma", "year": 1815}'
_LINES = ["first_value = 1", "second_value = 2", "third_value = 3", "fourth_value = 4"]
_CODE = "\n".join(_LINES)
_CUT = [
    _said(f"```python\n{_LINES[0]}\n", "length"),
    *[_said(f"```python\n{_LINES[at]}\n{_LINES[at + 1]}\n", "length") for at in (0, 1)],
    _said(f"```python\n{_LINES[2]}\n{_LINES[3]}\n```"),
]
_PATCH = "```diff\n@@ @@\n-x = 1\n+x = 2\n```"
_RESEARCH = [
    _said('{"objectives": ["Find out when."]}'),
    _said('{"query": "meeting"}'),
    _said('{"query": "hour"}'),
    _said("On Tuesday at ten."),
]
_OPTIONS = ["a stone", "an apple", "a car"]


def _structured(name: str, value: Any, **given: Any) -> Operation:
    return Operation(
        name,
        {"prompt": "Which book is it?", **given},
        [_said(f"Here it is: {_FACTS}")],
        ["Hm.", _said('{"title": "Emma"}'), _said(_FACTS)],
        value,
        most=3,
        bound=3 + 2,  # two requests that a backend may refuse write nothing
        failure=None,
        stopped=_is_none,
        is_result=lambda found: found is None or type(found) is type(value),
        texts=("prompt", "system_prompt"),
        survives=_BROKEN,
    )


def _codes(name: str, value: Any, failure: Any, **row: Any) -> Operation:
    return Operation(
        name,
        {"prompt": "Write it."},
        [_said(f"It is:\n```python\n{_CODE}\n```\n")],
        ["Hm.", *_CUT],
        value,
        most=5,
        bound=5,
        failure=failure,
        texts=("prompt", "system_prompt", "template"),
        **row,
    )


def _question(name: str, value: Any, failure: Any, good: str, **row: Any) -> Operation:
    choices = {} if name == "yes_no" else {"possible_answers": _OPTIONS}
    return Operation(
        name,
        {"question": "Which one is a fruit?", **choices},
        [_said(good)],
        ["Hm.", "Hm, hm.", _said(good)],
        value,
        most=3,
        bound=3 + 2,
        failure=failure,
        is_result=lambda found: type(found) is type(value),
        texts=("question", "context", "conditionning"),
        survives=_BROKEN,
        **row,
    )


def _text(name: str, given: Mapping[str, Any], texts: tuple[str, ...], **row: Any) -> Operation:
    """Three chunks, a call for each of them and one for the whole."""
    replies = [*[_said("A part of it.")] * 3, _said("All of it.")]
    rest: dict[str, Any] = {
        "most": 4,
        "bound": 8,
        "hard": replies,
        "replies": replies,
        "survives": _PART,
        "halved": 3 * _HALVED,
        **row,
    }
    return Operation(
        name,
        given,
        value="All of it.",
        failure=RAISES,
        stopped=_is_text,
        is_result=_is_text,
        texts=(*texts, "system_prompt"),
        sizes={"chunks": 3},
        **rest,
    )


def _short(name: str, given: Mapping[str, Any], texts: tuple[str, ...]) -> Operation:
    one = [_said("All of it.")]
    row = _text(name, given, texts, replies=one, hard=one, most=1, bound=2, case="short")
    return dataclasses.replace(row, sizes={"chunks": 1}, survives=(RateLimited, UpstreamFailed, ContextTooLong))


_OF_LONG = {"chunk_size_tokens": 60, "overlap_tokens": 0}
_ROLLED = {"ctx_size": 65_536, "chunk_size": 60, "overlap": 0}
_TO_SUM = ("text_to_summarize", "contextual_prompt")
_TO_DO = ("text_to_process", "contextual_prompt")
_FILE = str(Path(__file__).parents[2] / "VERSIONING.md")

OPERATIONS: tuple[Operation, ...] = (
    _structured("generate_structured_content", {"title": "Emma", "year": 1815}, schema={"title": "", "year": 1}),
    _structured("generate_structured_content_pydantic", Book(title="Emma", year=1815), pydantic_model=Book),
    _codes(
        "generate_code",
        _CODE,
        None,
        stopped=lambda it: it is None or _CODE.startswith(it),
        is_result=lambda it: it is None or isinstance(it, str),
    ),
    _codes(
        "generate_codes",
        [{"index": 0, "file_name": "", "content": _CODE, "type": "python", "is_complete": True}],
        [],
        stopped=lambda it: isinstance(it, list),
        is_result=lambda it: isinstance(it, list),
    ),
    Operation(
        "update_code",
        {"original_code": "x = 1\ny = 1\n", "modification_prompt": "Make it two."},
        [_said(_PATCH)],
        ["Hm.", _said("```diff\n@@ @@\n-z = 1\n+z = 2\n```"), _said("```python\nx = 2\ny = 1\n```")],
        {
            "success": True,
            "updated_code": "x = 2\ny = 1\n",
            "patch": "--- a/code\n+++ b/code\n@@ -1,2 +1,2 @@\n-x = 1\n+x = 2\n y = 1\n",
            "error": None,
        },
        most=3,
        bound=3,
        failure={"success": False, "updated_code": None, "patch": None, "error": ...},
        stopped=lambda it: it["error"] == "It was stopped by the callback." and not it["success"],
        is_result=_is_update,
        texts=("original_code", "modification_prompt", "system_prompt"),
    ),
    _text("summarize", {"text_to_summarize": LONG, **_OF_LONG}, _TO_SUM),
    _text("summarize", {"text_to_summarize": LONG, **_OF_LONG}, _TO_SUM, parallel=3, case="parallel"),
    _short("summarize", {"text_to_summarize": "Earth and water."}, _TO_SUM),
    _text("long_context_processing", {"text_to_process": LONG, **_OF_LONG}, _TO_DO),
    _text(
        "sequential_summarize",
        {"text": LONG, **_ROLLED},
        ("text", "chunk_processing_prompt", "final_memory_processing_prompt"),
    ),
    _text("deep_analyze", {"query": "What burns?", "text": LONG, **_ROLLED}, ("query", "text", "aggregation_prompt")),
    dataclasses.replace(
        _text(
            "deep_analyze",
            {"query": "What burns?", "files": [_FILE], "ctx_size": 65_536},
            ("query", "aggregation_prompt"),
            replies=[_said("A part of it."), _said("All of it.")],
            hard=[_said("A part of it."), _said("All of it.")],
            most=2,
            bound=4,
            case="file",
        ),
        sizes={"chunks": 1},
    ),
    _question("yes_no", True, RAISES, '{"answer": true}', stopped=None),
    _question("multichoice_question", 1, -1, '{"answer": "B"}', stopped=lambda it: it == -1),
    _question(
        "multichoice_ranking",
        {"ranking": [1, 0, 2]},
        {"ranking": []},
        '{"ranking": "B > A > C"}',
        stopped=lambda it: it == {"ranking": []},
    ),
    Operation(
        "generate_text_with_rag",
        {"prompt": "When do we meet?", "rag_query_function": _search, "max_rag_hops": 2},
        _RESEARCH,
        _RESEARCH,
        ...,
        most=4,
        bound=4 + 3 * 2,
        failure={"final_answer": "", "error": ...},
        stopped=lambda it: _is_found(it) and it["error"] is None,
        is_result=_is_found,
        texts=("prompt", "system_prompt"),
        survives=_BROKEN,
        own=frozenset({"stop"}),
        sizes={"max_rag_hops": 2},
    ),
)
