"""Who answers: the named server, else a local one with a known key, else the embedded engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from lollms_cli import backend
from lollms_cli.server_calls import Health
from lollms_core.errors import (
    AuthFailed,
    KeyMissing,
    LollmsError,
    ModelNotFound,
    NotFound,
    Refused,
    UnknownBinding,
    UnknownModel,
)

LOCAL = "http://127.0.0.1:9601"
OPEN, LOCKED = Health("1", False, "ready"), Health("1", True, "ready")


class House:
    """What answers where, and the keys that are known."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.servers: dict[str, Health] = {}
        self.asked: list[str] = []
        self._monkeypatch = monkeypatch
        for name in ("LOLLMS_HOST", "LOLLMS_PORT", "LOLLMS_API_KEY", "LOLLMS_MODEL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("LOLLMS_HOME", str(tmp_path / "home"))
        self._file = tmp_path / "home" / "api_key"
        monkeypatch.setattr(backend, "health", self._health)

    def _health(self, address: str) -> Health | None:
        self.asked.append(address)
        return self.servers.get(address)

    def key_file(self, key: str) -> None:
        self._file.parent.mkdir(mode=0o700)
        self._file.write_text(f"{key}\n", encoding="utf-8")
        self._file.chmod(0o600)

    def set(self, name: str, value: str) -> None:
        self._monkeypatch.setenv(name, value)


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> House:
    return House(monkeypatch, tmp_path)


def is_embedded(chosen: backend.Backend, model: str = "lollms-nano") -> bool:
    return chosen.arguments == {"binding_name": "pythonllamacpp", "model_name": model}


def test_nobody_there_is_the_embedded_engine(house: House) -> None:
    chosen = backend.choose_backend(None, None)
    assert is_embedded(chosen)
    assert "smoke-test model" in chosen.sentence
    assert house.asked == [LOCAL]


def test_a_local_server_with_a_key_file_is_used(house: House) -> None:
    house.servers[LOCAL] = LOCKED
    house.key_file("sk-of-the-file-0123456789")
    chosen = backend.choose_backend(None, "m")
    assert chosen.arguments["host_address"] == LOCAL
    assert chosen.arguments["service_key"] == "sk-of-the-file-0123456789"
    assert chosen.arguments["model_name"] == "m"


def test_a_local_server_without_a_known_key_is_not(house: House) -> None:
    house.servers[LOCAL] = LOCKED
    chosen = backend.choose_backend(None, None)
    assert is_embedded(chosen)
    assert "no key for it is known here (LOLLMS_API_KEY)" in chosen.sentence


def test_a_local_server_that_needs_no_key_is_used(house: House) -> None:
    house.servers[LOCAL] = OPEN
    assert backend.choose_backend(None, None).arguments["host_address"] == LOCAL


def test_a_model_file_goes_to_the_engine_even_beside_a_server(house: House, tmp_path: Path) -> None:
    house.servers[LOCAL] = OPEN
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    assert is_embedded(backend.choose_backend(None, str(file)), str(file))
    assert house.asked == []


def test_the_flag_wins_over_the_environment(house: House) -> None:
    house.set("LOLLMS_API_KEY", "sk-of-the-environment-0123")
    house.set("LOLLMS_HOST", "one.example")
    assert backend.choose_backend(None, None).arguments["host_address"] == "http://one.example:9601"
    assert backend.choose_backend("two.example:1", None).arguments["host_address"] == "http://two.example:1"
    assert house.asked == []


def test_the_key_file_is_for_this_machine_only(house: House) -> None:
    house.key_file("sk-of-the-file-0123456789")
    assert backend.choose_backend("localhost:1", None).arguments["service_key"] == "sk-of-the-file-0123456789"
    with pytest.raises(KeyMissing, match="export LOLLMS_API_KEY"):
        backend.choose_backend("one.example", None)


def test_a_named_server_that_needs_no_key_is_used_without_one(house: House) -> None:
    house.servers["http://one.example:9601"] = OPEN
    assert backend.choose_backend("one.example", None).arguments["service_key"] is None


def test_an_address_to_listen_on_is_called_on_this_machine(house: House) -> None:
    house.key_file("sk-of-the-file-0123456789")
    house.set("LOLLMS_HOST", "0.0.0.0")
    assert backend.choose_backend(None, None).arguments["host_address"] == LOCAL


def test_a_path_that_leads_nowhere_is_told_also_beside_a_server(house: House, tmp_path: Path) -> None:
    house.servers[LOCAL] = OPEN
    for name in ("/nope.gguf", "./nope.gguf", "models/nope.gguf", "/nope", "~/nope.gguf"):
        with pytest.raises(ModelNotFound, match="There is no file"):
            backend.choose_backend(None, name)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ModelNotFound, match=r"must be a file whose name ends with \.gguf"):
        backend.choose_backend(None, str(tmp_path / "notes.txt"))
    assert house.asked == []


def test_a_name_with_a_slash_may_be_one_of_the_server_else_it_is_a_missing_file(house: House) -> None:
    with pytest.raises(ModelNotFound, match="There is no file org/model"):
        backend.choose_backend(None, "org/model")
    house.servers[LOCAL] = OPEN
    assert backend.choose_backend(None, "org/model").arguments["model_name"] == "org/model"
    assert backend.choose_backend(None, "model.gguf").arguments["model_name"] == "model.gguf"


