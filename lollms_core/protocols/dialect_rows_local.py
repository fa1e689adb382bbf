"""The rows of servers that people run themselves, at the addresses where they listen unless told otherwise.

None has a key of its own: one is sent where it is given as `service_key`, and never one of the environment.
"""

from __future__ import annotations

from lollms_core.protocols.dialect import COMMON, Dialect

__all__ = ["LOCAL_SERVERS"]

_SAMPLING = {**COMMON, "top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"}

_VLLM_EXTRAS = frozenset(
    {
        "length_penalty",
        "min_tokens",
        "stop_token_ids",
        "include_stop_str_in_output",
        "ignore_eos",
        "skip_special_tokens",
        "bad_words",
        "logit_bias",
        "priority",
        "reasoning_effort",
        "include_reasoning",
        "chat_template_kwargs",
        "mm_processor_kwargs",
        "structured_outputs",
        "vllm_xargs",
    }
)

LITELLM = Dialect(
    name="litellm",
    address="http://localhost:4000/v1",
    start="`litellm --model NAME` (or `litellm --config FILE`)",
    docs="https://docs.litellm.ai/docs/proxy/user_keys",
    extras=frozenset({"reasoning_effort", "thinking", "metadata", "tags", "logit_bias", "user"}),
)
"""A proxy: what it does not know goes on to the provider behind it, which may refuse it. So only what all know."""

VLLM = Dialect(
    name="vllm",
    address="http://localhost:8000/v1",
    start="`vllm serve MODEL`",
    docs="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
    params=_SAMPLING,
    extras=_VLLM_EXTRAS,
)

SGLANG = Dialect(
    name="sglang",
    address="http://localhost:30000/v1",
    start="`python -m sglang.launch_server --model-path MODEL`",
    docs="https://docs.sglang.io/docs/basic_usage/openai_api_completions.md",
    params=_SAMPLING,
    extras=frozenset(
        {
            "min_tokens",
            "stop_token_ids",
            "stop_regex",
            "no_stop_trim",
            "ignore_eos",
            "skip_special_tokens",
            "regex",
            "ebnf",
            "lora_path",
            "separate_reasoning",
            "stream_reasoning",
            "reasoning_effort",
            "chat_template_kwargs",
            "logit_bias",
        }
    ),
)

OPENLLM = Dialect(
    name="openllm",
    address="http://localhost:3000/v1",
    start="`openllm serve MODEL`",
    docs="https://github.com/bentoml/OpenLLM",
    params=_SAMPLING,
    extras=_VLLM_EXTRAS,
)
"""Its models run in vLLM, which takes the parameters."""

OPENWEBUI = Dialect(
    name="openwebui",
    address="http://localhost:3000/api",
    start="`open-webui serve` (which listens on port 8080) or its container",
    docs="https://docs.openwebui.com/getting-started/api-endpoints/",
    extras=frozenset({"files", "tool_ids", "features"}),
)
"""It hands a request on to Ollama or to an OpenAI-compatible server. So only what all know."""

TENSOR_RT = Dialect(
    name="tensor_rt",
    address="http://localhost:8000/v1",
    start="`trtllm-serve MODEL`",
    docs="https://nvidia.github.io/TensorRT-LLM/latest/commands/trtllm-serve.html",
    params=_SAMPLING,
    extras=frozenset(
        {
            "length_penalty",
            "early_stopping",
            "min_tokens",
            "stop_token_ids",
            "include_stop_str_in_output",
            "ignore_eos",
            "skip_special_tokens",
            "top_p_min",
            "logit_bias",
            "reasoning_effort",
            "chat_template_kwargs",
        }
    ),
    schemas="json",
    embeddings_path="",
)
"""TensorRT-LLM's own server. It refuses all fields that `tensorrt_llm/serve/openai_protocol.py` does not know."""

LM_STUDIO = Dialect(
    name="lm_studio",
    address="http://localhost:1234/v1",
    start="`lms server start` (or the switch in LM Studio's Developer tab)",
    docs="https://lmstudio.ai/docs/developer/openai-compat/chat-completions",
    params={**COMMON, "top_k": "top_k", "repeat_penalty": "repeat_penalty"},
    extras=frozenset({"logit_bias", "ttl", "draft_model"}),
)

LOCALAI = Dialect(
    name="localai",
    address="http://localhost:8080/v1",
    start="`local-ai run` (or its container)",
    docs="https://localai.io/docs/features/text-generation/",
    params={
        **COMMON,
        "top_k": "top_k",
        "min_p": "min_p",
        "repeat_penalty": "repeat_penalty",
        "repeat_last_n": "repeat_last_n",
    },
    extras=frozenset({"typical_p", "tfz", "ignore_eos", "n_keep", "logit_bias", "grammar", "reasoning_effort"}),
)

LOCAL_SERVERS: tuple[Dialect, ...] = (LITELLM, VLLM, SGLANG, OPENLLM, OPENWEBUI, TENSOR_RT, LM_STUDIO, LOCALAI)
