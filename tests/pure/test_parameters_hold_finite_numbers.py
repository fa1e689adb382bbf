"""A number that JSON cannot say, such as 1e400, is refused by the name of its parameter, wherever it stands."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic_core import from_json

from lollms_core.errors import InvalidRequest
from lollms_server.core.parameters import read_parameters


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1.5e999"])
@pytest.mark.parametrize("form", ["{}", "[1, {}]", '{{"a": {{"b": [{}]}}}}'])
@pytest.mark.parametrize("name", ["mirostat_tau", "temperature"])
def test_infinite_numbers_are_refused(name: str, form: str, number: str) -> None:
    value = from_json(form.format(number), allow_inf_nan=False)
    with pytest.raises(InvalidRequest, match=f"Parameter {name} ") as caught:
        read_parameters({name: value})
    assert caught.value.param == name


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Parameter mine "):
        read_parameters({"mine": math.nan})


@pytest.mark.parametrize("value", [1, 1.5, True, "inf", [1e308, {"a": None}], {"a": [[[[]]]]}, 2**70])
def test_all_else_passes(value: Any) -> None:
    assert read_parameters({"mine": value}).params.extra == {"mine": value}
