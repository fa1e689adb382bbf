"""What a function takes, from its signature: a JSON Schema for models, and a check of what they send.

The function's own file is the only source. Types become a pydantic model with one field for each parameter; what is
said of a parameter in the docstring, or by `Annotated[int, "how many"]`, becomes its description.

Nothing keeps a function from being used. A parameter whose annotation cannot be resolved, or has no form in JSON, takes
anything and is named in `doubts`; `*args` cannot be given by name and stays empty; `**kwargs` takes every further
argument, which without it is ignored. Positional-only parameters are given by name like all others.

Values are read as JSON is meant: "2024-05-01" is a date where a date is wanted, and 3.0 is a whole number.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import override

from lollms_server.core.functions.docstrings import describe

__all__ = ["ArgumentError", "Signature", "read_signature"]

_MAX_DESCRIPTION = 4000
_MAX_PROBLEMS = 3
_Kind = inspect.Parameter


class ArgumentError(ValueError):
    """Arguments that a function cannot take; the message names them."""


@dataclass(frozen=True)
class Signature:
    """How a function is called. `schema` is of type object; `doubts` are sentences on what could not be understood."""

    description: str
    schema: Mapping[str, Any]
    doubts: tuple[str, ...]
    _model: type[BaseModel]
    _parameters: tuple[inspect.Parameter, ...]

    def bind(self, arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the keyword arguments to call the function with.

        Arguments that the function does not know are left out. Raises `ArgumentError`.
        """
        if not isinstance(arguments, Mapping):
            raise ArgumentError("The arguments must be an object of names and values.")
        try:
            checked = self._model.model_validate(dict(arguments))
        except ValidationError as error:
            raise ArgumentError(_sentences(error)) from None
        values = {_name(type(checked), field): getattr(checked, field) for field in checked.model_fields_set}
        positional: list[Any] = []
        for each in self._parameters:
            if each.kind is _Kind.POSITIONAL_ONLY:
                positional.append(values.pop(each.name, each.default))
            elif each.kind is _Kind.VAR_KEYWORD:
                known = {_name(self._model, field) for field in self._model.model_fields}
                values |= {str(name): value for name, value in arguments.items() if name not in known}
        return positional, values


def read_signature(function: Callable[..., Coroutine[Any, Any, Any]]) -> Signature:
    """The signature of an async function. Raises nothing for a function that Python itself accepts."""
    parameters = tuple(inspect.signature(function).parameters.values())
    annotations, doubts = _annotations(function, parameters)
    described = describe(function.__doc__, {each.name for each in parameters})
    fields: dict[str, Any] = {}
    for place, each in enumerate(parameters):
        if each.kind in (_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD):
            continue
        kind = annotations[each.name]
        if (doubt := _not_in_json(kind)) is not None:
            doubts.append(f"{each.name}: {doubt}")
            kind = Any
        text = described.parameters.get(each.name) or _annotated_text(kind)
        if each.default is None and kind is not Any:
            kind = typing.Optional[kind]  # noqa: UP045 - "|" is not there for every kind of annotation
        fields[f"p{place}"] = (kind, _field(each, text))
    # Fields have names of their own, because a parameter may be called `copy`, `_x` or `model_name`.
    model = create_model("Arguments", __config__=ConfigDict(extra="ignore", arbitrary_types_allowed=True), **fields)
    schema = model.model_json_schema(schema_generator=_Schema)
    schema = {"type": "object", "properties": {}, **{k: v for k, v in schema.items() if k not in ("title", "type")}}
    schema["additionalProperties"] = any(each.kind is _Kind.VAR_KEYWORD for each in parameters)
    return Signature(described.text[:_MAX_DESCRIPTION], schema, tuple(doubts), model, parameters)


def _annotations(
    function: Callable[..., Any], parameters: tuple[inspect.Parameter, ...]
) -> tuple[dict[str, Any], list[str]]:
    """The type of each parameter; one that cannot be resolved is Any, and named."""
    doubts: list[str] = []
    found: dict[str, Any] = {}
    for each in parameters:
        found[each.name] = Any
        if each.annotation is _Kind.empty:
            continue
        alone = _Annotated(each.name, each.annotation, getattr(function, "__globals__", {}))
        try:
            found[each.name] = typing.get_type_hints(alone, include_extras=True)[each.name]
        except Exception as error:
            doubts.append(f"{each.name}: its annotation cannot be resolved ({type(error).__name__}: {error}).")
    return found, doubts


class _Annotated:
    """Something with one annotation, so that each can be resolved without the others."""

    def __init__(self, name: str, annotation: Any, names: dict[str, Any]) -> None:
        self.__annotations__ = {name: annotation}
        self.__globals__ = names


def _not_in_json(kind: Any) -> str | None:
    """Why values of a type cannot come from JSON; None when they can."""
    try:
        TypeAdapter(kind).json_schema(schema_generator=_Schema)
    except PydanticUserError:
        return f"its type has no form in JSON ({kind!r})."
    except Exception as error:  # a type of the function's file, with code of its own
        return f"its type cannot be used ({type(error).__name__}: {error})."
    return None


def _annotated_text(kind: Any) -> str | None:
    """The first text in `Annotated[type, "text"]`."""
    if typing.get_origin(kind) is Annotated:
        return next((each for each in typing.get_args(kind)[1:] if isinstance(each, str)), None)
    return None


def _field(parameter: inspect.Parameter, text: str | None) -> FieldInfo:
    more: dict[str, Any] = {"description": text[:_MAX_DESCRIPTION]} if text else {}
    default = ... if parameter.default is _Kind.empty else parameter.default
    field: FieldInfo = Field(default, alias=parameter.name, **more)
    return field


def _name(model: type[BaseModel], field: str) -> str:
    return model.model_fields[field].alias or field


class _Schema(GenerateJsonSchema):
    """JSON Schema without titles, which repeat the names; a default that is not JSON is left out in silence."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _sentences(error: ValidationError) -> str:
    """What is wrong, argument by argument, without the values."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    said = []
    for each in problems[:_MAX_PROBLEMS]:
        name, *inside = [str(part) for part in each["loc"]] or ["?"]
        where = f" (at {'.'.join(inside)})" if inside else ""
        missing = each["type"] == "missing" and not inside
        said.append(f"Argument {name!r} is missing." if missing else f"Argument {name!r}{where}: {each['msg']}.")
    if len(problems) > _MAX_PROBLEMS:
        said.append(f"And {len(problems) - _MAX_PROBLEMS} more.")
    return " ".join(said)
