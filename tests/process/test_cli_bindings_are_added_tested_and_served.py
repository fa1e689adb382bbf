"""From nothing to a served instance with two commands, and what `lollms bindings test` says on good and bad days."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lollms_cli.bindings_form import questions_of
from lollms_server.core.bindings.discovery import SHIPPED, discover
from tests.support.chaos import ChaosServer, Connection, Seen, refused_url
from tests.support.chaos_modes import reply
from tests.support.command_line import home, lollms
from tests.support.ollama_server import OllamaServer
from tests.support.openai_server import answering
from tests.support.raw_http import ask, prompt
from tests.support.server import KEY, write_config
from tests.support.server_process import server_process
from tests.support.terminal_talk import talking

SECRET = "sk-a-key-of-somebody-0123"
LINE = re.compile(r"(ok |no |-  |bad)  ([^:]+): (.*) \(\d+\.\d\d s\)")


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer() as server:
        yield server


@pytest.fixture
def openai() -> Iterator[str]:
    """An endpoint that wants the right key, and answers what it is asked."""

    async def guarded(connection: Connection, seen: Seen) -> None:
        if seen.headers.get("authorization") != f"Bearer {SECRET}":
            said = {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}
            return await reply(connection, json.dumps(said).encode(), 401, "Unauthorized")
        await answering(connection, seen)

    with ChaosServer() as server:
        yield server.add("openai", guarded)


def found(shown: str) -> dict[str, tuple[str, str]]:
    """What was found, by name: the state and the words."""
    return {match[2]: (match[1].strip(), match[3]) for match in map(LINE.fullmatch, shown.splitlines()) if match}


def test_add_then_test_then_serve(tmp_path: Path, config_dir: Path, openai: str) -> None:
    env = home(tmp_path, PROVIDER_KEY=SECRET)
    where = ("--config-dir", str(config_dir))
    settings = ("--set", f"base_url={openai}", "--set", "api_key=env:PROVIDER_KEY", "--set", "default_model=one")
    added = lollms("bindings", "add", "openai", "--name", "cloud", *settings, *where, env=env)
    assert added.returncode == 0, added.stderr
    assert added.stdout.splitlines()[0].startswith("Added cloud, an instance of openai_binding: ")
    assert "lollms reload" in added.stderr
    file = config_dir / "bindings" / "cloud.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    listed = lollms("bindings", "list", *where, env=env)
    assert listed.stdout == "cloud\topenai_binding\tconfigured\tone\tttt\n"

    tried = lollms("bindings", "test", "cloud", *where, env=env)
    assert tried.returncode == 0, (tried.stdout, tried.stderr)
    states = found(tried.stdout)
    assert list(states) == [
        *("reachable", "models", "key", "text", "streaming", "system prompt"),
        *("tools", "JSON Schema", "images", "embeddings", "tokens"),
    ]
    assert states["models"] == ("ok", "2 listed: one, two")
    assert states["key"] == ("ok", "accepted")
    assert states["text"] == ("ok", "it says 'Say hello in one word.', from one")
    assert states["streaming"][0] == "ok" and states["JSON Schema"] == ("ok", "obeyed")
    assert states["system prompt"][0] == "no" and states["tools"][0] == "no"
    assert states["embeddings"] == ("ok", "1 numbers for a text")
    assert states["tokens"][1].endswith("an estimate")

    with server_process(tmp_path) as server:
        server.wait_models()
        said = ask(server.port, "POST", "/api/v1/generate", prompt("hello you"), {"X-API-Key": KEY}).json()
        assert said["output"][0]["data"] == "hello you"
        there = {**env, "LOLLMS_HOST": f"127.0.0.1:{server.port}", "LOLLMS_API_KEY": KEY}
        over_http = lollms("bindings", "test", "cloud", env=there)
        assert over_http.returncode == 0, (over_http.stdout, over_http.stderr)
        assert f"cloud of the server at http://127.0.0.1:{server.port}" in over_http.stderr
        assert found(over_http.stdout)["text"] == ("ok", "it says 'Say hello in one word.', from one")
        nobody = lollms("bindings", "test", "cloudy", env=there)
        assert nobody.returncode == 1 and "There are: cloud." in nobody.stderr
    everything = "".join(each.stdout + each.stderr for each in (added, listed, tried, over_http, nobody)) + "\n".join(
        [*server.out, *server.err]
    )
    assert SECRET not in everything


def test_a_running_server_takes_up_what_was_added(tmp_path: Path, config_dir: Path, ollama: OllamaServer) -> None:
    env = home(tmp_path)
    with server_process(tmp_path) as server:
        there = {**env, "LOLLMS_HOST": f"127.0.0.1:{server.port}", "LOLLMS_API_KEY": KEY}
        settings = ("--set", f"host={ollama.origin}", "--set", "default_model=llama3.2")
        done = lollms("bindings", "add", "ollama", *settings, "--config-dir", str(config_dir), "--json", env=env)
        assert json.loads(done.stdout) == {
            "name": "ollama",
            "type": "ollama_binding",
            "file": str(config_dir / "bindings" / "ollama.yaml"),
            "default_for_text": True,
        }
        assert "loaded\tollama" in lollms("reload", env=there).stdout.splitlines()
        said = ask(server.port, "POST", "/api/v1/generate", prompt("hello"), {"X-API-Key": KEY}).json()
        assert said["output"][0]["data"] == "hello"


def test_the_form_on_a_terminal_shows_no_key(tmp_path: Path, config_dir: Path) -> None:
    env = {**home(tmp_path), "TERM": "xterm"}
    with talking("bindings", "add", "--config-dir", str(config_dir), env=env) as talk:
        assert "ollama_binding" in talk.see("Type: ")
        talk.type("openai\r")
        talk.see("Name of the instance [openai]: ")
        talk.type("term\r")
        given = {"api_key": SECRET, "base_url": "http://127.0.0.1:9/v1", "context_size": "12"}
        for question in questions_of(discover([SHIPPED])[0]["openai_binding"].schema):
            talk.see(f"{question.name} ")
            talk.see(": ")
            talk.type(f"{given.get(question.name, '')}\r")
            if question.name == "context_size":
                talk.see("it must be at least 64.")
                talk.see("[4096]: ")
                talk.type("99\r")
        talk.see("Use term where a request names no instance? [Y/n]: ")
        talk.type("y\r")
        assert talk.end() == 0
        assert SECRET not in talk.plain() and "Added term" in talk.plain()
    text = (config_dir / "bindings" / "term.yaml").read_text(encoding="utf-8")
    assert f"\napi_key: {SECRET}\n" in text and "\ncontext_size: 99\n" in text and "\n# default_model: gpt" in text
    assert '"ttt_binding": "term"' in (config_dir / "main_config.yaml").read_text(encoding="utf-8")


def test_ctrl_c_in_the_form_adds_nothing(tmp_path: Path, config_dir: Path) -> None:
    before = (config_dir / "main_config.yaml").read_bytes()
    env = {**home(tmp_path), "TERM": "xterm"}
    with talking("bindings", "add", "ollama", "--config-dir", str(config_dir), env=env) as talk:
        for words in ("Name of the instance [ollama]: ", "default_model [none]: ", "host [http://localhost:11434]: "):
            talk.see(words)
            talk.type("\r")
        talk.see("api_key (not shown; empty for none): ")
        talk.type("\x03")
        assert talk.end() == 130
        assert "nothing was added" in talk.plain()
    assert (config_dir / "main_config.yaml").read_bytes() == before
    assert not list((config_dir / "bindings").iterdir())


# ---- bindings of the library, and bad days


def test_a_binding_of_the_library(tmp_path: Path, ollama: OllamaServer) -> None:
    arguments = ("bindings", "test", "--binding", "ollama", "--address", ollama.origin)
    done = lollms(*arguments, "--model", "llava", env=home(tmp_path))
    assert done.returncode == 0, (done.stdout, done.stderr)
    states = found(done.stdout)
    assert states["images"] == ("ok", "it says 'I see [(32, 32)].'")
    assert states["key"] == ("ok", "none is sent, and none is asked for")
    assert states["tools"][0] == "no" and "does not support tools" in states["tools"][1]
    said = json.loads(lollms(*arguments, "--model", "llama3.2", "--json", env=home(tmp_path)).stdout)
    assert said["works"] is True
    by_name = {each["name"]: each for each in said["findings"]}
    assert by_name["images"]["state"] == "-"
    assert by_name["images"]["words"] == "not tried: the model is not said to see"
    assert all(each["seconds"] >= 0 for each in said["findings"])


def test_the_calls_are_few_and_small(tmp_path: Path, ollama: OllamaServer) -> None:
    arguments = ("bindings", "test", "--binding", "ollama", "--address", ollama.origin, "--model", "llava")
    assert lollms(*arguments, env=home(tmp_path)).returncode == 0
    chats = [seen.json() for seen in ollama.asked("/api/chat")]
    assert len(chats) == 6
    assert sum(chat["options"]["num_predict"] for chat in chats) <= 300
    sent = [json.dumps([chat["messages"][-1]["content"], chat.get("tools"), chat.get("format")]) for chat in chats]
    assert sum(map(len, sent)) < 1600, "about 400 tokens"


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    done = lollms("bindings", "test", "-b", "openai", "--address", refused_url(), "-m", "x", env=home(tmp_path))
    assert done.returncode == 1
    (line,) = found(done.stdout).items()
    assert line[0] == "reachable" and line[1][0] == "bad" and "Nothing is listening" in line[1][1]
    assert "It does not work" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("key", ["sk-wrong-key-0123456789", ""])
def test_a_wrong_key_is_said_and_not_shown(tmp_path: Path, config_dir: Path, openai: str, key: str) -> None:
    env = home(tmp_path, PROVIDER_KEY=key)
    secret = ("--set", "api_key=env:PROVIDER_KEY") if key else ()
    where = ("--config-dir", str(config_dir))
    added = lollms("bindings", "add", "openai", "--set", f"base_url={openai}", *secret, *where, env=env)
    assert added.returncode == 0
    done = lollms("bindings", "test", "openai", *where, env=env)
    assert done.returncode == 1
    states = found(done.stdout)
    assert states["reachable"][0] == "ok" and states["key"][0] == "bad"
    assert list(states) == ["reachable", "key"]
    assert not key or key not in done.stdout + done.stderr


def test_an_unknown_model_is_said_in_words(tmp_path: Path, ollama: OllamaServer) -> None:
    arguments = ("bindings", "test", "-b", "ollama", "--address", ollama.origin, "-m", "nobody")
    done = lollms(*arguments, env=home(tmp_path))
    assert done.returncode == 1
    states = found(done.stdout)
    assert states["models"][0] == "ok"
    assert states["text"][0] == "bad" and "ollama pull nobody" in states["text"][1]


def test_an_instance_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, {"bindings_map": {"bad": "openai_binding"}}, {"bad": "type: openai_binding\ncontext_size: many\n"}
    )
    done = lollms("bindings", "test", "bad", "--config-dir", str(config), env=home(tmp_path))
    assert done.returncode == 1
    assert "bad.yaml:2: context_size: must be a whole number" in found(done.stdout)["loaded"][1]
    listed = lollms("bindings", "list", "--config-dir", str(config), env=home(tmp_path))
    assert listed.stdout == "bad\topenai_binding\tfaulty\t-\t-\n" and "bad.yaml:2" in listed.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a", "--binding", "ollama"),
        ("a", "--address", "http://127.0.0.1"),
        ("--binding", "olama"),
        ("--binding", "ollama", "--host", "127.0.0.1"),
    ],
)
def test_wrong_use_has_its_exit_code(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = lollms("bindings", "test", *arguments, env=home(tmp_path))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("lollms: error: ") and done.stderr.count("\n") == 1
    assert "few hundred tokens" in lollms("bindings", "test", "--help", env=home(tmp_path)).stdout


def test_the_library_is_listed_without_a_server(tmp_path: Path) -> None:
    done = lollms("bindings", "list", "--library", env=home(tmp_path))
    assert done.returncode == 0
    rows = {line.split("\t")[0]: line.split("\t") for line in done.stdout.splitlines()}
    assert rows["ollama"] == ["ollama", "Ollama", "-", "http://localhost:11434"]
    assert rows["claude"][3] == "https://api.anthropic.com"
    assert rows["gemini"][3] == "https://generativelanguage.googleapis.com/v1beta"
    assert rows["hugging_face_inference_api"][3].startswith("https://router.huggingface.co")
    assert done.stderr == "BINDING\tTITLE\tKEY\tADDRESS\n", "a program reads rows, whoever looks on has headings"
    piped = lollms("keys", "set", "ollama", env=home(tmp_path), piped=b"sk-0123456789")
    assert piped.returncode == 0
    said = json.loads(lollms("bindings", "list", "--library", "--json", env=home(tmp_path)).stdout)
    assert said["bindings"]["ollama"]["key"] == "kept"


MINE = """
from lollms_server.core.bindings import Binding


