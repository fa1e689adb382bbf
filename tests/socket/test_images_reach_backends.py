"""Images on their way through the server: to the backend of the model that was asked, whole, and to nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lollms_server.core.bindings import Binding
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import TEXT, answer_json, reply
from tests.support.media_files import b64, data_url, gif, jpeg, png, png_claiming, wav, webp
from tests.support.raw_http import Answer, ask, prompt
from tests.support.server import PortsBinding, Served, running_server

PNG = png()
PICTURE = {"type": "image", "role": "input_image", "data": b64(PNG), "mime_type": "image/png"}


def body_with(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = prompt("What is it?", **more)
    body["input_data"] += items
    return body


def post(server: Served, *items: dict[str, Any], **more: Any) -> Answer:
    return ask(server.port, "POST", "/api/v1/generate", body_with(*items, **more), server.headers)


async def urls(connection: Connection, seen: Seen) -> None:
    """Answers with the addresses of the images that the last message has."""
    if seen.method == "GET":
        await reply(connection, b'{"object": "list", "data": [{"id": "gpt-x"}, {"id": "gpt-y"}]}')
        return
    content = seen.json()["messages"][-1]["content"]
    parts = content if isinstance(content, list) else []
    await reply(
        connection, answer_json(json.dumps([part["image_url"]["url"] for part in parts if "image_url" in part]))
    )


@pytest.fixture(scope="module")
def backend() -> Iterator[ChaosServer]:
    with ChaosServer() as chaos:
        chaos.add("urls", urls)
        yield chaos


def in_front_of(backend: ChaosServer) -> Any:
    instance = {"type": "openai_binding", "base_url": backend.url("urls"), "api_key": "k", "default_model": "gpt-x"}
    config = {"bindings_map": {"eyes": "openai_binding"}, "defaults": {"ttt_binding": "eyes"}}
    blind = PortsBinding(lambda call: TEXT)
    return running_server({"blind": blind}, config, {"eyes": instance})


@pytest.fixture(scope="module")
def server(backend: ChaosServer) -> Iterator[Served]:
    with in_front_of(backend) as served:
        yield served


def received(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer
    return list(json.loads(answer.json()["output"][0]["data"]))


def posted(backend: ChaosServer) -> int:
    return sum(request.method == "POST" for request in backend.requests)


def test_the_first_request_after_a_start_may_have_an_image(backend: ChaosServer) -> None:
    with in_front_of(backend) as fresh:
        assert received(post(fresh, PICTURE)) == [data_url(PNG, "image/png")]


@pytest.mark.parametrize(
    ("data", "mime"),
    [(PNG, "image/png"), (jpeg(), "image/jpeg"), (gif(), "image/gif"), (webp(), "image/webp")],
    ids=["png", "jpeg", "gif", "webp"],
)
def test_an_image_arrives_as_the_type_that_it_is(server: Served, data: bytes, mime: str) -> None:
    for said in (None, "image/png", "image/jpeg", "application/octet-stream"):
        assert received(post(server, {**PICTURE, "data": b64(data), "mime_type": said})) == [data_url(data, mime)]


@pytest.mark.parametrize("role", ["input_image", "user_prompt", "user_image", "image", "context_image"])
def test_every_role_of_an_image_that_is_talked_about(server: Served, role: str) -> None:
    assert len(received(post(server, {**PICTURE, "role": role}))) == 1


def test_several_images_keep_their_order(server: Served) -> None:
    pictures = [png(4, 4, (place, 0, 0)) for place in range(5)]
    items = [{**PICTURE, "data": data_url(data, "image/png"), "mime_type": None} for data in pictures]
    assert received(post(server, *items)) == [data_url(data, "image/png") for data in pictures]


def test_what_is_appended_to_an_image_does_not_arrive(server: Served) -> None:
    assert received(post(server, {**PICTURE, "data": b64(PNG + b"PK\x03\x04 hidden")})) == [data_url(PNG, "image/png")]


def test_a_streamed_answer_about_an_image(server: Served) -> None:
    events = post(server, PICTURE, stream=True).events()
    assert events[-1]["type"] == "final"
    assert json.loads(events[-1]["content"][0]["data"]) == [data_url(PNG, "image/png")]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({**PICTURE, "data": "%%%"}, "base64"),
    ({**PICTURE, "data": b64(PNG)[:-3]}, "base64"),
    ({**PICTURE, "data": b64(PNG[:-4])}, "cut off"),
    ({**PICTURE, "data": ""}, "empty"),
    ({**PICTURE, "data": b64(png_claiming(50_000, 50_000))}, "40,000,000"),
    ({**PICTURE, "data": b64(gif(2, 2, 65))}, "frames"),
    ({**PICTURE, "data": b64(b"<svg xmlns='x'><script>1</script></svg>"), "mime_type": "image/svg+xml"}, "svg"),
    ({**PICTURE, "data": b64(b"<html><body></body></html>")}, "text/html"),
    ({**PICTURE, "data": b64(b"BM" + b"\0" * 60)}, "image/bmp"),
    ({**PICTURE, "data": b64(wav())}, "audio/wav"),
    ({**PICTURE, "data": "http://127.0.0.1:1/a.png"}, "fetches nothing"),
    ({**PICTURE, "data": "file:///etc/passwd"}, "base64"),
    ({**PICTURE, "data": "/etc/passwd"}, "base64"),
    ({**PICTURE, "mime_type": "image"}, "media type"),
    ({**PICTURE, "mime_type": "image/png\r\nx-evil: 1"}, "media type"),
    ({**PICTURE, "role": "mask_image"}, "roles are"),
    ({"type": "audio", "role": "user_prompt", "data": b64(wav()), "mime_type": "audio/wav"}, "does not take audio"),
    ({"type": "document", "role": "user_prompt", "data": "x"}, "does not take document"),
    ({"type": "text", "role": "narrator", "data": "x"}, "user_prompt"),
]


@pytest.mark.parametrize("place", range(len(REFUSED)), ids=[words for _, words in REFUSED])
def test_an_item_that_cannot_be_used_is_named_and_nothing_is_sent(
    server: Served, backend: ChaosServer, place: int
) -> None:
    item, words = REFUSED[place]
    before = posted(backend)
    for stream in (False, True):
        answer = post(server, PICTURE, item, stream=stream)
        assert answer.status == 400, answer
        assert "input_data[2]" in answer.json()["detail"]
        assert words in answer.json()["detail"]
    assert posted(backend) == before


def test_a_model_without_eyes_is_not_given_an_image(server: Served) -> None:
    answer = post(server, PICTURE, binding_name="blind")
    assert answer.status == 400
    assert "input_data[1]" in answer.json()["detail"]
    assert "it takes text" in answer.json()["detail"]


def test_items_over_the_limit_are_too_large(backend: ChaosServer) -> None:
    instance = {"type": "openai_binding", "base_url": backend.url("urls"), "api_key": "k", "default_model": "gpt-x"}
    config = {
        "bindings_map": {"eyes": "openai_binding"},
        "defaults": {"ttt_binding": "eyes"},
        "limits": {"max_item_bytes": 2048},
    }
    with running_server(None, config, {"eyes": instance}) as small:
        assert post(small, {**PICTURE, "data": b64(png(60, 60, (1, 2, 3)))}).status == 200
        answer = post(small, {**PICTURE, "data": "A" * 4000})
        assert answer.status == 413
        assert "input_data[1]" in answer.json()["detail"]


def test_no_items_and_too_many_items(server: Served) -> None:
    def status(items: list[Any]) -> int:
        return ask(server.port, "POST", "/api/v1/generate", {"input_data": items}, server.headers).status

    assert status([]) == 422
    assert status([prompt("x")["input_data"][0]] * 10_000) == 422
    assert status([PICTURE, {"type": "smell", "role": "x", "data": "x"}]) == 422


def test_no_request_gets_the_image_of_another(server: Served) -> None:
    pictures = [png(6, 6, (place, 255 - place, 7)) for place in range(60)]

    def one(place: int) -> list[str]:
        picture = {**PICTURE, "data": b64(pictures[place])}
        return received(post(server, picture, model_name="gpt-x" if place % 2 else "gpt-y"))

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(60))) == [[data_url(data, "image/png")] for data in pictures]


class Documented(Binding):
    """A binding as anybody may write it, which answers with what it was given."""

    binding_type_name = "documented"

    def __init__(self) -> None:
        self.config = {"default_model": "m"}
        self.default_model_name = "m"

    async def list_available_models(self) -> list[dict[str, Any]]:
        return [{"name": "m"}]

    def get_supported_input_modalities(self) -> list[str]:
        return ["text", "image", "audio", "document"]

    def get_supported_output_modalities(self) -> list[str]:
        return ["text"]

    def supports_input_role(self, data_type: str, role: str) -> bool:
        return role != "poison"

    async def load_model(self, model_name: str) -> bool:
        return True

    async def unload_model(self) -> bool:
        return True

    async def generate(
        self,
        prompt: str,
        params: dict[str, Any],
        request_info: dict[str, Any],
        multimodal_data: list[dict[str, Any]] | None = None,
    ) -> str:
        return json.dumps(multimodal_data)

    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return {"name": "m"}


def test_documented_bindings_get_every_item_with_its_role_in_plain_base64() -> None:
    sound = {"type": "audio", "role": "voice_sample", "data": b64(wav()), "mime_type": "audio/mpeg"}
    mask = {**PICTURE, "role": "mask_image", "data": data_url(PNG + b"hidden", "image/gif")}
    with running_server({"all": Documented()}) as server:
        given = received(post(server, PICTURE, mask, sound))
        assert [(item["type"], item["role"], item["mime_type"], item["data"]) for item in given] == [
            ("image", "input_image", "image/png", b64(PNG)),
            ("image", "mask_image", "image/png", b64(PNG)),
            ("audio", "voice_sample", "audio/wav", b64(wav())),
        ]
        answer = post(server, {**PICTURE, "role": "poison"})
        assert answer.status == 400
        assert "'poison'" in answer.json()["detail"]
        assert post(server, {**sound, "data": b64(wav(0, rate=0))}).status == 400


class Late(Documented):
    """Knows what its model can see only once it is loaded."""

    loaded = ""

    def get_supported_input_modalities(self) -> list[str]:
        return ["text", "image"] if self.loaded == "eyes" else ["text"]

    async def load_model(self, model_name: str) -> bool:
        self.loaded = model_name
        return True


def test_what_a_model_takes_does_not_depend_on_earlier_requests() -> None:
    with running_server({"late": Late()}) as server:
        for _ in range(2):
            assert post(server, PICTURE, model_name="eyes").status == 200
            answer = post(server, PICTURE, model_name="blind")
            assert answer.status == 400, answer
            assert "does not take image" in answer.json()["detail"]
            assert post(server, model_name="blind").status == 200
