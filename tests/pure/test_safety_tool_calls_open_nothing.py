"""What a model writes into a tool call is data: the client opens no file and runs nothing for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from lollms_client.testing import scripted_client
from lollms_core.errors import InvalidRequest
from lollms_core.types import Reply, ToolCall
from tests.support.pictures import encoded, scene

opened: list[str] = []
watched: list[str] = []


def watch(event: str, args: tuple[Any, ...]) -> None:
    if watched and event == "open" and str(args[0]) in watched:
        opened.append(str(args[0]))


sys.addaudithook(watch)


@pytest.fixture
def secret(tmp_path: Path) -> Any:
    file = tmp_path / "secret.png"
    file.write_bytes(encoded(scene(), "PNG"))
    opened.clear()
    watched.append(str(file))
    yield file
    watched.clear()


def test_a_path_in_a_tool_call_stays_a_text(secret: Path) -> None:
    call = ToolCall("1", "look", {"images": [str(secret)], "image_url": {"url": f"file://{secret}"}})
    client = scripted_client([Reply("See.", tool_calls=(call,)), Reply("See.", tool_calls=(call,)), "Done."])
    reply = client.complete("Hi", tools=[{"name": "look", "description": "", "parameters": {"type": "object"}}])
    assert reply.tool_calls == (call,)
    assert client.generate_text("Hi", streaming_callback=lambda *_: None) == "See."
    assert client.complete([{"role": "user", "content": f"{call.arguments}"}]).text == "Done."
    assert opened == []


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_path_in_a_message_is_refused_unread(secret: Path, form: str) -> None:
    part = {"type": "image_url", "image_url": {"url": form.format(secret)}}
    with pytest.raises(InvalidRequest):
        scripted_client(["never"]).complete([{"role": "user", "content": [part]}])
    assert opened == []


def test_the_caller_may_name_the_same_file(secret: Path) -> None:
    assert scripted_client(["Nice."]).complete("Look.", images=[str(secret)]).text == "Nice."
    assert set(opened) == {str(secret)}
