"""Configurations with many instances, personalities and functions, as a busy house would have them.

Each instance has a key of its own, each personality its own words, each function a documented signature; the log stands
at its default level, so that what is logged for a request is part of its cost. Functions share a file in hundreds,
because each file of others is tried in a process of its own when the server starts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes

PER_FILE = 100

MAIN = """\
server: {{host: 127.0.0.1, port: {port}}}
security: {{allowed_api_keys: ["{key}"]}}
defaults: {{ttt_binding: i0}}
bindings_map: {instances}
resource_manager: {{gpu_strategy: none}}
"""

INSTANCE = """\
type: openai_binding
binding_instance_name: i{number}
base_url: "http://127.0.0.1:{upstream}/v1"
api_key: {key}
default_model: mock
"""

PERSONALITY = """\
name: p{number}
version: "1.0"
author: nobody
category: work
language: english
tags: [work, "{number}"]
personality_description: Helper number {number}, for whoever asks.
personality_conditioning: |-
  You are helper number {number}. You answer in short sentences.
  You say so when you do not know something.
welcome_message: Number {number} is here.
model_temperature: 0.{digit}
"""

FUNCTION = '''
async def do_{number}(text: str, times: int = {number}, upper: bool = False) -> str:
    """Repeat a text, as number {number} does.

    Args:
        text: What is repeated.
        times: How often.
        upper: Whether in capital letters.
    """
    return (text.upper() if upper else text) * times

'''


@dataclass(frozen=True)
class Crowd:
    """How many there are of each."""

    instances: int = 1
    personalities: int = 1
    functions: int = 1

    def write(self, folder: Path, port: int, upstream: int) -> Path:
        """Write everything below `folder`; gives the configuration folder."""
        place = folder / "lollms_configs"
        cards = place / "bindings"
        cards.mkdir(parents=True)
        names = json.dumps({f"i{number}": "openai_binding" for number in range(self.instances)})
        _put(place / "main_config.yaml", MAIN.format(port=port, key=processes.KEY, instances=names))
        for number in range(self.instances):
            key = "sk-" + hashlib.sha256(str(number).encode()).hexdigest()[:40]
            _put(cards / f"i{number}.yaml", INSTANCE.format(number=number, upstream=upstream, key=key))
        for number in range(self.personalities):
            own = folder / "personal_personalities" / f"p{number}"
            own.mkdir(parents=True)
            _put(own / "config.yaml", PERSONALITY.format(number=number, digit=number % 10))
        functions = folder / "personal_functions"
        functions.mkdir()
        for first in range(0, self.functions, PER_FILE):
            numbers = range(first, min(first + PER_FILE, self.functions))
            text = "".join(FUNCTION.format(number=number) for number in numbers)
            _put(functions / f"many_{first // PER_FILE}.py", f'"""Functions from number {first} on."""\n\n{text}')
        for path in (folder, *(each for each in folder.rglob("*") if each.is_dir())):
            path.chmod(0o700)
        return place

    def bodies(self, kind: str, prompt: str = "Tell me a story.") -> list[bytes]:
        """A request for each of one kind: it names the instance, the personality or the function."""
        count: int = getattr(self, kind)
        asked = {"input_data": [{"type": "text", "role": "user_prompt", "data": prompt}]}
        return [json.dumps(asked | _naming(kind, number)).encode() for number in range(count)]


def _naming(kind: str, number: int) -> dict[str, object]:
    if kind == "instances":
        return {"binding_name": f"i{number}"}
    if kind == "personalities":
        return {"personality": f"p{number}"}
    return {"functions": [f"many_{number // PER_FILE}.do_{number}"]}


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


@contextlib.contextmanager
def serving(folder: Path, crowd: Crowd, upstream: int, name: str = "crowd") -> Iterator[tuple[int, int]]:
    """Our server with such a crowd, on the gateway's core; gives its port and its process."""
    port = processes.free_port()
    configs = crowd.write(folder / name, port, upstream)
    own = {"PYTHONPATH": str(processes.ROOT), "LOLLMS_HOME": str(folder / name / "home")}
    command = processes.serve_command(configs)
    with processes.running(name, command, port, core=processes.GATEWAY_CORE, **own) as pid:
        yield port, pid
