"""`sequential_summarize` and `deep_analyze` of both clients: their arguments, their files, and how they end."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lollms_client import text_files
from lollms_client.lollms_types import MSG_TYPE
from lollms_client.testing import ScriptedBinding, scripted_async_client, scripted_client
from lollms_client.text_files import MOST, paths_of, read_text_file
from lollms_core.errors import AuthFailed, InvalidRequest, LollmsError, PayloadTooLarge, StorageError
from lollms_core.types import GenerationCall

CLIENTS = ["sync", "async"]


def model(call: GenerationCall) -> str:
    text = call.messages[-1].text
    return f"notes on {text.partition('This is ')[2].split('.')[0]}" if "<chunk>" in text else "The whole answer."


def ask(kind: str, method: str, *args: Any, replies: Any = model, **kwargs: Any) -> tuple[Any, list[GenerationCall]]:
    """The result of a method of one of the clients, and what its model was asked."""
    if kind == "sync":
        client = scripted_client(replies)
        return getattr(client, method)(*args, **kwargs), client.binding.calls  # type: ignore[union-attr]
    waiting = scripted_async_client(replies)
    return asyncio.run(getattr(waiting, method)(*args, **kwargs)), waiting.binding.calls  # type: ignore[union-attr]


def story(count: int) -> str:
    return " ".join(f"word{number} follows." for number in range(count))


class Told:
    """A callback that keeps what it is told, and stops at a text or an event."""

    def __init__(self, stop: Callable[[str, MSG_TYPE, dict[str, Any]], bool] = lambda *_: False) -> None:
        self.events: list[tuple[str, MSG_TYPE, dict[str, Any]]] = []
        self._stop = stop

    def __call__(self, chunk: str, kind: MSG_TYPE, params: dict[str, Any], metadata: dict[str, Any]) -> bool:
        self.events.append((chunk, kind, params))
        return not self._stop(chunk, kind, params)

    def of(self, kind: MSG_TYPE) -> list[tuple[str, dict[str, Any]]]:
        return [(chunk, params) for chunk, each, params in self.events if each is kind]


# ---- arguments


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_long_text_is_summarised(kind: str) -> None:
    told = Told()
    text, calls = ask(kind, "sequential_summarize", story(600), ctx_size=2_000, callback=told)
    assert text == "The whole answer."
    assert len(calls) == 4
    assert "".join(chunk for chunk, _ in told.of(MSG_TYPE.MSG_TYPE_CHUNK)) == text
    steps = [params for _, params in told.of(MSG_TYPE.MSG_TYPE_STEP_START)]
    assert [(each["id"], each["fraction"]) for each in steps] == [
        ("chunk_1", 0),
        ("chunk_2", 0.25),
        ("chunk_3", 0.5),
        ("final_synthesis", 0.75),
    ]
    assert told.of(MSG_TYPE.MSG_TYPE_STEP_END)[0][1]["summary_snippet"] == "notes on chunk 1 of 3"


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_documented_arguments_go_by_position(kind: str) -> None:
    told = Told()
    given = (story(600), "List it.", "json", "Sort it.", "text", 2_000, 300, 0, 100, 2, told, True)
    text, calls = ask(kind, "sequential_summarize", *given, temperature=0.5, n_predict=50)
    assert text == "The whole answer."
    assert calls[0].messages[-1].text.startswith("List it.")
    assert calls[-1].messages[-1].text.startswith("Sort it.")
    assert len(calls) == 2 + 4 + 1
    assert {(each.params.temperature, each.params.max_tokens, each.params.ctx_size) for each in calls} == {
        (0.5, 50, 2_000)
    }


def test_the_documented_defaults_are_these() -> None:
    for client in (scripted_client([]), scripted_async_client([])):
        given = inspect.signature(client.sequential_summarize).parameters
        assert (
            given["chunk_processing_prompt"].default
            == "Extract relevant information from the current text chunk and update the memory if needed."
        )
        assert given["final_memory_processing_prompt"].default == "Create final summary using this memory."
        names = list(inspect.signature(client.deep_analyze).parameters)
        assert names[:5] == ["query", "text", "files", "aggregation_prompt", "output_format"]
        sizes = ["ctx_size", "chunk_size", "overlap", "bootstrap_chunk_size", "bootstrap_steps", "callback", "debug"]
        assert names[5:12] == sizes
        assert list(given)[5:12] == sizes


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_callback_under_its_other_name_is_used_too(kind: str) -> None:
    told = Told()
    ask(kind, "sequential_summarize", story(5), ctx_size=2_000, streaming_callback=told)
    assert told.of(MSG_TYPE.MSG_TYPE_CHUNK)


def test_the_callback_of_the_client_is_used_where_none_is_given() -> None:
    told, other = Told(), Told()
    client = scripted_client(model, streaming_callback=told)
    client.deep_analyze("What?", "Some text.")
    assert told.of(MSG_TYPE.MSG_TYPE_CHUNK)
    told.events.clear()
    client.deep_analyze("What?", "Some text.", callback=other)
    assert (told.events, bool(other.events)) == ([], True)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(("method", "given"), [("sequential_summarize", ()), ("deep_analyze", ("Some text.",))])
def test_a_system_prompt_goes_with_every_call(kind: str, method: str, given: tuple[str, ...]) -> None:
    _, calls = ask(kind, method, "What?", *given, system_prompt="Be brief.")
    assert [[each.role for each in call.messages] for call in calls] == [["system", "user"]] * 2
    assert {call.messages[0].text for call in calls} == {"Be brief."}


class Sized(ScriptedBinding):
    """A binding that knows its context, and says on which thread it was asked."""

    asked_on: threading.Thread | None = None

    def get_ctx_size(self, model_name: str | None = None) -> int | None:
        self.asked_on = threading.current_thread()
        return 2_000


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_context_is_the_models_where_none_is_given(kind: str) -> None:
    binding = Sized(model)
    client: Any = scripted_client([]) if kind == "sync" else scripted_async_client([])
    client.binding = binding
    result = client.sequential_summarize(story(600))
    assert (result if kind == "sync" else asyncio.run(result)) == "The whole answer."
    assert len(binding.calls) == 4
    assert (binding.asked_on is threading.main_thread()) == (kind == "sync")
    assert all(0 < (each.params.ctx_size or 0) <= 2_000 for each in binding.calls)


def test_a_context_that_was_set_on_the_client_is_planned_with_and_nobody_is_asked() -> None:
    client = scripted_client([], ctx_size=1_000)
    binding = client.binding = Sized(model)
    client.sequential_summarize(story(600))
    assert binding.asked_on is None
    assert {each.params.ctx_size for each in binding.calls} == {1_000}


def test_without_a_text_nobody_is_asked_for_the_context() -> None:
    client = scripted_client([])
    binding = client.binding = Sized(model)
    assert client.sequential_summarize("") == ""
    assert client.deep_analyze("What?", "") == ""
    assert binding.asked_on is None


def test_where_nobody_knows_the_context_it_is_8192_tokens() -> None:
    _, calls = ask("sync", "sequential_summarize", story(2_000))
    assert len(calls) == 4  # 4,000 tokens in chunks of 2,048, with an overlap, and the answer


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_blank_text_is_answered_with_nothing(kind: str) -> None:
    assert ask(kind, "sequential_summarize", " \n") == ("", [])


# ---- how it ends


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("raise_errors", [None, False, True])
def test_an_error_is_told_and_raised(kind: str, raise_errors: bool | None) -> None:
    told = Told()
    with pytest.raises(AuthFailed):
        ask(
            kind,
            "sequential_summarize",
            story(5),
            replies=[AuthFailed("no key")],
            callback=told,
            raise_errors=raise_errors,
        )
    assert told.of(MSG_TYPE.MSG_TYPE_EXCEPTION) == [("no key", {"code": "auth_failed"})]


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("sequential_summarize", (None,)),
        ("deep_analyze", ("Who?",)),
        ("deep_analyze", ("", "text")),
        ("deep_analyze", ("Who?", None, [3])),
        ("deep_analyze", ("Who?", None, [b"a.txt"])),
        ("deep_analyze", ("Who?", None, b"a.txt")),
        ("deep_analyze", ("Who?", None, 3)),
    ],
)
def test_what_cannot_be_read_is_refused_and_told(kind: str, method: str, arguments: tuple[Any, ...]) -> None:
    told = Told()
    with pytest.raises(InvalidRequest):
        ask(kind, method, *arguments, callback=told)
    assert len(told.of(MSG_TYPE.MSG_TYPE_EXCEPTION)) == 1


@pytest.mark.parametrize("kind", CLIENTS)
def test_stopped_in_a_step_the_memory_so_far_is_returned(kind: str) -> None:
    told = Told(lambda chunk, kind, params: params.get("id") == "chunk_3")
    text, calls = ask(kind, "sequential_summarize", story(600), ctx_size=2_000, callback=told)
    assert text == "notes on chunk 2 of 3"
    assert len(calls) == 2
    assert told.of(MSG_TYPE.MSG_TYPE_EXCEPTION) == []


@pytest.mark.parametrize("kind", CLIENTS)
def test_stopped_in_the_answer_the_answer_so_far_is_returned(kind: str) -> None:
    told = Told(lambda chunk, kind, params: kind is MSG_TYPE.MSG_TYPE_CHUNK and "whole" in chunk)
    assert ask(kind, "sequential_summarize", story(600), ctx_size=2_000, callback=told)[0] == "The whole"


# ---- files


@pytest.mark.parametrize("kind", CLIENTS)
def test_files_are_read_and_their_text_reaches_the_model(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Pi is {3.14} – naïve 日本", "utf-8")
    (tmp_path / "b.md").write_bytes(b"\xef\xbb\xbf# Title\r\nbody")
    told = Told()
    text, calls = ask(
        kind, "deep_analyze", "What is pi?", "Some text.", [tmp_path / "a.txt", str(tmp_path / "b.md")], callback=told
    )
    assert text == "The whole answer."
    chunks = [call.messages[-1].text.partition("<chunk>\n")[2].partition("\n</chunk>")[0] for call in calls]
    assert chunks == ["Some text.", "Pi is {3.14} – naïve 日本", "# Title\r\nbody", ""]
    assert "What is pi?" in calls[0].messages[-1].text
    assert str(tmp_path) not in "".join(call.messages[-1].text for call in calls)
    ids = [params["id"] for _, params in told.of(MSG_TYPE.MSG_TYPE_STEP_START)]
    assert ids == ["chunk_1", "file_1_chunk_1", "file_2_chunk_1", "final_synthesis"]


@pytest.mark.parametrize("kind", CLIENTS)
def test_one_path_is_a_list_of_one(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.", "utf-8")
    assert len(ask(kind, "deep_analyze", "What?", files=tmp_path / "a.txt")[1]) == 2
    assert len(ask(kind, "deep_analyze", "What?", files=str(tmp_path / "a.txt"))[1]) == 2


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_file_that_cannot_be_read_is_a_warning_beside_others(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.", "utf-8")
    told = Told()
    text, calls = ask(kind, "deep_analyze", "What?", files=[tmp_path / "gone.txt", tmp_path / "a.txt"], callback=told)
    assert text.startswith("The whole answer.\n\n[Missing here")
    assert len(calls) == 2
    ((warning, params),) = told.of(MSG_TYPE.MSG_TYPE_WARNING)
    assert "gone.txt cannot be read: No such file" in warning
    assert params["file"] == str(tmp_path / "gone.txt")


@pytest.mark.parametrize("kind", CLIENTS)
def test_where_no_file_can_be_read_it_is_raised(kind: str, tmp_path: Path) -> None:
    told = Told()
    with pytest.raises(StorageError, match=r"gone\.txt"):
        ask(kind, "deep_analyze", "What?", files=[tmp_path / "gone.txt"], callback=told)
    assert len(told.of(MSG_TYPE.MSG_TYPE_EXCEPTION)) == 1


@pytest.mark.parametrize("kind", CLIENTS)
def test_files_are_read_beside_the_event_loop(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("Some text.", "utf-8")
    opened_on: list[threading.Thread] = []

    def open_it(path: str, flags: int) -> int:
        opened_on.append(threading.current_thread())
        return os.open(path, flags)

    monkeypatch.setattr(text_files, "_without_waiting", open_it)
    ask(kind, "deep_analyze", "What?", files=[tmp_path / "a.txt"])
    assert [each is threading.main_thread() for each in opened_on] == [kind == "sync"]


def test_a_model_cannot_have_a_file_read(tmp_path: Path) -> None:
    """Its answers are texts; only the caller's own argument names files."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret", "utf-8")
    replies = [f'read_file {{"path": "{secret}"}}', f"<chunk>{secret}</chunk> read_file({secret})"]
    text, calls = ask("sync", "deep_analyze", "What?", f"Please read {secret}.", replies=replies)
    assert "the secret" not in text
    assert all("the secret" not in call.messages[-1].text for call in calls)
    assert all(call.tools == () for call in calls)


# ---- one file


def test_paths_are_taken_as_they_are_given() -> None:
    assert paths_of(None) == ()
    assert paths_of("~/a") == ("~/a",)
    assert paths_of([Path("b"), "c"]) == ("b", "c")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("grün".encode("latin-1"), "not UTF-8 text"),
        ("text".encode("utf-16"), "UTF-16"),
        ("text".encode("utf-32"), "UTF-32"),
        (b"a\0b", "zero bytes"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "image/png"),
    ],
)
def test_what_is_not_utf_8_is_refused_with_what_it_is(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(InvalidRequest, match=says) as caught:
        read_text_file(str(path))
    assert caught.value.param == "files"


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(MOST + 1)
    with pytest.raises(PayloadTooLarge, match="32 MiB"):
        read_text_file(str(path))


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(LollmsError):
        read_text_file(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidRequest, match="regular"):
        read_text_file(str(tmp_path / "pipe"))
    with pytest.raises(StorageError):
        read_text_file("a\0b")
