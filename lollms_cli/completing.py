"""What can stand in the place of a word that is being typed: models, bindings, files, providers.

Pressing Tab must never print an error, ask for long, or start anything: who does not answer at once has no words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["complete_bindings", "complete_files", "complete_models", "complete_providers"]

_QUICK = {"connect": 0.5, "first_byte": 1.5, "idle": 0.5, "total": 2.0}  # seconds


def complete_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, which the shell itself lists."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def complete_bindings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The client bindings."""
    return _items(_bindings(), incomplete)


def complete_providers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names that a key can be kept under."""
    from lollms_core.errors import LollmsError
    from lollms_runtime.provider_keys import provider_key_names

    try:
        kept = provider_key_names()
    except LollmsError:
        kept = []
    return _items(sorted({*kept, *_bindings(), "huggingface"}), incomplete)


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The models of who would answer; files where the word is a path, or no model begins like it."""
    from lollms_core.errors import LollmsError

    if incomplete.startswith(("/", ".", "~")):
        return complete_files(ctx, param, incomplete)
    try:
        names = _models(ctx.params.get("host"), ctx.params.get("binding"))
    except (LollmsError, OSError, ValueError):
        names = []
    return _items(names, incomplete) or complete_files(ctx, param, incomplete)


def _models(host: str | None, binding: str | None) -> list[str]:
    from lollms_cli.backend import choose_backend
    from lollms_client import LollmsClient

    backend = choose_backend(host, "", binding)
    config: dict[str, Any] = {} if backend.is_engine else {"timeouts": _QUICK}
    with LollmsClient(**backend.arguments, llm_binding_config=config) as client:
        found = client.list_models()
    return [str(each.get("model_name") or "") if isinstance(each, dict) else str(each) for each in found]


def _bindings() -> list[str]:
    from lollms_client.lollms_llm_binding import LollmsLLMBindingManager

    return LollmsLLMBindingManager("llm_bindings").get_available_bindings()


def _items(words: list[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    fitting = [word for word in words if word.startswith(incomplete)]
    # a shell takes a line for a word: what a server calls its models must not add any
    return [CompletionItem(word) for word in fitting if word.isprintable() and " " not in word and word]
