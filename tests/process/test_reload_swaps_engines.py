"""A local model that is configured anew is loaded beside the old one, which ends with its last request; and one that
cannot be loaded replaces nothing."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import KEY, write_config
from tests.support.server_process import ServerProcess, server_process
from tests.support.tiny_gguf import write_random_llama

pytestmark = [pytest.mark.group("engine"), pytest.mark.group("gguf")]

HEADERS = {"X-API-Key": KEY}


def write_model(tmp_path: Path, **settings: Any) -> None:
    instance = {"type": "llamacpp_binding", "n_parallel": 2, **settings}
    config = {"bindings_map": {"main": "llamacpp_binding"}, "defaults": {"ttt_binding": "main"}}
    write_config(tmp_path, config, {"main": instance})


def reload(server: ServerProcess) -> dict[str, Any]:
    answer = ask(server.port, "POST", "/api/v1/reload", b"", HEADERS)
    assert answer.status == 200, answer
    report: dict[str, Any] = answer.json()
    report["kept"] = [name for name in report["kept"] if name == "main"]  # and no personalities
    return report


def says_paris(server: ServerProcess) -> bool:
    answer = ask(server.port, "POST", "/api/v1/generate", prompt("What is the capital of France?"), HEADERS)
    return b"Paris" in answer.body


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_running_stream_goes_on_and_its_engine_ends_after_it(tmp_path: Path) -> None:
    write_model(tmp_path, default_model=str(write_random_llama(tmp_path / "endless.gguf")))
    with server_process(tmp_path) as server:
        server.wait_models()
        (old,) = server.children()
        own = {**HEADERS, "X-Request-ID": "the-stream-that-goes-on"}
        body = prompt("Go on.", stream=True, parameters={"temperature": 0, "max_tokens": 7000})
        with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=own) as request:
            pieces = request.read_head().pieces()
            next(pieces)
            write_model(tmp_path, default_model="lollms-nano")
            assert reload(server)["loaded"] == ["main"]
            assert says_paris(server)
            assert old.is_running()
            assert len(server.children()) == 2
            before = b"".join(next(pieces) for _ in range(3))
            assert b'"type": "chunk"' in before or b'"type":"chunk"' in before
            assert ask(server.port, "DELETE", "/api/v1/requests/the-stream-that-goes-on", None, own).status == 204
            *_, last = pieces
            assert b"final" in last
        server.wait_for(lambda: is_gone(old))
        server.wait_for(lambda: len(server.children()) == 1)
        assert says_paris(server)


def test_a_model_that_cannot_be_loaded_leaves_the_one_that_works(tmp_path: Path) -> None:
    write_model(tmp_path)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 60)
    with server_process(tmp_path) as server:
        server.wait_models()
        (old,) = server.children()
        for model in (str(broken), "no-such-model"):
            write_model(tmp_path, default_model=model)
            report = reload(server)
            assert (report["loaded"], report["kept"]) == ([], ["main"])
            assert [problem["name"] for problem in report["failed"]] == ["main"]
            assert str(tmp_path) not in json.dumps(report)
            assert server.children() == [old]
            assert says_paris(server)
        write_model(tmp_path, n_parallel=3)
        assert reload(server)["loaded"] == ["main"]
        assert says_paris(server)
        server.wait_for(lambda: is_gone(old))


def test_hangup_takes_up_instances_and_keys(tmp_path: Path) -> None:
    write_model(tmp_path)
    with server_process(tmp_path) as server:
        server.wait_models()
        file = tmp_path / "lollms_configs" / "main_config.yaml"
        whole = json.loads(file.read_text(encoding="utf-8"))
        whole["bindings_map"] = {"other": "llamacpp_binding"}
        whole["defaults"] = {"ttt_binding": "other"}
        (tmp_path / "lollms_configs" / "bindings" / "main.yaml").rename(
            tmp_path / "lollms_configs" / "bindings" / "other.yaml"
        )
        file.write_text(json.dumps(whole, indent=1), encoding="utf-8")
        server.signal(signal.SIGHUP)

        def active() -> list[str]:
            answer = ask(server.port, "GET", "/api/v1/list_active_bindings", None, HEADERS)
            return list(answer.json()["bindings"])

        server.wait_for(lambda: active() == ["other"])
        assert says_paris(server)
        whole["security"]["allowed_api_keys"] = ["another-key-0123456789abcdef"]
        file.write_text(json.dumps(whole, indent=1), encoding="utf-8")
        server.signal(signal.SIGHUP)
        server.wait_for(lambda: ask(server.port, "GET", "/api/v1/queue", None, HEADERS).status == 401)
