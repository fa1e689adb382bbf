"""What was changed about a call stands in the reply, also in the one that was stopped or failed half-way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from lollms_client.testing import ScriptedBinding, scripted_async_client, scripted_client
from lollms_core.errors import CallbackFailed, LollmsError, TruncatedStream
from lollms_core.protocols.image_limits import ImageLimits
from lollms_core.types import Batch, Reply, TextDelta

PIECES: Sequence[Batch] = [(TextDelta("a"),), (TextDelta("b"),)]


@pytest.fixture(autouse=True)
def small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedBinding, "image_limits", ImageLimits(max_side=8))


def image() -> Any:
    return Image.new("RGB", (64, 64))


def rewritten(reply: Reply | None) -> list[str]:
    assert reply is not None
    return [item.name for item in reply.receipt if item.action == "rewritten"]


def test_the_whole_reply_has_it() -> None:
    assert rewritten(scripted_client(["ab"]).complete("Hi", images=[image()])) == ["images[0]"]


def test_a_stopped_stream_has_it() -> None:
    stream = scripted_client([PIECES]).stream("Hi", images=[image()])
    next(stream)
    stream.close()
    with pytest.raises(LollmsError) as caught:
        stream.result()
    assert rewritten(caught.value.partial) == ["images[0]"]


def test_a_failed_stream_of_a_coroutine_has_it() -> None:
    async def read() -> None:
        await scripted_async_client([TruncatedStream("It ended.")]).complete("Hi", images=[image()])

    with pytest.raises(TruncatedStream) as caught:
        asyncio.run(read())
    assert rewritten(caught.value.partial) == ["images[0]"]


def test_a_callback_that_fails_has_it() -> None:
    def fail(chunk: str, kind: object) -> None:
        raise ValueError

    client = scripted_client(["ab"], raise_errors=True)
    with pytest.raises(CallbackFailed) as caught:
        client.generate_text("Hi", images=[image()], streaming_callback=fail)
    assert rewritten(caught.value.partial) == ["images[0]"]
