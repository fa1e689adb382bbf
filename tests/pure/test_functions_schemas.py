"""A function's signature and docstring become the schema that models get, and the check of what they send."""

from __future__ import annotations

import datetime
import enum
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field

from lollms_server.core.functions.docstrings import describe
from lollms_server.core.functions.schema import ArgumentError, read_signature


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: int = 0


class Order(BaseModel):
    title: str
    count: int = 1


class Opaque:
    pass


async def simple(param1: str, optional_param: int = 0) -> dict[str, Any]:
    return {"result": f"Processed {param1} with {optional_param}"}


async def rich(  # type: ignore[no-untyped-def]
    whole: int,
    real: float,
    maybe: Optional[str],  # noqa: UP045
    words: list[str],
    table: dict[str, int],
    color: Color,
    point: Point,
    order: Order,
    day: datetime.date,
    mode: Literal["fast", "slow"] = "fast",
    late: str | None = None,
    wrong_default: int = None,  # type: ignore[assignment] # noqa: RUF013
    small: Annotated[int, Field(ge=1, le=9, description="a digit")] = 1,
    said: Annotated[bool, "whether it was said"] = False,
    bare=3,
) -> None:
    """Takes everything."""


def properties(function: Callable[..., Any]) -> dict[str, Any]:
    return dict(read_signature(function).schema["properties"])


def test_the_documented_example() -> None:
    assert read_signature(simple).schema == {
        "type": "object",
        "properties": {"param1": {"type": "string"}, "optional_param": {"type": "integer", "default": 0}},
        "required": ["param1"],
        "additionalProperties": False,
    }


