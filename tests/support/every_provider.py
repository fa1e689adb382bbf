"""Every text provider that is spoken to over HTTP, as one table, and a stand-in for each of them.

The table is made of what is there: the folders of the library, the folders of the server, and the dialects. Whatever is
added to one of them is a row here; without a stand-in it is in `MISSING`, and a test fails.

    with every_provider() as house:
        house.told(row, "server", "Hi", stream=True)      # what one of the three `FACES` makes of a question

Each stand-in is behind a gate (see `tests.support.gates`), and has an instance in a server, with the name of its row;
`NAME-locked` is the same with a wrong key.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import lollms_client.llm_bindings
import lollms_server.zoos.bindings
from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_client.http_binding import HttpBinding
from lollms_core.errors import LollmsError
from lollms_core.protocols.base import Timeouts
from lollms_core.protocols.dialects import DIALECTS
from lollms_core.protocols.lollms import LollmsCodec
from lollms_core.protocols.retry import RetryPolicy
from lollms_core.types import Done, Event, Native, Notice, Reply, ToolCallDelta
from lollms_server.core.bindings.http import HttpBinding as ServerBinding
from tests.support.every_stand_in import STAND_INS, WRONG_KEY, StandIn
from tests.support.feeding import merged
from tests.support.server import Served, running_server

__all__ = ["FACES", "MISSING", "ROWS", "House", "Outcome", "Row", "every_provider"]

FACES = ("threads", "coroutines", "server")

_VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "openai over Responses": ("openai", {"api": "responses"}, {"api": "responses"}),
    "hugging_face as text": (
        "hugging_face_inference_api",
        {"default_completion_format": "Instruct"},
        {"completion_format": "instruct"},
    ),
}
"""Other ways to speak to a provider: its row, more for its binding in the library, more for its instance."""

_FOLDERS = {"azure_openai_v1": "azure_openai"}
"""Dialects that a folder of another name speaks."""


class Row(NamedTuple):
    """A provider: its binding in the library ("" for none) and its server type, with what these are given."""

    name: str
    folder: str
    config: Mapping[str, Any]
    type: str
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        return self.name


def client_folders() -> dict[str, type[HttpBinding]]:
    """The bindings of the library that speak HTTP, by their folders."""
    found = {}
    for name in _folders(lollms_client.llm_bindings.__path__, "description.yaml"):
        module = importlib.import_module(f"lollms_client.llm_bindings.{name}")
        kind = getattr(module, module.BindingName)
        if issubclass(kind, HttpBinding):
            found[name] = kind
    return found


def server_types() -> dict[str, type[ServerBinding]]:
    """The server types that speak HTTP, by their names."""
    found = {}
    for name in _folders(lollms_server.zoos.bindings.__path__, "binding_card.yaml"):
        module = importlib.import_module(f"lollms_server.zoos.bindings.{name}")
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, ServerBinding) and kind.__module__ == module.__name__:
                found[kind.binding_type_name] = kind
    return found


def _folders(roots: Sequence[str], card: str) -> list[str]:
    return sorted(file.parent.name for root in roots for file in Path(root).glob(f"*/{card}"))


CLIENTS, TYPES = client_folders(), server_types()
_OWN_TYPES = {"hugging_face_inference_api": "huggingface_binding"}


def _rows() -> tuple[Row, ...]:
    rows: dict[str, Row] = {}
    for name in dict.fromkeys([*CLIENTS, *DIALECTS]):
        folder = name if name in CLIENTS else _FOLDERS.get(name, "")
        own = _OWN_TYPES.get(name, f"{name}_binding")
        if name in DIALECTS:
            rows[name] = Row(name, folder, {}, "openai_binding", {"provider": name})
        else:
            rows[name] = Row(name, folder, {}, own if own in TYPES else "", {})
    for kind in sorted(set(TYPES) - {row.type for row in rows.values()}):
        rows[kind] = Row(kind, "", {}, kind, {})
    for name, (base, config, settings) in _VARIANTS.items():
        rows[name] = rows[base]._replace(name=name, config=config, settings={**rows[base].settings, **settings})
    return tuple(rows.values())


_ALL = _rows()
MISSING = tuple(row.name for row in _ALL if row.name not in STAND_INS)
"""Rows that nobody has made a stand-in for."""
ROWS = tuple(row for row in _ALL if row.name not in MISSING)


# ---- what comes of a question --------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What was shown, the reply, the error, and the seconds that it took."""

    events: list[Any]
    reply: Reply | None
    error: LollmsError | None
    seconds: float


