"""The manager finds and makes bindings: those that come along, and those in a folder of one's own, which go first."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

import lollms_client.llm_bindings
from lollms_client import LollmsClient, LollmsLLMBinding, LollmsLLMBindingManager
from lollms_client.binding_folders import described
from lollms_client.lollms_llm_binding import get_available_bindings
from lollms_core.errors import MissingDependency, UnknownBinding

SHIPPED = [
    "azure_openai",
    "claude",
    "deepseek",
    "gemini",
    "grok",
    "groq",
    "hugging_face_inference_api",
    "litellm",
    "llamacpp",
    "lm_studio",
    "localai",
    "lollms",
    "lollms_webui",
    "mistral",
    "novita_ai",
    "ollama",
    "open_router",
    "openai",
    "openllm",
    "openwebui",
    "perplexity",
    "pythonllamacpp",
    "sglang",
    "tensor_rt",
    "together",
    "transformers",
    "vllm",
]

SOURCE = """
from lollms_client.lollms_llm_binding import LollmsLLMBinding, MSG_TYPE

BindingName = "MyCustomLLMBinding"


class MyCustomLLMBinding(LollmsLLMBinding):
    def __init__(self, model_identifier: str, some_config_param: str):
        super().__init__(binding_name="my_custom_binding")
        self.model_name = model_identifier
        self.config_param = some_config_param
        if not self.load_model(model_identifier):
            raise RuntimeError(f"Failed to load model {model_identifier}")

    def load_model(self, model_name: str) -> bool:
        self.model_name = model_name
        return model_name != "broken"

    def generate_text(self, prompt, streaming_callback=None, **kwargs):
        for word in prompt.split():
            if streaming_callback and not streaming_callback(word, MSG_TYPE.MSG_TYPE_CHUNK):
                break
        return f"{self.config_param}: {prompt}"
