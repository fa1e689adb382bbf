"""Bindings that outsiders wrote, each from one document alone, do all that a client asks of them, sync and async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient, LollmsLLMBindingManager
from lollms_core.errors import AuthFailed, LollmsError, UnsupportedFeature, UpstreamFailed
from lollms_core.types import Message, Reply, TextDelta
from tests.support.media_files import png
from tests.support.outside_bindings import FOLDER, write_phrases

PNG = png()


def settings(tmp_path: Path, name: str, **config: Any) -> dict[str, Any]:
    usual = {
        "phrase_book": {"model_identifier": "polite", "phrases_folder": str(write_phrases(tmp_path / "phrases"))},
        "tiny_oracle": {"api_key": "k" * 20},
    }
    return {"binding_name": name, "llm_bindings_dir": FOLDER, "llm_binding_config": {**usual[name], **config}}


class Both:
    """Asks the same of a sync and of an async client, and sees that the answers are the same."""

    def __init__(self, chosen: dict[str, Any]) -> None:
        self.client = LollmsClient(**chosen)
        self.other = AsyncLollmsClient(**chosen)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def ask(*arguments: Any, **more: Any) -> Any:
            outcomes: list[Any] = []
            for run in (
                getattr(self.client, method),
                lambda *a, **k: asyncio.run(getattr(self.other, method)(*a, **k)),
            ):
                try:
                    outcomes.append(run(*arguments, **more))
                except LollmsError as error:
                    outcomes.append(error)
            here, there = outcomes
            if isinstance(here, LollmsError):
                assert (type(there), str(there)) == (type(here), str(here))
                raise here
            assert there == here
            return here

        return ask

    def pieces(self, *arguments: Any, **more: Any) -> list[str]:
        """The pieces of text of a stream."""

        async def later() -> list[Any]:
            async with self.other.stream(*arguments, **more) as stream:
                return [event async for event in stream]

        with self.client.stream(*arguments, **more) as stream:
            events = list(stream)
        assert asyncio.run(later()) == events
        return [event.text for event in events if isinstance(event, TextDelta)]


@pytest.fixture
def book(tmp_path: Path) -> Both:
    return Both(settings(tmp_path, "phrase_book"))


@pytest.fixture
def oracle(tmp_path: Path) -> Both:
    return Both(settings(tmp_path, "tiny_oracle"))


def test_the_first_answers_streams_and_stops(book: Both, capsys: pytest.CaptureFixture[str]) -> None:
    assert book.generate_text("my way") == "Good day on my way"
    assert book.generate_text("my way", seed=1, n_predict=3) == "You are welcome"
    assert book.pieces("my way") == ["Good", " day", " on", " my", " way"]
    heard: list[str] = []
    said = book.generate_text("my way", streaming_callback=lambda chunk, _: heard.append(chunk))
    assert said == "Good day on my way"
    assert heard == ["Good", " day", " on", " my", " way"] * 2
    assert book.generate_text("x y z", streaming_callback=lambda chunk, _: "day" not in chunk) == "Good day"
    with book.client.stream("x") as stream:
        assert next(stream) == TextDelta("Good")
    assert book.switch_model("polite")
    assert "Loading model: polite" in capsys.readouterr().out  # what it prints is its own business


def test_the_first_gets_system_prompts_history_and_images(book: Both) -> None:
    assert book.generate_text("my way", system_prompt="stars") == "Good day under stars on my way"
    turns = [Message.system("stars"), Message.user("a"), Message.assistant("b"), Message.user("c")]
    assert book.complete(turns).text == "Good day under stars on user said a / assistant said b / user said c"
    discussion = "!@>user:\na\n!@>assistant:\nb"
    assert book.generate_text(discussion, split=True) == "Good day on user said a / assistant said b"
    assert book.generate_from_messages([{"role": "user", "content": "a"}]) == "Good day on a"
    assert book.complete("it", images=[PNG]).text == f"Good day seeing .png {len(PNG)} on it"


def test_the_first_reports_what_it_cannot_do(book: Both, tmp_path: Path) -> None:
    answer = book.generate_text("fail")
    assert answer["status"] is False
    assert "The book has no such page." in answer["error"]
    with pytest.raises(UpstreamFailed, match="no such page"):
        book.complete("fail")
    with pytest.raises(UnsupportedFeature):
        book.complete("x", tools=[{"name": "f"}])
    assert [item.name for item in book.complete("x", min_p=0.1).receipt] == ["min_p"]
    with pytest.raises(RuntimeError, match="Failed to load model absent"):
        LollmsClient(**settings(tmp_path, "phrase_book", model_identifier="absent"))


def test_the_first_does_everything_else_too(book: Both) -> None:
    assert book.tokenize("ab") == [97, 98]
    assert book.detokenize([97, 98]) == "ab"
    assert book.count_tokens("abc") == 3
    assert book.embed("a b") == [3.0, 1.0]
    assert book.embed(["a", "b"]) == [[1.0, 0.0], [1.0, 0.0]]
    assert book.listModels() == book.list_models() == [{"model_name": "polite"}, {"model_name": "rude"}]
    assert book.get_model_info()["supports_vision"] is True
    assert book.count_image_tokens(PNG) > 0
    assert book.get_ctx_size() is None
    assert book.switch_model("absent") is False
    assert book.generate_text("x") == "Good day on x"
    assert book.switch_model("rude") is True
    assert book.generate_text("x") == "What on x"
    assert book.client.get_model_name() == "rude"


class Talk:
    """A discussion of the caller."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def export(self, format_type: str, branch_tip_id: str | None = None) -> list[dict[str, Any]]:
        self.asked.append((format_type, branch_tip_id))
        return [{"role": "user", "content": "a"}, {"role": "assistant", "content": branch_tip_id or "tip"}]


