"""The named server, else a running local one whose key is known, else the embedded engine; `doctor` sees them all."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.spec.live import Live, free_port, live_server
from tests.support.command_line import ended, home, lollms, read_until, start

pytestmark = pytest.mark.group("engine")

QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server(tmp_path_factory.mktemp("server")) as live:
        yield live


def port(server: Live) -> str:
    return server.url.rpartition(":")[2]


def test_the_named_server_answers(server: Live, tmp_path: Path) -> None:
    done = lollms("-u", "--host", server.url, QUESTION, env=home(tmp_path, LOLLMS_API_KEY=server.key))
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    told = done.stderr.splitlines()
    assert told[0] == f"lollms: using the server at {server.url}"
    assert "tokens in" in told[-1]
    assert "lollms-nano" in told[-1]


def test_a_running_local_server_answers_with_the_key_of_the_key_file(server: Live, tmp_path: Path) -> None:
    env = home(tmp_path, LOLLMS_PORT=port(server), LOLLMS_HOME=server.environment["LOLLMS_HOME"])
    done = lollms("--json", QUESTION, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"lollms: using the server at http://127.0.0.1:{port(server)}\n"
    said = json.loads(done.stdout)
    assert "Paris" in said["text"]
    assert said["usage"]["completion_tokens"] > 0


def test_a_local_server_whose_key_is_not_known_is_not_asked(server: Live, tmp_path: Path) -> None:
    done = lollms(QUESTION, env=home(tmp_path, LOLLMS_PORT=port(server)))
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert "LOLLMS_API_KEY" in done.stderr
    assert "using the embedded engine with lollms-nano (a smoke-test model" in done.stderr


def test_a_wrong_key_is_exit_4(server: Live, tmp_path: Path) -> None:
    done = lollms("-q", "--host", server.url, QUESTION, env=home(tmp_path, LOLLMS_API_KEY="sk-wrong-0123456789"))
    assert done.returncode == 4
    assert done.stdout == ""
    assert "sk-wrong" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_model_is_told(server: Live, tmp_path: Path) -> None:
    env = home(tmp_path, LOLLMS_API_KEY=server.key)
    done = lollms("-q", "--host", server.url, "-m", "no-such-model", QUESTION, env=env)
    assert done.returncode == 1
    assert "no-such-model" in done.stderr


def test_without_a_server_the_embedded_engine_answers(tmp_path: Path) -> None:
    done = lollms("-u", "-o", "max_tokens", "30", "-o", "temperature", "0", QUESTION, env=home(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert "embedded engine with lollms-nano" in done.stderr


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = lollms("-q", "-m", "/no/such/model.gguf", QUESTION, env=home(tmp_path))
    assert done.returncode == 1
    assert "/no/such/model.gguf" in done.stderr
    assert done.stderr.count("\n") == 1


def test_stop_on_a_real_server(server: Live, tmp_path: Path) -> None:
    done = lollms("stop", "0123456789abcdef", "--host", server.url, env=home(tmp_path, LOLLMS_API_KEY=server.key))
    assert done.returncode == 1
    assert "runs no request 0123456789abcdef" in done.stderr


def test_doctor_finds_nothing_wrong_with_a_running_server(server: Live, tmp_path: Path) -> None:
    folder = Path(server.environment["HOME"])
    env = {**server.environment, "LOLLMS_PORT": port(server)}
    done = lollms("doctor", "--deep", "--config-dir", str(folder / "lollms_configs"), env=env)
    assert done.returncode == 0, done.stdout
    assert "bad " not in done.stdout
    for words in ("smoke-test model", "Paris", "is valid", "readable by you alone", f"{port(server)} answers"):
        assert words in done.stdout
    assert server.key not in done.stdout


def test_doctor_names_each_fault_and_fails(tmp_path: Path) -> None:
    key = tmp_path / "home" / "api_key"
    key.parent.mkdir(mode=0o700)
    key.write_text("sk-0123456789abcdef\n", encoding="utf-8")
    key.chmod(0o644)
    configs = tmp_path / "lollms_configs"
    configs.mkdir(mode=0o700)
    (configs / "main_config.yaml").write_text(
        "server:\n  prot: 9601\nsecurity:\n  allowed_api_keys: []\n", encoding="utf-8"
    )
    (configs / "main_config.yaml").chmod(0o600)
    address = f"http://127.0.0.1:{free_port()}"
    done = lollms("doctor", "--config-dir", str(configs), "--host", address, env=home(tmp_path))
    assert done.returncode == 1
    bad = [line for line in done.stdout.splitlines() if line.startswith("bad ")]
    assert len(bad) == 3
    assert "main_config.yaml:2: server.prot" in bad[0]
    assert "chmod 600" in bad[1]
    assert address in bad[2]
    assert "3 things to put right." in done.stdout
    assert "sk-0123456789abcdef" not in done.stdout


def test_serve_shows_a_key_once_serves_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    number = free_port()
    env = home(tmp_path, LOLLMS_PORT=str(number), LOLLMS_CONFIG_DIR=str(tmp_path / "lollms_configs"))
    with ended(start("serve", env=env)) as process:
        greeting = read_until(process.stdout, b"  curl ").decode()
        key = (tmp_path / "home" / "api_key").read_text(encoding="utf-8").strip()
        assert f"export LOLLMS_API_KEY={key}\n" in greeting
        done = lollms(QUESTION, env=env)
        assert (done.returncode, "Paris" in done.stdout) == (0, True), done.stderr
        assert done.stderr == f"lollms: using the server at http://127.0.0.1:{number}\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert b"Traceback" not in process.stderr.read()
    with ended(start("serve", env=env)) as process:
        assert key not in read_until(process.stdout, b"  curl ").decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_serve_refuses_a_broken_configuration_in_a_line(tmp_path: Path) -> None:
    configs = tmp_path / "lollms_configs"
    configs.mkdir(mode=0o700)
    (configs / "main_config.yaml").write_text(
        "server:\n  port: twelve\nsecurity:\n  allowed_api_keys: [short]\n", encoding="utf-8"
    )
    (configs / "main_config.yaml").chmod(0o600)
    done = lollms("serve", "--config-dir", str(configs), env=home(tmp_path))
    assert done.returncode == 78
    assert "main_config.yaml:2: server.port" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_on_a_port_that_is_taken_is_one_line(server: Live, tmp_path: Path) -> None:
    done = lollms("serve", "--port", port(server), "--config-dir", str(tmp_path / "c"), env=home(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert port(server) in line
    assert done.stdout == "" and list(tmp_path.iterdir()) == []  # no first configuration, and no key


def test_a_default_that_the_server_does_not_have_is_doubted_and_named(server: Live, tmp_path: Path) -> None:
    env = home(tmp_path, LOLLMS_PORT=port(server), LOLLMS_API_KEY=server.key)
    there = lollms("models", "default", "lollms-nano", env=env)
    assert (there.returncode, "but" in there.stderr) == (0, False), there.stderr
    chosen = lollms("models", "default", "nope", env=env)
    assert chosen.returncode == 0
    assert "has no model 'nope'" in chosen.stderr and "lollms models default --unset" in chosen.stderr
    for command in (["hi"], ["embed", "hi"]):
        failed = lollms(*command, env=env)
        assert failed.returncode == 1
        assert "nope is your default" in failed.stderr and "lollms models default --unset" in failed.stderr
    alone = lollms("models", "default", "nope", env=home(tmp_path))
    assert alone.returncode == 0 and "no model 'nope' lies on this machine" in alone.stderr


def test_a_model_that_makes_no_vectors_says_where_it_can(server: Live, tmp_path: Path) -> None:
    env = home(tmp_path, LOLLMS_PORT=port(server), LOLLMS_API_KEY=server.key)
    failed = lollms("embed", "a cat", env=env)
    assert failed.returncode == 1
    assert "the folder bindings" in failed.stderr
    assert "lollms embed -b pythonllamacpp" in failed.stderr
    done = lollms("embed", "-b", "pythonllamacpp", "a cat", env=env)
    assert done.returncode == 0 and done.stdout.startswith("["), done.stderr
