"""What keeps the server from starting is said in words, with an exit code, and without a traceback."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.server import write_config
from tests.support.server_process import server_process


def refusal(folder: Path, *arguments: str, env: Mapping[str, str] | None = None, port: int = 0) -> tuple[int, str]:
    with server_process(folder, *arguments, env=env, port=port) as server:
        code = server.wait_end()
    said = "\n".join(server.err)
    assert "Traceback" not in said
    assert not server.out
    return code, said


def test_a_port_in_use(tmp_path: Path) -> None:
    write_config(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = refusal(tmp_path, port=port)
    assert code == 1
    assert said.splitlines() == [said] and str(port) in said and "--port" in said


def test_a_first_start_that_finds_its_port_in_use_shows_the_key_it_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with server_process(tmp_path, port=taken.getsockname()[1]) as server:
            assert server.wait_end() == 1
    (key,) = [line for line in server.out if line.startswith("export LOLLMS_API_KEY=")]
    assert len(key) > 40


def test_an_address_that_this_machine_does_not_have(tmp_path: Path) -> None:
    write_config(tmp_path)
    code, said = refusal(tmp_path, "--host", "192.0.2.1")
    assert code == 1
    assert "192.0.2.1" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("host", ["no.such.host.example", "127.0.0.1.5", "bad host"])
def test_a_host_that_is_no_address(tmp_path: Path, host: str) -> None:
    write_config(tmp_path)
    code, said = refusal(tmp_path, "--host", host)
    assert code in (1, 78)
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_no_port(tmp_path: Path, port: str) -> None:
    write_config(tmp_path)
    code, said = refusal(tmp_path, "--port", port)
    assert code in (1, 2)
    assert "port" in said.lower()


def test_a_damaged_configuration(tmp_path: Path) -> None:
    config = write_config(tmp_path) / "main_config.yaml"
    config.write_text(config.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    code, said = refusal(tmp_path)
    assert code == 78
    assert "main_config.yaml" in said


def test_an_empty_configuration(tmp_path: Path) -> None:
    config = write_config(tmp_path) / "main_config.yaml"
    config.write_text("", encoding="utf-8")
    code, said = refusal(tmp_path)
    assert code == 78
    assert said.startswith(f"{config}:1: the file is empty")


def test_a_default_that_names_nothing(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, {"defaults": {"ttt_binding": "nanno"}, "bindings_map": {"nano": "llamacpp_binding"}}
    )
    code, said = refusal(tmp_path)
    assert code == 78
    assert re.fullmatch(rf"{config}/main_config.yaml:\d+: defaults.ttt_binding: .*'nanno'.*'nano'.*", said), said


def test_an_installation_that_lacks_a_package(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    (damaged / "uvicorn").mkdir(parents=True)
    (damaged / "uvicorn" / "__init__.py").write_text("import a_package_that_is_gone.part\n", encoding="utf-8")
    write_config(tmp_path, {"bindings_map": {"nano": "llamacpp_binding"}})
    code, said = refusal(tmp_path, env={"PYTHONPATH": str(damaged)})
    assert code == 1
    assert said.splitlines() == [said] and "'a_package_that_is_gone'" in said
    assert "Delete the folder venv and run ./run.sh again." in said


def test_an_open_server_that_nobody_asked_for(tmp_path: Path) -> None:
    write_config(tmp_path, {"security": {"allowed_api_keys": []}})
    code, said = refusal(tmp_path, "--host", "0.0.0.0")
    assert code == 78
    assert "allow_unauthenticated" in said


def test_more_than_one_worker(tmp_path: Path) -> None:
    write_config(tmp_path)
    code, said = refusal(tmp_path, env={"LOLLMS_WORKERS": "2"})
    assert code == 78
    assert "LOLLMS_WORKERS" in said and len(said.splitlines()) == 1
