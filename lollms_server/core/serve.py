"""Starting the server: from a configuration folder to an exit code.

What can be said in a line is said in a line: a damaged configuration (exit 78), a port in use (exit 1). The heavy
imports come after all of that, so that these lines come at once.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lollms_core.errors import ConfigError, InvalidRequest, LollmsError, meaning
from lollms_core.safety.hosts import split_host_port
from lollms_runtime.keys import key_file, stored_key
from lollms_server.core.config import LoadedConfig, check_exposure, load_config
from lollms_server.core.event_loop import ServerLoop, leave
from lollms_server.core.first_start import FirstStart, ensure_config
from lollms_server.core.listen import allow_many_connections, listen_on
from lollms_server.core.log import setup_logging

__all__ = ["main", "serve"]

Printer = Callable[[str], None]

_KILLED = 128
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what is listened on, not what one calls
_PROMPT = "What is the capital of France?"


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """The command line of `python lollms_server/main.py`; returns the exit code."""
    env = os.environ if environ is None else environ
    program = "run.bat" if os.name == "nt" else "run.sh"
    parser = argparse.ArgumentParser(prog=program, description="Start the lollms server.")
    parser.add_argument("--host", default=env.get("LOLLMS_HOST") or None, help="IP address to listen on, or localhost")
    parser.add_argument(
        "--port", default=env.get("LOLLMS_PORT") or None, help="port, 9601 if nothing else is said; 0 takes a free one"
    )
    parser.add_argument(
        "--config-dir",
        metavar="FOLDER",
        default=env.get("LOLLMS_CONFIG_DIR") or "lollms_configs",
        help="configuration folder; without it LOLLMS_CONFIG_DIR, else lollms_configs in the current folder",
    )
    given = parser.parse_args(argv)
    try:
        host, port = _address(given.host, given.port)
    except LollmsError as error:
        return _fail(error)
    return serve(Path(given.config_dir), host, port)


def serve(config_dir: Path, host: str | None = None, port: int | None = None, printer: Printer | None = None) -> int:
    """Serve until a signal comes; returns the exit code.

    `host` and `port` override the configuration's. `printer` gets the lines for the person at the terminal. A folder
    without a configuration gets a first one. Nothing is raised: what is wrong is said on standard error.
    """
    say = printer or _say
    first: FirstStart | None = None
    try:
        _check_workers()
        first = ensure_config(config_dir)
        loaded = _with_host(load_config(config_dir), host)
        address, number = loaded.config.server.host, loaded.config.server.port if port is None else port
        sock = listen_on(address, number)
    except LollmsError as error:
        for line in _first_lines(first) if first is not None else ():  # a new key is shown now or never
            say(line)
        return _fail(error)
    except KeyboardInterrupt:
        return _KILLED + signal.SIGINT
    with sock:
        allow_many_connections()
        return _run(loaded, sock, first, say)


def _run(loaded: LoadedConfig, sock: socket.socket, first: FirstStart | None, say: Printer) -> int:
    setup_logging(loaded.config.logging.log_level, loaded.scrubber)
    if loaded.config.logging.log_level != "DEBUG":
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    log = logging.getLogger(__name__)
    for notice in loaded.notices:
        log.warning("%s", notice)
    loop = ServerLoop()
    code = _serve(loop, loaded, sock, first, say)
    if loop.left:
        log.warning("Still busy at the end, and ended with the process: %s.", ", ".join(sorted(set(loop.left))))
        leave(code)
    return code


def _serve(loop: ServerLoop, loaded: LoadedConfig, sock: socket.socket, first: FirstStart | None, say: Printer) -> int:
    try:
        from lollms_server.app import create_app
        from lollms_server.core.http_server import HttpServer

        def ready() -> None:
            for line in _greeting(loaded, sock.getsockname()[1], first):
                say(line)

        app = create_app(loaded)
        _spare_the_collector()
        server = HttpServer(app, app.services, ready=ready, say=say)
        with loop:
            loop.run(server.serve([sock]))
    except KeyboardInterrupt:
        return _KILLED + signal.SIGINT
    except SystemExit as end:  # uvicorn's way to say that the start failed
        return end.code if isinstance(end.code, int) else 1
    return _KILLED + server.received[-1] if server.forced else 0


def _spare_the_collector() -> None:
    """Take all that was imported out of the garbage collector's rounds, and make them rarer.

    A request leaves nearly no cycles behind, so with the usual thresholds a tenth of a busy server's time goes into
    looking through the same objects again.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _with_host(loaded: LoadedConfig, host: str | None) -> LoadedConfig:
    """The configuration with the address that is really listened on: the guard decides by it whom it knows."""
    address = check_exposure(loaded.config, host)
    server = loaded.config.server.model_copy(update={"host": address})
    return replace(loaded, config=loaded.config.model_copy(update={"server": server}))