def test_a_port_of_the_environment_where_nobody_answers_is_told(house: House) -> None:
    house.set("LOLLMS_PORT", "9655")
    chosen = backend.choose_backend(None, None)
    assert is_embedded(chosen)
    assert "no lollms server answers at http://127.0.0.1:9655 (LOLLMS_PORT)" in chosen.sentence


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (Refused("host_address"), Refused, ["http://one.example:9601", "--host", "lollms serve"]),
        (AuthFailed("service_key", status=401), AuthFailed, ["refuses the key of LOLLMS_API_KEY"]),
        (UnknownModel("It has no such model."), UnknownModel, ["There is no file a/b here", "has no such model"]),
    ],
)
def test_errors_speak_of_the_command_and_not_of_the_library(
    error: LollmsError, kind: type[LollmsError], words: list[str], house: House
) -> None:
    house.set("LOLLMS_API_KEY", "sk-of-the-environment-0123")
    chosen = backend.choose_backend("one.example", "a/b")
    said = backend.in_words_of_the_command(error, chosen)
    assert type(said) is kind
    assert all(word in str(said) for word in words)
    assert not {"host_address", "service_key"} & set(str(said).replace(".", " ").split())
    assert "sk-of-the-environment" not in str(said)


def test_a_refused_key_of_the_file_names_the_file(house: House) -> None:
    house.key_file("sk-of-the-file-0123456789")
    chosen = backend.choose_backend("localhost", None)
    said = str(backend.in_words_of_the_command(AuthFailed("no", status=401), chosen))
    assert "home/api_key" in said
    assert "sk-of-the-file" not in said


def test_an_address_with_a_path_is_named_where_nothing_is(house: House) -> None:
    house.set("LOLLMS_API_KEY", "sk-of-the-environment-0123")
    chosen = backend.choose_backend("http://one.example/api/v1", None)
    said = str(backend.in_words_of_the_command(NotFound("Nothing."), chosen))
    assert "leave out /api/v1" in said
    assert "scheme://host:port" in said
    plain = NotFound("Binding instance 'x' not found.")
    assert backend.in_words_of_the_command(plain, backend.choose_backend("one.example", None)) is plain
    refused_upstream = AuthFailed("The service refuses the server's key.", status=502)
    assert backend.in_words_of_the_command(refused_upstream, chosen) is refused_upstream


def test_a_default_that_is_not_there_is_named_with_the_way_to_be_rid_of_it(house: House) -> None:
    from lollms_cli.defaults import keep_default

    house.servers[LOCAL] = OPEN
    keep_default("nope")
    chosen = backend.choose_backend(None, None)
    assert chosen.sentence.endswith("model nope (your default)")
    said = backend.in_words_of_the_command(UnknownModel("There is no model 'nope'."), chosen)
    assert isinstance(said, UnknownModel)
    assert str(said).endswith("nope is your default; to have none any more: lollms models default --unset")


def test_a_default_that_leads_nowhere_names_itself_before_anybody_is_asked(house: House) -> None:
    from lollms_cli.defaults import keep_default

    undo = r"your default; to have none any more: lollms models default --unset$"
    keep_default("/nope.gguf")
    with pytest.raises(ModelNotFound, match=rf"/nope\.gguf is {undo}"):
        backend.choose_backend(None, None)
    with pytest.raises(ModelNotFound, match=r"exists\.$"):  # what was typed is nobody's default
        backend.choose_backend(None, "/nope.gguf")
    keep_default("tiny", "olama")
    with pytest.raises(UnknownBinding, match=f"olama is {undo}"):
        backend.choose_backend(None, None)
    house.set("LOLLMS_MODEL", "/nope.gguf")
    with pytest.raises(ModelNotFound, match="the default of LOLLMS_MODEL; to have none any more: unset LOLLMS_MODEL"):
        backend.choose_backend(None, None)


def test_a_default_is_blamed_only_for_what_it_chose(house: House) -> None:
    from lollms_cli.defaults import keep_default

    keep_default("llama3.2", "ollama")
    chosen = backend.choose_backend(None, None)
    away = str(backend.in_words_of_the_command(Refused("Nobody is there."), chosen))
    assert away.endswith("ollama is your default; to have none any more: lollms models default --unset")
    assert "default" not in str(backend.in_words_of_the_command(NotFound("Nothing."), chosen))
    named = backend.choose_backend(None, "llama3.2", "ollama")
    for error in (Refused("Nobody is there."), UnknownModel("There is none.")):
        assert "default" not in str(backend.in_words_of_the_command(error, named))


def test_a_file_that_is_no_model_is_told_where_a_server_does_not_know_it(house: House, tmp_path: Path) -> None:
    house.servers[LOCAL] = OPEN
    file = tmp_path / "ann.txt"
    file.touch()
    chosen = backend.Backend("", {"binding_name": "lollms", "host_address": LOCAL, "model_name": str(file)})
    said = str(backend.in_words_of_the_command(UnknownModel("It has no such model."), chosen))
    assert f"{file} here is not the file of a model" in said and "no such model" in said


def test_a_folder_of_bindings_that_is_not_there_is_told(house: House, tmp_path: Path) -> None:
    house.set("LOLLMS_BINDINGS_DIR", str(tmp_path / "away"))
    with pytest.raises(UnknownBinding, match=r"LOLLMS_BINDINGS_DIR names .*away, and there is no such folder"):
        backend.check_binding("shout")
    (tmp_path / "away").mkdir()
    with pytest.raises(UnknownBinding) as told:
        backend.check_binding("shout")
    assert "LOLLMS_BINDINGS_DIR" not in str(told.value)
