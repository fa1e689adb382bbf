"""Instances are read through their card, say what is wrong with them, and never show a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from lollms_core.errors import ConfigError
from lollms_runtime.secrets import HIDDEN, Scrubber
from lollms_server.core.bindings.instances import Card, load_card, load_instance

CARD = """\
type_name: my_binding
display_name: My binding
version: 1.0
author: somebody
description: Talks to something.
requirements: [something>=1]
supports_streaming: true
documentation_url: https://example.org
supported_input_modalities: [text, image]
supported_output_modalities: [text]
instance_schema:
  __version__: "0.1.0"
  type: {type: str, default: my_binding, help: The binding.}
  binding_instance_name: {type: str, default: my, help: The name.}
  default_model: {type: str, nullable: true, default: small}
  api_key: {type: str, nullable: true, secret: true, default: null}
  tokens: {type: list, secret: true, default: []}
  port: {type: int, default: 80, min_val: 1, max_val: 65535}
"""


@pytest.fixture
def card(tmp_path: Path) -> Card:
    folder = tmp_path / "my_binding"
    folder.mkdir()
    (folder / "binding_card.yaml").write_text(CARD, encoding="utf-8")
    return load_card(folder)


def instance_file(tmp_path: Path, text: str, name: str = "mine.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_card_is_read_with_everything_it_says(card: Card, tmp_path: Path) -> None:
    assert (card.type_name, card.display_name, card.version) == ("my_binding", "My binding", "1.0")
    assert card.requirements == ("something>=1",)
    assert card.supports_streaming
    assert card.supported_input_modalities == ("text", "image")
    assert card.folder == tmp_path / "my_binding"


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("type_name: my_binding", "type_name: ../x", "1: type_name:"),
        ("type_name: my_binding\n", "", "1: type_name:"),
        ("type_name: my_binding", "type_name: os.system", "1: type_name:"),
        ("author: somebody", "author: [a]", "4: author:"),
        ("[something>=1]", "something", "6: requirements:"),
        ("supports_streaming: true", "supports_streaming: maybe", "7: supports_streaming:"),
        ("type: int, default: 80", "type: integer, default: 80", "18: instance_schema.port.type:"),
        ("default: 80", "default: 0", "18: instance_schema.port.default:"),
        ("instance_schema:", "instance_schema: 5\nx:", "11: instance_schema:"),
        ("instance_schema:", "schema:", "1: instance_schema:"),
        ("port: {", "port: [", "18:"),
    ],
)
def test_a_wrong_card_names_file_line_and_field(card: Card, old: str, new: str, place: str) -> None:
    assert old in CARD
    card.file.write_text(CARD.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_card(card.folder)
    assert caught.value.message.startswith(f"{card.file}:{place}"), caught.value.message


def test_an_instance_gets_its_settings_and_its_name(card: Card, tmp_path: Path) -> None:
    text = "type: my_binding\nbinding_instance_name: mine\n__version__: 0.1.0\napi_key: canary-key-1\nport: 8080\n"
    instance = load_instance(instance_file(tmp_path, text), card)
    assert (instance.name, instance.type) == ("mine", "my_binding")
    assert instance.settings == {
        "type": "my_binding",
        "binding_instance_name": "mine",
        "default_model": "small",
        "api_key": "canary-key-1",
        "tokens": [],
        "port": 8080,
    }
    assert instance.secret_paths == {("api_key",), ("tokens",)}
    assert instance.notices == ()


def test_type_and_name_may_be_left_out(card: Card, tmp_path: Path) -> None:
    instance = load_instance(instance_file(tmp_path, "port: 81\n", "other.yml"), card)
    assert (instance.settings["type"], instance.settings["binding_instance_name"]) == ("my_binding", "other")


def test_nothing_that_is_shown_holds_a_secret_or_an_undeclared_field(card: Card, tmp_path: Path) -> None:
    text = "api_key: canary-key-1\ntokens: [canary-token-1, canary-token-2]\nserect: canary-undeclared\n"
    scrubber = Scrubber()
    instance = load_instance(instance_file(tmp_path, text), card, scrubber)
    assert "canary" not in repr(instance)
    assert "canary" not in str(dict(instance.public))
    assert set(instance.public) == {"type", "binding_instance_name", "default_model", "port"}
    assert scrubber.clean("canary-key-1 canary-token-2") == f"{HIDDEN} {HIDDEN}"
    assert [notice for notice in instance.notices if "mine.yaml:3: serect: is not a setting" in notice]
    assert "canary" not in " ".join(instance.notices)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("api_key: canary-key-1\nport: 0\n", "2: port: must be at least 1"),
        ("api_key: 1234567\n", "1: api_key: must be text"),
        ("type: other_binding\n", "1: type: must be my_binding"),
        ("port: 80\nbinding_instance_name: yours\n", "2: binding_instance_name: must be mine"),
        ("api_key: canary-key-1\napi_key: canary-key-2\n", "2: api_key: this field stands twice"),
        ("api_key: 'canary-key-1\n", "2: this is not valid YAML"),
        ("gAAAAABm-not-really\n", "1: "),
        ("api_key: !env canary-key-1\n", "1: api_key: YAML tags"),
    ],
)
def test_a_wrong_instance_names_file_line_and_field_and_no_value(
    card: Card, tmp_path: Path, text: str, place: str
) -> None:
    file = instance_file(tmp_path, text)
    scrubber = Scrubber()
    with pytest.raises(ConfigError) as caught:
        load_instance(file, card, scrubber)
    assert caught.value.message.startswith(f"{file}:{place}"), caught.value.message
    assert "canary" not in caught.value.message
    assert "1234567" not in caught.value.message
    assert scrubber.clean("the key 1234567 here") != "the key 1234567 here" or "1234567" not in text


def test_a_file_open_to_others_is_noted(card: Card, tmp_path: Path) -> None:
    file = instance_file(tmp_path, "port: 80\n")
    file.chmod(0o644)
    assert "chmod 0600" in load_instance(file, card).notices[0]


def test_an_encrypted_instance_is_refused_and_left_alone(card: Card, tmp_path: Path) -> None:
    file = instance_file(tmp_path, "gAAAAABm-not-really")
    with pytest.raises(ConfigError, match="encrypted"):
        load_instance(file, card)
    assert file.read_text(encoding="utf-8") == "gAAAAABm-not-really"


@pytest.mark.parametrize("text", ["api_key: gAAAAABk\n", "port: 80\ndefault_model: gAAAAABk\n"])
def test_an_encrypted_value_is_refused_with_its_line_and_not_shown(card: Card, tmp_path: Path, text: str) -> None:
    line, field = len(text.splitlines()), text.splitlines()[-1].partition(":")[0]
    with pytest.raises(ConfigError, match="cannot read encrypted settings") as caught:
        load_instance(instance_file(tmp_path, text), card)
    assert caught.value.message.startswith(f"{tmp_path / 'mine.yaml'}:{line}: {field}:")
    assert "gAAAA" not in caught.value.message


def test_a_card_is_known_again_by_its_text(card: Card) -> None:
    assert load_card(card.folder).digest == card.digest
    card.file.write_text(CARD + "# more\n", encoding="utf-8")
    assert load_card(card.folder).digest != card.digest
