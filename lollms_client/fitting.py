"""Images made to fit the backend they go to, with a receipt for everything that was done to them.

An image that fits goes as it is, byte for byte. One that does not is written again, once, with everything done that is
needed: turned upright as its EXIF data say (few models look at these), in eight bits and in the colours of screens, the
first frame alone, of a kind that the backend reads, and no larger than it takes. Without Pillow nothing of that can be
done: the image goes as it is, and the receipt says what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from lollms_client.images import probed
from lollms_core.errors import MissingDependency
from lollms_core.protocols.image_limits import ImageLimits
from lollms_core.safety.image_details import ImageDetails, image_details
from lollms_core.safety.media import ACCEPTED_IMAGES, ImageFacts
from lollms_core.types import ImagePart, Message, Part, ReceiptItem

__all__ = ["Fitted", "fit_image", "fit_messages"]


class Fitted(NamedTuple):
    """Messages whose images can be sent, and what was done to these."""

    messages: tuple[Message, ...]
    receipt: tuple[ReceiptItem, ...] = ()


def fit_messages(messages: Sequence[Message], limits: ImageLimits, given: int = 0, first: int = 0) -> Fitted:
    """Messages with images that fit the limits. Raises `InvalidRequest` for an image that cannot be used.

    The receipt names images as the caller knows them: the last `given` ones of the user's last message are those of the
    argument `images`, and the caller's messages begin at place `first`.
    """
    if not any(message.images for message in messages):
        return Fitted(tuple(messages))
    last = max((place for place, each in enumerate(messages) if each.role == "user"), default=-1)
    out: list[Message] = []
    receipt: list[ReceiptItem] = []
    for place, message in enumerate(messages):
        own = len(message.images) - (given if place == last else 0)
        parts: list[Part] = []
        seen = 0
        for part in message.parts:
            if isinstance(part, ImagePart):
                where = f"messages[{place - first}].images[{seen}]" if seen < own else f"images[{seen - own}]"
                part, items = fit_image(part, limits, where)
                receipt += items
                seen += 1
            parts.append(part)
        out.append(msgspec.structs.replace(message, parts=tuple(parts)) if seen else message)
    return Fitted(tuple(out), tuple(receipt))


def fit_image(part: ImagePart, limits: ImageLimits, where: str) -> tuple[ImagePart, tuple[ReceiptItem, ...]]:
    """An image that fits the limits, and what was done to it; `where` names it.

    Raises `InvalidRequest` for an image that cannot be used, `MissingDependency` for one that goes nowhere unconverted
    (BMP, TIFF) when Pillow is not installed.
    """
    facts = probed(part.data, where)
    details = image_details(part.data, facts.mime)
    wrong = _wrong(facts, details, limits)
    data, behind = part.data[: facts.length], len(part.data) - facts.length
    notes = [f"{behind:,} bytes behind the end of the image were left out"] if behind else []
    if not wrong:
        if not notes and part.mime == facts.mime:
            return part, ()
        return ImagePart(data, facts.mime), _receipt(where, notes)
    try:
        from lollms_runtime.pictures import rewrite

        written = rewrite(data, facts.mime, details.orientation, limits, where)
    except MissingDependency:
        if facts.mime not in ACCEPTED_IMAGES:
            raise
        reason = (
            "it was sent as it is, since Pillow is not installed (`lollms install images`), and not "
            + ", not ".join(wrong)
        )
        return ImagePart(data, facts.mime), (*_receipt(where, notes), ReceiptItem(where, "dropped", reason))
    size = (facts.height, facts.width) if details.is_on_its_side else (facts.width, facts.height)
    notes += wrong
    if written.mime != facts.mime:
        notes.append(f"now {written.mime}")
    if (written.width, written.height) != size:
        notes.append(f"from {size[0]} x {size[1]} to {written.width} x {written.height} pixels")
    notes.append("written again without metadata")
    return ImagePart(written.data, written.mime), _receipt(where, notes)


def _wrong(facts: ImageFacts, details: ImageDetails, limits: ImageLimits) -> list[str]:
    """What has to be done to an image before it can go, in words for the receipt."""
    wrong = []
    moves = facts.frames > 1
    if details.orientation != 1 and not (moves and limits.animated and facts.mime != "image/tiff"):
        wrong.append(f"turned upright (EXIF orientation {details.orientation})")
    if facts.mime not in (limits.kinds or ACCEPTED_IMAGES):
        wrong.append(f"converted ({facts.mime} is not taken)")
    if limits.kinds and details.channels == 4 and facts.mime == "image/jpeg":
        wrong.append("converted from the colours of print (CMYK)")
    if limits.kinds and details.bits > 8:
        wrong.append(f"reduced from {details.bits} to 8 bits a channel")
    if limits.max_side is not None and max(facts.width, facts.height) > limits.max_side:
        wrong.append(f"made smaller (at most {limits.max_side:,} pixels a side are taken)")
    if limits.max_pixels is not None and facts.width * facts.height > limits.max_pixels:
        wrong.append(f"made smaller (at most {limits.max_pixels:,} pixels are taken)")
    if limits.max_bytes is not None and facts.length > limits.max_bytes:
        wrong.append(f"made smaller (at most {limits.max_bytes:,} bytes are taken)")
    if moves and (wrong or not limits.animated):  # what is written again has a single frame
        wrong.append(f"reduced to the first of its {facts.frames} frames")
    return wrong


def _receipt(where: str, notes: Sequence[str]) -> tuple[ReceiptItem, ...]:
    return (ReceiptItem(where, "rewritten", "; ".join(notes)),) if notes else ()