class House:
    """The stand-ins by the names of their rows, and the server in front of all of them."""

    def __init__(self, places: Mapping[str, StandIn], front: Served, timeouts: Mapping[str, float]) -> None:
        self.places = places
        self.front = front
        self._timeouts = timeouts

    def faces(self, row: Row) -> tuple[str, ...]:
        """The faces that a provider has."""
        return tuple(face for face in FACES if (row.type if face == "server" else row.folder))

    def settings(self, row: Row, face: str, key: str = "") -> dict[str, Any]:
        """The arguments of a client; `key` instead of the right one."""
        place = self.places[row.name]
        if face == "server":
            chosen = {"instance": f"{row.name}-locked" if key == WRONG_KEY else row.name}
            return {
                "binding_name": "lollms",
                "host_address": self.front.url,
                "service_key": self.front.key,
                "llm_binding_config": chosen,
            }
        config = {"timeouts": dict(self._timeouts), **row.config} if self._timeouts else dict(row.config)
        return {
            "binding_name": row.folder,
            "host_address": place.address,
            "model_name": place.model,
            "service_key": key or place.key,
            "llm_binding_config": config,
        }

    def client(self, row: Row, face: str = "threads", key: str = "") -> LollmsClient:
        """A client for threads; with the face `server` one that asks the server."""
        return LollmsClient(**self.settings(row, face, key))

    def told(self, row: Row, face: str, prompt: Any, *, stream: bool = False, key: str = "", **asked: Any) -> Outcome:
        """Ask once, with a client of its own."""
        settings = self.settings(row, face, key)
        begun = time.monotonic()
        events: list[Event] = []
        reply, error = None, None
        try:
            if face == "coroutines":
                reply = asyncio.run(_by_task(settings, prompt, stream, events, asked))
            else:
                reply = _by_thread(settings, prompt, stream, events, asked)
        except LollmsError as caught:
            error = caught
        return Outcome(shown(events), reply, error, time.monotonic() - begun)

    def all_told(self, row: Row, prompts: Callable[[str, bool], Any], **asked: Any) -> dict[tuple[str, bool], Outcome]:
        """Ask on every face, whole and streamed, all at once; `prompts` gives the prompt of each."""
        ways = [(face, stream) for face in self.faces(row) for stream in (False, True)]
        with ThreadPoolExecutor(len(ways)) as pool:
            works = {way: pool.submit(self.told, row, way[0], prompts(*way), stream=way[1], **asked) for way in ways}
            return {way: work.result() for way, work in works.items()}


def shown(events: list[Event]) -> list[Any]:
    """Events without their cuts and ends; ids of calls, which some providers leave to us, are left out."""
    kept = merged([each for each in events if not isinstance(each, Done | Native | Notice)])
    return [
        ("call", each.name, each.arguments.replace(" ", "")) if isinstance(each, ToolCallDelta) else each
        for each in kept
    ]


def _by_thread(settings: dict[str, Any], prompt: Any, stream: bool, events: list[Event], asked: Any) -> Reply:
    with LollmsClient(**settings) as client:
        if not stream:
            return client.complete(prompt, **asked)
        with client.stream(prompt, **asked) as answer:
            for event in answer:
                events.append(event)
            return answer.result()


async def _by_task(settings: dict[str, Any], prompt: Any, stream: bool, events: list[Event], asked: Any) -> Reply:
    async with AsyncLollmsClient(**settings) as client:
        if not stream:
            return await client.complete(prompt, **asked)
        async with client.stream(prompt, **asked) as answer:
            async for event in answer:
                events.append(event)
            return await answer.result()


# ---- the house -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def every_provider(timeouts: Mapping[str, float] | None = None) -> Iterator[House]:
    """Serve until the block ends. `timeouts` in seconds are those of all clients and instances.

    What is tried again waits no longer than it is told to.
    """
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("lollms_runtime.upstream.RetryPolicy", lambda: RetryPolicy(base=0.01))
        patch.setattr(LollmsCodec, "retry", msgspec.structs.replace(LollmsCodec.retry, base=0.01))
        for kind in TYPES.values() if timeouts else ():
            patch.setattr(kind, "timeouts", Timeouts(**timeouts))  # type: ignore[arg-type]
        places = {row.name: stack.enter_context(STAND_INS[row.name]()) for row in ROWS}
        instances = {}
        for row in ROWS:
            for name, key in ((row.name, places[row.name].key), (f"{row.name}-locked", WRONG_KEY)):
                if row.type:
                    instances[name] = _instance(row, places[row.name], key)
        config = {"bindings_map": {name: each["type"] for name, each in instances.items()}}
        front = stack.enter_context(running_server(None, config, instances))
        front.wait_until(lambda: front.services.manager.models != "loading", 30)
        yield House(places, front, timeouts or {})


def _instance(row: Row, place: StandIn, key: str) -> dict[str, Any]:
    kind = TYPES[row.type]
    return {
        "type": row.type,
        kind.url_settings[0]: place.address,
        kind.key_settings[0]: key,
        "default_model": place.model,
        **row.settings,
    }
