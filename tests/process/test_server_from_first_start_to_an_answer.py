"""The server as a person meets it: one command, a key, an answer of the embedded model, and a clean end."""

from __future__ import annotations

import os
import re
import signal
import stat
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import KEY, write_config
from tests.support.server_process import ServerProcess, server_process

pytestmark = pytest.mark.group("engine")

LONG = "Count from one to one hundred."


def stream(server: ServerProcess, text: str = LONG, **more: Any) -> RawRequest:
    body = prompt(text, stream=True, parameters={"max_tokens": 900, "ignore_eos": True, **more})
    return RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers={"X-API-Key": server.key}, timeout=30)


def answer_of(server: ServerProcess, key: str, text: str) -> str:
    answer = ask(server.port, "POST", "/api/v1/generate", prompt(text), {"X-API-Key": key})
    assert answer.status == 200, answer
    return str(answer.json()["output"][0]["data"])


def ended(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=10)[1]


def test_one_command_leads_to_a_streamed_answer_and_stays_safe(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        key = server.key
        assert re.fullmatch(r"[0-9a-f]{64}", key)
        config = tmp_path / "lollms_configs" / "main_config.yaml"
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        assert key not in config.read_text(encoding="utf-8")
        curl = server.wait_line(r"^  curl -N (\S+)").group(1)
        assert curl == f"http://127.0.0.1:{server.port}/api/v1/generate"
        health = ask(server.port, "GET", "/health").json()
        assert health["models"] in ("loading", "ready") and health["api_key_required"] is True
        assert ask(server.port, "POST", "/api/v1/generate", prompt("x")).status == 403
        with RawRequest(
            server.port,
            "POST",
            "/api/v1/generate",
            body=prompt("What is the capital of France?", stream=True),
            headers={"X-API-Key": key},
            timeout=30,
        ) as request:  # also while the model is still loading
            events = request.whole().events()
        assert "Paris" in events[-1]["content"][0]["data"]
        text = "".join(event["content"] for event in events if event["type"] == "chunk")
        assert text == events[-1]["content"][0]["data"]
        assert answer_of(server, key, "What is the capital of France?") == text
        server.wait_models("ready")
        children = server.children()
        assert children
        server.signal(signal.SIGTERM)
        assert server.wait_end() == 0
        assert ended(children)
        assert key not in "\n".join(server.err)
    with server_process(tmp_path) as again:
        server_lines = again.wait_line("Try it")
        assert server_lines and not any(key in line for line in again.out)
        place = tmp_path / "home" / ".config" / "lollms" / "api_key"
        assert f'Your key: export LOLLMS_API_KEY="$(cat {place})"' in again.out
        assert "Paris" in answer_of(again, key, "What is the capital of France?")
        again.signal(signal.SIGINT)
        assert again.wait_end() == 0


def test_two_signals_end_an_open_stream_at_once_and_leave_no_orphan(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.wait_models()
        children = server.children()
        with stream(server) as request:
            request.read_head()
            server.signal(signal.SIGINT)
            server.wait_for(lambda: not accepts(server.port))
            assert server.process.poll() is None
            since = time.monotonic()
            server.signal(signal.SIGINT)
            events = request.whole().events()
            assert server.wait_end() == 128 + signal.SIGINT
            assert time.monotonic() - since < 5
        assert ended(children)
    assert events[-2]["metadata"]["code"] == "instance_unavailable" and events[-1]["type"] == "final"
    assert "Stopping: 1 running request has up to 30 s; a second Ctrl-C ends them at once." in server.out
    assert not [line for line in server.err if "Traceback" in line or " ERROR " in line]


def test_closing_the_terminal_stops_the_server(tmp_path: Path) -> None:
    write_config(tmp_path)
    master, terminal = os.openpty()
    try:
        with server_process(tmp_path, stdin=terminal) as server:
            assert server.port
            server.signal(signal.SIGHUP)
            assert server.wait_end() == 0
    finally:
        os.close(terminal)
        os.close(master)
    assert not [line for line in server.err if "Traceback" in line or " ERROR " in line]


def test_a_server_without_models_or_keys_of_ours_says_so_at_its_start(tmp_path: Path) -> None:
    write_config(tmp_path)
    with server_process(tmp_path, "--host", "0.0.0.0") as server:
        server.wait_line(r"^Other machines can reach it, over plain HTTP, with a key\.$")
        server.wait_line("curl -N")
        assert not any("Your key: " in line for line in server.out)
        server.signal(signal.SIGTERM)
        assert server.wait_end() == 0
    assert any("bindings_map is empty" in line for line in server.err)


def accepts(port: int) -> bool:
    try:
        ask(port, "GET", "/health")
    except OSError:
        return False
    return True


def test_killing_the_server_leaves_no_orphan(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.wait_models()
        children = server.children()
        assert children
        server.signal(signal.SIGKILL)
        server.wait_end()
        assert ended(children)


def test_the_engine_crashing_in_the_middle_ends_the_stream_and_nothing_else(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.wait_models()
        (engine,) = server.children()
        with stream(server) as request:
            request.read_head()
            pieces = request.pieces()
            first = next(pieces)
            os.kill(engine.pid, signal.SIGSEGV)
            body = first + b"".join(pieces)
        *_, error, final = [line for line in body.split(b"\n") if line.startswith(b"data: ")]
        assert b'"type":"error"' in error and b'"engine_crashed"' in error
        assert b'"type":"final"' in final and b'"status":"failed"' in final
        assert "Paris" in answer_of(server, server.key, "What is the capital of France?")
        assert server.process.poll() is None


@pytest.mark.parametrize("streamed", [True, False])
def test_leaving_and_deleting_free_the_engine(tmp_path: Path, streamed: bool) -> None:
    with server_process(tmp_path) as server:
        server.wait_models()
        own = {"X-API-Key": server.key, "X-Request-ID": "delete-me-0123456789"}
        body = prompt(LONG, stream=streamed, parameters={"max_tokens": 900, "ignore_eos": True})
        for way in ("leave", "delete"):
            with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=own, timeout=30) as request:
                if streamed:
                    request.read_head()
                if way == "delete":
                    server.wait_for(lambda: stop_it(server, own["X-Request-ID"]) == 204)
                    answer = request.whole()
                    assert answer.status == (200 if streamed else 499)
                    assert not streamed or answer.events()[-1]["metadata"]["status"] == "failed"
            server.wait_for(lambda: stop_it(server, own["X-Request-ID"]) == 404)
            assert "Paris" in answer_of(server, server.key, "What is the capital of France?")


def stop_it(server: ServerProcess, request_id: str) -> int:
    return ask(server.port, "DELETE", f"/api/v1/requests/{request_id}", None, {"X-API-Key": server.key}).status


def test_a_key_that_is_taken_away_ends_its_streams(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.wait_models()
        config = tmp_path / "lollms_configs" / "main_config.yaml"
        text = config.read_text(encoding="utf-8")
        with stream(server) as request:
            request.read_head()
            config.write_text(re.sub(r"sha256:[0-9a-f]{64}", "another-key-0123456789abcdef", text), encoding="utf-8")
            server.signal(signal.SIGHUP)
            *_, error, final = request.whole().events()
        assert (error["type"], error["metadata"]["code"]) == ("error", "cancelled")
        assert final["metadata"]["status"] == "failed"
        assert ask(server.port, "POST", "/api/v1/generate", prompt("x"), {"X-API-Key": server.key}).status == 401
        assert "Paris" in answer_of(server, "another-key-0123456789abcdef", "What is the capital of France?")


def test_a_model_that_cannot_be_loaded_fails_alone(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 60)
    instances = {
        "nano": {"type": "llamacpp_binding"},
        "broken": {"type": "llamacpp_binding", "default_model": str(broken)},
        "absent": {"type": "llamacpp_binding", "default_model": "no-such-model"},
    }
    config = {"bindings_map": dict.fromkeys(instances, "llamacpp_binding"), "defaults": {"ttt_binding": "nano"}}
    write_config(tmp_path, config, instances)
    with server_process(tmp_path) as server:
        server.wait_models("failed")
        assert "Paris" in answer_of(server, KEY, "What is the capital of France?")
        for name, code in (("broken", "model_load_failed"), ("absent", "instance_unavailable")):
            body = prompt("x", binding_name=name)
            answer = ask(server.port, "POST", "/api/v1/generate", body, {"X-API-Key": KEY})
            assert (answer.status, answer.json()["code"]) == (503, code), answer
            assert str(tmp_path) not in answer.body.decode()
        body = prompt("x", model_name="another-model")
        answer = ask(server.port, "POST", "/api/v1/generate", body, {"X-API-Key": KEY})
        assert (answer.status, answer.json()["code"]) == (400, "unknown_model")
