"""`LollmsClient`: text from any model, through one object.

Two generations of documentation describe this class; both spellings work. Nothing is sent, started or read by the
constructor. Two ways to generate stand side by side: the documented methods (`generate_text` and its kin), which give
text or an error dictionary, and the typed ones (`stream`, `complete`), which give events and `Reply` and raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lollms_client.calls import call_for, split_prompt
from lollms_client.generation import error_result, open_stream, run, text_or_error
from lollms_client.images import ImageSource
from lollms_client.lollms_llm_binding import LollmsLLMBinding, LollmsLLMBindingManager
from lollms_client.lollms_types import ELF_GENERATION_FORMAT
from lollms_client.messages import AnyMessage, AnyTool
from lollms_client.native_binding import BindingPorts
from lollms_client.settings import DEFAULTS, OLDER_GUIDE, note_rest, older_address
from lollms_client.stream import Stream
from lollms_core.errors import LollmsError, UnknownBinding, UnsupportedFeature, as_dict
from lollms_core.flows.answer import answer
from lollms_core.types import GenerationCall, Reply
from lollms_runtime.observe import NOTHING, Observer

__all__ = ["LollmsClient"]


class LollmsClient:
    """A client of one language-model binding, which may be exchanged.

    Attributes: `llm` and `binding`, the binding (None without one); `default_n_predict`, `default_temperature` and the
    other defaults, None where nothing was set, so that nothing is sent; `user_name`, `ai_name`; `raise_errors`, whether
    the documented methods raise instead of returning a dictionary; `observer`, which sees every model call.
    """

    def __init__(
        self,
        binding_name: str | None = "lollms",
        host_address: str | None = None,
        models_path: str | Path | None = None,
        model_name: str = "",
        llm_bindings_dir: str | Path | None = None,
        llm_binding_config: Mapping[str, Any] | None = None,
        *,
        llm_binding_name: str | None = None,
        service_key: str | None = None,
        verify_ssl_certificate: bool = True,
        ctx_size: int | None = None,
        n_predict: int | None = None,
        stream: bool = False,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repeat_penalty: float | None = None,
        repeat_last_n: int | None = None,
        seed: int | None = None,
        n_threads: int | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        callback: Callable[..., Any] | None = None,
        user_name: str = "user",
        ai_name: str = "assistant",
        default_generation_mode: ELF_GENERATION_FORMAT | None = None,
        raise_errors: bool = False,
        **kwargs: Any,
    ) -> None:
        """Choose a binding and its settings; `binding_name` and `llm_binding_name` are the same, None means none.

        `host_address`, `service_key` and what else the binding needs may stand here or in `llm_binding_config`, which
        wins. `llm_bindings_dir` is a folder of bindings of your own, searched before those that come with the library.
        `callback` is `streaming_callback` under its newer name. `default_generation_mode` chooses the binding as the
        older client did, with that client's defaults.

        Raises `UnknownBinding`, a ValueError that names the bindings there are, and whatever the binding's constructor
        raises. No server is contacted, so a wrong address shows itself only when something is generated.
        """
        self.user_name, self.ai_name = user_name, ai_name
        self.raise_errors = raise_errors
        self.observer: Observer = NOTHING
        self.default_stream = stream
        self.default_streaming_callback = streaming_callback or callback
        self.tts = self.tti = self.stt = self.ttv = self.ttm = self.mcp = None
        note_rest(kwargs)
        self._set_headers()
        if default_generation_mode is not None:
            binding_name = default_generation_mode.binding_name
            host_address = older_address(default_generation_mode, host_address)
        older = {} if default_generation_mode is None else OLDER_GUIDE
        self.default_ctx_size: int | None = older.get("ctx_size") if ctx_size is None else ctx_size
        self.default_n_predict: int | None = older.get("n_predict") if n_predict is None else n_predict
        self.default_temperature: float | None = older.get("temperature") if temperature is None else temperature
        self.default_top_k: int | None = older.get("top_k") if top_k is None else top_k
        self.default_top_p: float | None = older.get("top_p") if top_p is None else top_p
        self.default_n_threads: int | None = older.get("n_threads") if n_threads is None else n_threads
        self.default_repeat_penalty = repeat_penalty
        self.default_repeat_last_n = repeat_last_n
        self.default_seed = seed

        folder = "llm_bindings" if llm_bindings_dir is None else Path(llm_bindings_dir).absolute()
        self.binding_manager = self.llm_binding_manager = LollmsLLMBindingManager(folder)
        self._binding: LollmsLLMBinding | None = None
        if name := llm_binding_name or binding_name:
            common = {
                "host_address": host_address,
                "models_path": models_path,
                "model_name": model_name,
                "service_key": service_key,
                "verify_ssl_certificate": verify_ssl_certificate,
            }
            self._binding = self.binding_manager.build(name, common, llm_binding_config)

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
    ) -> Stream:
        """Start a generation whose events are read from the returned `Stream`; use it in a `with` block.

        `prompt` is a text or a list of messages; `schema` a JSON Schema for the answer; `params` are `n_predict`
        (tokens; also `max_tokens`), `temperature`, `top_p`, `top_k`, `seed`, `stop` and so on. Raises `InvalidRequest`
        here, other errors while the stream is read.
        """
        call = self._call(prompt, params, True, system=system, images=images, tools=tools, schema=schema, model=model)
        return open_stream(answer(call), BindingPorts(self._need()), self.observer)

    def complete(
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
        call = self._call(prompt, params, False, system=system, images=images, tools=tools, schema=schema, model=model)
        return run(open_stream(answer(call), BindingPorts(self._need()), self.observer))

    # ---- documented: text, or an error dictionary

    def generate_text(
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
        return self._text(
            lambda binding: split_prompt(binding, prompt, split, user_keyword, ai_keyword),
            params,
            stream,
            streaming_callback,
            raise_errors,
            system=system_prompt,
            images=images,
        )

    def generate(self, prompt: str, *args: Any, **kwargs: Any) -> str | dict[str, Any]:
        """The older name of `generate_text`."""
        return self.generate_text(prompt, *args, **kwargs)

    def generate_with_images(
        self, prompt: str, images: Sequence[ImageSource], *args: Any, **kwargs: Any
    ) -> str | dict[str, Any]:
        """The older name of `generate_text` for prompts about images."""
        return self.generate_text(prompt, images, *args, **kwargs)

    def generate_from_messages(
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
        return self._text(lambda _: messages, params, stream, streaming_callback, raise_errors)

    # ---- tokens and embeddings

    def tokenize(self, text: str) -> list[Any]:
        """The tokens of a text. Raises `UnsupportedFeature` where the binding has no tokenizer."""
        return self._need().tokenize(text)

    def detokenize(self, tokens: list[Any]) -> str:
        """The text of tokens. Raises `UnsupportedFeature` where the binding has no tokenizer."""
        return self._need().detokenize(tokens)

    def count_tokens(self, text: str) -> int:
        """How many tokens a text has. Raises `UnsupportedFeature` where the binding has no tokenizer."""
        return self._need().count_tokens(text)

    def embed(self, text: str | list[str], **kwargs: Any) -> list[Any]:
        """The embedding of a text as a list of numbers; for a list of texts a list of these."""
        return self._need().embed(text, **kwargs)

    # ---- models and bindings

    @property
    def binding(self) -> LollmsLLMBinding | None:
        """The language-model binding in use; `llm` is the same under its newer name."""
        return self._binding

    @binding.setter
    def binding(self, binding: LollmsLLMBinding | None) -> None:
        self._binding = binding

    @property
    def llm(self) -> LollmsLLMBinding | None:
        """The language-model binding in use."""
        return self._binding

    @llm.setter
    def llm(self, binding: LollmsLLMBinding | None) -> None:
        self._binding = binding

    def update_llm_binding(self, binding_name: str, config: Mapping[str, Any] | None = None) -> None:
        """Change to another binding, made from `config` alone; the old one is closed.

        Raises `UnknownBinding` (a ValueError), or what the constructor raises; the old binding then stays.
        """
        new = self.binding_manager.build(binding_name, {}, config)
        old, self._binding = self._binding, new
        if old is not None:
            old.close()

    def get_available_llm_bindings(self) -> list[str]:
        """The names that `binding_name` can have."""
        return self.binding_manager.get_available_bindings()

    def list_models(self) -> list[Any]:
        """The models of the binding. Raises `LollmsError`."""
        return self._need().list_models()

    def listModels(self) -> list[Any]:  # noqa: N802  the documented name
        """The older name of `list_models`."""
        return self.list_models()

    def get_model_info(self) -> dict[str, Any]:
        """What is known of the current model."""
        return self._need().get_model_info()

    def get_model_details(self) -> dict[str, Any]:
        """The older name of `get_model_info`."""
        return self.get_model_info()

    def get_model_name(self) -> str | None:
        """The model that is used when a call names none."""
        return self._need().model_name

    def set_model_name(self, model_name: str) -> bool:
        """Use another model from now on."""
        self._need().model_name = model_name
        return True

    def switch_model(self, model_name: str) -> bool:
        """Use another model from now on, loading it where the binding does that. Returns whether it worked."""
        return self._need().load_model(model_name)

    def get_ctx_size(self, model_name: str | None = None) -> int | None:
        """The context size of a model in tokens; `default_ctx_size` where the binding does not know it."""
        known = self._need().get_ctx_size(model_name)
        return self.default_ctx_size if known is None else known

    def listMountedPersonalities(self) -> list[str] | dict[str, Any]:  # noqa: N802  the documented name
        """The names of the personalities that the server has mounted, or an error dictionary."""
        binding = self._need()
        ask = getattr(binding, "lollms_listMountedPersonalities", None)
        try:
            if ask is None:
                raise UnsupportedFeature(f"The binding {binding.binding_name!r} knows no personalities; 'lollms' does.")
            names: list[str] = ask()
            return names
        except LollmsError as error:
            if self.raise_errors:
                raise
            return as_dict(error)

    # ---- headers of the text format of discussions

    @property
    def system_full_header(self) -> str:
        """The header of the system's turn, `!@>system: `."""
        return self.system_custom_header(self.system_message_template)

    @property
    def user_full_header(self) -> str:
        """The header of the user's turn, `!@>user: `."""
        return self.user_custom_header(self.user_name)

    @property
    def ai_full_header(self) -> str:
        """The header of the model's turn, `!@>assistant: `."""
        return self.ai_custom_header(self.ai_name)

    def system_custom_header(self, ai_name: str) -> str:
        """The header of a system turn under another name."""
        return f"{self.start_header_id_template}{ai_name}{self.end_header_id_template}"

    def user_custom_header(self, user_name: str = "user") -> str:
        """The header of a user's turn under another name."""
        return f"{self.start_user_header_id_template}{user_name}{self.end_user_header_id_template}"

    def ai_custom_header(self, ai_name: str = "assistant") -> str:
        """The header of a model's turn under another name."""
        return f"{self.start_ai_header_id_template}{ai_name}{self.end_ai_header_id_template}"

    def sink(self, s: Any = None, i: Any = None, d: Any = None) -> None:
        """A callback that does nothing."""

    # ---- the end

    def close(self) -> None:
        """Close connections and stop the processes of the binding. The client may be used again afterwards."""
        if self._binding is not None:
            self._binding.close()

    def __enter__(self) -> LollmsClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- inside

    def _need(self) -> LollmsLLMBinding:
        if self._binding is None:
            raise UnknownBinding("This client has no LLM binding. Give it one: update_llm_binding('lollms').")
        return self._binding

    def _set(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a call, over the defaults that were set on this client."""
        defaults = {name: getattr(self, f"default_{name}") for name in DEFAULTS}
        if given.get("max_tokens") is not None:
            del defaults["n_predict"]
        return {**defaults, **{name: value for name, value in given.items() if value is not None}}

    def _call(
        self, prompt: str | Sequence[AnyMessage], params: Mapping[str, Any], stream: bool, **rest: Any
    ) -> GenerationCall:
        return call_for(self._need(), prompt, params=self._set(params), stream=stream, **rest)

    def _text(
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
            binding = self._need()
            call = self._call(prompt(binding), params, streams, **rest)
        except LollmsError as error:
            return error_result(error, callback, raise_errors=raises)
        return text_or_error(call, BindingPorts(binding), callback, raise_errors=raises, observer=self.observer)

    def _set_headers(self) -> None:
        """The templates of the text format of discussions; scripts may change them."""
        self.system_message_template = "system"
        self.start_header_id_template = self.start_user_header_id_template = self.start_ai_header_id_template = "!@>"
        self.end_header_id_template = self.end_user_header_id_template = self.end_ai_header_id_template = ": "
