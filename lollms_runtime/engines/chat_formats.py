"""The chat formats that are built into llama.cpp, and the names by which other programs call them."""

from __future__ import annotations

from lollms_core.errors import UnsupportedFeature

__all__ = ["CHAT_FORMATS", "chat_template_of"]

CHAT_FORMATS = (
    "bailing",
    "bailing-think",
    "bailing2",
    "chatglm3",
    "chatglm4",
    "chatml",
    "command-r",
    "deepseek",
    "deepseek-ocr",
    "deepseek2",
    "deepseek3",
    "exaone-moe",
    "exaone3",
    "exaone4",
    "falcon3",
    "gemma",
    "gigachat",
    "glmedge",
    "gpt-oss",
    "granite",
    "granite-4.0",
    "granite-4.1",
    "grok-2",
    "hunyuan-dense",
    "hunyuan-moe",
    "hunyuan-vl",
    "kimi-k2",
    "llama2",
    "llama2-sys",
    "llama2-sys-bos",
    "llama2-sys-strip",
    "llama3",
    "llama4",
    "megrez",
    "minicpm",
    "mistral-v1",
    "mistral-v3",
    "mistral-v3-tekken",
    "mistral-v7",
    "mistral-v7-tekken",
    "monarch",
    "openchat",
    "orion",
    "pangu-embedded",
    "phi3",
    "phi4",
    "rwkv-world",
    "seed_oss",
    "smolvlm",
    "solar-open",
    "vicuna",
    "vicuna-orca",
    "yandex",
    "zephyr",
)

_ALSO_CALLED = {
    "llama-2": "llama2-sys",
    "llama-3": "llama3",
    "llama-4": "llama4",
    "mistral-instruct": "mistral-v1",
    "phi-3": "phi3",
    "phi-4": "phi4",
}


def chat_template_of(chat_format: str | None) -> str:
    """llama.cpp's name of a chat format; "" for None, which is the model's own template.

    Raises `UnsupportedFeature` for a name that nobody knows.
    """
    if not chat_format:
        return ""
    name = chat_format.strip().lower()
    name = _ALSO_CALLED.get(name, name)
    if name not in CHAT_FORMATS:
        known = ", ".join(sorted((*CHAT_FORMATS, *_ALSO_CALLED)))
        raise UnsupportedFeature(
            f"There is no chat format {chat_format[:100]!r}. Leave chat_format out to use the model's own template, "
            f"which is nearly always right, or choose one of: {known}.",
            param="chat_format",
        )
    return name