def test_the_second_answers_and_chats(oracle: Both) -> None:
    assert oracle.generate_text("When?") == "dodona (calm) to user: When?"
    assert oracle.pieces("When?") == ["dodona (calm) to user: When?"]
    assert oracle.generate_text("When?", system_prompt="Be brief.") == "dodona (calm) to system,user: When?"
    assert oracle.complete([Message.user("a"), Message.assistant("b"), Message.user("c")]).text.endswith(
        "to user,assistant,user: c"
    )
    assert oracle.complete("See", images=[PNG]).text == "dodona (calm) to user: text+image_url"
    heard: list[str] = []
    oracle.generate_text("Why?", streaming_callback=lambda chunk, _: heard.append(chunk))
    assert heard == ["dodona (calm) to user: Why?"] * 2


def test_the_second_gets_the_callers_own_discussion_and_its_branch(oracle: Both) -> None:
    talk = Talk()
    assert oracle.chat(talk) == "dodona (calm) to user,assistant: tip"
    assert ("openai_chat", None) in talk.asked
    assert oracle.chat(talk, "branch") == "dodona (calm) to user,assistant: branch"


def test_the_second_reports_its_errors_as_documented(oracle: Both, tmp_path: Path) -> None:
    answer = oracle.generate_text("a riddle")
    assert answer["status"] is False
    assert "The oracle does not answer riddles." in answer["message"]
    with pytest.raises(UpstreamFailed, match="does not answer riddles"):
        oracle.complete("a riddle")
    with pytest.raises(NotImplementedError, match="no embeddings"):
        oracle.embed("x")
    without = Both(settings(tmp_path, "tiny_oracle", api_key=""))
    assert "401" in without.generate_text("When?")["error"]
    assert without.client.raise_errors is False
    with pytest.raises((AuthFailed, UpstreamFailed), match="no API key"):
        without.complete("When?")


def test_the_second_is_set_up_by_its_description(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manager = LollmsLLMBindingManager(FOLDER)
    (shown,) = (each for each in manager.get_binding_descriptions() if each["binding_name"] == "tiny_oracle")
    assert (shown["title"], shown["author"], shown["last_update_date"]) == ("Tiny Oracle", "An outsider", "N/A")
    assert [each["name"] for each in shown["input_parameters"]] == ["api_key", "model_name", "mood"]
    assert shown["input_parameters"][1]["options"] == ["delphi", "dodona"]
    assert shown["generate_text_parameters"][0]["default"] == 0.7
    made: Any = manager.create_binding("tiny_oracle", api_key="k", model_name="delphi", mood="wild", temperature=0.2)
    assert (made.model_name, made.service.mood, made.default_temperature) == ("delphi", "wild", 0.2)
    usual = LollmsClient(**settings(tmp_path, "tiny_oracle"))
    assert usual.get_model_name() == "dodona"
    assert usual.listModels() == ["delphi", "dodona"]
    assert usual.count_tokens("a b c") == 3


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.mark.parametrize("name", ["phrase_book", "tiny_oracle"])
def test_threads_and_tasks_get_their_own_answers(name: str, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    chosen = settings(tmp_path, name)
    client = LollmsClient(**chosen)
    start = threading.Barrier(8)

    def ask(number: int) -> Reply:
        if number < 8:
            start.wait(5)
        return client.complete(f"number {number}")

    assert [reply.text.split()[-1] for reply in threads.map(ask, range(40))] == [str(each) for each in range(40)]

    async def tasks() -> list[Any]:
        async with AsyncLollmsClient(**chosen) as other:
            return await asyncio.gather(*(other.generate_text(f"number {each}") for each in range(20)))

    assert [text.split()[-1] for text in asyncio.run(tasks())] == [str(each) for each in range(20)]
