"""Every row of the table of dialects has a transcript of its own, which its reader understands however it is cut."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import TruncatedStream
from lollms_core.protocols.base import Limits, Reader, Target
from lollms_core.protocols.dialect_rows import PROVIDERS
from lollms_core.protocols.dialect_rows_local import LOCAL_SERVERS
from lollms_core.protocols.dialects import DIALECTS
from lollms_core.protocols.openai import ChatCodec
from lollms_core.types import GenerationCall, Message, Reply, ToolCall, ToolCallDelta, Usage
from tests.support.feeding import TRANSCRIPTS, folded
from tests.support.reader_promises import FUZZ, Promises, damaged, places

STREAM, JSON = "text/event-stream", "application/json"
CALL = GenerationCall((Message.user("Hi"),), model="m", stream=True)
FOLDER = TRANSCRIPTS / "dialects"
ROWS = [row.name for row in (*PROVIDERS, *LOCAL_SERVERS)]
CITIES = ({"city": "Zürich"}, {"city": "Bern"})


def made(row: str, content_type: str, limits: Limits) -> Reader:
    target = Target("http://x", key="key-of-mine", provider=row)
    return ChatCodec(DIALECTS[row], limits).reader(CALL, content_type, target)


PROMISES = {row: Promises(partial(made, row), FOLDER) for row in ROWS}


def row_of(stem: str) -> str:
    """The row whose name a transcript begins with; "" if there is none."""
    return max((row for row in ROWS if f"{stem}_".startswith(f"{row}_")), key=len, default="")


def weathers(*ids: str) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(made_id, "weather", city) for made_id, city in zip(ids, CITIES, strict=True))


LOCALAI_ID = "5cc56821-fbe8-43a4-873f-cd8d4dc07093"

REPLIES: dict[str, Reply] = {
    "azure_openai": Reply("Zürich grüßt 🏔.", usage=Usage(18, 6, 24), model="gpt-4o-2024-11-20"),
    "azure_openai_filtered": Reply(
        "Er schlägt", usage=Usage(12, 4, 16), finish_reason="content_filter", model="gpt-4o-2024-11-20"
    ),
    "azure_openai_v1": Reply("Zürich grüßt 🏔.", usage=Usage(18, 6, 24), model="gpt-5-mini-2025-08-07"),
    "grok": Reply("42, naïf 🚀", "First, the answer.", usage=Usage(26, 5, 335), model="grok-4-fast-reasoning"),
    "grok_whole_calls": Reply(
        "",
        tool_calls=(
            ToolCall("call_14596510", "add", {"a": 2, "b": 3}),
            ToolCall("call_58283940", "multiply", {"unit": "µm"}),
        ),
        usage=Usage(26, 5, 335),
        finish_reason="tool_calls",
        model="grok-4-fast-reasoning",
    ),
    "novita_ai": Reply("Ça va bien.", "Überlegen.", usage=Usage(14, 7, 21), model="deepseek/deepseek-v3.1"),
    "together": Reply("Sōl est λαμπρός", usage=Usage(46, 4, 50), model="meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    "together_calls": Reply(
        "",
        tool_calls=weathers("call_hq1", "call_hq2"),
        usage=Usage(46, 4, 50),
        finish_reason="tool_calls",
        model="meta-llama/Llama-3.3-70B-Instruct-Turbo",
    ),
    "litellm": Reply("Où ça ?", "They ask.", usage=Usage(41, 20, 61), model="claude-sonnet-4-5"),
    "litellm_calls": Reply(
        "I ask.",
        tool_calls=(
            ToolCall("toolu_01", "weather", {"city": "Genève"}),
            ToolCall("toolu_02", "weather", {"city": "Bern"}),
        ),
        usage=Usage(41, 20, 61),
        finish_reason="tool_calls",
        model="claude-sonnet-4-5",
    ),
    "vllm": Reply("Jä, 東京.", "Kurz nach.", usage=Usage(11, 7, 18), model="Qwen/Qwen3-8B"),
    "vllm_calls": Reply(
        "",
        tool_calls=weathers("chatcmpl-tool-1", "chatcmpl-tool-2"),
        usage=Usage(11, 13, 24),
        finish_reason="tool_calls",
        model="Qwen/Qwen3-8B",
    ),
    "sglang": Reply("Señor Ñandú.", usage=Usage(30, 7, 37), model="Qwen/Qwen2.5-7B-Instruct"),
    "sglang_calls": Reply(
        "",
        tool_calls=weathers("0", "1"),
        usage=Usage(30, 7, 37),
        finish_reason="tool_calls",
        model="Qwen/Qwen2.5-7B-Instruct",
    ),
    "openllm": Reply("Tak, źdźbło.", usage=Usage(12, 5, 17), model="meta-llama/Meta-Llama-3.1-8B-Instruct"),
    "openwebui": Reply("Zwölf Türme [1].", "Nachsehen.", usage=Usage(35, 6, 41), model="qwen3:8b"),
    "openwebui_calls": Reply(
        "",
        tool_calls=weathers("call_3f1", "call_9d2"),
        usage=Usage(35, 6, 41),
        finish_reason="tool_calls",
        model="qwen3:8b",
    ),
    "tensor_rt": Reply("Grüezi – ja.", usage=Usage(22, 6, 28), model="TinyLlama-1.1B-Chat-v1.0"),
    "lm_studio": Reply("Im Café ‘blüht’ es.", "Rhymes.", usage=Usage(24, 9, 33), model="openai/gpt-oss-20b"),
    "lm_studio_calls": Reply(
        "",
        tool_calls=weathers("436889134", "814890118"),
        usage=Usage(24, 9, 33),
        finish_reason="tool_calls",
        model="openai/gpt-oss-20b",
    ),
    "localai": Reply("Où est l’île ?", usage=Usage(9, 5, 14), model="gpt-4"),
    "localai_calls": Reply(
        "",
        tool_calls=weathers(LOCALAI_ID, f"{LOCALAI_ID}_1"),
        usage=Usage(0, 0, 0),
        finish_reason="tool_calls",
        model="gpt-4",
    ),
}


def test_every_row_has_a_transcript() -> None:
    found = {row_of(path.stem) for folder in (FOLDER, TRANSCRIPTS) for path in folder.glob("*.sse")}
    assert found - {""} == set(ROWS)


def test_every_transcript_is_of_a_row_and_has_its_reply_here() -> None:
    assert {path.stem for path in FOLDER.iterdir() if path.suffix != ".md"} == set(REPLIES)
    assert [stem for stem in REPLIES if not row_of(stem)] == []


@pytest.mark.parametrize("name", REPLIES)
def test_the_stream_and_the_body_give_the_same_reply(name: str) -> None:
    promises = PROMISES[row_of(name)]
    assert promises.reply_of(name) == REPLIES[name]
    promises.the_json_body_folds_to_the_same_reply(name, JSON)


@pytest.mark.parametrize("name", REPLIES)
def test_every_cut_gives_the_same_events(name: str) -> None:
    PROMISES[row_of(name)].every_cut_gives_the_same_events(name, STREAM)


@pytest.mark.parametrize("name", REPLIES)
def test_every_truncation_is_an_error_or_complete(name: str) -> None:
    """Where the usage that comes last is missing, the rest is an answer.

    Open WebUI may say `stop` before anything else: then an answer that says nothing cannot be told from a cut one.
    """
    promises = PROMISES[row_of(name)]
    data, whole = promises.stream(name), promises.reply_of(name)
    for place in range(0, len(data), 7):
        events, error, _ = promises.read([data[:place]])
        part = folded(events)
        assert whole.text.startswith(part.text), place
        if name == "openwebui" and not (part.text or part.thoughts):
            continue
        assert error is not None or (part.text, part.tool_calls) == (whole.text, whole.tool_calls), place


@settings(FUZZ, max_examples=200)
@given(st.data(), st.sampled_from(sorted(REPLIES)), st.sampled_from([STREAM, JSON, ""]), places())
def test_damaged_transcripts(data: st.DataObject, name: str, content_type: str, places: list[int]) -> None:
    promises = PROMISES[row_of(name)]
    promises.agrees(content_type, data.draw(damaged([promises.stream(name), promises.body(name)])), places)


def test_calls_of_one_id_are_told_apart() -> None:
    """LocalAI gives all calls of an answer the id of the answer, and in a body all of them the index 0."""
    promises = PROMISES["localai"]
    for data, kind in ((promises.stream("localai_calls"), STREAM), (promises.body("localai_calls"), JSON)):
        events, _, _ = promises.read([data], kind)
        begun = [event.id for event in events if isinstance(event, ToolCallDelta) and event.id]
        assert begun == [LOCALAI_ID, f"{LOCALAI_ID}_1"]


def test_a_stop_with_more_behind_it_is_no_end() -> None:
    """Open WebUI writes one into every chunk that says nothing, and lines of Ollama say nothing now and then."""
    promises = PROMISES["openwebui"]
    silent = b'data: {"model": "m", "choices": [{"index": 0, "finish_reason": "stop", "delta": {}}]}\n\n'
    for delta in (b'"content": "Zw"', b'"reasoning_content": "Zw"', b'"tool_calls": [{"function": {"name": "f"}}]'):
        more = silent.replace(b'"stop"', b"null").replace(b"{}", b"{%s}" % delta)
        assert promises.read([silent + more])[1] is TruncatedStream, delta
        assert promises.read([silent + more + more])[1] is TruncatedStream, delta
        assert promises.read([silent + more + silent])[1] is None, delta
        assert promises.read([silent + more + b"data: [DONE]\n\n"])[1] is None, delta
