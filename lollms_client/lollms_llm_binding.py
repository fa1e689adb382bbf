"""The base class of language-model bindings, and the manager that finds and makes them.

A binding may be written in three ways: overriding `generate_text`, overriding `chat`, or as a `NativeBinding` (see
`lollms_client.native_binding`), which turns a call into events. The client serves all three through the same streams;
everything else in the base class has a working default or says that the binding cannot do it.

The manager looks for bindings in the folder it was made for, then in the user's own folders, then among those of the
library; the first one of a name is used. Where they lie and what describes them: `lollms_client.binding_folders`.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lollms_client import binding_folders
from lollms_client.lollms_types import MSG_TYPE
from lollms_core.errors import MissingDependency, UnknownBinding, UnsupportedFeature

__all__ = ["MSG_TYPE", "LollmsLLMBinding", "LollmsLLMBindingManager", "accepted_arguments", "get_available_bindings"]

_SHIPPED = Path(__file__).resolve().parent / "llm_bindings"
_COMMON = ("host_address", "models_path", "model_name", "service_key", "verify_ssl_certificate")
_GENERATION = (
    "ctx_size",
    "n_predict",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "repeat_penalty",
    "repeat_last_n",
    "seed",
    "n_threads",
)
_SECRET = re.compile(r"key|token|secret|password|auth", re.IGNORECASE)


class LollmsLLMBinding:
    """A way to reach language models. Subclass it and override at least `generate_text` or `chat`.

    Attributes: `binding_name`; `model_name`, the model that is used when a call names none; `default_ctx_size`,
    `default_n_predict`, `default_stream`, `default_temperature` and the other `default_` attributes, None where nothing
    was given. A client passes those of a binding that is not a `NativeBinding` on with each call that has no value of
    its own, except `default_stream`.

    `parallel_calls` is how many calls it may be given at once, from several threads; 1 where nobody says more.
    """

    binding_name: str | None = "unknown"
    model_name: str | None = ""
    parallel_calls: int = 1
    default_ctx_size: int | None = None
    default_n_predict: int | None = None
    default_stream: bool | None = None
    default_temperature: float | None = None
    default_top_k: int | None = None
    default_top_p: float | None = None
    default_repeat_penalty: float | None = None
    default_repeat_last_n: int | None = None
    default_seed: int | None = None
    default_n_threads: int | None = None

    def __init__(self, binding_name: str | None = "unknown", **kwargs: Any) -> None:
        """A subclass may pass on whatever it was given: of `kwargs`, `temperature` and so on become the defaults.

        `model_name` becomes the model; what has no meaning here is ignored.
        """
        self.binding_name = binding_name
        if isinstance(model_name := kwargs.get("model_name"), str):
            self.model_name = model_name
        for name in _GENERATION:
            if kwargs.get(name) is not None:
                setattr(self, f"default_{name}", kwargs[name])

    # ---- to be overridden: at least one of the first two

    def generate_text(
        self,
        prompt: str,
        images: list[str] | None = None,
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
        **kwargs: Any,
    ) -> str | dict[str, Any]:
        """Answer a prompt and return the text, or a dictionary with an `error` key when that failed.

        `images` are paths of image files; `n_predict` and `ctx_size` are tokens. When `stream` is true each piece goes
        to `streaming_callback(chunk, MSG_TYPE.MSG_TYPE_CHUNK)`, which always returns a bool; False means stop. With
        `split`, the prompt is a discussion whose turns begin with `user_keyword` and `ai_keyword`.
        """
        raise UnsupportedFeature(f"The binding {self.binding_name!r} has no generate_text.")

    def chat(self, discussion: Any, branch_tip_id: str | None = None, **kwargs: Any) -> str | dict[str, Any]:
        """Continue a discussion. `discussion.export(format)` gives its messages; the rest is as in `generate_text`."""
        raise UnsupportedFeature(f"The binding {self.binding_name!r} has no chat.")

    def generate_from_messages(self, messages: list[dict[str, Any]], **kwargs: Any) -> str | dict[str, Any]:
        """Answer a list of `{role, content}` messages; the rest is as in `generate_text`."""
        raise UnsupportedFeature(f"The binding {self.binding_name!r} does not take messages.")

    def tokenize(self, text: str) -> list[Any]:
        """The tokens of a text. Raises `UnsupportedFeature` where the backend has no tokenizer to ask."""
        raise UnsupportedFeature(f"The binding {self.binding_name!r} has no tokenizer.")

    def detokenize(self, tokens: list[Any]) -> str:
        """The text of tokens. Raises `UnsupportedFeature` where the backend has no tokenizer to ask."""
        raise UnsupportedFeature(f"The binding {self.binding_name!r} has no tokenizer.")

    def count_tokens(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self.tokenize(text))

    def count_image_tokens(self, image: Any) -> int:
        """How many tokens an image takes for the current model; an estimate where no rule of the model is known.

        `image` is whatever a client takes as one. Raises `InvalidRequest` for what is no image.
        """
        from lollms_client.images import count_tokens_of

        return count_tokens_of(image, self.binding_name or "", self.model_name or "")

    def embed(self, text: str | list[str], **kwargs: Any) -> list[Any]:
        """The embedding of a text as a list of numbers; for a list of texts a list of these."""
        raise UnsupportedFeature(f"The binding {self.binding_name!r} makes no embeddings.")

    def get_model_info(self) -> dict[str, Any]:
        """What is known of the current model."""
        return {"binding_name": self.binding_name, "model_name": self.model_name}

    def list_models(self) -> list[Any]:
        """The models this binding can use. `listModels` is the same under its older name; override either."""
        if type(self).listModels is not LollmsLLMBinding.listModels:
            return self.listModels()
        raise UnsupportedFeature(f"The binding {self.binding_name!r} cannot list models.")

    def listModels(self) -> list[Any]:  # noqa: N802  the documented name
        """The models this binding can use, each as a dictionary."""
        if type(self).list_models is not LollmsLLMBinding.list_models:
            return self.list_models()
        raise UnsupportedFeature(f"The binding {self.binding_name!r} cannot list models.")

    def load_model(self, model_name: str) -> bool:
        """Use another model from now on. Returns whether that worked."""
        self.model_name = model_name
        return True

    def ps(self) -> list[dict[str, Any]]:
        """The models that are loaded now, each as a dictionary with at least `model_name`."""
        raise UnsupportedFeature(f"The binding {self.binding_name!r} cannot say which models are loaded.")

    def get_ctx_size(self, model_name: str | None = None) -> int | None:
        """The context size of a model in tokens; None where it is not known."""
        return None

    def close(self) -> None:
        """Let go of connections and processes. The binding may be used again afterwards."""

    # ---- provided

    def split_discussion(
        self,
        lollms_prompt_string: str,
        system_keyword: str = "!@>system:",
        user_keyword: str = "!@>user:",
        ai_keyword: str = "!@>assistant:",
    ) -> list[dict[str, str]]:
        """Split a discussion with `!@>role:` headers into `{role, content}` messages.

        Text before the first header is the system's; a turn without content is left out; a header that is none of the
        three stays in the text of its turn.
        """
        roles = {system_keyword: "system", user_keyword: "user", ai_keyword: "assistant"}
        longest_first = sorted((word for word in roles if word), key=len, reverse=True)
        if not longest_first:
            parts = [lollms_prompt_string]
        else:
            parts = re.split(f"({'|'.join(map(re.escape, longest_first))})", lollms_prompt_string)
        turns = [
            ("system", parts[0]),
            *((roles[word], text) for word, text in zip(parts[1::2], parts[2::2], strict=True)),
        ]
        return [{"role": role, "content": text.strip()} for role, text in turns if text.strip()]


def accepted_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the keyword arguments that the signature of a function accepts; all, when it takes `**kwargs`."""
    parameters = inspect.signature(function).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return dict(arguments)
    named = {
        each.name
        for each in parameters
        if each.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    return {name: value for name, value in arguments.items() if name in named}


class LollmsLLMBindingManager:
    """Finds bindings in folders and makes them. A binding is a sub-folder whose `__init__.py` sets `BindingName`.

    Attributes: `llm_bindings_dir`, the folder searched first; `available_bindings`, the classes loaded so far by name.
    """

    def __init__(self, llm_bindings_dir: str | Path = "llm_bindings") -> None:
        """`llm_bindings_dir` is searched first; the default stands for the bindings that come with the library.

        Those are searched last in any case. Before them come the user's own folders: the one that the environment
        variable LOLLMS_BINDINGS_DIR names, and `llm_bindings` in the user's configuration folder.
        """
        own = str(llm_bindings_dir) == "llm_bindings"
        self.llm_bindings_dir = _SHIPPED if own else Path(llm_bindings_dir).expanduser().resolve()
        self.available_bindings: dict[str, type[LollmsLLMBinding]] = {}
        self._own: dict[str, Path] = {}  # the folders of those loaded so far that are not the library's

    def get_available_bindings(self) -> list[str]:
        """The names of all bindings that can be found, sorted. Nothing is imported."""
        return sorted(self._found())

    def get_binding_descriptions(self) -> list[dict[str, Any]]:
        """What the `description.yaml` of each binding says, in the order of their names. Nothing is imported.

        Each has `binding_name`, `title`, `author`, `description`, `input_parameters` and so on, filled in where the
        file says nothing or cannot be used. No value of a secret is shown.
        """
        return [binding_folders.described(folder) for _, folder in sorted(self._found().items())]

    @staticmethod
    def get_bindings_list(llm_bindings_dir: str | Path = "llm_bindings") -> list[str]:
        """The names of the bindings in one folder, sorted; without one, of those that come with the library."""
        own = str(llm_bindings_dir) == "llm_bindings"
        return sorted(binding_folders.bindings_in(_SHIPPED if own else Path(llm_bindings_dir).expanduser()))

    def create_binding(self, binding_name: str, **kwargs: Any) -> LollmsLLMBinding | None:
        """Make a binding with those of the arguments that its constructor accepts.

        Returns None when there is no such binding or it cannot be made, and logs the reason; `build` raises it.
        """
        common = {name: value for name, value in kwargs.items() if name in _COMMON}
        config = {name: value for name, value in kwargs.items() if name not in _COMMON}
        try:
            return self.build(binding_name, common, config)
        except (Exception, SystemExit) as error:  # what others wrote may call sys.exit()
            reason = str(error) or type(error).__name__
            folder = self._own.get(binding_name)
            secret = binding_folders.secret_names(folder) if folder else frozenset()
            for name, value in kwargs.items():
                if isinstance(value, str) and value and (name in secret or _SECRET.search(name)):
                    reason = reason.replace(value, "•••")
            logging.getLogger("lollms_client").warning("The LLM binding %r cannot be made: %s", binding_name, reason)
            return None

    def build(
        self, binding_name: str, common: Mapping[str, Any], config: Mapping[str, Any] | None = None
    ) -> LollmsLLMBinding:
        """Make a binding. `config` wins over `common`, of which what is empty goes only where it is required.

        What neither has is filled in from the defaults of a `description.yaml` of the user's own binding, where the
        constructor has no default itself. Raises `UnknownBinding` (a ValueError) naming the bindings there are, and
        whatever the constructor raises.
        """
        if binding_name not in self.available_bindings:
            self._load_binding(binding_name)
        kind = self.available_bindings[binding_name]
        parameters = inspect.signature(kind).parameters

        def has_default(name: str) -> bool:
            return name in parameters and parameters[name].default is not inspect.Parameter.empty

        arguments = {name: value for name, value in common.items() if value not in (None, "") or not has_default(name)}
        given = {name for name, value in arguments.items() if value not in (None, "")} | set(config or {})
        folder = self._own.get(binding_name)  # the library's have the same defaults in their code
        described = {
            name: value
            for name, value in (binding_folders.described_defaults(folder) if folder else {}).items()
            if name not in given and not has_default(name)
        }
        arguments = accepted_arguments(kind, {**arguments, **described, **(config or {})})
        if ignored := sorted(set(config or {}) - set(arguments)):
            logging.getLogger("lollms_client").warning(
                "The LLM binding %r does not take %s; it is made without.", binding_name, ", ".join(ignored)
            )
        return kind(**arguments)

    def _load_binding(self, binding_name: str) -> None:
        """Import a binding's folder and put its class into `available_bindings`. Raises `UnknownBinding`."""
        folder = self._found().get(binding_name)
        if folder is None:
            raise UnknownBinding(
                f"There is no LLM binding named {binding_name!r}. "
                f"Available: {', '.join(self.get_available_bindings()) or 'none'}.{binding_folders.missing_folder()}",
                param="binding_name",
            )
        if folder.parent != _SHIPPED:
            binding_folders.check_writers(folder)
        try:
            module = _import(folder)
        except MissingDependency:
            raise
        except (Exception, SystemExit) as error:  # what others wrote may call sys.exit()
            raise UnknownBinding(f"The LLM binding in {folder} cannot be imported: {error!r}") from error
        self.available_bindings[binding_name] = _binding_class(module, folder)
        if folder.parent != _SHIPPED:
            self._own[binding_name] = folder

    def _found(self) -> dict[str, Path]:
        """The folders of all bindings by name; of two of one name, the one that is searched first."""
        places = [_SHIPPED, *reversed(binding_folders.user_folders())]
        if self.llm_bindings_dir != _SHIPPED:
            places.append(self.llm_bindings_dir)
        return {name: folder for place in places for name, folder in binding_folders.bindings_in(place).items()}


def get_available_bindings() -> list[str]:
    """The names of the bindings that come with the library, and of those in the user's own folders."""
    return LollmsLLMBindingManager().get_available_bindings()


def _import(folder: Path) -> object:
    if folder.parent == _SHIPPED:
        return importlib.import_module(f"lollms_client.llm_bindings.{folder.name}")
    from lollms_runtime.third_party import import_folder  # needed only by those who have folders of their own

    return import_folder(folder)


def _binding_class(module: object, folder: Path) -> type[LollmsLLMBinding]:
    name = getattr(module, "BindingName", None)
    kind = getattr(module, name, None) if isinstance(name, str) else None
    if not isinstance(kind, type) or not issubclass(kind, LollmsLLMBinding):
        raise UnknownBinding(
            f"{folder / '__init__.py'} must set BindingName to the name of a class that inherits from LollmsLLMBinding."
        )
    return kind
