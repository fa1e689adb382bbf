"""The official SDKs and our codecs send the same JSON for the calls of tests/wire/calls.yaml.

An SDK makes its request against a server of ours that keeps it; the codec builds it from the same call. What differs
stands in tests/wire/differences.yaml by name, with the reason; an entry that no difference needs any more fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from lollms_core.protocols.base import Codec, HttpRequest, Target
from lollms_core.protocols.dialects import DIALECTS
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import reply
from tests.support.sdk_callers import CALLERS, KEY
from tests.support.wire_calls import Neutral, call_of, differences, listed_differences, neutral_calls

pytestmark = pytest.mark.group("sdks")

CALLS = neutral_calls()


def codec_of(protocol: str) -> Codec:
    """Our codec for a protocol, as its binding uses it."""
    from lollms_core.protocols.anthropic import MessagesCodec
    from lollms_core.protocols.gemini import GeminiCodec
    from lollms_core.protocols.huggingface import HuggingFaceCodec
    from lollms_core.protocols.ollama import OllamaCodec
    from lollms_core.protocols.openai import ChatCodec
    from lollms_core.protocols.responses import ResponsesCodec

    own: dict[str, Callable[[], Codec]] = {
        "anthropic": MessagesCodec,
        "gemini": GeminiCodec,
        "ollama": OllamaCodec,
        "huggingface": HuggingFaceCodec,
    }
    if protocol in own:
        return own[protocol]()
    if protocol == "openai_responses":
        return ResponsesCodec(DIALECTS["openai"])
    return ChatCodec(DIALECTS[protocol.removesuffix("_chat")])


@pytest.fixture
def server() -> Iterator[ChaosServer]:
    """It keeps what it is sent and refuses everything, so that no SDK goes on or tries again."""

    async def refusing(connection: Connection, seen: Seen) -> None:
        body = json.dumps({"error": {"message": "kept", "code": 400, "status": "INVALID_ARGUMENT"}}).encode()
        await reply(connection, body, 400, "Bad Request")

    with ChaosServer() as chaos:
        chaos.keep_url = chaos.add("kept", refusing)  # type: ignore[attr-defined]
        yield chaos


def sent_by_sdk(server: ChaosServer, protocol: str, call: Neutral) -> Seen:
    """The one request of the SDK."""
    ask, model, base = CALLERS[protocol]
    before = len(server.requests)
    with pytest.raises(Exception) as refused:  # each SDK has an error of its own
        ask(server.keep_url + base, model, call)  # type: ignore[attr-defined]
    seen = server.requests[before:]
    assert len(seen) == 1, f"{protocol}, {call['name']}: the SDK sent {len(seen)} requests: {refused.value!r}"
    return seen[0]


def built_by_codec(server: ChaosServer, protocol: str, call: Neutral) -> HttpRequest:
    """The one request of the codec."""
    _, model, base = CALLERS[protocol]
    target = Target(server.keep_url + base, key=KEY, provider=protocol)  # type: ignore[attr-defined]
    thoughts = "think" if protocol in ("anthropic", "gemini", "ollama") else "reasoning_effort"
    exchange = codec_of(protocol).prepare(call_of(call, model, thoughts), target)
    try:
        next(exchange)
    except StopIteration as end:
        request: HttpRequest = end.value
        return request
    raise AssertionError("the codec asks something before")


@pytest.mark.parametrize("protocol", CALLERS)
def test_sdk_and_codec_send_the_same(server: ChaosServer, protocol: str) -> None:
    found: set[tuple[str, str]] = set()
    for call in CALLS:
        theirs, ours = sent_by_sdk(server, protocol, call), built_by_codec(server, protocol, call)
        name = call["name"]
        found |= {(name, each) for each in differences(json.loads(ours.body), theirs.json())}
        place = urlsplit(ours.url)
        assert theirs.path == place.path + (f"?{place.query}" if place.query else ""), name
        keys = [{head for head, value in sent.items() if KEY in value} for sent in (theirs.headers, ours.headers)]
        assert all(len(each) == 1 for each in keys), f"{name}: the key must travel in one header"
        if keys[0] != keys[1]:
            found.add((name, "value header of the key"))
    listed = set(listed_differences(protocol))
    assert found - listed == set(), "not listed in tests/wire/differences.yaml"
    assert listed - found == set(), "listed in tests/wire/differences.yaml, and no difference any more"


def test_every_listed_difference_names_a_protocol_and_calls_that_exist() -> None:
    from lollms_runtime.yaml_file import load_yaml
    from tests.support.wire_calls import FOLDER

    names = {call["name"] for call in CALLS}
    assert len(names) == len(CALLS) == 12
    for entry in load_yaml(FOLDER / "differences.yaml").values["differences"]:
        assert set(entry) == {"protocol", "calls", "difference", "reason"}
        assert entry["protocol"] in CALLERS and entry["calls"] and set(entry["calls"]) <= names
        assert entry["difference"].split()[0] in ("ours", "theirs", "value")


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, ["value a"]),
        ({"a": 1}, {"a": 1.0}, ["value a"]),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {}]}, ["ours a.*.b"]),
        ({"a": []}, {"a": [1]}, ["value a"]),
        ({}, {"a": {"b": None}}, ["theirs a"]),
    ],
)
def test_differences_are_seen(ours: Any, theirs: Any, expected: list[str]) -> None:
    assert list(differences(ours, theirs)) == expected
