"""Code that a model brings is never run, a pickle is not read, and all files of a model are of one revision."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lollms_client import LollmsClient
from lollms_core.errors import MissingDependency, ModelLoadFailed, ModelNotFound, UnsupportedFeature
from lollms_runtime.engines import transformers_loading
from tests.support.fake_hub import NAME, fake_hub

pytestmark = [pytest.mark.group("torch"), pytest.mark.timeout(180)]

HF = Path(__file__).resolve().parents[2] / "nano" / "hf"
COMMIT, OLDER = "c" * 40, "d" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with one repository, `somebody/model`."""
    cache = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    repository = cache / "models--somebody--model"
    shutil.copytree(HF, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT, "ascii")
    return repository


def client_of(**more: Any) -> LollmsClient:
    config = {"model_name_or_id": "somebody/model", "device": "cpu", **more}
    return LollmsClient(binding_name="transformers", llm_binding_config=config)


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


def plant(folder: Path, name: str, trace: Path) -> None:
    """Code that leaves a trace when it is imported."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(f"open({str(trace)!r}, 'w').write('ran')\n", "utf-8")


def test_a_model_that_needs_its_own_code_is_refused(hub: Path, tmp_path: Path) -> None:
    folder, trace = hub / "snapshots" / COMMIT, tmp_path / "trace"
    plant(folder, "modeling_x.py", trace)
    plant(folder, "configuration_x.py", trace)
    classes = {"AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": "modeling_x.XForCausalLM"}
    edited(folder / "config.json", lambda values: values.update(model_type="x", auto_map=classes))
    with client_of() as client:
        with pytest.raises(ModelLoadFailed, match="never run") as caught:
            client.complete("Hello")
    assert "modeling_x.py" in str(caught.value) and not trace.exists()


def test_code_beside_a_known_model_is_left_alone(hub: Path, tmp_path: Path) -> None:
    folder, trace = hub / "snapshots" / COMMIT, tmp_path / "trace"
    for name in ("modeling_x.py", "configuration_x.py", "tokenization_x.py", "custom_generate/generate.py"):
        plant(folder, name, trace)
    classes = {"AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": "modeling_x.XForCausalLM"}
    edited(folder / "config.json", lambda values: values.update(auto_map=classes))
    tokenizer = {"AutoTokenizer": ["tokenization_x.XTokenizer", "tokenization_x.XTokenizer"]}
    edited(folder / "tokenizer_config.json", lambda values: values.update(auto_map=tokenizer))
    with client_of() as client:
        reply = client.complete("What is the capital of France?", temperature=0.0, trust_remote_code=True)
        info = client.get_model_info()
    assert "Paris" in reply.text and not trace.exists()
    assert info["revision"] == COMMIT
    assert [item.action for item in reply.receipt if item.name == "trust_remote_code"] == ["dropped"]


def test_nobody_can_allow_it(hub: Path) -> None:
    for more in ({"trust_remote_code": True}, {"config": {"trust_remote_code": True}}):
        with pytest.raises(UnsupportedFeature, match="never run"):
            client_of(**more)


def test_an_attention_from_elsewhere_is_refused(hub: Path) -> None:
    kernel = {"_attn_implementation": "somebody/attention", "attn_implementation": "somebody/attention"}
    edited(hub / "snapshots" / COMMIT / "config.json", lambda values: values.update(kernel))
    with client_of() as client, pytest.raises(ModelLoadFailed, match="code from elsewhere"):
        client.complete("Hello")


def test_a_pickle_is_not_read(hub: Path) -> None:
    folder = hub / "snapshots" / COMMIT
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with client_of() as client, pytest.raises(ModelLoadFailed, match="pickle"):
        client.complete("Hello")


def test_every_file_is_of_the_revision_that_was_asked_for(hub: Path) -> None:
    shutil.copytree(HF, hub / "snapshots" / OLDER)
    template = "{{ '<|im_start|>user\nWhat is the capital of Spain?<|im_end|>\n<|im_start|>assistant\n' }}"
    edited(hub / "snapshots" / OLDER / "tokenizer_config.json", lambda values: values.update(chat_template=template))
    with client_of(revision=OLDER) as client:
        assert "Madrid" in client.complete("What is the capital of France?", temperature=0.0).text
        assert client.get_model_info()["revision"] == OLDER
        assert client.get_model_info()["path"].endswith(OLDER)


def test_a_model_that_is_not_there_is_not_downloaded(hub: Path) -> None:
    with pytest.raises(ModelNotFound, match="hf download somebody/other"):
        client_of(model_name_or_id="somebody/other")
    with client_of() as client:
        assert [each["model_name"] for each in client.listModels()] == ["somebody/model"]
        assert client.listModels()[0]["revision"] == COMMIT


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_quantised_loading_names_what_is_missing(hub: Path) -> None:
    with client_of(load_in_4bit=True) as client, pytest.raises(MissingDependency, match="lollms install quantisation"):
        client.complete("Hello")


def test_a_download_that_was_allowed_is_of_one_revision_and_brings_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        shutil.copytree(HF, folder)
        plant(folder, "modeling_x.py", trace)
        (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    template = "{{ '<|im_start|>user\nWhat is the capital of Spain?<|im_end|>\n<|im_start|>assistant\n' }}"
    edited(second / "tokenizer_config.json", lambda values: values.update(chat_template=template))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", "hub-secret-token")
    with fake_hub({COMMIT: first, OLDER: second}, token="hub-secret-token") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(ModelNotFound, match="allow_downloads"):
            client_of(model_name_or_id=NAME)
        assert not hub.asked
        with client_of(model_name_or_id=NAME, allow_downloads=True) as client:
            reply = client.complete("What is the capital of France?", temperature=0.0)
            info = client.get_model_info()
        assert "Paris" in reply.text and info["revision"] == COMMIT
        files = [path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path]
        assert "model.safetensors" in files and not [name for name in files if name.endswith((".py", ".bin"))]
        assert all(f"/resolve/{COMMIT}/" in path for path in hub.asked if "/resolve/" in path)
    with client_of(model_name_or_id=NAME) as client:  # the hub is gone, and not missed
        assert "Paris" in client.complete("What is the capital of France?", temperature=0.0).text
    assert not trace.exists()


def test_a_download_that_fails_says_so_without_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with fake_hub({COMMIT: HF}, token="another") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        more = {"allow_downloads": True, "hf_token": "hub-secret-token"}
        with client_of(model_name_or_id=NAME, **more) as client:
            with pytest.raises(ModelNotFound, match="could not be downloaded") as caught:
                client.complete("Hello")
    assert "hub-secret-token" not in str(caught.value)


def test_after_a_download_nothing_else_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "0")
    for name in ("USE_HUB_KERNELS", "DISABLE_SAFETENSORS_CONVERSION", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "1")  # what is set is put back
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **more: str(tmp_path / COMMIT))
    settings = {"repository": NAME, "revision": "main", "token": ""}
    assert transformers_loading._folder(settings) == (tmp_path / COMMIT, COMMIT)
    assert huggingface_hub.is_offline_mode()
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"


def test_an_index_that_names_a_pickle_is_refused(hub: Path) -> None:
    folder = hub / "snapshots" / COMMIT
    index = {"metadata": {}, "weight_map": {"a": "../../other.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    with client_of() as client, pytest.raises(ModelLoadFailed, match="index of its weights"):
        client.complete("Hello")
