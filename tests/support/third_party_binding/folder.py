"""Folders of bindings as the documentation describes them, written without looking at the server, and a server with
them.

The prompt chooses what the binding answers, so that every documented form can be asked for over the wire.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lollms_server.core.config import load_config
from tests.support.server import Served, running_server, write_config

CARD = """
type_name: {name}
display_name: My custom API
version: "1.0"
author: A reader of the documentation
description: Answers in every documented form.
requirements: [packaging]
supports_streaming: {streaming}
supported_output_modalities: [text, image]
supported_input_modalities: [text, image, audio, document]
instance_schema:
  __version__: "0.1.0"
  type: {{type: str, default: {name}}}
  binding_instance_name: {{type: str, nullable: true, default: null}}
  default_model: {{type: str, nullable: true, default: small}}
  greeting: {{type: str, default: Hello}}
"""

CODE = """
import asyncio
from typing import Any, AsyncGenerator, Dict, List, Optional, Union

import ascii_colors as logging
import pipmaster as pm

pm.ensure_packages(["packaging"])
import packaging

from lollms_server.core.bindings import Binding
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.api.models import OutputData
from lollms_server.utils.helpers import extract_code_blocks, parse_thought_tags

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

FORMS = {
    "str": lambda: "A plain text.",
    "thinking": lambda: "<think>Let me see.</think>An answer.",
    "item": lambda: {"type": "text", "data": "An item.", "metadata": {"mood": "good"}},
    "text": lambda: {"text": "A dictionary."},
    "image": lambda: {"image_base64": PNG, "mime_type": "image/png", "metadata": {"seed": 3}},
    "audio": lambda: {"audio_base64": "UklGRg=="},
    "video": lambda: {"video_base64": "AAAAIGZ0eXA="},
    "other": lambda: {"score": 0.5, "labels": ["a", "b"]},
    "list": lambda: [
        {"type": "text", "data": "First."},
        {"type": "image", "data": PNG, "mime_type": "image/png", "metadata": {"prompt_used": "x", "model": "dall-e-3"}},
        {"type": "json", "data": {"n": 1}},
        {"type": "info", "data": "Task completed"},
        {"type": "text", "data": "Last.", "thoughts": "Own thoughts."},
    ],
    "models": lambda: [OutputData(type="text", data="Of a model.", metadata={"k": 1})],
    "usage": lambda: {"text": "Counted.", "metadata": {
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}, "finish_reason": "length"}},
}


class MyBinding(Binding):
    binding_type_name = "NAME"

    def __init__(self, config: Dict[str, Any], resource_manager: ResourceManager):
        super().__init__(config, resource_manager)
        self.greeting = config.get("greeting")
        self.current = None

    async def list_available_models(self) -> List[Dict[str, Any]]:
        return [{"name": "small", "context_size": 512}, {"name": "large"}]

    def get_supported_input_modalities(self) -> List[str]:
        if self.current == "large":
            return ["text", "image", "audio", "document"]
        return ["text"]

    def get_supported_output_modalities(self) -> List[str]:
        return ["text", "image", "audio", "video"]

    async def load_model(self, model_name: str) -> bool:
        self.current = None
        await asyncio.sleep(0)
        if model_name not in ("small", "large"):
            return False
        self.current = model_name
        return True

    async def unload_model(self) -> bool:
        self.current = None
        return True

    async def get_model_info(self, model_name: Optional[str] = None) -> Dict[str, Any]:
        return {"name": model_name, "context_size": 512 if model_name == "small" else None, "details": {"by": "me"}}

    async def generate(
        self,
        prompt: str,
        params: Dict[str, Any],
        request_info: Dict[str, Any],
        multimodal_data: Optional[List[Dict[str, Any]]] = None,
    ) -> Union[str, Dict[str, Any], List[Dict[str, Any]]]:
        if prompt in FORMS:
            return FORMS[prompt]()
        if prompt == "generator":
            async def pieces():
                yield {"type": "chunk", "content": "In "}
                yield {"type": "chunk", "content": "pieces."}
                yield {"type": "final", "content": [{"type": "text", "data": "In pieces.", "metadata": {"done": True}}]}
            return pieces()
        if prompt == "given":
            return {
                "params": params,
                "request_info": request_info,
                "media": [[i["type"], i["role"], i["data"], i["mime_type"], i["metadata"]] for i in multimodal_data],
            }
        if prompt.startswith("model"):
            seen = set()
            for _ in range(5):
                seen.add(self.current)
                await asyncio.sleep(0.001)
            return {"seen": sorted(map(str, seen)), "prompt": prompt}
        if prompt == "sure?":
            return {"sure": await self.ask_yes_no("Are you sure?")}
        if prompt.startswith("Are you sure?"):
            return "Yes."
        raise ValueError(f"{self.greeting}: I do not know {prompt!r}")

    async def tokenize(self, text, add_bos=False, add_eos=False, model_name=None) -> List[int]:
        return [1] * add_bos + [ord(c) for c in text] + [2] * add_eos

    async def detokenize(self, tokens, model_name=None) -> str:
        return "".join(map(chr, tokens))

    async def health_check(self):
        return True, "Fine."

    def get_resource_requirements(self, model_name=None):
        return {"gpu_required": True, "estimated_vram_mb": 10}

    def supports_input_role(self, data_type: str, role: str) -> bool:
        return role != "mask_image"
"""

STREAM = """
    async def generate_stream(
        self,
        prompt: str,
        params: Dict[str, Any],
        request_info: Dict[str, Any],
        multimodal_data: Optional[List[Dict[str, Any]]] = None,
    ) -> AsyncGenerator[Dict[str, Any], None]:
        answer = await self.generate(prompt, params, request_info, multimodal_data)
        if isinstance(answer, str):
            for word in answer.split(" "):
                yield {"type": "chunk", "content": word + " "}
            end = [{"type": "text", "data": answer}]
            yield {"type": "final", "content": end, "metadata": {"finish_reason": "stop"}}
        else:
            yield {"type": "info", "content": "Working"}
            yield {"type": "final", "content": answer if isinstance(answer, list) else [answer]}
"""


def write_folder(parent: Path, name: str, code: str, *, streaming: bool) -> Path:
    """A binding folder below `parent`."""
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "binding_card.yaml").write_text(
        CARD.format(name=name, streaming=str(streaming).lower()), encoding="utf-8"
    )
    (folder / "__init__.py").write_text(code.replace("NAME", name), encoding="utf-8")
    return folder


@contextlib.contextmanager
def server_with_folders(
    folders: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None
) -> Iterator[Served]:
    """A server with one instance of each folder; `folders` are the code by type name, instances are named `my_<type>`.

    By default there are `plain`, without a stream of its own, and `streaming`.
    """
    codes = dict(folders or {"plain": CODE, "streaming": CODE + STREAM})
    with tempfile.TemporaryDirectory(prefix="lollms-test-") as place:
        folder = Path(place)
        for name, code in codes.items():
            write_folder(folder / "personal_bindings", name, code, streaming="generate_stream" in code)
        instances = {f"my_{name}": json.dumps({"type": name, "greeting": "Hi"}) for name in codes}
        whole = {
            "bindings_map": {f"my_{name}": name for name in codes},
            "defaults": {"ttt_binding": f"my_{next(iter(codes))}", "default_max_output_tokens": 99},
            **(config or {}),
        }
        loaded = load_config(write_config(folder, whole, instances), environ={})
        with running_server(loaded=loaded) as served:
            served.wait_until(lambda: served.services.manager.models != "loading", 20)
            yield served