class Mine(Binding):
    binding_type_name = "mine_binding"

    async def list_available_models(self):
        raise RuntimeError("no list today")

    def get_supported_input_modalities(self):
        return ["text"]

    def get_supported_output_modalities(self):
        return ["text"]

    async def load_model(self, model_name):
        return True

    async def unload_model(self):
        return True

    async def generate(self, prompt, params, request_info, multimodal_data=None):
        return f"{self.config['greeting']}, {prompt}"

    async def get_model_info(self, model_name=None):
        return {"name": model_name, "supports_vision": True}
"""
CARD = """\
type_name: mine_binding
supported_output_modalities: [text]
instance_schema:
  greeting: {type: str, help: What it says first.}
  mood: {type: str, default: mild, options: [mild, wild]}
"""


def test_a_binding_of_ones_own_is_added_and_tested_like_ours(tmp_path: Path, config_dir: Path) -> None:
    folder = tmp_path / "personal_bindings" / "mine"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "__init__.py").write_text(MINE, encoding="utf-8")
    (folder / "binding_card.yaml").write_text(CARD, encoding="utf-8")
    env, where = home(tmp_path), ("--config-dir", str(config_dir))
    lacking = lollms("bindings", "add", "mine", *where, env=env)
    assert lacking.returncode == 2 and "mine_binding needs greeting" in lacking.stderr
    assert lollms("bindings", "add", "mine", "--set", "greeting=Good day", *where, env=env).returncode == 0
    done = lollms("bindings", "test", "mine", *where, "--model", "m", env=env)
    assert done.returncode == 0, (done.stdout, done.stderr)
    states = found(done.stdout)
    assert states["models"] == ("no", "The binding raised RuntimeError: no list today")
    assert states["text"][0] == "ok" and states["text"][1].startswith("it says 'Good day, Say hello")
    assert states["embeddings"][0] == "no" and "key" not in states
