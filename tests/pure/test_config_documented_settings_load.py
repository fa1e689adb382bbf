"""Every documented setting is accepted, has its documented default, and resolves to the documented place."""

from __future__ import annotations

from pathlib import Path

import pytest

import lollms_server
from lollms_server.core.config import LoadedConfig, load_config

EVERYTHING = """\
__version__: 0.3.2
server:
  host: 0.0.0.0
  port: 9700
  allowed_origins: [http://localhost, 'http://localhost:8000', "http://127.0.0.1:5173", 'null']
paths:
  config_base_dir: lollms_configs
  instance_bindings_folder: bindings
  personalities_folder: personal/personalities
  bindings_folder: personal/bindings
  functions_folder: personal/functions
  models_folder: /srv/models
  example_personalities_folder: zoos/personalities
  example_bindings_folder: zoos/bindings
  example_functions_folder: null
security:
  allowed_api_keys:
    - my_secret_key_0001
    - sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
  encryption_key: null
defaults:
  ttt_binding: my_ollama_instance
  tti_binding: null
  tts_binding: null
  stt_binding: null
  ttv_binding: null
  ttm_binding: null
  default_context_size: 8192
  default_max_output_tokens: 2048
bindings_map:
  my_ollama_instance: ollama_binding
  my_openai_gpt4o: openai_binding
resource_manager:
  gpu_strategy: semaphore
  gpu_limit: 1
  queue_timeout: 120
webui:
  enable_ui: true
logging:
  log_level: INFO
  level: 20
personalities_config:
  python_builder_executor: { enabled: false }
"""


def load(tmp_path: Path, data: bytes, name: str = "main_config.yaml") -> LoadedConfig:
    folder = tmp_path / "lollms_configs"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / name).write_bytes(data)
    (folder / name).chmod(0o600)
    return load_config(folder, {})


@pytest.mark.parametrize("name", ["main_config.yaml", "main_config.yml"])
def test_everything_documented_loads(tmp_path: Path, name: str) -> None:
    loaded = load(tmp_path, EVERYTHING.encode(), name)
    config = loaded.config
    assert config.version == "0.3.2"
    assert (config.server.host, config.server.port) == ("0.0.0.0", 9700)
    assert config.defaults.ttt_binding == "my_ollama_instance"
    assert config.defaults.default_context_size == 8192
    assert config.bindings_map == {"my_ollama_instance": "ollama_binding", "my_openai_gpt4o": "openai_binding"}
    assert config.personalities_config == {"python_builder_executor": {"enabled": False}}
    assert loaded.keys.check(b"my_secret_key_0001") and loaded.keys.check(b"foo")
    assert loaded.scrubber.clean("key my_secret_key_0001") == "key •••"
    assert any("'null'" in notice for notice in loaded.notices)
    assert any("no web interface" in notice for notice in loaded.notices)
    assert "my_secret_key_0001" not in repr(loaded) + str(config.model_dump()) + config.model_dump_json()


def test_byte_order_mark_and_windows_line_ends_make_no_difference(tmp_path: Path) -> None:
    plain = load(tmp_path, EVERYTHING.encode()).config
    assert load(tmp_path, b"\xef\xbb\xbf" + EVERYTHING.replace("\n", "\r\n").encode()).config == plain


def test_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    loaded = load(tmp_path, b"security: {allowed_api_keys: [my_secret_key_0001]}\n")
    config = loaded.config
    assert (config.server.host, config.server.port) == ("127.0.0.1", 9601)
    assert "null" not in config.server.allowed_origins
    assert {"http://localhost:8000", "http://127.0.0.1:5173"} < set(config.server.allowed_origins)
    assert (config.resource_manager.gpu_strategy, config.resource_manager.gpu_limit) == ("semaphore", 1)
    assert config.resource_manager.queue_timeout == 120
    assert (config.defaults.default_context_size, config.defaults.default_max_output_tokens) == (4096, 1024)
    assert (config.webui.enable_ui, config.logging.log_level, config.logging.level) == (False, "INFO", 20)
    assert config.limits.max_body_bytes == 32 * 1024 * 1024
    assert not config.security.allow_unauthenticated and not config.security.allow_runtime_installs


def test_paths_start_at_the_folder_that_holds_the_configuration(tmp_path: Path) -> None:
    folders = load(tmp_path, b"security: {allowed_api_keys: [my_secret_key_0001]}\n").folders
    assert folders.instances == tmp_path / "lollms_configs" / "bindings"
    assert folders.bindings == tmp_path / "personal_bindings"
    assert folders.personalities == tmp_path / "personal_personalities"
    assert folders.functions == tmp_path / "personal_functions"
    assert folders.models == tmp_path / "models"
    assert folders.example_bindings == Path(lollms_server.__file__).parent / "zoos" / "bindings"


def test_written_paths_are_followed(tmp_path: Path) -> None:
    (tmp_path / "zoos" / "bindings").mkdir(parents=True)
    folders = load(tmp_path, EVERYTHING.encode()).folders
    assert folders.models == Path("/srv/models")
    assert folders.bindings == tmp_path / "personal" / "bindings"
    assert folders.example_bindings == tmp_path / "zoos" / "bindings"
    assert folders.example_functions is None


def test_a_folder_with_spaces_and_other_scripts_works(tmp_path: Path) -> None:
    place = tmp_path / "mes réglages 設定"
    place.mkdir()
    loaded = load(place, b"security: {allowed_api_keys: [my_secret_key_0001]}\n")
    assert loaded.root == place
