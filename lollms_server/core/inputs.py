"""The input items of a request, checked: types, roles, media. Pure: no I/O, and no binding is asked anything here.

Every fault names the item, counted from 0 as the caller counts. Items that are part of the conversation (see
`lollms_core.protocols.lollms_input`) need only a model that takes their type; any other item needs a binding that has
a use for its role.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lollms_core.errors import InvalidRequest, PayloadTooLarge
from lollms_core.protocols.lollms_input import InputData, InputItem, conversation_roles
from lollms_core.safety.media import MEDIA_TYPES, check_media, check_mime
from lollms_core.types import ImagePart

__all__ = ["CheckedInput", "Takes", "check_items"]

_SHOWN = 100  # characters of a role repeated in a message


class Takes(NamedTuple):
    """What the chosen model of an instance can be given.

    `modalities`: types of input. `roles`: the roles of a type that it has a use for, None for any; `supports` is asked
    besides, and may refuse one of these. Both only matter for items that are no part of the conversation.
    """

    instance: str
    modalities: Sequence[str]
    roles: Callable[[str], Sequence[str] | None] = lambda kind: None
    supports: Callable[[str, str], bool] = lambda kind, role: True


class CheckedInput(NamedTuple):
    """The items as they may go on: `data` of media is plain base64, `mime_type` what the bytes show.

    `images` are the images of the conversation, decoded, by their place in the list: what `messages_of` wants.
    """

    items: tuple[InputItem, ...]
    images: dict[int, ImagePart]


def check_items(items: Sequence[InputData], takes: Takes, max_item_bytes: int) -> CheckedInput:
    """Check all items, the cheap questions for all of them first, so that nothing is decoded in vain.

    Raises `InvalidRequest` or, for an item over `max_item_bytes`, `PayloadTooLarge`; `param` names the item.
    """
    if not items:
        raise InvalidRequest("input_data is empty: give at least one item.", param="input_data")
    for place, item in enumerate(items):
        _check_use(item, f"input_data[{place}]", takes)
    checked: list[InputItem] = []
    images: dict[int, ImagePart] = {}
    for place, item in enumerate(items):
        where = f"input_data[{place}]"
        data, mime = item.data, item.mime_type
        if item.type in MEDIA_TYPES:
            medium = check_media(item.type, data, mime, where, max_bytes=max_item_bytes)
            data, mime = medium.text, medium.mime
            if item.role in conversation_roles(item.type):
                images[place] = ImagePart(medium.data, medium.mime)
        elif len(data) > max_item_bytes:
            raise PayloadTooLarge(f"{where} is larger than the limit of {max_item_bytes} bytes.", param=where)
        else:
            mime = check_mime(mime, where) or None
        checked.append(InputItem(item.type, item.role, data, mime, item.metadata))
    return CheckedInput(tuple(checked), images)


def _check_use(item: InputData, where: str, takes: Takes) -> None:
    if item.type not in takes.modalities:
        raise InvalidRequest(
            f"{where}: binding instance {takes.instance!r} does not take {item.type} with this model; it takes "
            f"{', '.join(takes.modalities) or 'nothing'}.",
            param=where,
        )
    if item.role in conversation_roles(item.type):
        return
    roles = takes.roles(item.type)
    if (roles is None or item.role in roles) and takes.supports(item.type, item.role):
        return
    known = f" Its roles are {', '.join(roles)}." if roles else ""
    raise InvalidRequest(
        f"{where}: binding instance {takes.instance!r} has no use for {item.type} of role {item.role[:_SHOWN]!r}."
        f"{known}",
        param=where,
    )
