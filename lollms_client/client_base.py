"""What `LollmsClient` and `AsyncLollmsClient` share: all of a client that waits for nobody.

Two generations of documentation describe the client; both spellings work. Nothing is sent, started or read by the
constructor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lollms_client.calls import Asked
from lollms_client.lollms_llm_binding import LollmsLLMBinding, LollmsLLMBindingManager
from lollms_client.lollms_types import ELF_GENERATION_FORMAT
from lollms_client.messages import AnyMessage
from lollms_client.settings import DEFAULTS, OLDER_GUIDE, for_binding, older_address
from lollms_core.errors import UnknownBinding, UnsupportedFeature
from lollms_runtime.observe import NOTHING, Observer

__all__ = ["ClientBase"]


class ClientBase:
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
        wins; what the binding does not take is left out with a warning. `llm_bindings_dir` is a folder of bindings of
        your own, searched before those that come with the library. `callback` is `streaming_callback` under its newer
        name. `default_generation_mode` chooses the binding as the older client did, with that client's defaults.

        Raises `UnknownBinding`, a ValueError that names the bindings there are, and whatever the binding's constructor
        raises. No server is contacted, so a wrong address shows itself only when something is generated.
        """
        self.user_name, self.ai_name = user_name, ai_name
        self.raise_errors = raise_errors
        self.observer: Observer = NOTHING
        self.default_stream = stream
        self.default_streaming_callback = streaming_callback or callback
        self.tts = self.tti = self.stt = self.ttv = self.ttm = self.mcp = None
        rest = for_binding(kwargs)
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
            self._binding = self.binding_manager.build(name, common, {**rest, **(llm_binding_config or {})})

    # ---- the binding

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

    def get_available_llm_bindings(self) -> list[str]:
        """The names that `binding_name` can have."""
        return self.binding_manager.get_available_bindings()

    def get_model_name(self) -> str | None:
        """The model that is used when a call names none."""
        return self._need().model_name

    def set_model_name(self, model_name: str) -> bool:
        """Use another model from now on."""
        self._need().model_name = model_name
        return True

    def update_tts_binding(self, binding_name: str, config: Mapping[str, Any] | None = None) -> None:
        """Change the binding for speech. Raises `UnknownBinding` (a ValueError) where there is none of that name."""
        raise _none_of_kind("tts", binding_name)

    def update_tti_binding(self, binding_name: str, config: Mapping[str, Any] | None = None) -> None:
        """Change the binding for images. Raises `UnknownBinding` (a ValueError) where there is none of that name."""
        raise _none_of_kind("tti", binding_name)

    def update_stt_binding(self, binding_name: str, config: Mapping[str, Any] | None = None) -> None:
        """Change the binding for transcripts. Raises `UnknownBinding` (a ValueError) where there is none."""
        raise _none_of_kind("stt", binding_name)

    def update_ttv_binding(self, binding_name: str, config: Mapping[str, Any] | None = None) -> None:
        """Change the binding for video. Raises `UnknownBinding` (a ValueError) where there is none of that name."""
        raise _none_of_kind("ttv", binding_name)

    def update_ttm_binding(self, binding_name: str, config: Mapping[str, Any] | None = None) -> None:
        """Change the binding for music. Raises `UnknownBinding` (a ValueError) where there is none of that name."""
        raise _none_of_kind("ttm", binding_name)

    def update_mcp_binding(self, binding_name: str, config: Mapping[str, Any] | None = None) -> None:
        """Change the binding for tools. Raises `UnknownBinding` (a ValueError) where there is none of that name."""
        raise _none_of_kind("mcp", binding_name)

    # ---- helpers for texts

    def extract_code_blocks(self, text: str, format: str = "markdown") -> list[dict[str, Any]]:
        """The code blocks of an answer, `markdown` fences or `html` elements, as dictionaries.

        The keys are `index`, `file_name`, `content`, `type` (the language, else `language-specific`) and `is_complete`,
        which is False for a block that the text does not close.
        """
        from lollms_core.text.code_blocks import extract_code_blocks

        return extract_code_blocks(text, format)

    def extract_thinking_blocks(self, text: str) -> list[str]:
        """What stands between `<think>` or `<thinking>` and their end, for texts that hold a model's reasoning."""
        from lollms_core.text.thinking import extract_thinking_blocks

        return extract_thinking_blocks(text)

    def remove_thinking_blocks(self, text: str) -> str:
        """The text without what `extract_thinking_blocks` finds, stripped."""
        from lollms_core.text.thinking import remove_thinking_blocks

        return remove_thinking_blocks(text)

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

    # ---- inside

    def _need(self) -> LollmsLLMBinding:
        if self._binding is None:
            raise UnknownBinding("This client has no LLM binding. Give it one: update_llm_binding('lollms').")
        return self._binding

    def _asked(
        self, prompt: str | Sequence[AnyMessage], params: Mapping[str, Any], *, stream: bool, **rest: Any
    ) -> Asked:
        """A question to the binding, its parameters over the defaults that were set on this client."""
        defaults = {name: getattr(self, f"default_{name}") for name in DEFAULTS}
        if params.get("max_tokens") is not None:
            del defaults["n_predict"]
        merged = {**defaults, **{name: value for name, value in params.items() if value is not None}}
        return Asked(self._need(), prompt, merged, stream=stream, **rest)

    def _question(
        self, prompt: str, params: Mapping[str, Any], callback: Callable[..., Any] | None, **rest: Any
    ) -> Asked:
        """What the calls of an operation have in common; they are streamed where somebody watches."""
        return self._asked(prompt, params, stream=callback is not None or self.default_stream, **rest)

    def _raises(self, raise_errors: bool | None) -> bool:
        return self.raise_errors if raise_errors is None else raise_errors

    def _personalities_of(self, binding: LollmsLLMBinding) -> Callable[[], list[str]]:
        """The binding's own question for personalities. Raises `UnsupportedFeature` where it knows none."""
        ask: Callable[[], list[str]] | None = getattr(binding, "lollms_listMountedPersonalities", None)
        if ask is None:
            raise UnsupportedFeature(f"The binding {binding.binding_name!r} knows no personalities; 'lollms' does.")
        return ask

    def _set_headers(self) -> None:
        """The templates of the text format of discussions; scripts may change them."""
        self.system_message_template = "system"
        self.start_header_id_template = self.start_user_header_id_template = self.start_ai_header_id_template = "!@>"
        self.end_header_id_template = self.end_user_header_id_template = self.end_ai_header_id_template = ": "


def _none_of_kind(kind: str, binding_name: str) -> UnknownBinding:
    return UnknownBinding(f"There is no {kind} binding named {binding_name!r}. Available: none.", param="binding_name")
