"""An example for each body of the API, for the OpenAPI description; by the name of the model."""

from __future__ import annotations

from typing import Any

from lollms_server.core.model_folders import KINDS

__all__ = ["EXAMPLES"]

_INSTANCES = {
    "my_ollama": {
        "type": "ollama_binding",
        "binding_instance_name": "my_ollama",
        "host": "http://localhost:11434",
        "default_model": "llama3:8b",
    }
}
_BINDINGS = {
    "binding_types": {
        "ollama_binding": {
            "type_name": "ollama_binding",
            "display_name": "Ollama",
            "version": "1.0.0",
            "author": "lollms",
            "description": "Models of an Ollama server.",
            "requirements": [],
            "supports_streaming": True,
            "documentation_url": None,
            "supported_output_modalities": ["text"],
            "supported_input_modalities": ["text", "image"],
        }
    },
    "binding_instances": _INSTANCES,
    "problems": [
        {"name": "my_openai", "file": "my_openai.yaml", "line": 3, "reason": "api_key: must be text; put it in quotes."}
    ],
}
_PERSONALITIES = {
    "personalities": {
        "lollms": {
            "name": "lollms",
            "author": "lollms",
            "version": "1.0.0",
            "description": "A helpful and kind assistant.",
            "category": "generic",
            "language": "english",
            "tags": [],
            "icon": "default.png",
            "is_scripted": False,
            "path": "lollms",
        }
    },
    "problems": [],
}
_FUNCTIONS = {"functions": ["external_apis.fetch_weather", "my_utils.calculate_something"], "problems": []}
_DEFAULTS = {
    "defaults": {
        "ttt_binding": "my_ollama",
        "tti_binding": None,
        "tts_binding": None,
        "stt_binding": None,
        "ttv_binding": None,
        "ttm_binding": None,
        "default_context_size": 8192,
        "default_max_output_tokens": 2048,
    }
}

_FACTS = {"format": "gguf", "family": "llama", "families": ["llama"], "parameter_size": "8B"}
_MODELS = {
    "binding_instance_name": "my_ollama",
    "models": [
        {
            "name": "llama3:8b",
            "size": 4_700_000_000,
            "modified_at": "2025-05-10T10:00:00Z",
            "quantization_level": "Q4_0",
            **_FACTS,
            "context_size": 8192,
            "max_output_tokens": None,
            "template": None,
            "license": None,
            "homepage": None,
            "supports_vision": False,
            "supports_audio": False,
            "details": {"digest": "sha256:abcdef123"},
        }
    ],
}
_INFO = {
    "binding_instance_name": "my_ollama",
    "model_name": "llama3:8b",
    "model_type": "ttt",
    "context_size": 8192,
    "max_output_tokens": None,
    "supports_vision": False,
    "supports_audio": False,
    "supports_streaming": True,
    "details": _FACTS,
}
_PROMPT = {"type": "text", "role": "user_prompt", "data": "What is the capital of France?"}

EXAMPLES: dict[str, dict[str, Any]] = {
    "GenerateRequest": {"input_data": [_PROMPT], "parameters": {"max_tokens": 64}, "stream": False},
    "TokenizeRequest": {"text": "Hello, world.", "add_bos": True},
    "DetokenizeRequest": {"tokens": [1, 15043, 29892, 3186, 29889]},
    "CountTokensRequest": {"text": "Hello, world."},
    "EmbedRequest": {"input": ["Hello, world.", "Good night."]},
    "GenerateResponse": {
        "personality": None,
        "request_id": "a1b2c3d4e5f6a7b8",
        "output": [
            {
                "type": "text",
                "data": "Paris.",
                "mime_type": None,
                "thoughts": None,
                "metadata": {
                    "model_used": "llama3:8b",
                    "finish_reason": "stop",
                    "usage": {"prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 16},
                },
            }
        ],
        "execution_time": 0.84,
    },
    "TokenizeResponse": {"tokens": [1, 15043, 29892, 3186, 29889], "count": 5},
    "DetokenizeResponse": {"text": "Hello, world."},
    "CountTokensResponse": {"count": 5, "exact": True},
    "EmbedResponse": {
        "embeddings": [[0.1, -0.2], [0.3, 0.4]],
        "model_name": "bge-m3",
        "usage": {"prompt_tokens": 8, "completion_tokens": None, "total_tokens": 8},
    },
    "HealthResponse": {"status": "ok", "version": "0.1.0", "api_key_required": True, "models": "ready"},
    "ListBindingsResponse": _BINDINGS,
    "ListActiveBindingsResponse": {"bindings": _INSTANCES},
    "ListPersonalitiesResponse": _PERSONALITIES,
    "ListFunctionsResponse": _FUNCTIONS,
    "ListModelsResponse": {"models": {**{kind: [] for kind in KINDS}, "gguf": ["phi-3-mini-instruct.Q5_K_M.gguf"]}},
    "GetDefaultBindingsResponse": _DEFAULTS,
    "ListAvailableModelsResponse": _MODELS,
    "GetModelInfoResponse": _INFO,
    "QueueResponse": {
        "running": [
            {
                "request_id": "a1b2c3d4e5f6a7b8",
                "binding_name": "my_ollama",
                "model_name": "llama3:8b",
                "seconds": 1.25,
                "stream": True,
            }
        ],
        "waiting": [{"request_id": "0f1e2d3c4b5a6978", "position": 0}],
    },
    "ReloadResponse": {
        "loaded": ["my_ollama", "my_tools"],
        "kept": ["lollms"],
        "failed": [{"name": "artbot", "file": "workflow.py", "line": 12, "reason": "SyntaxError: invalid syntax"}],
    },
}
