"""The simplest flow: one call, one reply."""

from __future__ import annotations

import msgspec

from lollms_core.errors import LollmsError
from lollms_core.flows.base import Flow, ask
from lollms_core.types import GenerationCall, ReceiptItem, Reply


def answer(call: GenerationCall, receipt: tuple[ReceiptItem, ...] = ()) -> Flow[Reply]:
    """Ask the model once and return its reply, its receipt behind the one of the caller. Costs exactly one call.

    The reply so far that an error carries gets that receipt as well.
    """
    try:
        reply = yield from ask(call)
    except LollmsError as error:
        if receipt and error.partial is not None:
            error.partial = _with(receipt, error.partial)
        raise
    return _with(receipt, reply) if receipt else reply


def _with(receipt: tuple[ReceiptItem, ...], reply: Reply) -> Reply:
    return msgspec.structs.replace(reply, receipt=(*receipt, *reply.receipt))
