"""What a hub says is data from outside: checked, bounded, and never a path of its choice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core import errors
from lollms_core.safety.urls import parse_url
from lollms_runtime.models.hub import Hub
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import head, reply
from tests.support.model_server import COMMIT, ServedFile, hub_of, model_bytes

REPO = "org/repo"


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def hub(chaos: ChaosServer, token: str = "", *, chosen: bool = True) -> Hub:
    return Hub(parse_url(chaos.origin), token, chosen)


def saying(chaos: ChaosServer, body: bytes, **headers: str) -> None:
    async def api(connection: Connection, seen: Seen) -> None:
        await reply(connection, body, **{"content_type": "application/json", **headers})

    chaos.add("api", api)


def file(path: Any, **more: Any) -> dict[str, Any]:
    return {"rfilename": path, "size": 5, "lfs": {"sha256": "a" * 64, "size": 5, "pointerSize": 1}, **more}


def listing(*siblings: Any) -> bytes:
    return json.dumps({"sha": COMMIT, "siblings": siblings}).encode()


def test_the_files_with_their_sizes_and_checksums(chaos: ChaosServer) -> None:
    hub_of(chaos, REPO, {"d/a.gguf": ServedFile(model_bytes(1000))})
    found = hub(chaos).list_files(REPO)
    assert (found.repo, found.commit, [each.path for each in found.files]) == (REPO, COMMIT, ["d/a.gguf"])
    assert found.files[0].size == 1000
    assert len(found.files[0].sha256) == 64


@pytest.mark.parametrize(
    "path",
    [
        "../a.gguf",
        "/etc/a.gguf",
        "d/../../a.gguf",
        "a\\b.gguf",
        ".a.gguf",
        "nul.gguf",
        "a\x00.gguf",
        "a\n.gguf",
        "é.gguf",
        "\x1b]0;x\x07.gguf",
        "d//a.gguf",
        "C:/a.gguf",
        "-rf.gguf",
        "x" * 400 + ".gguf",
    ],
)
def test_names_that_lead_elsewhere_are_not_there(chaos: ChaosServer, path: str) -> None:
    saying(chaos, listing(file(path), file("good.gguf")))
    assert [each.path for each in hub(chaos).list_files(REPO).files] == ["good.gguf"]


def test_facts_of_the_wrong_kind_are_no_facts(chaos: ChaosServer) -> None:
    odd = [file("a.gguf", size=-1), file("b.gguf", size="5", lfs=None), file("c.gguf", lfs={"sha256": "../x"}), file(7)]
    saying(chaos, listing(*odd))
    found = hub(chaos).list_files(REPO).files
    assert found == (("a.gguf", None, "a" * 64), ("b.gguf", None, ""), ("c.gguf", 5, ""))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b"[" * 200_000,
        b"\xff",
        json.dumps({"sha": "main/../x", "siblings": []}).encode(),
        json.dumps({"sha": COMMIT, "siblings": {"a": 1}}).encode(),
        listing(3),
        listing({"size": 3}),
        listing(file("a.gguf", lfs=[1])),
    ],
)
def test_an_answer_that_makes_no_sense_is_one_error(chaos: ChaosServer, body: bytes) -> None:
    saying(chaos, body)
    with pytest.raises(errors.ProtocolError, match="did not answer like a model hub"):
        hub(chaos).list_files(REPO)


def test_an_endless_answer_is_stopped(chaos: ChaosServer) -> None:
    async def api(connection: Connection, seen: Seen) -> None:
        await connection.send(head(200, "OK", content_type="application/json"))
        while True:
            await connection.send(b" " * 65536)

    chaos.add("api", api)
    with pytest.raises(errors.ReplyTooLarge):
        hub(chaos).list_files(REPO)


def test_a_closed_repository_tells_what_to_do(chaos: ChaosServer) -> None:
    hub_of(chaos, REPO, {"a.gguf": ServedFile(model_bytes(1000))}, token="hf_right")
    with pytest.raises(errors.AuthFailed, match="HF_TOKEN"):
        hub(chaos).list_files(REPO)
    with pytest.raises(errors.AuthFailed, match="conditions") as caught:
        hub(chaos, "hf_wrong").list_files(REPO)
    assert "hf_wrong" not in str(caught.value)
    assert hub(chaos, "hf_right").list_files(REPO).files


def test_the_token_does_not_follow_a_redirect(chaos: ChaosServer) -> None:
    other = chaos.with_elsewhere()

    async def api(connection: Connection, seen: Seen) -> None:
        await reply(connection, b"", 307, "Moved", location=f"{other.origin}/ok")

    chaos.add("api", api)
    with pytest.raises(errors.LollmsError):
        hub(chaos, "hf_canary").list_files(REPO)
    assert "hf_canary" in repr(chaos.requests[0].raw_headers)
    assert "hf_canary" not in repr([seen.raw_headers for seen in other.requests])
    assert other.requests


def test_a_hub_that_nobody_chose_is_not_on_this_machine(chaos: ChaosServer) -> None:
    with pytest.raises(errors.InvalidRequest):
        hub(chaos, chosen=False).list_files(REPO)
    assert not chaos.connections
