"""Settings of an engine: wrong ones are refused in words, right ones become the command that is run."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from lollms_core.errors import ConfigError, ModelLoadFailed, UnsupportedFeature
from lollms_runtime.engines.chat_formats import CHAT_FORMATS, chat_template_of
from lollms_runtime.engines.child import environment
from lollms_runtime.engines.gguf_header import ModelHeader, read_header
from lollms_runtime.engines.llamacpp_launch import LlamaCppSettings, launch_of, physical_cores
from lollms_runtime.models import EMBEDDED, find_model

NANO = find_model(EMBEDDED)
needs_engine = pytest.mark.group("engine")


def test_an_unknown_chat_format_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(UnsupportedFeature) as error:
        LlamaCppSettings(model=NANO, chat_format="klingon")
    assert all(name in error.value.message for name in ("klingon", "chatml", "llama-2", *CHAT_FORMATS))


@pytest.mark.parametrize(
    ("given", "name"), [(None, ""), ("", ""), ("chatml", "chatml"), (" ChatML ", "chatml"), ("llama-2", "llama2-sys")]
)
def test_chat_formats_have_the_names_people_use(given: str | None, name: str) -> None:
    assert chat_template_of(given) == name


@pytest.mark.parametrize(
    "wrong", [{"parallel": 0}, {"parallel": 65}, {"context_size": 1}, {"threads": 0}, {"gpu_layers": -2}]
)
def test_numbers_out_of_bounds_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError) as error:
        LlamaCppSettings(model=NANO, **wrong)  # type: ignore[arg-type]
    assert error.value.param in wrong


@needs_engine
def test_the_context_is_that_of_one_conversation_and_at_most_the_trained_one() -> None:
    trained = read_header(NANO).context_size
    assert trained is not None
    for wanted, got in ((None, min(trained, 8192)), (64, 64), (trained * 50, trained)):
        line = launch_of(LlamaCppSettings(model=NANO, context_size=wanted, parallel=3)).command().line
        assert (line["context"], line["parallel"], line["stage"]) == (got, 3, min(128, got))


@needs_engine
def test_each_engine_has_a_key_of_its_own_that_no_command_line_or_repr_shows() -> None:
    first, second = launch_of(LlamaCppSettings(model=NANO)), launch_of(LlamaCppSettings(model=NANO))
    command = first.command()
    assert len(first.key) >= 32
    assert first.key != second.key
    assert command.line["key"] == first.key
    assert first.key not in " ".join(command.argv)
    assert first.key not in repr(command)


def test_a_named_server_is_given_everything_but_the_key_as_arguments(tmp_path: Path) -> None:
    program = tmp_path / "llama server; rm -rf"
    program.write_text(f"#!{sys.executable}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    launch = launch_of(LlamaCppSettings(model=NANO, server_path=program, gpu_layers=0, server_args=("-fa", "on")))
    command = launch.command()
    argv = command.line["argv"]
    assert argv[0] == str(program)
    assert command.port == int(argv[argv.index("--port") + 1])
    assert (argv[argv.index("-b") + 1], argv[argv.index("-ngl") + 1]) == ("256", "0")
    assert argv[-2:] == ["-fa", "on"]
    assert command.line["env"] == {"LLAMA_API_KEY": launch.key}
    assert launch.key not in " ".join(argv)


def test_a_server_that_is_no_program_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="llama-server"):
        launch_of(LlamaCppSettings(model=NANO, server_path=tmp_path / "none")).command()


def test_a_file_that_is_no_model_is_refused_before_anything_is_run(tmp_path: Path) -> None:
    for data in (b"", b"GGUF", b"XXXX" + NANO.read_bytes()[4:100]):
        (tmp_path / "wrong.gguf").write_bytes(data)
        with pytest.raises(ModelLoadFailed):
            launch_of(LlamaCppSettings(model=tmp_path / "wrong.gguf")).command()


@pytest.mark.group("gguf")
def test_a_header_cut_or_damaged_anywhere_only_loses_facts(tmp_path: Path) -> None:
    import gguf

    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_array("general.tags", ["a", "b"])
    writer.add_array("general.numbers", [1, 2, 3])
    writer.add_context_length(512)
    writer.add_pooling_type(gguf.PoolingType.CLS)
    writer.add_tokenizer_model("gpt2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    data = path.read_bytes()
    assert read_header(path) == ModelHeader("bert", 512, True)
    assert read_header(NANO).context_size == 1024
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        header = read_header(path)
        assert header.architecture in ("", "bert") and header.context_size in (None, 512)
    for place in range(len(data)):
        for value in (0, 0x7F, 0xFF):
            path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            assert isinstance(read_header(path), ModelHeader)
    assert read_header(tmp_path / "none.gguf") == ModelHeader()


def test_engines_get_no_secrets_from_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOLLMS_API_KEY", "OPENAI_API_KEY", "GH_TOKEN", "my_password"):
        monkeypatch.setenv(name, "canary-secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    env = environment()
    assert "canary-secret" not in env.values()
    assert env["CUDA_VISIBLE_DEVICES"] == "0"
    assert env["OMP_WAIT_POLICY"] == "PASSIVE"


def test_there_is_at_least_one_core() -> None:
    assert 1 <= physical_cores() <= (os.cpu_count() or 1)
