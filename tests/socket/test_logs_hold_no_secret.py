"""Every kind of secret is planted, every endpoint is driven into failures; nothing of it is in a log or a reply."""

from __future__ import annotations

import base64
import contextlib
import http.server
import io
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lollms_server.core.config import load_config
from lollms_server.core.log import setup_logging
from lollms_server.core.printed import Printed
from tests.support.raw_http import Answer, ask
from tests.support.server import KEY, Served, running_server, write_config

OWN_KEY = "canary-a1-key-of-a-caller"
SECRETS = {
    "a key of the server": OWN_KEY,
    "the key of the test": KEY,
    "a setting of a third party": "canary-b2/of+the plug-in",
    "another one": "canary-b3-nested-word",
    "the key of openai_binding": "canary-c3-sk-proj-0123456789",
    "the key of ollama_binding": "canary-d4-ollama-key",
    "the key of lollms_binding": "canary-e5-lollms-key",
    "the key of an instance that fails": "canary-f6-of-the-broken",
}
WRONG_KEY = "canary-g7-somebody-elses"
PROMPT = "canary-h8-what-a-person-wrote"

CARD = """
type_name: talkative_binding
supported_output_modalities: [text]
supported_input_modalities: [text]
instance_schema:
  default_model: {type: str, default: tiny}
  secret_word: {type: str, nullable: true, default: null, secret: true}
  more: {type: list, default: [], secret: true}
  fails: {type: bool, default: false}
"""
CODE = """
import base64, logging, sys, threading, warnings
from lollms_server.core.bindings import Binding

class Talkative(Binding):
    binding_type_name = "talkative_binding"

    def __init__(self, config, resource_manager):
        super().__init__(config, resource_manager)
        self.words = [config["secret_word"], *config["more"]]
        if config["fails"]:
            raise RuntimeError(f"cannot start with {config}")

    def _fail(self, what="nothing"):
        logger = logging.getLogger(f"third.{self.words[0]}")
        for word in self.words:
            logger.error("%s: I use %s", what, word, stack_info=True)
            logger.info("a header: %s", {"Authorization": f"Bearer {word}"})
            print("printed", word)
            print("printed", repr(word), file=sys.stderr)
        raise RuntimeError(f"{self.words} {base64.b64encode(self.words[0].encode())} {self.words[0].encode().hex()}")

    async def list_available_models(self):
        self._fail()

    def get_supported_input_modalities(self):
        return ["text"]

    def get_supported_output_modalities(self):
        return ["text"]

    async def load_model(self, model_name):
        return True

    async def unload_model(self):
        return True

    async def get_model_info(self, model_name=None):
        self._fail()

    async def health_check(self):
        return False, f"bad with {self.words}"

    async def tokenize(self, text, add_bos=False, add_eos=False, model_name=None):
        raise ValueError(f"not with {self.words}")

    async def detokenize(self, tokens, model_name=None):
        self._fail()

    async def embed(self, texts, model_name=None):
        self._fail()

    async def generate(self, prompt, params, request_info, multimodal_data=None):
        self._fail()

    async def generate_stream(self, prompt, params, request_info, multimodal_data=None):
        yield {"type": "chunk", "content": "so far"}
        try:
            self._fail()
        except RuntimeError as error:
            raise ConnectionError(f"behind it: {error}") from error
"""


class Echo(http.server.BaseHTTPRequestHandler):
    """A backend that says what it was sent, in errors of every kind."""

    protocol_version = "HTTP/1.1"
    statuses: ClassVar[list[int]] = [401, 400, 302, 200, 404, 418]
    asked: ClassVar[list[str]] = []

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        said = f"Incorrect API key provided: {dict(self.headers)}"
        self.asked.append(said)
        body = json.dumps({"error": {"message": said, "code": said}, "detail": said}).encode()
        self.send_response(self.statuses[len(self.asked) % len(self.statuses)], said.replace("\n", " ")[:200])
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("location", "http://127.0.0.1:9/")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture(scope="module")
def backend() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextlib.contextmanager
def logged(loaded: Any) -> Iterator[io.StringIO]:
    """The log as the server writes it, and everything as before afterwards."""
    root, factory, stream = logging.getLogger(), logging.getLogRecordFactory(), io.StringIO()
    before = [(each, each.handlers, each.level, each.propagate, each.disabled) for each in _loggers()]
    setup_logging("DEBUG", loaded.scrubber, stream)
    out = Printed("stdout", logging.INFO, io.StringIO(), lambda: True)
    err = Printed("stderr", logging.WARNING, io.StringIO(), lambda: True)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield stream
    finally:
        logging.setLogRecordFactory(factory)
        for each, handlers, level, propagate, disabled in before:
            each.handlers, each.propagate, each.disabled = handlers, propagate, disabled
            each.setLevel(level)
        assert root.level == before[0][2]


def _loggers() -> list[logging.Logger]:
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "fastapi", "aiohttp", "asyncio")
    ours = ("lollms_core", "lollms_runtime", "lollms_server")
    return [logging.getLogger(), *map(logging.getLogger, (*names, *ours))]


