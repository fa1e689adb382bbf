"""A parameter that nobody set is not sent; names of both generations work; mistakes are named."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lollms_client import ELF_GENERATION_FORMAT, LollmsClient
from lollms_client.http_binding import HttpBinding
from lollms_client.parameters import checked_params
from lollms_client.testing import ScriptedBinding, scripted_client
from lollms_core.errors import InvalidRequest
from lollms_core.types import Message, Params


def sent(client: LollmsClient) -> dict[str, Any]:
    assert isinstance(client.binding, ScriptedBinding)
    params = client.binding.calls[-1].params
    return {**params.given(), **params.extra}


def test_nothing_set_nothing_sent() -> None:
    client = scripted_client(["a", "b"])
    client.generate_text("Hi")
    assert sent(client) == {}
    client.complete("Hi")
    assert sent(client) == {}
    assert client.default_n_predict is client.default_temperature is client.default_ctx_size is None


def test_defaults_of_the_client_and_of_the_call() -> None:
    client = scripted_client(["a"] * 3, n_predict=10, top_k=5, seed=1, repeat_penalty=1.1)
    client.generate_text("Hi", n_predict=20, min_p=0.1)
    assert sent(client) == {"max_tokens": 20, "top_k": 5, "seed": 1, "repeat_penalty": 1.1, "min_p": 0.1}
    client.default_top_k = None
    client.complete("Hi", max_tokens=30)
    assert sent(client) == {"max_tokens": 30, "seed": 1, "repeat_penalty": 1.1}
    client.generate_from_messages([{"role": "user", "content": "Hi"}], 40)
    assert sent(client)["max_tokens"] == 40


def test_the_older_guide_and_its_numbers() -> None:
    client = LollmsClient(
        host_address="http://localhost:9600",
        model_name="gpt-3.5-turbo",
        n_predict=512,
        default_generation_mode=ELF_GENERATION_FORMAT.OPENAI,
    )
    binding = client.llm
    assert isinstance(binding, HttpBinding)
    assert binding.binding_name == "openai"
    assert binding.host_address == "http://localhost:9600/v1"
    assert binding.model_name == client.get_model_name() == "gpt-3.5-turbo"
    assert (client.default_n_predict, client.default_temperature) == (512, 0.1)
    assert (client.default_top_k, client.default_top_p, client.default_ctx_size) == (50, 0.95, 32000)
    assert client.default_repeat_penalty is None
    assert client.get_ctx_size() == 32000
    older = LollmsClient(default_generation_mode=ELF_GENERATION_FORMAT.LOLLMS)
    assert isinstance(older.binding, HttpBinding)
    assert older.binding.host_address == "http://localhost:9600"
    vllm = LollmsClient(default_generation_mode=ELF_GENERATION_FORMAT.VLLM).binding
    assert vllm is not None
    assert vllm.binding_name == "vllm"


def test_both_spellings_of_the_constructor() -> None:
    assert LollmsClient().llm.binding_name == "lollms"  # type: ignore[union-attr]
    assert LollmsClient("openai").binding.binding_name == "openai"  # type: ignore[union-attr]
    client = LollmsClient(llm_binding_name="openai", llm_binding_config={"model_name": "m"}, model_name="other")
    assert client.binding is client.llm
    assert client.get_model_name() == "m"
    events: list[Any] = []
    scripted = scripted_client(["a"], callback=lambda chunk, _: events.append(chunk))
    scripted.generate_text("Hi")
    assert events == ["a"]


def test_modalities_and_unknown_arguments_are_noted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lollms_client"):
        client = LollmsClient(tts_binding_name="bark", tti_binding_config={}, frobnicate=1)
    assert client.tts is client.tti is client.stt is client.ttv is client.ttm is client.mcp is None
    assert [record.getMessage() for record in caplog.records] == [
        "There is no tts binding 'bark' here; the attribute stays None.",
        "The LLM binding 'lollms' does not take frobnicate; it is made without.",
    ]


def test_split_makes_messages_of_a_discussion() -> None:
    client = scripted_client(["a", "b"])
    text = (
        "Be kind.\n!@>user:\nHi, 2 < 3!\n!@>assistant: Hello\n!@>user:\n\n!@>assistant:\n!@>other: stays\n!@>user: Bye"
    )
    client.generate_text(text, system_prompt="First.", split=True)
    assert client.binding.calls[-1].messages == (  # type: ignore[union-attr]
        Message.system("First."),
        Message.system("Be kind."),
        Message.user("Hi, 2 < 3!"),
        Message.assistant("Hello"),
        Message.assistant("!@>other: stays"),
        Message.user("Bye"),
    )
    client.generate_text("Q: one A: two", split=True, user_keyword="Q:", ai_keyword="A:")
    assert client.binding.calls[-1].messages == (Message.user("one"), Message.assistant("two"))  # type: ignore[union-attr]


def test_headers() -> None:
    client = scripted_client([])
    assert (client.system_full_header, client.user_full_header, client.ai_full_header) == (
        "!@>system: ",
        "!@>user: ",
        "!@>assistant: ",
    )
    assert client.user_custom_header("Ann") == "!@>Ann: "
    assert client.ai_custom_header("Bot") == "!@>Bot: "
    assert client.system_custom_header("rules") == "!@>rules: "
    assert client.sink("a", 1, {}) is None  # type: ignore[func-returns-value]


class Whole:
    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("given", "params"),
    [
        ({"n_predict": 5}, Params(max_tokens=5)),
        ({"n_predict": -1, "temperature": None}, Params()),
        ({"n_predict": 5.0, "top_k": Whole()}, Params(max_tokens=5, top_k=7)),
        ({"temperature": 1, "seed": -1}, Params(temperature=1.0, seed=-1)),
        ({"stop": ["a", "b"]}, Params(stop=("a", "b"))),
        ({"stop": "a", "x": "y"}, Params(stop=("a",), extra={"x": "y"})),
        ({"ctx_size": 4096, "n_threads": 2}, Params(ctx_size=4096, n_threads=2)),
    ],
)
def test_parameters_are_understood(given: dict[str, Any], params: Params) -> None:
    assert checked_params(given) == params


@pytest.mark.parametrize(
    "given",
    [
        {"n_predict": 0},
        {"n_predict": -2},
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": -5},
        {"n_predict": "5"},
        {"n_predict": 5.5},
        {"n_predict": True},
        {"temperature": -1},
        {"temperature": "warm"},
        {"temperature": float("nan")},
        {"top_p": 1.5},
        {"top_k": [1]},
        {"seed": 2**64},
        {"stop": [""]},
        {"stop": 5},
        {"ctx_size": 10**30},
        {"max_tokens": float("inf")},
    ],
)
def test_wrong_parameters_are_named(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        checked_params(given)
    (name,) = given
    assert caught.value.param == name
    assert name in str(caught.value)


def test_what_a_binding_takes_may_stand_in_the_constructor() -> None:
    groq = LollmsClient(binding_name="groq", groq_api_key="k-1", model_name="one").binding
    assert isinstance(groq, HttpBinding)
    assert groq.target.key == "k-1"
    azure = LollmsClient(
        binding_name="azure_openai", azure_endpoint="https://x.openai.azure.com", azure_api_key="k-2", model_name="one"
    ).binding
    assert isinstance(azure, HttpBinding)
    assert (azure.host_address, azure.target.key) == ("https://x.openai.azure.com", "k-2")
    both = LollmsClient(binding_name="groq", groq_api_key="k-1", llm_binding_config={"groq_api_key": "k-3"}).binding
    assert isinstance(both, HttpBinding)
    assert both.target.key == "k-3"
