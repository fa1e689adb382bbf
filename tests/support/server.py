"""The real server for tests: the application behind uvicorn on a real socket, in a thread of its own.

    with running_server(bindings={"echo": EchoBinding()}) as server:
        requests.post(f"{server.url}/api/v1/generate", headers=server.headers, ...)

`config` overrides sections of the main configuration; `instances` writes instance files by name. Leaving the block
stops the server and checks that nothing is left of any request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from typing_extensions import override

from lollms_core.types import Batch, GenerationCall
from lollms_runtime.async_drive import AsyncPorts
from lollms_runtime.scripted import AsyncScriptedPorts, Replies, Script
from lollms_server.app import ServerApp, create_app
from lollms_server.core.bindings import Binding
from lollms_server.core.bindings.native import NativeBinding
from lollms_server.core.config import LoadedConfig, load_config
from lollms_server.core.http_server import HttpServer
from lollms_server.core.listen import listen_on
from lollms_server.core.requests import Running
from lollms_server.core.services import Patience, Services
from tests.support.both_routes import Noting, by_quick_route

KEY = "test-key-0123456789abcdef"
T = TypeVar("T")


class PortsBinding(NativeBinding):
    """A binding over any async ports; `places` is its capacity."""

    binding_type_name = "ports_binding"

    def __init__(self, ports: AsyncPorts | Script | Replies, *, places: int | None = None, model: str = "m") -> None:
        self.config = {"default_model": model}
        self.default_model_name = model
        self.ports: AsyncPorts = ports if hasattr(ports, "open") else AsyncScriptedPorts(ports)  # type: ignore[arg-type,assignment]
        self.places = places

    @property
    @override
    def capacity(self) -> int | None:
        return self.places

    @override
    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[Any]:
        return self.ports.open(call)

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        return [{"name": str(self.default_model_name)}]

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return {"name": model_name or self.default_model_name}


class Served:
    """A running server. `url` has no slash at the end; `headers` hold the key."""

    def __init__(self, app: ServerApp, server: HttpServer, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self.app = app
        self.server = server
        self.loop = loop
        self.folder = folder
        self.port = 0
        self.key = KEY
        self.headers = {"X-API-Key": KEY}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def services(self) -> Services:
        return self.app.services

    def on_loop(self, function: Callable[[], T]) -> T:
        """Run a function on the server's event loop and give its result."""

        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(5)

    def running(self) -> tuple[Running, ...]:
        """What the registry lists."""
        return self.on_loop(self.services.registry.snapshot)

    def wait_until(self, condition: Callable[[], Any], timeout: float = 5.0) -> None:
        """Wait until a condition holds that is looked at on the server's loop."""
        deadline = time.monotonic() + timeout
        while not self.on_loop(condition):
            assert time.monotonic() < deadline, "the server did not get there in time"
            time.sleep(0.002)

    def wait_idle(self, timeout: float = 5.0) -> None:
        """Wait until no request is registered, queued or holds a lease, and no task of one runs."""
        self.wait_until(self.is_idle, timeout)

    def is_idle(self) -> bool:
        """To be called on the loop."""
        return len(self.services.registry) == 0 and self.services.scheduler.idle and not self.server.server_state.tasks


def write_config(
    folder: Path,
    config: Mapping[str, Any] | None = None,
    instances: Mapping[str, str | Mapping[str, Any]] | None = None,
) -> Path:
    """Write a main configuration and instance files below `folder`; returns the configuration folder."""
    config_dir = folder / "lollms_configs"
    (config_dir / "bindings").mkdir(parents=True, mode=0o700, exist_ok=True)
    config_dir.chmod(0o700)
    whole: dict[str, Any] = {"security": {"allowed_api_keys": [KEY]}, **(config or {})}
    main = config_dir / "main_config.yaml"
    main.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    main.chmod(0o600)
    for name, text in (instances or {}).items():
        file = config_dir / "bindings" / f"{name}.yaml"
        file.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
        file.chmod(0o600)
    return config_dir


@contextlib.contextmanager
def running_server(
    bindings: Mapping[str, Binding] | None = None,
    config: Mapping[str, Any] | None = None,
    instances: Mapping[str, str | Mapping[str, Any]] | None = None,
    *,
    patience: Patience | None = None,
    grace: float = 0.2,
    loaded: LoadedConfig | None = None,
    check_idle: bool = True,
    quick: bool | None = None,
) -> Iterator[Served]:
    """Serve on a free port until the block ends. The first of `bindings` is the default for text.

    `quick` is for tests about the two routes of generate requests; for the others the run decides.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lollms-test-")))
        if loaded is None:
            wanted = dict(config or {})
            if bindings and "defaults" not in wanted:
                wanted["defaults"] = {"ttt_binding": next(iter(bindings))}
            loaded = load_config(write_config(folder, wanted, instances), environ={}, further=tuple(bindings or ()))
        started, ended = threading.Event(), threading.Event()
        box: list[Served] = []
        failures: list[BaseException] = []
        sock = stack.enter_context(listen_on("127.0.0.1", 0))

        async def serve() -> None:
            route = by_quick_route() if quick is None else quick
            app = create_app(loaded, bindings=bindings, patience=patience, quick=route)
            outer = Noting(app) if quick is None else app
            server = HttpServer(outer, app.services, grace=grace, ready=started.set)
            box.append(Served(app, server, asyncio.get_running_loop(), folder))
            await server.serve([sock])

        def run() -> None:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(serve())
            except BaseException as error:
                failures.append(error)
            finally:
                ended.set()
                started.set()

        thread = threading.Thread(target=run, name="server")
        port = sock.getsockname()[1]
        thread.start()
        try:
            assert started.wait(20)
            assert not failures, failures
            served = box[0]
            served.port = port
            yield served
            if check_idle:
                served.wait_idle()
        finally:
            if box:
                box[0].server.should_exit = True
            assert ended.wait(30), "the server did not stop"
            thread.join(5)
    assert not failures, failures


def batches_of(*events: Any) -> list[Batch]:
    """Each event as a batch of its own, for scripts."""
    return [(event,) for event in events]
