"""Images, sound, documents and texts of any role reach a documented binding as they were sent, the first time too."""

from __future__ import annotations

from typing import Any

from tests.support.media_files import b64, png, wav
from tests.support.raw_http import Answer, ask
from tests.support.server import Served
from tests.support.third_party_binding.folder import server_with_folders


def item(kind: str, role: str, data: str, mime: str | None = None, **metadata: Any) -> dict[str, Any]:
    return {"type": kind, "role": role, "data": data, "mime_type": mime, "metadata": metadata}


def generate(server: Served, model: str, *items: dict[str, Any]) -> Answer:
    body = {"input_data": list(items), "model_name": model}
    return ask(server.port, "POST", "/api/v1/generate", body, server.headers)


PROMPT = item("text", "user_prompt", "given")
PICTURE = item("image", "style_reference", b64(png()), "image/png", file="a.png")


def test_the_first_request_after_a_start_may_bring_an_image() -> None:
    with server_with_folders() as server:
        answer = generate(server, "large", PICTURE, PROMPT)
        assert answer.status == 200, answer
        assert answer.json()["output"][0]["data"]["media"] == [
            ["image", "style_reference", PICTURE["data"], "image/png", {"file": "a.png"}]
        ]


def test_every_type_and_role_comes_in_order_and_what_the_model_does_not_take_is_named() -> None:
    sound = item("audio", "voice_sample", b64(wav()), "audio/wav")
    document = item("document", "source", "# Title", "text/markdown")
    text = item("text", "negative_prompt", "dogs")
    system = item("text", "system_context", "Be brief.")
    picture = item("image", "input_image", b64(png()), "image/png")
    with server_with_folders() as server:
        answer = generate(server, "large", text, PICTURE, system, PROMPT, sound, document, picture)
        assert answer.status == 200, answer
        given = answer.json()["output"][0]["data"]
        assert given["params"]["system_message"] == "Be brief."
        assert [each[:3] for each in given["media"]] == [
            [i["type"], i["role"], i["data"]] for i in (text, PICTURE, sound, document, picture)
        ]
        refused = generate(server, "small", PROMPT, PICTURE)
        assert refused.status == 400
        assert "input_data[1]" in refused.json()["detail"]
        refused = generate(server, "large", PROMPT, {**PICTURE, "role": "mask_image"})
        assert refused.status == 400
        assert "mask_image" in refused.json()["detail"]