def test_types_defaults_and_descriptions() -> None:
    signature = read_signature(rich)
    found = signature.schema["properties"]
    assert signature.doubts == ()
    assert found["whole"] == {"type": "integer"}
    assert found["real"] == {"type": "number"}
    assert found["maybe"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert found["words"] == {"type": "array", "items": {"type": "string"}}
    assert found["table"] == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert found["mode"] == {"type": "string", "enum": ["fast", "slow"], "default": "fast"}
    assert found["late"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert found["wrong_default"] == {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}
    assert found["small"] == {"type": "integer", "minimum": 1, "maximum": 9, "default": 1, "description": "a digit"}
    assert found["said"] == {"type": "boolean", "default": False, "description": "whether it was said"}
    assert found["bare"] == {"default": 3}
    assert found["day"] == {"type": "string", "format": "date"}
    assert signature.schema["$defs"]["Order"]["properties"]["title"] == {"type": "string"}
    assert set(signature.schema["required"]) == {
        *("whole", "real", "maybe", "words", "table", "color", "point", "order", "day")
    }
    assert json.loads(json.dumps(signature.schema)) == signature.schema


def test_values_arrive_as_what_they_are_declared_to_be() -> None:
    given = {
        "whole": 3.0,
        "real": 1,
        "maybe": None,
        "words": ["a"],
        "table": {"a": 1},
        "color": "blue",
        "point": {"x": 1},
        "order": {"title": "t"},
        "day": "2024-05-01",
        "unknown": "is left out",
    }
    positional, keywords = read_signature(rich).bind(given)
    assert positional == []
    assert keywords == {
        "whole": 3,
        "real": 1.0,
        "maybe": None,
        "words": ["a"],
        "table": {"a": 1},
        "color": Color.BLUE,
        "point": Point(1, 0),
        "order": Order(title="t"),
        "day": datetime.date(2024, 5, 1),
    }
    assert type(keywords["whole"]) is int


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, ["'param1' is missing"]),
        ({"param1": 5}, ["'param1'", "string"]),
        ({"param1": "x", "optional_param": "many"}, ["'optional_param'", "integer"]),
        ({"param1": "x", "optional_param": [1]}, ["'optional_param'"]),
        ({"param1": None, "optional_param": None}, ["'param1'", "'optional_param'"]),
        ([1, 2], ["object"]),
    ],
)
def test_missing_and_wrong_arguments_are_named_and_not_shown(arguments: Any, named: list[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        read_signature(simple).bind(arguments)
    for text in named:
        assert text in str(caught.value)
    assert "many" not in str(caught.value)


def test_a_wrong_value_inside_of_an_argument_is_found() -> None:
    async def takes(points: list[Point]) -> None: ...

    with pytest.raises(ArgumentError, match=r"'points' \(at 1.x\)"):
        read_signature(takes).bind({"points": [{"x": 1}, {"x": "left"}]})


def test_every_kind_of_parameter_is_called_by_name() -> None:
    async def kinds(
        first: int, second: int = 2, /, third: int = 3, *rest: int, fourth: int, **more: int
    ) -> tuple[int, ...]:
        return (first, second, third, *rest, fourth, *more.values())

    signature = read_signature(kinds)
    assert signature.schema["required"] == ["first", "fourth"]
    assert signature.schema["additionalProperties"] is True
    positional, keywords = signature.bind({"fourth": 4, "first": 1, "further": 6})
    assert positional == [1, 2]
    assert keywords == {"fourth": 4, "further": 6}


def test_names_that_a_model_class_could_not_have() -> None:
    async def named(copy: int, schema: int, model_config: int, _hidden: int, self: int, title: str) -> None: ...

    given = {"copy": 1, "schema": 2, "model_config": 3, "_hidden": 4, "self": 5, "title": "t"}
    assert list(properties(named)) == list(given)
    assert read_signature(named).bind(given) == ([], given)


def test_a_parameter_that_cannot_be_understood_takes_anything_and_is_named() -> None:
    async def strange(here: Opaque, gone: Nowhere, call: Callable[[int], Awaitable[int]], fine: int) -> None: ...  # type: ignore[name-defined] # noqa: F821

    signature = read_signature(strange)
    assert [each.partition(":")[0] for each in sorted(signature.doubts)] == ["call", "gone", "here"]
    assert signature.schema["properties"] == {"here": {}, "gone": {}, "call": {}, "fine": {"type": "integer"}}
    thing = Opaque()
    assert signature.bind({"here": thing, "gone": 1, "call": print, "fine": 2})[1]["here"] is thing


def test_a_default_that_is_not_json_is_left_out() -> None:
    async def odd(thing: Any = Opaque(), path: object = object) -> None: ...  # noqa: B008

    assert properties(odd) == {"thing": {}, "path": {}}
    assert read_signature(odd).bind({}) == ([], {})


# ---- docstrings

GOOGLE = """Fetch the weather.

    More about it: it may rain.

    Args:
        city (str): Where,
            with the country.
        days: How many days.

    Returns:
        city: not this one
    """
NUMPY = """Fetch the weather.

    More about it: it may rain.

    Parameters
    ----------
    city : str
        Where,
        with the country.
    days : int, optional
        How many days.

    Returns
    -------
    dict
        Something.
    """
REST = """Fetch the weather.

    More about it: it may rain.

    :param city: Where,
        with the country.
    :type city: str
    :param int days: How many days.
    :returns: Something.
    """
PLAIN = """Fetch the weather.

    More about it: it may rain.

    city: Where,
        with the country.
    days: How many days.
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, REST, PLAIN], ids=["google", "numpy", "rest", "plain"])
def test_docstrings_of_all_styles_say_the_same(docstring: str) -> None:
    described = describe(docstring, {"city", "days"})
    assert described.text == "Fetch the weather.\n\nMore about it: it may rain."
    assert described.parameters == {"city": "Where, with the country.", "days": "How many days."}


def test_descriptions_stand_in_the_schema() -> None:
    async def weather(city: str, days: int = 1) -> None: ...

    weather.__doc__ = GOOGLE
    signature = read_signature(weather)
    assert signature.description == "Fetch the weather.\n\nMore about it: it may rain."
    assert signature.schema["properties"]["city"] == {"type": "string", "description": "Where, with the country."}


@pytest.mark.parametrize(
    "docstring", [None, "", "   ", "Args:", "Parameters\n----------", ":param", "x:\n  y\nz", "----"]
)
def test_any_docstring_is_read(docstring: str | None) -> None:
    assert describe(docstring, {"x"}).parameters in ({}, {"x": "y"})
