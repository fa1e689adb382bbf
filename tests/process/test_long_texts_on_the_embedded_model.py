"""The embedded model reads a long text chunk by chunk: by its own tokens, in as many calls as it has slots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lollms_client import MSG_TYPE, LollmsClient
from lollms_client.lollms_core import chunk_text
from lollms_core.types import GenerationCall, Reply
from lollms_runtime.observe import Observer

pytestmark = pytest.mark.group("engine")

SENTENCE = "The old lighthouse keeper number {} wrote down every ship that passed, and the weather – »sun« or storm ☃. "
TEXT = "".join(SENTENCE.format(number) + ("\n\n" if number % 5 == 4 else "") for number in range(30))


class Asked(Observer):
    """Keeps what was asked, and how long the prompts were."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.running = self.most = 0

    def started(self, call: GenerationCall) -> None:
        self.running += 1
        self.most = max(self.most, self.running)

    def finished(self, call: GenerationCall, reply: Reply) -> None:
        self.running -= 1
        self.replies.append(reply)


@pytest.fixture(scope="module")
def client() -> Iterator[LollmsClient]:
    with LollmsClient("pythonllamacpp", model_name="lollms-nano", n_predict=24) as made:
        made.generate_text("Hello!", n_predict=1)
        yield made


def test_a_long_text_is_summarised_with_two_calls_at_once(client: LollmsClient) -> None:
    client.observer = asked = Asked()
    steps: list[str] = []

    def callback(chunk: str, kind: MSG_TYPE, params: dict[str, Any], **_: Any) -> None:
        if kind == MSG_TYPE.MSG_TYPE_STEP_END:
            steps.append(params["id"])

    text = client.summarize(TEXT, None, 300, 30, streaming_callback=callback, temperature=0)
    assert text.strip()
    assert client.binding is not None
    assert client.binding.parallel_calls == 2
    assert asked.most == 2
    assert len(asked.replies) == len(steps) >= 4
    assert sorted(steps[:-1]) == sorted(f"chunk_{place + 1}" for place in range(len(steps) - 1))
    assert steps[-1] == "final_synthesis"
    context = client.get_ctx_size()
    for reply in asked.replies:
        assert reply.usage is not None
        assert (reply.usage.total_tokens or 0) <= (context or 0)


def test_chunks_are_cut_by_the_tokens_of_the_model(client: LollmsClient) -> None:
    chunks = chunk_text(TEXT, client.tokenize, client.detokenize, 100, 10)
    assert all(0 < client.count_tokens(chunk) <= 100 for chunk in chunks)
    assert sum(map(client.count_tokens, chunks)) > 50 * (len(chunks) - 1)
    joined = ""
    for chunk in chunks:
        shared = next(size for size in range(len(chunk), -1, -1) if joined.endswith(chunk[:size]))
        assert shared < len(chunk)
        joined += chunk[shared:]
    assert joined == TEXT


def test_a_stop_gives_the_summaries_that_are_finished(client: LollmsClient) -> None:
    client.observer = asked = Asked()
    text = client.summarize(
        TEXT, None, 200, 0, streaming_callback=lambda c, kind, params: kind != MSG_TYPE.MSG_TYPE_STEP_END, temperature=0
    )
    assert text.strip()
    assert 1 <= len(asked.replies) < 6
    assert asked.replies[0].text.strip() in text