def bodies(instance: str) -> dict[str, Any]:
    """For each path what it wants, for one instance; each with what a person wrote."""
    item = {"type": "text", "role": "user_prompt", "data": PROMPT}
    common = {"binding_name": instance}
    return {
        "/api/v1/generate": {**common, "input_data": [item], "parameters": {"temperature": 0.5, "api_key": PROMPT}},
        "/api/v1/tokenize": {**common, "text": PROMPT},
        "/api/v1/detokenize": {**common, "tokens": [1, 2]},
        "/api/v1/count_tokens": {**common, "text": PROMPT},
        "/api/v1/embed": {**common, "input": [PROMPT]},
        "/api/v1/reload": {},
    }


def driven(server: Served, instances: list[str]) -> Iterator[Answer]:
    """The answers of every endpoint: good, refused, failing, with a wrong key in every place."""
    good = {"X-API-Key": OWN_KEY}
    schema = ask(server.port, "GET", "/openapi.json", None, good)
    yield schema
    seen = set()
    for path, methods in schema.json()["paths"].items():
        for method in (each.upper() for each in methods):
            for instance in (*instances, "nobody"):
                seen.add(path)
                where = path.replace("{binding_instance_name}", instance)
                where = where.replace("{request_id}", "0" * 32).replace("{personality_name}", "nobody")
                body = bodies(instance).get(path) if method == "POST" else None
                yield ask(server.port, method, where, body, good)
                if path == "/api/v1/generate":
                    yield ask(server.port, method, where, {**(body or {}), "stream": True}, good)
            wrong = {"X-API-Key": WRONG_KEY}
            yield ask(server.port, method, where, body, wrong)
            yield ask(server.port, method, f"{where}?key={WRONG_KEY}", body, {"Authorization": f"Bearer {WRONG_KEY}"})
            yield ask(server.port, method, where, b'{"' + PROMPT.encode(), good)
            yield ask(server.port, method, where, [PROMPT], good)
    assert {*bodies("")} <= seen, "an endpoint of this test is gone"
    yield ask(server.port, "GET", f"/{WRONG_KEY}", None, good)


def forms(secret: str) -> set[str]:
    raw = secret.encode()
    return {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], raw.hex(), base64.b64encode(raw).decode()[:-4]}


def test_nothing_of_any_secret_is_in_a_log_or_a_reply(tmp_path: Path, backend: str) -> None:
    folder = tmp_path / "own" / "talkative"
    folder.mkdir(parents=True)
    (folder / "binding_card.yaml").write_text(CARD, encoding="utf-8")
    (folder / "__init__.py").write_text(CODE, encoding="utf-8")
    config = {
        "security": {"allowed_api_keys": [KEY, OWN_KEY]},
        "paths": {"bindings_folder": str(tmp_path / "own")},
        "bindings_map": {
            "mine": "talkative_binding",
            "broken": "talkative_binding",
            "openai": "openai_binding",
            "ollama": "ollama_binding",
            "lollms": "lollms_binding",
        },
        "defaults": {"ttt_binding": "mine"},
        "limits": {"failed_keys_per_minute": 100_000},
        "logging": {"log_level": "DEBUG"},
    }
    instances = {
        "mine": {"secret_word": SECRETS["a setting of a third party"], "more": [SECRETS["another one"]]},
        "broken": {"secret_word": SECRETS["the key of an instance that fails"], "fails": True},
        "openai": {"api_key": SECRETS["the key of openai_binding"], "base_url": f"{backend}/v1"},
        "ollama": {"api_key": SECRETS["the key of ollama_binding"], "host": backend, "default_model": "m"},
        "lollms": {"service_key": SECRETS["the key of lollms_binding"], "base_url": backend},
    }
    loaded = load_config(write_config(tmp_path, config, instances), environ={})
    with logged(loaded) as log:
        with running_server(loaded=loaded) as server:
            answers = list(driven(server, [*instances]))
        print("the last word", *SECRETS.values(), file=sys.stderr)
    texts = [f"{answer.headers}\n{answer.body.decode()}" for answer in answers]
    assert {200, 400, 401, 403, 404, 422, 500, 501, 503} <= {answer.status for answer in answers}
    assert len(Echo.asked) > 10 and any(SECRETS["the key of openai_binding"] in said for said in Echo.asked)
    assert log.getvalue().count("I use •••") > 5 and "printed •••" in log.getvalue()
    for where, text in [("the log", log.getvalue()), *(("a reply", text) for text in texts)]:
        for kind, secret in SECRETS.items():
            for form in forms(secret):
                assert form not in text, f"{kind} is in {where}: {text[:2000]}"
    for form in forms(WRONG_KEY):
        assert form not in log.getvalue().replace(f"/{WRONG_KEY}", ""), "a key that was tried is in the log"
    assert PROMPT not in log.getvalue(), "what a person wrote is in the log"
    lines = log.getvalue().rstrip("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    assert all(line.startswith("    | ") or re.match(r"\d{4}-\d\d-\d\dT", line) for line in lines)
    of_requests = [line for line in lines if " third." in line or " printed " in line]
    ids = {answer.headers.get("x-request-id") for answer in answers}
    assert len(of_requests) > 20
    for line in of_requests:
        found = re.search(r" \[([0-9a-f]{32})\] ", line)
        assert found is not None and found[1] in ids, line
