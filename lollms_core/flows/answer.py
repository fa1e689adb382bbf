"""The simplest flow: one call, one reply."""

from __future__ import annotations

import msgspec

from lollms_core.flows.base import Flow, ask
from lollms_core.types import GenerationCall, ReceiptItem, Reply


def answer(call: GenerationCall, receipt: tuple[ReceiptItem, ...] = ()) -> Flow[Reply]:
    """Ask the model once and return its reply, its receipt behind the one of the caller. Costs exactly one call."""
    reply = yield from ask(call)
    return msgspec.structs.replace(reply, receipt=(*receipt, *reply.receipt)) if receipt else reply
