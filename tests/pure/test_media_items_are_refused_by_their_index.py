"""Every item of a request that cannot be used is named by its place, in words that say what would do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lollms_core.errors import InvalidRequest, PayloadTooLarge
from lollms_core.protocols.lollms_input import HISTORY_ROLES, IMAGE_ROLES, InputItem, conversation_roles, messages_of
from lollms_core.types import ImagePart
from lollms_server.core.inputs import CheckedInput, Takes, check_items
from tests.support.media_files import b64, data_url, jpeg, png, wav

TEXT = InputItem("text", "user_prompt", "What is it?")
PNG, JPEG = png(), jpeg()
SEES = Takes("eyes", ("text", "image"), roles=conversation_roles)
DRAWS = Takes("brush", ("text", "image", "document"))


def image(role: str = "input_image", data: str | None = None, mime: str | None = "image/png") -> InputItem:
    return InputItem("image", role, b64(PNG) if data is None else data, mime)


def check(*items: InputItem, takes: Takes = SEES, limit: int = 1 << 20) -> CheckedInput:
    return check_items(items, takes, limit)


def refused(*items: InputItem, takes: Takes = SEES, kind: type[InvalidRequest] = InvalidRequest) -> tuple[str, str]:
    with pytest.raises(kind) as caught:
        check(*items, takes=takes)
    return caught.value.param, caught.value.message


def test_a_conversation_with_images() -> None:
    given = check(TEXT, image(mime="image/jpeg"), image("user_image", data_url(JPEG, "image/png")))
    assert given.images == {1: ImagePart(PNG, "image/png"), 2: ImagePart(JPEG, "image/jpeg")}
    assert [item.mime_type for item in given.items] == [None, "image/png", "image/jpeg"]
    assert [item.data for item in given.items] == ["What is it?", b64(PNG), b64(JPEG)]
    (message,) = messages_of(given.items, given.images)
    assert message.images == (ImagePart(PNG, "image/png"), ImagePart(JPEG, "image/jpeg"))


@pytest.mark.parametrize("role", HISTORY_ROLES)
def test_every_text_of_a_conversation_is_taken(role: str) -> None:
    assert check(InputItem("text", role, "x"), takes=Takes("x", ("text",), conversation_roles, lambda *_: False)).items


@pytest.mark.parametrize("role", IMAGE_ROLES)
def test_every_image_of_a_conversation_is_taken(role: str) -> None:
    assert check(TEXT, image(role)).images


def test_no_items_at_all() -> None:
    assert refused() == ("input_data", "input_data is empty: give at least one item.")


def test_a_type_that_the_model_does_not_take() -> None:
    param, message = refused(TEXT, image(), takes=Takes("reader", ("text",)))
    assert param == "input_data[1]"
    assert message == ("input_data[1]: binding instance 'reader' does not take image with this model; it takes text.")


@pytest.mark.parametrize("kind", ["audio", "video", "document"])
def test_other_types_are_refused_before_anything_is_decoded(kind: str) -> None:
    broken = image(data="%%%")
    param, message = refused(TEXT, broken, InputItem(kind, "user_prompt", "%%%", None))
    assert param == "input_data[2]"
    assert kind in message


def test_a_role_that_nobody_has_a_use_for() -> None:
    param, message = refused(TEXT, InputItem("text", "narrator", "x"))
    assert param == "input_data[1]"
    assert "'narrator'" in message
    assert ", ".join(HISTORY_ROLES) in message
    param, message = refused(TEXT, TEXT, image("mask_image"))
    assert param == "input_data[2]"
    assert ", ".join(IMAGE_ROLES) in message


def test_a_long_role_is_not_repeated_in_full() -> None:
    assert len(refused(TEXT, InputItem("text", "r" * 5000, "x"))[1]) < 500


def test_documented_bindings_choose_their_roles_themselves() -> None:
    items = (TEXT, image("style_reference"), InputItem("document", "whatever", "{}", "application/json"))
    given = check(*items, takes=DRAWS)
    assert given.images == {}
    assert [(item.role, item.mime_type) for item in given.items[1:]] == [
        ("style_reference", "image/png"),
        ("whatever", "application/json"),
    ]
    picky = DRAWS._replace(supports=lambda kind, role: role == "mask_image")
    assert check(TEXT, image("mask_image"), takes=picky).items
    assert "'style_reference'" in refused(TEXT, image("style_reference"), takes=picky)[1]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (image(data="abc"), "base64"),
        (image(data=""), "empty"),
        (image(data="http://example.org/a.png"), "fetches nothing"),
        (image(mime="picture"), "media type"),
        (image(data=b64(PNG[:-1])), "cut off"),
        (image(data=b64(wav())), "audio/wav"),
        (InputItem("text", "user_prompt", "x", "text"), "media type"),
    ],
)
@pytest.mark.parametrize("before", [0, 7])
def test_faults_of_one_item_name_it(item: InputItem, words: str, before: int) -> None:
    param, message = refused(*[TEXT] * before, item, image())
    assert param == f"input_data[{before}]"
    assert message.startswith(f"input_data[{before}]")
    assert words in message


@pytest.mark.parametrize(
    "items", [(TEXT, InputItem("text", "user_message", "x" * 2000)), (TEXT, image(data=b64(b"x" * 2000)))]
)
def test_each_item_has_a_limit(items: Sequence[InputItem]) -> None:
    with pytest.raises(PayloadTooLarge) as caught:
        check(*items, limit=1000)
    assert caught.value.param == "input_data[1]"


def test_ten_thousand_items_are_no_work() -> None:
    assert len(check(*[TEXT] * 10_000).items) == 10_000