"""


@pytest.fixture(autouse=True)
def no_folders_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOLLMS_HOME", str(tmp_path / "nobody"))
    monkeypatch.delenv("LOLLMS_BINDINGS_DIR", raising=False)


def write(folder: Path, name: str, source: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(source, encoding="utf-8")
    return folder


def test_the_shipped_ones_are_found_made_and_described() -> None:
    manager = LollmsLLMBindingManager()
    assert manager.get_available_bindings() == get_available_bindings() == SHIPPED
    assert LollmsClient().get_available_llm_bindings() == SHIPPED
    needed = {
        "azure_openai": {"azure_endpoint": "https://example.openai.azure.com"},
        "transformers": {"model_name_or_id": "org/model", "allow_downloads": True},
    }
    for name in SHIPPED:
        binding = manager.create_binding(name, **needed.get(name, {}))
        assert isinstance(binding, LollmsLLMBinding)
        assert binding.binding_name == name
        assert manager.available_bindings[name] is type(binding)
        folder = manager.llm_bindings_dir / name
        assert len((folder / "__init__.py").read_text(encoding="utf-8").splitlines()) <= 250
        card = described(folder)
        assert card["binding_name"] == name
        assert {"title", "author", "description", "input_parameters"} <= set(card)
        for parameter in card["input_parameters"]:
            assert {"name", "type", "description", "mandatory", "default"} <= set(parameter)
            assert parameter["type"] in ("str", "int", "float", "bool")
            if "key" in parameter["name"]:
                assert parameter["is_secret"] is True


def test_the_documented_example_loads_from_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = write(tmp_path, "my_custom", SOURCE)
    client = LollmsClient(
        binding_name="my_custom",
        llm_bindings_dir=folder,
        llm_binding_config={"model_identifier": "m", "some_config_param": "p"},
    )
    assert client.get_available_llm_bindings() == sorted([*SHIPPED, "my_custom"])
    assert client.generate_text("Hi there") == "p: Hi there"
    assert client.get_model_name() == "m"
    assert client.switch_model("broken") is False
    module = type(client.llm).__module__
    assert module.startswith("lollms_plugin_my_custom_")
    assert module in sys.modules
    assert not hasattr(lollms_client.llm_bindings, "my_custom")


def test_a_constructor_that_fails_passes_its_error_or_gives_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, "my_custom", SOURCE)
    config = {"model_identifier": "broken", "some_config_param": "p"}
    with pytest.raises(RuntimeError, match="Failed to load model broken"):
        LollmsClient(binding_name="my_custom", llm_bindings_dir=folder, llm_binding_config=config)
    manager = LollmsLLMBindingManager(folder)
    with caplog.at_level(logging.WARNING, "lollms_client"):
        assert manager.create_binding("my_custom", **config) is None
        assert manager.create_binding("nonsense") is None
    assert "Failed to load model broken" in caplog.text
    assert "'nonsense'" in caplog.text
    with pytest.raises(TypeError, match="some_config_param"):
        LollmsClient(binding_name="my_custom", llm_bindings_dir=folder, llm_binding_config={"model_identifier": "m"})


def test_ones_own_goes_first_and_two_of_one_name_do_not_meet(tmp_path: Path) -> None:
    source = (
        "from lollms_client import LollmsLLMBinding\nBindingName = 'B'\nclass B(LollmsLLMBinding):\n    mark = {0}\n"
    )
    first = write(tmp_path / "1", "openai", source.format(1))
    second = write(tmp_path / "2", "openai", source.format(2))
    made: list[Any] = [LollmsClient("openai", llm_bindings_dir=folder).llm for folder in (first, second)]
    assert [each.mark for each in made] == [1, 2]
    assert type(LollmsClient("openai").llm).__module__ == "lollms_client.llm_bindings.openai"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1/0", "division"),
        ("def", "SyntaxError"),
        ("", "must set BindingName"),
        ("BindingName = 'Absent'", "must set BindingName"),
        ("BindingName = 'int'", "must set BindingName"),
        ("class X: pass\nBindingName = 'X'", "inherits from LollmsLLMBinding"),
    ],
)
def test_a_folder_that_is_no_binding_says_why(tmp_path: Path, source: str, words: str) -> None:
    folder = write(tmp_path, "odd", source)
    with pytest.raises(UnknownBinding, match=words) as caught:
        LollmsClient("odd", llm_bindings_dir=folder)
    assert isinstance(caught.value, ValueError)
    assert str(folder / "odd") in str(caught.value)


def test_a_missing_package_is_named_and_nothing_is_installed(tmp_path: Path) -> None:
    source = "import pipmaster as pm\npm.ensure_packages(['no-such-package-zz'])\n"
    folder = write(tmp_path, "needs", source)
    with pytest.raises(MissingDependency, match="no-such-package-zz"):
        LollmsClient("needs", llm_bindings_dir=folder)


@pytest.mark.parametrize("name", ["../openai", "openai/../lollms", "__pycache__", ".hidden", "", "open\0ai", "."])
def test_a_name_is_looked_up_never_joined(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownBinding):
        LollmsLLMBindingManager(tmp_path).build(name, {})


def test_arguments_that_the_constructor_does_not_take_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = (
        "from lollms_client import LollmsLLMBinding\nBindingName = 'B'\n"
        "class B(LollmsLLMBinding):\n"
        "    def __init__(self, host_address='http://own', model_name='own', color=None, service_key='k'):\n"
        "        self.got = (host_address, model_name, color, service_key)\n"
    )
    folder = write(tmp_path, "narrow", source)
    with caplog.at_level(logging.WARNING, "lollms_client"):
        client: Any = LollmsClient("narrow", llm_bindings_dir=folder, llm_binding_config={"color": "red", "size": 3})
    assert client.llm.got == ("http://own", "own", "red", "k")
    assert "does not take size" in caplog.text
    given: Any = LollmsClient("narrow", "http://x", llm_bindings_dir=folder, model_name="m", service_key="s")
    assert given.llm.got == ("http://x", "m", None, "s")


def test_a_required_argument_gets_none_rather_than_nothing(tmp_path: Path) -> None:
    source = (
        "from lollms_client import LollmsLLMBinding\nBindingName = 'B'\n"
        "class B(LollmsLLMBinding):\n"
        "    def __init__(self, host_address, **kwargs):\n"
        "        self.got = (host_address, kwargs)\n"
    )
    client: Any = LollmsClient("wide", llm_bindings_dir=write(tmp_path, "wide", source), llm_binding_config={"x": 1})
    host, rest = client.llm.got
    assert host is None
    assert rest == {"models_path": None, "model_name": "", "service_key": None, "verify_ssl_certificate": True, "x": 1}


def test_changing_the_binding_takes_only_its_own_configuration(tmp_path: Path) -> None:
    folder = write(tmp_path, "my_custom", SOURCE)
    client = LollmsClient("openai", service_key="secret", llm_bindings_dir=folder)
    first = client.llm
    with pytest.raises(ValueError, match="'nonsense'"):
        client.update_llm_binding("nonsense")
    assert client.llm is first
    client.update_llm_binding("my_custom", {"model_identifier": "m", "some_config_param": "p"})
    assert client.generate_text("a") == "p: a"
    client.update_llm_binding("lollms")
    assert client.llm.binding_name == "lollms"  # type: ignore[union-attr]


def test_an_unreadable_folder_leaves_the_shipped_ones(tmp_path: Path) -> None:
    assert LollmsLLMBindingManager(tmp_path / "absent").get_available_bindings() == SHIPPED
