"""Other gateways on the same mock in the same rounds: LiteLLM's proxy, FastAPI with two clients, bare relays.

`python -m benchmarks.peers --install` puts LiteLLM into an environment of its own below the build folder; nothing else
installs it. A peer that is not there is a row that says so. Two versions of LiteLLM were published with code that
steals keys, one of them with a file that Python runs at its start: they are refused here without starting the
interpreter of that environment.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import processes, rounds
from benchmarks.rounds import Target
from benchmarks.table import Row, Table

LITELLM = "1.106.2"
"""The version that `--install` takes."""
STOLEN = frozenset({"1.82.7", "1.82.8"})
"""Versions whose files were replaced by somebody else's; never installed, never started."""
CLIENTS = "16"

ROUTES = """\
model_list:
  - model_name: mock
    litellm_params: {{model: openai/mock, api_base: "http://127.0.0.1:{mock}/v1", api_key: x}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""
OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches its price list at every start
    "LITELLM_LOG": "ERROR",
    "HTTP_PROXY": "http://127.0.0.1:9",  # nobody listens there: whatever else it wants to fetch fails at once
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
}


@dataclass(frozen=True)
class Gateway:
    """One of `gw.py`'s apps: what it is made of, and the packages it needs beside those of every benchmark."""

    name: str
    app: str
    knobs: dict[str, str]
    needs: tuple[str, ...] = field(default=())


GATEWAYS = (
    Gateway("bare, own client", "gw:asgi_app", {"UP": "own", "TR": "msgspec"}, ("httptools",)),
    Gateway("FastAPI + httpx", "gw:fastapi_app", {"UP": "httpx", "TR": "pydantic", "CO": "0"}, ("fastapi", "httpx")),
    Gateway("FastAPI + OpenAI SDK", "gw:sdk_app", {"SDK": "httpx"}, ("fastapi", "openai")),
)


def environment() -> Path:
    """Where LiteLLM is installed."""
    return processes.BUILD / "peers"


def installed_version(place: Path) -> str | None:
    """The version of LiteLLM in an environment, read from the names of its folders; None where it is not installed.

    Raises `SystemExit` for a version that must not be started, or if the folder names more than one.
    """
    folders = place.glob("lib/python*/site-packages/litellm-*.dist-info")
    versions = {folder.name.removeprefix("litellm-").removesuffix(".dist-info") for folder in folders}
    if stolen := versions & STOLEN:
        raise SystemExit(
            f"LiteLLM {', '.join(sorted(stolen))} holds code that steals keys and is not started. Delete {place},"
            " do not run its Python, and treat keys that were on this machine since as known to others."
        )
    if len(versions) > 1:
        raise SystemExit(f"{place} holds LiteLLM {' and '.join(sorted(versions))}; delete it and install it again")
    return versions.pop() if versions else None


def install(version: str = LITELLM) -> None:
    """Put LiteLLM's proxy into its environment. Raises `SystemExit` for the versions that were replaced."""
    if version.strip() in STOLEN:
        raise SystemExit(f"LiteLLM {version} holds code that steals keys and is not installed")
    place = environment()
    installed_version(place)  # before its interpreter is started
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    wanted = [f"litellm[proxy]=={version}", *(f"litellm!={bad}" for bad in sorted(STOLEN))]
    subprocess.run(
        [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *wanted], check=True
    )
    sys.stderr.write(f"LiteLLM {installed_version(place)} is in {place}\n")


def measure(options: Any) -> list[Table]:
    """All peers that are installed, 16 clients, with and without streaming."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mock = stack.enter_context(processes.mock())
        targets = [
            Target("direct", mock),
            Target("floor", stack.enter_context(processes.floor(mock))),
            Target("bare", stack.enter_context(processes.bare_relay(mock))),
        ]
        missing = []
        for gateway in GATEWAYS:
            if lacking := [name for name in gateway.needs if importlib.util.find_spec(name) is None]:
                missing.append((gateway.name, f"not installed: {', '.join(lacking)}"))
                continue
            log = "".join(letter for letter in gateway.name if letter.isalnum())
            app = rounds.bare_app(log, gateway.app, mock, **gateway.knobs)
            targets.append(Target(gateway.name, stack.enter_context(app)))
        version = installed_version(environment())
        if version is None:
            missing.append(("LiteLLM", "not installed: python -m benchmarks.peers --install"))
        else:
            key = (
                f"sk-{secrets.token_hex(32)}"  # it starts without a key only if told to be unsafe, and ours has one too
            )
            port = stack.enter_context(_litellm(mock, folder, key))
            targets.append(Target(f"LiteLLM {version}", port, key=key))
        settings = f'base_url: "http://127.0.0.1:{mock}/v1"\napi_key: x\ndefault_model: mock\n'
        server = rounds.server_of(processes.ROOT, folder, settings, binding="openai_binding", name="ours")
        targets.append(rounds.generate("ours", stack.enter_context(server)))
        found = rounds.run(targets, options, json=CLIENTS, stream=CLIENTS, slow="")
    tables = [rounds.cost_table(found, cell, "peers: ") for cell in rounds.cells_of(found)]
    for table in tables:
        table.rows += [Row(name, [], why) for name, why in missing]
    return tables


@contextlib.contextmanager
def _litellm(mock: int, folder: Path, key: str) -> Iterator[int]:
    """LiteLLM's proxy with one worker and one model; gives its port."""
    port = processes.free_port()
    routes = folder / "litellm.yaml"
    routes.write_text(ROUTES.format(mock=mock), encoding="utf-8")
    words = f"--host 127.0.0.1 --port {port} --num_workers 1 --telemetry False"
    command: list[str | Path] = [environment() / "bin" / "litellm", "--config", routes, *words.split()]
    with processes.running("litellm", command, port, core=processes.GATEWAY_CORE, LITELLM_MASTER_KEY=key, **OFFLINE):
        yield port


def main() -> int:
    """Install LiteLLM, or measure and print."""
    parser = argparse.ArgumentParser(description="Measure other gateways on the same mock in the same rounds.")
    parser.add_argument("--install", action="store_true", help=f"install LiteLLM into {environment()}, and end")
    parser.add_argument("--version", default=LITELLM, help=f"the version of LiteLLM to install (default: {LITELLM})")
    parser.add_argument("--secs", type=float, default=2, help="seconds of a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.install:
        install(options.version)
        return 0
    processes.build()
    sys.stdout.write("\n" + "\n".join(table.markdown() for table in measure(options)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