def _address(host: str | None, port: str | None) -> tuple[str | None, int | None]:
    """What flags or environment say; the host may hold the port."""
    number: int | None = None
    if host is not None:
        try:
            host, number = split_host_port(host)
        except ValueError as error:
            raise InvalidRequest(f"{host!r} is no address to listen on: {error}.") from error
    if port is not None:
        if not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise InvalidRequest(f"The port must be a number from 0 to 65535; it is {port!r}.")
        number = int(port)
    return host, number


def _check_workers() -> None:
    workers = os.environ.get("LOLLMS_WORKERS", "").strip()
    if workers not in ("", "0", "1"):
        raise ConfigError(
            "LOLLMS_WORKERS is set to more than 1, but this server is one process: its queue and its models are "
            "shared by all requests. Unset it; for more, run several servers on several ports."
        )


def _greeting(loaded: LoadedConfig, port: int, first: FirstStart | None) -> list[str]:
    address = loaded.config.server.host
    named = _ANY.get(address, address)
    url = f"http://[{named}]:{port}" if ":" in named else f"http://{named}:{port}"
    lines = []
    if first is not None:
        lines += _first_lines(first)
    lines.append(f"The lollms server is at {url} (configuration: {loaded.file}). Stop it with Ctrl-C.")
    if loaded.config.listens_beyond_loopback():
        having = "with" if loaded.keys.required else "without"
        lines.append(f"Other machines can reach it, over plain HTTP, {having} a key.")
    if first is None and (place := _place_of_key(loaded)) is not None:
        lines.append(f'Your key: export LOLLMS_API_KEY="$(cat {shlex.quote(str(place))})"')
    key = ' -H "X-API-Key: $LOLLMS_API_KEY"' if loaded.keys.required else ""
    body = f'{{"input_data": [{{"type": "text", "role": "user_prompt", "data": "{_PROMPT}"}}], "stream": true}}'
    lines.append("Try it:")
    lines.append(f"  curl -N {url}/api/v1/generate{key} -H 'Content-Type: application/json' -d '{body}'")
    return lines


def _place_of_key(loaded: LoadedConfig) -> Path | None:
    """The user's key file, if it holds a key that opens this server."""
    try:
        key = stored_key()
    except LollmsError:
        return None
    return key_file() if key and loaded.keys.check(key.encode()) is not None else None


def _first_lines(first: FirstStart) -> list[str]:
    lines = [f"A first configuration was written to {first.file}."]
    if first.key_is_new:
        kept = (
            f"it is kept in {first.key_file}" if first.key_file is not None else f"it is kept nowhere: {first.reason}"
        )
        lines += [f"This is your key, shown only now ({kept}):", f"export LOLLMS_API_KEY={first.key}"]
    else:
        lines.append(f"It allows the key that you have already, in {first.key_file}.")
    return lines


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads any more; the server serves all the same
        print(line, flush=True)


def _fail(error: LollmsError) -> int:
    print(error.message, file=sys.stderr, flush=True)
    return meaning(error).exit_code
