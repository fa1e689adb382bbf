"""The rows of providers on the network, written from their public API references (`docs`).

Parameters that a provider ignores are left out like those it refuses: the receipt says that they do nothing.
"""

from __future__ import annotations

from lollms_core.protocols.dialect import COMMON, Dialect
from lollms_core.protocols.image_limits import OPENAI_IMAGES, PUBLISHED
from lollms_core.protocols.schema_reduction_rules import OPENAI_SCHEMAS

__all__ = ["PROVIDERS"]

_UNSEEDED = {name: there for name, there in COMMON.items() if name != "seed"}

_OPENAI_EXTRAS = frozenset({"reasoning_effort", "verbosity", "service_tier", "logit_bias", "user"})

AZURE_OPENAI = Dialect(
    name="azure_openai",
    key_variable="AZURE_OPENAI_API_KEY",
    docs="https://learn.microsoft.com/azure/ai-services/openai/reference",
    extras=_OPENAI_EXTRAS,
    max_stops=4,
    think_tags=False,
    images=OPENAI_IMAGES,
    strict_schemas=OPENAI_SCHEMAS,
    chat_path="/openai/deployments/{model}/chat/completions",
    models_path="/openai/models",
    embeddings_path="/openai/deployments/{model}/embeddings",
    responses_path="/openai/v1/responses",
    query={"api-version": ("AZURE_OPENAI_API_VERSION", "2024-02-01")},
    key_header="api-key",
)
"""The form with deployments. Its older versions know no `max_completion_tokens` and no `stream_options`; models that
know no `max_tokens` say so, and that is learned from. Responses are in the newer form alone."""

AZURE_OPENAI_V1 = Dialect(
    name="azure_openai_v1",
    key_variable="AZURE_OPENAI_API_KEY",
    docs="https://learn.microsoft.com/azure/ai-foundry/openai/latest",
    params={**COMMON, "max_tokens": "max_completion_tokens"},
    extras=_OPENAI_EXTRAS,
    max_stops=4,
    think_tags=False,
    images=OPENAI_IMAGES,
    strict_schemas=OPENAI_SCHEMAS,
    responses_path="/responses",
    key_header="api-key",
)
"""The newer form: the base URL ends in `/openai/v1`, the deployment is named as the model, and there is no version."""

