"""`AsyncLollmsClient`: `LollmsClient` for coroutines. Callbacks may be `def` or `async def`.

Made from `client.py` by `python -m release.async_client`; changes belong there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lollms_client.async_generation import call, close_binding, complete, error_result, open_stream, text_or_error
from lollms_client.async_operations import AsyncOperations
from lollms_client.async_stream import AsyncStream
from lollms_client.calls import split_prompt
from lollms_client.images import ImageSource
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.messages import AnyMessage, AnyTool, exported
from lollms_core.errors import LollmsError, as_dict
from lollms_core.types import Reply

__all__ = ["AsyncLollmsClient"]


class AsyncLollmsClient(AsyncOperations):
    """A client of one language-model binding, for coroutines; see `ClientBase` for its arguments and attributes."""

    # ---- typed: events, replies, exceptions

    def stream(
        self,
        prompt: str | Sequence[AnyMessage],
        *,
        system: str | None = None,
        images: Sequence[ImageSource] | ImageSource | None = None,
        tools: Sequence[AnyTool] | None = None,
        schema: Mapping[str, Any] | None = None,
        model: str | None = None,
        **params: Any,
    ) -> AsyncStream:
        """Start a generation whose events are read from the returned `AsyncStream`; use it in an `async with` block.

        `prompt` is a text or a list of messages; `schema` a JSON Schema for the answer; `params` are `n_predict`
        (tokens; also `max_tokens`), `temperature`, `top_p`, `top_k`, `seed`, `stop` and so on. Raises `InvalidRequest`
        here, other errors while the stream is read.
        """
        rest = {"system": system, "images": images, "tools": tools, "schema": schema, "model": model}
        return open_stream(self._asked(prompt, params, stream=True, **rest), self.observer)

    async def complete(
        self,
        prompt: str | Sequence[AnyMessage],
        *,
        system: str | None = None,
        images: Sequence[ImageSource] | ImageSource | None = None,
        tools: Sequence[AnyTool] | None = None,
        schema: Mapping[str, Any] | None = None,
        model: str | None = None,
        **params: Any,
    ) -> Reply:
        """Generate and return the whole `Reply`; the arguments are those of `stream`. Raises `LollmsError`."""
        rest = {"system": system, "images": images, "tools": tools, "schema": schema, "model": model}
        return await complete(self._asked(prompt, params, stream=False, **rest), observer=self.observer)

    # ---- documented: text, or an error dictionary

    async def generate_text(
        self,
        prompt: str,
        images: Sequence[ImageSource] | None = None,
        system_prompt: str = "",
        n_predict: int | None = None,
        stream: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repeat_penalty: float | None = None,
        repeat_last_n: int | None = None,
        seed: int | None = None,
        n_threads: int | None = None,
        ctx_size: int | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        split: bool | None = False,
        user_keyword: str | None = "!@>user:",
        ai_keyword: str | None = "!@>assistant:",
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> str | dict[str, Any]:
        """Answer a prompt and return the text.

        `images` are paths (or bytes, Base64, data URLs); `n_predict` and `ctx_size` are tokens. With a
        `streaming_callback(chunk, msg_type)` the pieces go to it as they come; when it returns False the text so far is
        returned. `split` takes the prompt as a discussion whose turns begin with the keywords.

        On failure the callback gets `MSG_TYPE_EXCEPTION`, and `{"status": False, "error", "message", "code"}` is
        returned; with `raise_errors` the error is raised.
        """
        params = {
            "n_predict": n_predict,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "repeat_penalty": repeat_penalty,
            "repeat_last_n": repeat_last_n,
            "seed": seed,
            "n_threads": n_threads,
            "ctx_size": ctx_size,
            **kwargs,
        }
        return await self._text(
            lambda binding: split_prompt(binding, prompt, split, user_keyword, ai_keyword),
            params,
            stream,
            streaming_callback,
            raise_errors,
            system=system_prompt,
            images=images,
        )

    async def generate(self, prompt: str, *args: Any, **kwargs: Any) -> str | dict[str, Any]:
        """The older name of `generate_text`."""
        return await self.generate_text(prompt, *args, **kwargs)

    async def generate_with_images(
        self, prompt: str, images: Sequence[ImageSource], *args: Any, **kwargs: Any
    ) -> str | dict[str, Any]:
        """The older name of `generate_text` for prompts about images."""
        return await self.generate_text(prompt, images, *args, **kwargs)

    async def generate_from_messages(
        self,
        messages: Sequence[AnyMessage],
        n_predict: int | None = None,
        stream: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repeat_penalty: float | None = None,
        repeat_last_n: int | None = None,
        seed: int | None = None,
        n_threads: int | None = None,
        ctx_size: int | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> str | dict[str, Any]:
        """Answer a list of `{role, content}` messages; everything else is as in `generate_text`."""
        params = {
            "n_predict": n_predict,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "repeat_penalty": repeat_penalty,
            "repeat_last_n": repeat_last_n,
            "seed": seed,
            "n_threads": n_threads,
            "ctx_size": ctx_size,
            **kwargs,
        }
        return await self._text(lambda _: messages, params, stream, streaming_callback, raise_errors)

    async def chat(
        self,
        discussion: Any,
        branch_tip_id: str | None = None,
        n_predict: int | None = None,
        stream: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repeat_penalty: float | None = None,
        repeat_last_n: int | None = None,
        seed: int | None = None,
        n_threads: int | None = None,
        ctx_size: int | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        images: Sequence[ImageSource] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> str | dict[str, Any]:
        """Continue a discussion, from the message `branch_tip_id` if given; nothing is added to it.

        A discussion is anything whose `export("openai_chat", branch_tip_id)` gives messages. `images` join the last
        message of the user; everything else is as in `generate_text`.
        """
        params = {
            "n_predict": n_predict,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "repeat_penalty": repeat_penalty,
            "repeat_last_n": repeat_last_n,
            "seed": seed,
            "n_threads": n_threads,
            "ctx_size": ctx_size,
            **kwargs,
        }
        return await self._text(
            lambda _: exported(discussion, branch_tip_id),
            params,
            stream,
            streaming_callback,
            raise_errors,
            images=images,
            discussion=(discussion, branch_tip_id),
        )

    # ---- tokens and embeddings

    async def tokenize(self, text: str) -> list[Any]:
        """The tokens of a text. Raises `UnsupportedFeature` where the binding has no tokenizer."""
        return await call(self._need().tokenize, text)

    async def detokenize(self, tokens: list[Any]) -> str:
        """The text of tokens. Raises `UnsupportedFeature` where the binding has no tokenizer."""
        return await call(self._need().detokenize, tokens)

    async def count_tokens(self, text: str) -> int:
        """How many tokens a text has. Raises `UnsupportedFeature` where the binding has no tokenizer."""
        return await call(self._need().count_tokens, text)

    async def count_image_tokens(self, image: ImageSource) -> int:
        """How many tokens an image takes for the current model; an estimate where no rule of the model is known."""
        return await call(self._need().count_image_tokens, image)

    async def embed(self, text: str | list[str], **kwargs: Any) -> list[Any]:
        """The embedding of a text as a list of numbers; for a list of texts a list of these."""
        return await call(self._need().embed, text, **kwargs)

    # ---- models and bindings

    async def update_llm_binding(self, binding_name: str, config: Mapping[str, Any] | None = None) -> None:
        """Change to another binding, made from `config` alone; the old one is closed.

        Raises `UnknownBinding` (a ValueError), or what the constructor raises; the old binding then stays.
        """
        new = await call(self.binding_manager.build, binding_name, {}, config)
        old, self._binding = self._binding, new
        if old is not None:
            await close_binding(old)

    async def list_models(self) -> list[Any]:
        """The models of the binding. Raises `LollmsError`."""
        return await call(self._need().list_models)

    async def listModels(self) -> list[Any]:  # noqa: N802  the documented name
        """The older name of `list_models`."""
        return await self.list_models()

    async def get_model_info(self) -> dict[str, Any]:
        """What is known of the current model."""
        return await call(self._need().get_model_info)

    async def get_model_details(self) -> dict[str, Any]:
        """The older name of `get_model_info`."""
        return await self.get_model_info()

    async def load_model(self, model_name: str) -> bool:
        """Use another model from now on, loading it where the binding does that. Returns whether it worked."""
        return await call(self._need().load_model, model_name)

    async def switch_model(self, model_name: str) -> bool:
        """The older name of `load_model`."""
        return await self.load_model(model_name)

    async def get_ctx_size(self, model_name: str | None = None) -> int | None:
        """The context size of a model in tokens; `default_ctx_size` where the binding does not know it."""
        known = await call(self._need().get_ctx_size, model_name)
        return self.default_ctx_size if known is None else known

    async def listMountedPersonalities(self) -> list[str] | dict[str, Any]:  # noqa: N802  the documented name
        """The names of the personalities that the server has mounted, or an error dictionary."""
        try:
            return await call(self._personalities_of(self._need()))
        except LollmsError as error:
            if self.raise_errors:
                raise
            return as_dict(error)

    # ---- the end

    async def close(self) -> None:
        """Close connections and stop the processes of the binding. The client may be used again afterwards."""
        if self._binding is not None:
            await close_binding(self._binding)

    async def __aenter__(self) -> AsyncLollmsClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- inside

    async def _text(
        self,
        prompt: Callable[[LollmsLLMBinding], str | Sequence[AnyMessage]],
        params: Mapping[str, Any],
        stream: bool | None,
        callback: Callable[..., Any] | None,
        raise_errors: bool | None,
        **rest: Any,
    ) -> str | dict[str, Any]:
        """What all documented generating methods do; a callback implies streaming."""
        callback = callback or self.default_streaming_callback
        streams = (callback is not None or self.default_stream) if stream is None else stream
        raises = self.raise_errors if raise_errors is None else raise_errors
        try:
            asked = self._asked(prompt(self._need()), params, stream=streams, **rest)
        except LollmsError as error:
            return await error_result(error, callback, raise_errors=raises)
        return await text_or_error(asked, callback, raise_errors=raises, observer=self.observer)
