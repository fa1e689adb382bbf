"""Generation parameters as callers send them: known names, bounds, and what becomes of the rest.

A parameter that nobody set is never sent, so a backend keeps its own defaults. A known parameter of the wrong type or
out of bounds is refused with its name. Names that would choose another backend, key or header are never passed on to
any binding. Other unknown names go unchanged to the binding, which may know them; the codecs of ours drop those that
their provider does not. Whatever is dropped stands in the receipt of the answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from lollms_core.errors import InvalidRequest
from lollms_core.types import Params, ReceiptItem

__all__ = ["KNOWN", "MAX_PARAMETERS", "Bounds", "ReadParameters", "read_parameters"]

MAX_PARAMETERS = 64
"""How many parameters a request may have."""

_MAX_NAME = 64
_MAX_STOPS = 16
_MAX_STOP = 500
_MAX_SYSTEM = 1_000_000


class Bounds(NamedTuple):
    """A numeric parameter: its field of `Params`, whether it is a whole number, and the values it may have."""

    field: str
    whole: bool
    low: float
    high: float


KNOWN: Mapping[str, Bounds] = {
    "max_tokens": Bounds("max_tokens", True, 1, 10_000_000),
    "n_predict": Bounds("max_tokens", True, 1, 10_000_000),
    "temperature": Bounds("temperature", False, 0, 100),
    "top_p": Bounds("top_p", False, 0, 1),
    "top_k": Bounds("top_k", True, -1, 10_000_000),
    "min_p": Bounds("min_p", False, 0, 1),
    "repeat_penalty": Bounds("repeat_penalty", False, 0, 100),
    "repeat_last_n": Bounds("repeat_last_n", True, -1, 10_000_000),
    "presence_penalty": Bounds("presence_penalty", False, -100, 100),
    "frequency_penalty": Bounds("frequency_penalty", False, -100, 100),
    "seed": Bounds("seed", True, -(2**63), 2**64 - 1),
    "n_threads": Bounds("n_threads", True, 1, 4096),
    "ctx_size": Bounds("ctx_size", True, 1, 1_000_000_000),
    "context_size": Bounds("ctx_size", True, 1, 1_000_000_000),
}

_ROUTING = re.compile(
    r"(?:(?:openai_)?api_(?:base|key|type|version)|service_key|auth(?:orization)?|base_url|url|host|host_address"
    r"|azure_endpoint|endpoint|deployment|route|organization|project|provider|prox(?:y|ies)|(?:default_)?headers"
    r"|default_query|cookies|http_client|transport|verify_ssl_certificate|model|messages|prompt|stream|response_format"
    r"|extra_.*)\Z"
)
_NOT_A_PARAMETER = "the server's configuration decides this, not a request"
_TOO_LONG = "its name is too long"


class ReadParameters(NamedTuple):
    """Parameters after reading. `system_message` is the documented parameter of that name, "" if absent."""

    params: Params
    system_message: str
    receipt: tuple[ReceiptItem, ...]


def read_parameters(raw: Mapping[str, Any]) -> ReadParameters:
    """Read the `parameters` of a request; null means not set, unknown names go into `Params.extra`.

    Raises `InvalidRequest` naming the parameter at fault.
    """
    if len(raw) > MAX_PARAMETERS:
        raise InvalidRequest(f"A request may have at most {MAX_PARAMETERS} parameters.", param="parameters")
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    receipt: list[ReceiptItem] = []
    system_message = ""
    for name, value in raw.items():
        if name in KNOWN:  # none of which is a routing name
            if value is not None:
                _take_number(name, value, raw, known, receipt)
        elif _is_routing(name):
            receipt.append(ReceiptItem(name[:_MAX_NAME], "dropped", _NOT_A_PARAMETER))
        elif value is None:
            continue
        elif name in ("stop", "stop_sequences"):
            known["stop"] = _stops(name, value)
        elif name == "system_message":
            system_message = _text(name, value)
        elif len(name) > _MAX_NAME:
            receipt.append(ReceiptItem(name[:_MAX_NAME], "dropped", _TOO_LONG))
        else:
            extra[name] = _finite(name, value)
    return ReadParameters(Params(**known, extra=extra), system_message, tuple(receipt))


def _is_routing(name: str) -> bool:
    return _ROUTING.match(name.lower().replace("-", "_").strip()) is not None


def _take_number(
    name: str, value: Any, raw: Mapping[str, Any], known: dict[str, Any], receipt: list[ReceiptItem]
) -> None:
    field = KNOWN[name].field
    checked = _number(name, value)
    if name != field and raw.get(field) is not None:
        receipt.append(ReceiptItem(name, "dropped", f"{field} is given as well"))
    else:
        known[field] = checked


def _number(name: str, value: Any) -> int | float:
    bounds = KNOWN[name]
    kind = "a whole number" if bounds.whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if bounds.whole else int | float):
        raise InvalidRequest(f"Parameter {name} must be {kind}.", param=name)
    if not bounds.low <= value <= bounds.high:
        raise InvalidRequest(
            f"Parameter {name} must be {kind} from {_shown(bounds.low)} to {_shown(bounds.high)}.", param=name
        )
    return value if bounds.whole else float(value)


def _finite(name: str, value: Any) -> Any:
    """A value of any form, without a number that JSON does not have: `1e400` is read as infinite."""
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, float) and not math.isfinite(each):
            raise InvalidRequest(f"Parameter {name} holds a number that is not finite.", param=name)
        if isinstance(each, list | tuple):
            todo.extend(each)
        elif isinstance(each, Mapping):
            todo.extend(each.values())
    return value


def _shown(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _stops(name: str, value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and 0 < len(stop) <= _MAX_STOP for stop in stops):
        raise InvalidRequest(
            f"Parameter {name} must be text of 1 to {_MAX_STOP} characters, or a list of such texts.", param=name
        )
    if len(stops) > _MAX_STOPS:
        raise InvalidRequest(f"Parameter {name} may hold at most {_MAX_STOPS} texts.", param=name)
    return tuple(stops)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_SYSTEM:
        raise InvalidRequest(f"Parameter {name} must be text of at most {_MAX_SYSTEM} characters.", param=name)
    return value
