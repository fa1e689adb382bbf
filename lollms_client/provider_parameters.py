"""What the bindings of providers of the chat-completions protocol have in common, for their `description.yaml`.

Such a description names its row of the table of dialects and lists only what is special about its parameters: an entry
with `as` gives one of the common parameters another name, one with a common name changes it, any other is added.

    dialect: groq
    input_parameters:
      - {name: model_name, default: llama3-8b-8192}
      - {name: groq_api_key, as: service_key}
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lollms_core.protocols.dialects import DIALECTS, Dialect

__all__ = ["completed"]


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The description with all that follows from its `dialect`; as it is, with a warning, if there is no such row."""
    row = DIALECTS.get(str(values["dialect"]))
    if row is None:
        logging.getLogger("lollms_client").warning("There is no dialect %r.", values["dialect"])
        return dict(values)
    given = values.get("input_parameters") or []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        return dict(values)
    parameters = _common(row)
    for entry in given:
        name = str(entry.get("as") or entry.get("name"))
        special = {key: value for key, value in entry.items() if key != "as"}
        if special.get("default"):
            special.setdefault("mandatory", False)
        parameters[name] = {**parameters.get(name, {}), **special}
    return {"author": "lollms", "version": "0.1.0", **values, "input_parameters": list(parameters.values())}


def _common(row: Dialect) -> dict[str, dict[str, Any]]:
    key = "A key that is sent as a bearer token, for a server that asks for one."
    if row.key_variable:
        key = (
            f"The API key. Without it the environment variable {row.key_variable} is used, or what `lollms keys` "
            "holds, for the provider's own address."
        )
    return {
        "model_name": {
            "name": "model_name",
            "type": "str",
            "description": "The model to use when a call names none.",
            "mandatory": not row.start,
            "default": "",
        },
        "service_key": {
            "name": "service_key",
            "type": "str",
            "description": key,
            "mandatory": False,
            "default": "",
            "is_secret": True,
        },
        "host_address": {
            "name": "host_address",
            "type": "str",
            "description": "The base URL of the server, with its version.",
            "mandatory": not row.address,
            "default": row.address,
        },
        "verify_ssl_certificate": {
            "name": "verify_ssl_certificate",
            "type": "bool",
            "description": "Whether the server's certificate is checked.",
            "mandatory": False,
            "default": True,
        },
    }
