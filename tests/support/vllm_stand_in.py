"""A stand-in for vLLM's public interface, which computes with transformers, greedily or by chance.

Written from vLLM's documented classes: `AsyncEngineArgs`, `AsyncLLM.from_engine_args`, `generate` as an asynchronous
generator of outputs with new tokens each (`RequestOutputKind.DELTA`), `abort`, `shutdown`.
"""

from __future__ import annotations

import asyncio
import enum
import sys
import types
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest


class RequestOutputKind(enum.Enum):
    CUMULATIVE = 0
    DELTA = 1


@dataclass
class SamplingParams:
    max_tokens: int
    seed: int | None
    stop_token_ids: list[int]
    detokenize: bool
    output_kind: RequestOutputKind
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    temperature: float
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0


@dataclass
class AsyncEngineArgs:
    model: str
    tokenizer: str
    trust_remote_code: bool
    dtype: str
    max_model_len: int | None
    load_format: str
    quantization: str | None = None


@dataclass
class Output:
    token_ids: list[int]
    finish_reason: str | None


@dataclass
class RequestOutput:
    outputs: list[Output]
    finished: bool


@dataclass
class AsyncLLM:
    args: AsyncEngineArgs
    made: list[SamplingParams] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    shut: bool = False

    @classmethod
    def from_engine_args(cls, args: AsyncEngineArgs) -> AsyncLLM:
        asyncio.get_running_loop()
        from transformers import AutoModelForCausalLM

        engine = cls(args)
        engine.model = AutoModelForCausalLM.from_pretrained(args.model, local_files_only=True, dtype="float32")
        return engine

    model: Any = None

    async def generate(self, prompt: Any, params: SamplingParams, request_id: str) -> AsyncIterator[RequestOutput]:
        import torch

        self.made.append(params)
        if params.seed is not None:
            torch.manual_seed(params.seed)
        ids = list(prompt["prompt_token_ids"])
        count = 0
        while True:
            new: list[int] = []
            end: str | None = None
            while len(new) < 2 and end is None:
                with torch.inference_mode():
                    scores = self.model(torch.tensor([ids])).logits[0, -1]
                if params.temperature:
                    token = int(torch.multinomial(torch.softmax(scores / params.temperature, -1), 1))
                else:
                    token = int(scores.argmax())
                ids.append(token)
                new.append(token)
                count += 1
                end = "stop" if token in params.stop_token_ids else "length" if count >= params.max_tokens else None
            await asyncio.sleep(0)
            yield RequestOutput([Output(new, end)], end is not None)
            if end is not None:
                return

    async def abort(self, request_id: str) -> None:
        self.aborted.append(request_id)

    def shutdown(self) -> None:
        self.shut = True


def install(patch: pytest.MonkeyPatch) -> None:
    """Let `import vllm` give this, until the test ends."""
    modules: dict[str, dict[str, Any]] = {
        "vllm": {},
        "vllm.engine": {},
        "vllm.engine.arg_utils": {"AsyncEngineArgs": AsyncEngineArgs},
        "vllm.sampling_params": {"SamplingParams": SamplingParams, "RequestOutputKind": RequestOutputKind},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": AsyncLLM},
    }
    for name, values in modules.items():
        module = types.ModuleType(name)
        for each, value in values.items():
            setattr(module, each, value)
        patch.setitem(sys.modules, name, module)
