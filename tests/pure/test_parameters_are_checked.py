"""Parameters: what is known is checked, what chooses a backend never passes, what is dropped is said."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.errors import InvalidRequest
from lollms_core.types import Params
from lollms_server.core.parameters import KNOWN, MAX_PARAMETERS, read_parameters


def test_known_names_become_fields_under_all_their_spellings() -> None:
    read = read_parameters(
        {"n_predict": 5, "temperature": 1, "context_size": 2048, "stop_sequences": "END", "seed": -1}
    )
    assert read.params == Params(max_tokens=5, temperature=1.0, ctx_size=2048, stop=("END",), seed=-1)
    assert read.receipt == ()


def test_nothing_is_set_that_nobody_set() -> None:
    assert read_parameters({}).params.given() == {}
    assert read_parameters({"temperature": None, "stop": None}).params.given() == {}


@pytest.mark.parametrize("name", sorted(KNOWN))
@pytest.mark.parametrize("value", ["abc", True, [1], {}, math.nan, math.inf, 10**30, -(10**30)])
def test_a_wrong_type_or_a_value_out_of_bounds_is_refused_with_its_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_parameters({name: value})
    assert caught.value.param == name
    assert name in str(caught.value)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_bounds_belong_to_what_is_allowed(name: str) -> None:
    bounds = KNOWN[name]
    for value in (bounds.low, bounds.high):
        assert read_parameters({name: int(value)}).params.given()[bounds.field] == value
    for value in (bounds.low - 1, bounds.high * 2 + 1):
        with pytest.raises(InvalidRequest):
            read_parameters({name: int(value)})


@pytest.mark.parametrize("value", [5, [""], ["x" * 501], ["x"] * 17, [1], {"a": 1}])
def test_stop_is_a_text_or_a_short_list_of_short_texts(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="stop"):
        read_parameters({"stop": value})


ROUTING = """
    base_url api_key API_KEY Api-Key headers default_headers extra_headers extra_body extra_query extra_anything
    api_base openai_api_base service_key authorization host host_address url endpoint azure_endpoint deployment
    organization project provider route proxy proxies http_client verify_ssl_certificate model messages stream
"""


@pytest.mark.parametrize("name", ROUTING.split())
def test_what_chooses_the_backend_never_passes_and_is_reported(name: str) -> None:
    read = read_parameters({name: "http://attacker.example", "temperature": 0.5})
    assert read.params == Params(temperature=0.5)
    assert [(item.name, item.action) for item in read.receipt] == [(name, "dropped")]
    assert "attacker" not in repr(read)


def test_unknown_names_go_on_unchanged() -> None:
    value = {"deep": [1, {"x": None}]}
    assert read_parameters({"mirostat": 2, "my_knob": value}).params.extra == {"mirostat": 2, "my_knob": value}


def test_the_canonical_name_wins_over_an_alias_which_is_still_checked() -> None:
    read = read_parameters({"n_predict": 5, "max_tokens": 7})
    assert read.params.max_tokens == 7
    assert [item.name for item in read.receipt] == ["n_predict"]
    with pytest.raises(InvalidRequest):
        read_parameters({"n_predict": "many", "max_tokens": 7})


def test_the_documented_system_message_is_taken_out() -> None:
    read = read_parameters({"system_message": "Be brief."})
    assert (read.system_message, read.params.extra) == ("Be brief.", {})
    with pytest.raises(InvalidRequest):
        read_parameters({"system_message": 5})


def test_there_is_a_bound_on_how_many() -> None:
    with pytest.raises(InvalidRequest, match=str(MAX_PARAMETERS)):
        read_parameters({f"p{i}": i for i in range(MAX_PARAMETERS + 1)})
    assert [item.action for item in read_parameters({"x" * 65: 1}).receipt] == ["dropped"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*KNOWN, "stop", "base_url", "x"]) | st.text(max_size=80), JSON, max_size=8))
def test_any_json_gives_parameters_or_one_typed_error(raw: dict[str, Any]) -> None:
    refused = ""
    read = None
    try:
        read = read_parameters(raw)
    except InvalidRequest as error:
        refused = error.param
    assert refused in raw if read is None else not {"base_url", "api_key"} & set(read.params.extra)