OPEN_ROUTER = Dialect(
    name="open_router",
    address="https://openrouter.ai/api/v1",
    key_variable="OPENROUTER_API_KEY",
    docs="https://openrouter.ai/docs/api-reference/parameters",
    params={**COMMON, "top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
    extras=frozenset(
        {
            "top_a",
            "reasoning",
            "models",
            "route",
            "provider",
            "transforms",
            "plugins",
            "verbosity",
            "logit_bias",
            "user",
        }
    ),
    stream_usage=False,
    images=PUBLISHED["open_router"],
    returns=("reasoning_details",),
)
"""Usage comes with every stream; `stream_options` does nothing any more."""

GROQ = Dialect(
    name="groq",
    address="https://api.groq.com/openai/v1",
    key_variable="GROQ_API_KEY",
    docs="https://console.groq.com/docs/api-reference#chat-create",
    params={
        "max_tokens": "max_completion_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "seed": "seed",
        "stop": "stop",
    },
    extras=frozenset(
        {"reasoning_effort", "reasoning_format", "include_reasoning", "service_tier", "search_settings", "user"}
    ),
    max_stops=4,
    images=PUBLISHED["groq"],
    embeddings_path="",
)
"""The penalties are "not yet supported by any of our models" there."""

MISTRAL = Dialect(
    name="mistral",
    address="https://api.mistral.ai/v1",
    key_variable="MISTRAL_API_KEY",
    docs="https://docs.mistral.ai/api/#tag/chat",
    params={**COMMON, "seed": "random_seed", "top_k": "top_k", "repeat_penalty": "repetition_penalty"},
    extras=frozenset({"safe_prompt", "prompt_mode", "reasoning_effort", "min_tokens", "service_tier"}),
    stream_usage=False,
    images=PUBLISHED["mistral"],
    call_id_length=9,
    turns="closed",
)
"""Usage comes with every stream, and there is no `stream_options`."""

GROK = Dialect(
    name="grok",
    address="https://api.x.ai/v1",
    key_variable="XAI_API_KEY",
    docs="https://docs.x.ai/docs/api-reference#chat-completions",
    params={**COMMON, "max_tokens": "max_completion_tokens"},
    extras=frozenset({"reasoning_effort", "search_parameters", "logit_bias", "user"}),
    max_stops=4,
    images=PUBLISHED["grok"],
    embeddings_path="",
)
"""Reasoning models refuse `stop` and the penalties, which is learned from."""

PERPLEXITY = Dialect(
    name="perplexity",
    address="https://api.perplexity.ai",
    key_variable="PERPLEXITY_API_KEY",
    docs="https://docs.perplexity.ai/api-reference/chat-completions-post",
    params={**_UNSEEDED, "top_k": "top_k"},
    extras=frozenset(
        {
            "search_mode",
            "search_domain_filter",
            "search_recency_filter",
            "search_after_date_filter",
            "search_before_date_filter",
            "last_updated_after_filter",
            "last_updated_before_filter",
            "search_language_filter",
            "web_search_options",
            "disable_search",
            "enable_search_classifier",
            "return_images",
            "return_related_questions",
            "language_preference",
            "reasoning_effort",
        }
    ),
    stream_usage=False,
    tools="prompt",
    turns="alternating",
    images=PUBLISHED["perplexity"],
    models_path="",
    embeddings_path="",
)
"""The Sonar API. Usage comes with every chunk. The models search by themselves and know no tools, so they are told of
them in the prompt. There is no list of the models, and what embeds there gives numbers of eight bits in Base64, which
nobody else does."""

NOVITA_AI = Dialect(
    name="novita_ai",
    address="https://api.novita.ai/openai/v1",
    key_variable="NOVITA_API_KEY",
    docs="https://novita.ai/docs/api-reference/model-apis-llm-create-chat-completion",
    params={**COMMON, "top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
    extras=frozenset({"separate_reasoning", "enable_thinking", "logit_bias"}),
    max_stops=4,
)

DEEPSEEK = Dialect(
    name="deepseek",
    address="https://api.deepseek.com",
    key_variable="DEEPSEEK_API_KEY",
    docs="https://api-docs.deepseek.com/api/create-chat-completion",
    params=_UNSEEDED,
    extras=frozenset({"thinking", "reasoning_effort"}),
    max_stops=16,
    images=False,
    schemas="json_object",
    returns=("reasoning_content",),
    returns_blank=True,
    embeddings_path="",
)
"""Thoughts must come back where tools are offered (https://api-docs.deepseek.com/guides/thinking_mode), and are ignored
elsewhere. A turn that another provider answered has none: an empty text is taken for them."""

TOGETHER = Dialect(
    name="together",
    address="https://api.together.xyz/v1",
    key_variable="TOGETHER_API_KEY",
    docs="https://docs.together.ai/reference/chat-completions-1",
    params={**COMMON, "top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
    extras=frozenset(
        {
            "reasoning",
            "reasoning_effort",
            "chat_template_kwargs",
            "context_length_exceeded_behavior",
            "safety_model",
            "logit_bias",
        }
    ),
    stream_usage=False,
)
"""Usage comes with the last chunk of every stream."""

PROVIDERS: tuple[Dialect, ...] = (
    AZURE_OPENAI,
    AZURE_OPENAI_V1,
    OPEN_ROUTER,
    GROQ,
    MISTRAL,
    GROK,
    PERPLEXITY,
    NOVITA_AI,
    DEEPSEEK,
    TOGETHER,
)
