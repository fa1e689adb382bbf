"""A provider of the chat protocol is a row and a folder of at most 25 lines, with the documented keys and variables.

A key of the environment goes to the provider's own address and to no other.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from lollms_client import LollmsLLMBindingManager
from lollms_client.chat_binding import ChatBinding
from lollms_client.llm_bindings import __path__ as shipped
from lollms_core.errors import InvalidRequest, Refused
from lollms_core.protocols.dialects import DIALECTS
from lollms_runtime.provider_keys import save_provider_key
from lollms_runtime.yaml_file import load_yaml

SHIPPED = Path(next(iter(shipped)))
HOSTED = {  # name: (another name of service_key, variable, model where none is named)
    "open_router": ("open_router_api_key", "OPENROUTER_API_KEY", "google/gemini-flash-1.5"),
    "groq": ("groq_api_key", "GROQ_API_KEY", "llama3-8b-8192"),
    "mistral": ("mistral_api_key", "MISTRAL_API_KEY", "mistral-large-latest"),
    "grok": ("service_key", "XAI_API_KEY", "grok-1.5-vision-preview"),
    "perplexity": ("service_key", "PERPLEXITY_API_KEY", "sonar"),
    "novita_ai": ("service_key", "NOVITA_API_KEY", ""),
    "deepseek": ("service_key", "DEEPSEEK_API_KEY", ""),
    "together": ("service_key", "TOGETHER_API_KEY", ""),
}
LOCAL = {
    "litellm": "litellm --model",
    "vllm": "vllm serve",
    "sglang": "sglang.launch_server",
    "openllm": "openllm serve",
    "openwebui": "open-webui serve",
    "tensor_rt": "trtllm-serve",
    "lm_studio": "lms server start",
    "localai": "local-ai run",
}
ALL = [*HOSTED, "azure_openai", *LOCAL]
AZURE = "https://mine.openai.azure.com"


def built(name: str, **config: Any) -> Any:
    return LollmsLLMBindingManager().build(name, {}, config)


@pytest.mark.parametrize("name", ALL)
def test_a_folder_has_25_lines_at_most(name: str) -> None:
    files = [path for path in (SHIPPED / name).iterdir() if path.is_file()]
    assert sorted(path.name for path in files) == ["__init__.py", "description.yaml"]
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 150


@pytest.mark.parametrize("name", ALL)
def test_a_description_lists_what_the_constructor_takes(name: str, caplog: pytest.LogCaptureFixture) -> None:
    (found,) = (each for each in LollmsLLMBindingManager().get_binding_descriptions() if each["binding_name"] == name)
    assert found["dialect"] == name
    assert {"title", "description", "author", "version"} <= set(found)
    assert "input_parameters" in load_yaml(SHIPPED / name / "description.yaml").values
    parameters = {each["name"]: each for each in found["input_parameters"]}
    assert len(parameters) == len(found["input_parameters"]) >= 4
    for parameter in parameters.values():
        assert set(parameter) == {"name", "type", "description", "mandatory", "default", "is_secret"}
        assert parameter["description"].endswith(".")
    (secret,) = (each["name"] for each in parameters.values() if each["is_secret"])
    assert secret == (HOSTED.get(name, ("azure_api_key" if name == "azure_openai" else "service_key",))[0])
    assert parameters["verify_ssl_certificate"]["default"] is True
    filled = {each: value["default"] for each, value in parameters.items()}
    with caplog.at_level(logging.WARNING):
        binding = built(name, **{**filled, "host_address": filled.get("host_address") or AZURE, secret: "given"})
    assert not caplog.records  # it takes everything that the form has
    assert isinstance(binding, ChatBinding)
    assert binding.target.key == "given"
    assert (binding.model_name or "") == parameters["model_name"]["default"]


@pytest.mark.parametrize("name", HOSTED)
def test_keys_and_models_of_both_generations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alias, variable, model = HOSTED[name]
    monkeypatch.delenv(variable, raising=False)
    assert built(name).target.key == ""
    monkeypatch.setenv(variable, "from-environment")
    own = built(name)
    assert (own.target.key, own.target.base_url, own.model_name) == ("from-environment", DIALECTS[name].address, model)
    assert "from-environment" not in repr(own.target)
    for given in ({alias: "given"}, {"service_key": "given"}):
        assert built(name, **given, model_name="other").target.key == "given"
    assert built(name, model_name="other").model_name == "other"
    for elsewhere in elsewheres(own.target.base_url):
        assert built(name, host_address=elsewhere).target.key == "", elsewhere  # it is for the provider alone
        assert built(name, host_address=elsewhere, **{alias: "given"}).target.key == "given"
    scheme, _, host = own.target.base_url.split("/")[:3]
    for same in (f"{scheme}//{host}/other/v2", f"HTTPS://{host.upper()}/v1/", f" {scheme}//{host}:443"):
        assert built(name, host_address=same).target.key == "from-environment", same


def elsewheres(own: str) -> list[str]:
    """Addresses that look like a provider's and are not."""
    scheme, _, host, *path = own.split("/")
    hosts = (f"{host}.evil.example", f"{host}.", f"{host}:444", f"user@{host}", f"{host}@evil.example", f"x.{host}")
    odd = (f"{host}\\.evil.example", f"{host};evil.example", f"{host}%2eevil.example", f"{host}\\@evil.example")
    built = [f"{scheme}//{each}/{'/'.join(path)}" for each in (*hosts, *odd)]
    plain = "http://" + own.removeprefix("https://")
    return [
        *built,
        plain,
        "http://127.0.0.1:9",
        f"http://evil.example/{own}",
        f"{own.replace('//', '///')}",
        "https://[",
    ]


