"""The llama.cpp bindings take every documented form of their settings, and say at once what cannot be used."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lollms_client import ELF_COMPLETION_FORMAT, LollmsClient
from lollms_client.llamacpp_binding import LlamaCppEngines
from lollms_client.llm_bindings.llamacpp import LlamaCppServerBinding
from lollms_client.llm_bindings.pythonllamacpp import LlamaCppBinding
from lollms_core.errors import ConfigError, InvalidRequest, ModelNotFound, UnsupportedFeature
from lollms_runtime.engines.llamacpp_launch import LlamaCppSettings
from lollms_runtime.models import find_model

SETTINGS = {"n_gpu_layers": 0, "n_ctx": 512, "seed": 7, "chat_format": "chatml", "n_threads": 3, "embedding": True}
BOTH = pytest.mark.parametrize("kind", [LlamaCppBinding, LlamaCppServerBinding])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model and a projector."""
    for name in ("model", "mmproj-model"):
        (tmp_path / f"{name}.gguf").write_bytes(find_model("lollms-nano").read_bytes())
    return tmp_path


def settings_of(binding: Any) -> LlamaCppSettings:
    assert isinstance(binding, LlamaCppEngines)
    return binding.settings_of(binding.path_of(None))


def assert_as_set(binding: Any) -> None:
    found = settings_of(binding)
    assert (found.gpu_layers, found.context_size, found.chat_format) == (0, 512, "chatml")
    assert (found.threads, found.embedding, binding.options.seed) == (3, True, 7)


def test_the_readme_form(folder: Path) -> None:
    path = str(folder / "model.gguf")
    client = LollmsClient(binding_name="pythonllamacpp", model_name=path, llm_binding_config=SETTINGS)
    assert_as_set(client.llm)
    assert settings_of(client.llm).model == folder / "model.gguf"


def test_the_constructor_form(folder: Path) -> None:
    projector = str(folder / "mmproj-model.gguf")
    binding = LlamaCppBinding(
        model_path=str(folder / "model.gguf"), config={**SETTINGS, "clip_model_path": projector}, lollms_paths=None
    )
    assert_as_set(binding)
    assert settings_of(binding).image_projector == Path(projector)
    assert binding.model_name == str(folder / "model.gguf")


@pytest.mark.parametrize("name", ["models_path", "personal_models_path"])
def test_older_scripts_name_the_folder_of_models(folder: Path, name: str) -> None:
    for paths in ({name: folder}, SimpleNamespace(**{name: str(folder)})):
        binding = LlamaCppBinding(model_path="model", lollms_paths=paths)
        assert settings_of(binding).model == folder / "model.gguf"
    assert LlamaCppBinding(lollms_paths={"personal_path": "x"}).models_path is None


def test_the_server_form(folder: Path) -> None:
    binding = LlamaCppServerBinding(
        model_name="model",
        models_path=folder,
        clip_model_name="mmproj-model",
        config={**SETTINGS, "n_parallel": 5, "llama_server": "llama-server", "server_args": ["--mlock"]},
        default_completion_format=ELF_COMPLETION_FORMAT.Chat,
        max_models=3,
        verify_ssl_certificate=True,
    )
    assert_as_set(binding)
    found = settings_of(binding)
    assert found.image_projector == folder / "mmproj-model.gguf"
    assert (found.parallel, str(found.server_path), found.server_args) == (5, "llama-server", ("--mlock",))
    assert binding.max_models == 3
    assert binding.settings_of(find_model("lollms-nano")).image_projector is None  # it belongs to the other model


@BOTH
def test_a_dictionary_wins_over_arguments_and_nothing_is_needed(kind: Any) -> None:
    assert settings_of(kind(n_ctx=100, config={"n_ctx": 200})).context_size == 200
    bare = settings_of(kind())
    assert (bare.name, bare.context_size, bare.parallel, bare.gpu_layers) == ("lollms-nano", None, 2, -1)
    unset = settings_of(kind(n_ctx=0, n_threads=0, chat_format="", server_path="", config={}))
    assert unset == bare


@BOTH
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"n_ctx": "many"}, InvalidRequest, "n_ctx"),
        ({"config": {"seed": 1.5}}, InvalidRequest, "seed"),
        ({"parallel": True}, InvalidRequest, "parallel"),
        ({"config": "n_ctx=5"}, InvalidRequest, "config"),
        ({"config": {"clip_model_path": 5}}, InvalidRequest, "clip_model_path"),
        ({"config": {"server_args": "--mlock"}}, InvalidRequest, "server_args"),
        ({"config": {"max_models": 0}}, InvalidRequest, "max_models"),
        ({"config": {"in_process": True}}, UnsupportedFeature, "process of its own"),
        ({"chat_format": "no-such-format"}, UnsupportedFeature, "no-such-format"),
        ({"n_ctx": 3}, ConfigError, "context_size"),
        ({"parallel": 100}, ConfigError, "parallel"),
        ({"model_name": "absent"}, ModelNotFound, "absent"),
        ({"config": {"clip_model_path": "absent"}}, ModelNotFound, "absent"),
    ],
)
def test_what_cannot_be_used_is_said_by_the_constructor(
    kind: Any, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        kind(**arguments)


def test_a_text_is_not_continued_without_the_chat_format() -> None:
    with pytest.raises(UnsupportedFeature, match="chat_format"):
        LlamaCppServerBinding(default_completion_format=ELF_COMPLETION_FORMAT.Instruct)


@BOTH
def test_settings_of_other_programs_are_named_and_left_out(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lollms_client"):
        binding = kind(config={"n_batch": 512, "verbose": False, "n_ctx": 64}, use_mmap=True)
    assert settings_of(binding).context_size == 64
    assert [record.getMessage() for record in caplog.records] == [
        f"The LLM binding {kind.binding_name!r} does not take n_batch, use_mmap, verbose; it is made without."
    ]
