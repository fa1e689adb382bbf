"""Whatever is wrong with a configuration, the error names the file, the line and the field, and never a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from lollms_core.errors import ConfigError
from lollms_server.core.config import load_config, read_keys

HEAD = "security:\n  allowed_api_keys: [a-key-0123456789]\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

WRONG = [
    # what the file says after HEAD, the line and field at fault, words of the sentence
    ("server:\n  port: '9601'\n", "4: server.port:", "a whole number"),
    ("server:\n  port: 0\n", "4: server.port:", "at least 1"),
    ("server:\n  port: 65536\n", "4: server.port:", "at most 65535"),
    ("server:\n  port: 96.01\n", "4: server.port:", "a whole number"),
    ("server:\n  port:\n", "4: server.port:", "a whole number"),
    ("server:\n  port: true\n", "4: server.port:", "a whole number"),
    ("server:\n  hots: 127.0.0.1\n", "4: server.hots:", "Did you mean 'host'?"),
    ("servr:\n  host: 127.0.0.1\n", "3: servr:", "Did you mean 'server'?"),
    ("server:\n  host: 5\n", "4: server.host:", "must be text"),
    ("server: 5\n", "3: server:", "lines"),
    ("server:\n  - host\n", "3: server:", "lines"),
    ("server:\n  allowed_origins: http://a\n", "4: server.allowed_origins:", "must be a list"),
    ("server:\n  allowed_origins: ['*']\n", "4: server.allowed_origins:", "name the origins"),
    ("server:\n  allowed_origins: [localhost]\n", "4: server.allowed_origins:", "origins such as"),
    ("server:\n  allowed_origins: ['http://a/b']\n", "4: server.allowed_origins:", "without a path"),
    ("server:\n  allowed_origins:\n    - http://a\n    - 5\n", "6: server.allowed_origins[1]:", "must be text"),
    ("server:\n  allowed_hosts: ['http://a']\n", "4: server.allowed_hosts:", "host names"),
    ("server:\n  allowed_hosts: ['a:80']\n", "4: server.allowed_hosts:", "without a port"),
    ("logging:\n  log_level: LOUD\n", "4: logging.log_level:", "'DEBUG'"),
    ("webui:\n  enable_ui: yes\n", "4: webui.enable_ui:", "true or false"),
    ("webui:\n  enable_ui: 1\n", "4: webui.enable_ui:", "true or false"),
    ("defaults:\n  default_context_size: 63\n", "4: defaults.default_context_size:", "at least 64"),
    ("defaults:\n  ttt_binding: ''\n", "4: defaults.ttt_binding:", "must not be empty"),
    ("defaults:\n  ttt_binding: a/b\n", "4: defaults.ttt_binding:", "not allowed"),
    ("defaults:\n  ttt_binding: one\n", "4: defaults.ttt_binding:", "no instance 'one'"),
    ("bindings_map:\n  one: x\ndefaults:\n  tti_binding: onne\n", "6: defaults.tti_binding:", "Did you mean 'one'?"),
    ("resource_manager:\n  gpu_strategy: fast\n", "4: resource_manager.gpu_strategy:", "'simple_lock'"),
    ("bindings_map:\n  one: 5\n", "4: bindings_map.one:", "must be text"),
    ("bindings_map:\n", "3: bindings_map:", "write {} for none"),
    ("bindings_map:\n  a/b: x\n", "4: bindings_map.a/b:", "cannot be used"),
    ("personalities_config:\n  a:\n    enabled: 'no'\n", "3: personalities_config:", "'enabled'"),
    ("personalities_config:\n  a:\n    x: [1]\n", "5: personalities_config.a.x:", "cannot be used"),
    ("limits:\n  max_body_bytes: 9999999999999999999999\n", "4: limits.max_body_bytes:", "at most"),
    ("paths:\n  config_base_dir: no/such/folder\n", "4: paths.config_base_dir:", "no folder"),
    ('paths:\n  models_folder: "a\\0b"\n', "4: paths.models_folder:", "not allowed"),
    ("server:\n  port: 1\nserver:\n  port: 2\n", "5: server:", "twice"),
    ("server:\n  port: 1\n  port: 1\n", "5: server.port:", "twice"),
    ("server:\n\tport: 1\n", "4:", "a tab"),
    ("server: {port: 1\n", "4:", "not valid YAML"),
    ("server: [1, 2\n", "4:", "not valid YAML"),
    ("server: *nothing\n", "3:", "an alias"),
    ("server: 'open\n", "4:", "ends in the middle"),
    ("server: !!python/object/apply:os.system [id]\n", "3: server:", "tags"),
    ("server: !env PORT\n", "3: server:", "tags"),
    ("server:\n  <<: {port: 1}\n", "4: server:", "merge keys"),
    ("? [a]\n: b\n", "3:", "must be text"),
    ("---\nserver: {}\n", "3:", "second document"),
    ("%YAML 1.1\n---\nserver: {}\n", "3:", "directives"),
    ("server:\n  port: .nan\n", "4: server.port:", "not a number"),
    ("server:\n  port: 1e999\n", "4: server.port:", "not a number"),
    ("server:\n  port: " + "9" * 5000 + "\n", "4: server.port:", "too many digits"),
    ("server: " + "[" * 3_000, "1:", "nested"),
    ("server: " + "[" * 60 + "]" * 60 + "\n", "3: server:", "nested"),
    ("x: &x [*x]\n", "3: x:", "nested"),
    (BOMB, "7: e:", "more than 20000 values"),
    ("server:\n  host: \x07\n", "4:", "character"),
    ("just text\n", "4:", "not valid YAML"),
]


def write(tmp_path: Path, data: bytes) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "main_config.yaml").write_bytes(data)
    (folder / "main_config.yaml").chmod(0o600)
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(folder, {})
    return caught.value.message


@pytest.mark.parametrize(("text", "place", "words"), WRONG, ids=range(len(WRONG)))
def test_the_place_is_named(tmp_path: Path, text: str, place: str, words: str) -> None:
    folder = write(tmp_path, (HEAD + text).encode())
    message = refusal(folder)
    assert message.startswith(f"{folder / 'main_config.yaml'}:{place}"), message
    assert words in message
    assert "a-key-0123456789" not in message
    assert "\n" not in message and message.isprintable()


def test_bytes_that_are_no_text_have_a_line(tmp_path: Path) -> None:
    for data in (HEAD.encode() + b"server: \xff\n", HEAD.encode() + b"\xc3("):
        assert "main_config.yaml:3: byte" in refusal(write(tmp_path, data))
    assert "main_config.yaml:1: byte" in refusal(write(tmp_path, HEAD.encode("utf-16")))


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path, f"{HEAD}server:\n  port: x\n  prot: 1\nlogging: {{log_level: 3}}\n".encode())
    assert [line.split(": ")[1] for line in refusal(folder).splitlines()] == [
        "server.port",
        "server.prot",
        "logging.log_level",
    ]


@pytest.mark.parametrize("name", ["toml", "json", "db", "sqlite", "sqlite3"])
def test_a_documented_format_we_do_not_read_is_said(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, HEAD.encode())
    (folder / "main_config.yaml").rename(folder / f"main_config.{name}")
    assert f"main_config.{name}: this version reads main_config.yaml only" in refusal(folder)


def test_a_missing_file_or_folder_is_said(tmp_path: Path) -> None:
    assert "lollms serve" in refusal(tmp_path)
    assert "lollms serve" in refusal(tmp_path / "none")
    (tmp_path / "main_config.yaml").mkdir()
    assert "main_config.yaml" in refusal(tmp_path)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    for data in (b"", b"\n\n", b"\xef\xbb\xbf"):
        assert "main_config.yaml:1: the file is empty" in refusal(write(tmp_path, data))


def test_a_default_may_name_an_instance_that_is_made_in_code(tmp_path: Path) -> None:
    folder = write(tmp_path, f"{HEAD}defaults:\n  ttt_binding: mine\n".encode())
    assert "'mine'" in refusal(folder)
    assert load_config(folder, {}, further=["mine"]).config.defaults.ttt_binding == "mine"
    assert read_keys(folder, {}, further=["mine"]) == ["a-key-0123456789"]


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    assert "larger than" in refusal(write(tmp_path, HEAD.encode() + b"#" * 1_000_000))