def test_a_key_that_was_saved_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOLLMS_HOME", str(tmp_path))
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    save_provider_key("groq", "gsk-saved")
    assert built("groq").target.key == "gsk-saved"
    assert built("groq", host_address="http://127.0.0.1:9").target.key == ""


def test_azure_is_found_by_its_arguments_or_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "API_KEY", "API_VERSION"):
        monkeypatch.delenv(f"AZURE_OPENAI_{name}", raising=False)
    with pytest.raises(InvalidRequest, match="AZURE_OPENAI_ENDPOINT"):
        built("azure_openai")
    given = built("azure_openai", azure_endpoint=f"{AZURE}/", azure_api_key="given", azure_api_version="2025-01-01")
    assert (given.target.base_url, given.target.key) == (AZURE, "given")
    assert given.target.options == {"api-version": "2025-01-01"}
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "from-environment")
    assert built("azure_openai", azure_endpoint=AZURE).target.key == ""  # of which resource, nobody has said
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", AZURE + "/")
    assert built("azure_openai").target.key == "from-environment"
    assert built("azure_openai", azure_endpoint="https://other.openai.azure.com").target.key == ""
    assert built("azure_openai").target.options == {"api-version": "2024-02-01"}
    monkeypatch.setenv("AZURE_OPENAI_API_VERSION", "2024-10-21")
    assert built("azure_openai").target.options == {"api-version": "2024-10-21"}


def test_azures_newer_form_has_no_version() -> None:
    binding = built("azure_openai", azure_endpoint=f"{AZURE}/openai/v1/", azure_api_key="given")
    assert (binding.dialect.name, binding.target.options) == ("azure_openai_v1", {})
    assert built("azure_openai", azure_endpoint=AZURE).dialect.name == "azure_openai"


@pytest.mark.parametrize("name", LOCAL)
def test_a_server_of_ones_own_says_how_it_is_started(name: str) -> None:
    binding = built(name)
    assert binding.host_address == DIALECTS[name].address
    assert binding.target.key == ("anything" if name == "litellm" else "")
    message = str(binding.refused(Refused("no")))
    assert LOCAL[name] in message
    assert binding.host_address in message
    assert built(name, service_key="given").target.key == "given"


def test_patience_of_openllm_is_a_number_of_seconds() -> None:
    timeouts = built("openllm", timeout=7).target.timeouts
    assert (timeouts.first_byte, timeouts.idle, timeouts.connect) == (7.0, 7.0, 10.0)
    assert built("openllm").target.timeouts.first_byte == 120.0
    for wrong in (-1, float("inf"), float("nan")):
        with pytest.raises(InvalidRequest, match="time-out"):
            built("openllm", timeout=wrong)


def test_a_description_with_an_unknown_dialect_is_shown_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, more in (("a", "input_parameters: [{name: x}]"), ("b", "input_parameters: {name: x}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("", encoding="utf-8")
        dialect = "nobodys" if name == "a" else "groq"
        (tmp_path / name / "description.yaml").write_text(f"title: T\ndialect: {dialect}\n{more}\n", encoding="utf-8")
    shown = {each["binding_name"]: each for each in LollmsLLMBindingManager(tmp_path).get_binding_descriptions()}
    assert [each["name"] for each in shown["a"]["input_parameters"]] == ["x"]
    assert [each["name"] for each in shown["b"]["input_parameters"]] == ["x"]
    assert "nobodys" in caplog.text


PORTAL = f"{AZURE}/openai/deployments/m/chat/completions?api-version=2025-01-01-preview&key=secret-of-mine"


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("service_key", 123),
        ("model_name", 5),
        ("host_address", 7),
        ("host_address", PORTAL),
        ("host_address", f"{AZURE}/#x"),
        ("timeouts", "fast"),
        ("timeouts", {"idle": "long"}),
        ("timeouts", {"connect": None}),
        ("timeouts", {"idle": 0}),
    ],
)
@pytest.mark.parametrize("name", ["groq", "azure_openai", "openai", "hugging_face_inference_api"])
def test_what_cannot_be_meant_is_refused_in_words(name: str, param: str, value: Any) -> None:
    given = {"host_address": AZURE, param: value}
    with pytest.raises(InvalidRequest) as caught:
        built(name, **given)
    assert caught.value.param == param
    assert "secret" not in str(caught.value)
    assert built(name, host_address=AZURE, timeouts={"total": None, "idle": 5}).target.timeouts.idle == 5
