"""What the strict stand-in allows each provider of the chat protocol, from the public references and SDKs' types.

A reference lists more fields than anybody sends; here stand those that matter, and nothing that a reference does not
have. `errors` is the form of a provider's error bodies (see `strict_chat_server`).
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["RULES", "Rules"]

_CHAT = "model messages stream tools tool_choice parallel_tool_calls response_format n user logprobs top_logprobs"
_TUNING = "temperature top_p stop presence_penalty frequency_penalty"
_OPENAI = f"{_CHAT} {_TUNING} max_tokens max_completion_tokens seed logit_bias stream_options reasoning_effort"
_ENGINE = f"{_OPENAI} top_k min_p repetition_penalty min_tokens ignore_eos stop_token_ids skip_special_tokens"


class Rules(NamedTuple):
    """`usage`: `asked` (with `stream_options`), `last` (always, in the last chunk) or `every` chunk."""

    fields: str
    usage: str = "asked"
    stops: int | None = None
    formats: tuple[str, ...] = ("text", "json_object", "json_schema")
    thoughts: str = "tags"
    errors: str = "openai"
    images: bool = True
    models: str = "/models"
    embeddings: bool = True
    key: str = "authorization"
    done: bool = True


RULES: dict[str, Rules] = {
    "azure_openai": Rules(
        _OPENAI.replace(" stream_options", ""),
        stops=4,
        thoughts="none",
        errors="azure",
        models="/openai/models",
        key="api-key",
    ),
    "azure_openai_v1": Rules(
        _OPENAI.replace(" max_tokens", ""), stops=4, thoughts="none", errors="azure", key="api-key"
    ),
    "open_router": Rules(
        f"{_CHAT} {_TUNING} max_tokens seed top_k min_p top_a repetition_penalty logit_bias reasoning provider models",
        usage="last",
        thoughts="details",
        errors="numbered",
    ),
    "groq": Rules(
        f"{_CHAT} temperature top_p stop max_completion_tokens seed stream_options reasoning_effort reasoning_format",
        stops=4,
        thoughts="reasoning",
        embeddings=False,
    ),
    "mistral": Rules(
        f"model messages stream tools tool_choice parallel_tool_calls response_format n {_TUNING} max_tokens "
        "random_seed top_k repetition_penalty min_tokens safe_prompt prompt_mode reasoning_effort",
        usage="last",
        thoughts="parts",
        errors="detail",
    ),
    "grok": Rules(
        f"{_CHAT} {_TUNING} max_completion_tokens seed logit_bias stream_options reasoning_effort search_parameters",
        stops=4,
        thoughts="reasoning_content",
        errors="xai",
        embeddings=False,
    ),
    "perplexity": Rules(
        f"model messages stream response_format {_TUNING} max_tokens top_k search_mode search_domain_filter",
        usage="every",
        formats=("text", "json_schema", "regex"),
        models="",
        embeddings=False,
    ),
    "novita_ai": Rules(
        f"{_CHAT} {_TUNING} max_tokens seed top_k min_p repetition_penalty logit_bias stream_options "
        "separate_reasoning enable_thinking",
        stops=4,
        errors="reason",
    ),
    "deepseek": Rules(
        f"{_CHAT} {_TUNING} max_tokens stream_options thinking reasoning_effort",
        stops=16,
        formats=("text", "json_object"),
        thoughts="reasoning_content",
        images=False,
        embeddings=False,
    ),
    "together": Rules(
        f"{_CHAT} {_TUNING} max_tokens seed top_k min_p repetition_penalty logit_bias reasoning_effort", usage="last"
    ),
    "litellm": Rules(_OPENAI, thoughts="reasoning_content"),
    "vllm": Rules(_ENGINE, thoughts="reasoning", errors="engine"),
    "sglang": Rules(_ENGINE, thoughts="reasoning_content", errors="flat"),
    "openllm": Rules(_ENGINE, thoughts="reasoning_content", errors="flat"),
    "openwebui": Rules(_OPENAI, errors="sentence", done=False),
    "tensor_rt": Rules(
        _ENGINE,
        formats=("text", "json", "json_object", "regex", "ebnf", "structural_tag"),
        thoughts="reasoning_content",
        errors="flat",
        embeddings=False,
    ),
    "lm_studio": Rules(
        f"model messages stream stream_options tools response_format {_TUNING} max_tokens top_k repeat_penalty seed "
        "logit_bias",
        formats=("text", "json_schema"),
        thoughts="reasoning_content",
        errors="text",
    ),
    "localai": Rules(
        f"{_CHAT} {_TUNING} max_tokens seed top_k min_p repeat_penalty repeat_last_n logit_bias stream_options",
        thoughts="reasoning",
    ),
}
