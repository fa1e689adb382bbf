"""Loading a model with transformers, in the worker, so that nothing of it can run code or ask a network unasked.

* No code that comes with a model is ever run: `trust_remote_code` is False in every call here, and settings, requests
  and calls have no name for it. A model that cannot be loaded without its code is refused.
* All files come from one folder, which for a model of the hub is the folder of one commit. So no file can be of another
  revision, and the commit is told in what is known of the model.
* The hub is asked only where downloads were allowed, and then for weights in safetensors and texts, once; afterwards
  everything is read from the folder.
* Kernels from the hub are code too: they are switched off, and an attention that names one is refused.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import msgspec

from lollms_core.errors import ConfigError, LollmsError, MissingDependency, ModelLoadFailed, ModelNotFound
from lollms_core.protocols.http_errors import scrub
from lollms_core.types import ModelInfo
from lollms_runtime.engines.transformers_models import check_folder

__all__ = ["Loaded", "Read", "is_shown", "load", "loaded_of", "read_model", "refused"]

_SMALL = 100 * 1024 * 1024  # bytes of weights: so small a model loses more by waiting for threads than it gains
_FULL = 2 * 1024**3  # bytes of weights up to which the processor computes with float32
_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt"]
_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
_SHOWN = ("think", "tool", "call", "function")  # special tokens with such a word in them are part of the answer
_BRACKETED = re.compile(r"<.+>|\[.+\]", re.DOTALL)
_NO_LIMIT = 1_000_000_000  # a tokenizer without one says a far larger number


class Loaded(msgspec.Struct):
    """A model, its tokenizer and its generation_config.json.

    `ends` are the tokens that end an answer; `context` is tokens, None for unknown; `template` is the chat template, ""
    for none; `hidden` are the tokens that are no part of an answer; `markers` the names of all that a text can forge.
    """

    model: Any
    tokenizer: Any
    generation: Any
    ends: tuple[int, ...]
    context: int | None
    template: str
    hidden: frozenset[int]
    markers: frozenset[str]
    info: ModelInfo


class Read(msgspec.Struct):
    """What is read of a model before its weights: its folder and commit, configuration, tokenizer, and ends."""

    folder: Path
    revision: str
    config: Any
    tokenizer: Any
    generation: Any


def load(settings: dict[str, Any]) -> Loaded:
    """Load what the settings name (see `TransformersSettings.to_load`).

    Raises `ModelNotFound`, `ModelLoadFailed`, `ConfigError` for a device that is not there, `MissingDependency`.
    """
    read = read_model(settings)
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    device = _device(torch, settings["device"])
    size = sum(path.stat().st_size for path in read.folder.glob("*.safetensors"))
    torch.set_num_threads(settings["threads"] or (1 if size < _SMALL else settings["cores"]))
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(read.folder),
            config=read.config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=None if settings["allow_pickle"] else True,
            weights_only=True,
            **_numbers(torch, transformers, settings, device, size),
        )
        if not settings["quantisation"]:
            model = model.to(device)
    except LollmsError:
        raise
    except Exception as error:  # each of its libraries has errors of its own
        raise refused(error, read.folder, settings["name"]) from error
    model.eval()
    facts = {
        "device": str(device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "parameter_size": f"{model.num_parameters() / 1e6:.2f}M",
    }
    return loaded_of(model, msgspec.structs.replace(read, generation=model.generation_config), settings, facts)


def read_model(settings: dict[str, Any]) -> Read:
    """Find, check and read all but the weights. Raises `ModelNotFound`, `ModelLoadFailed`, `MissingDependency`."""
    _seal(downloads=bool(settings["repository"]))
    if settings["quantisation"]:
        _check_quantisation()
    folder, revision = _folder(settings)
    check_folder(folder, allow_pickle=settings["allow_pickle"])
    transformers: Any = importlib.import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    sealed = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = _config(transformers, folder, settings["name"])
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **sealed)
        generation = transformers.GenerationConfig.from_model_config(config)
        if (folder / "generation_config.json").is_file():
            generation = transformers.GenerationConfig.from_pretrained(str(folder), local_files_only=True)
    except LollmsError:
        raise
    except Exception as error:  # as above
        raise refused(error, folder, settings["name"]) from error
    return Read(folder, revision, config, tokenizer, generation)


def _seal(*, downloads: bool) -> None:
    """Set what the libraries look at when they are imported."""
    os.environ["USE_HUB_KERNELS"] = "NO"
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # it asks the hub for a converted file, on a thread of its own
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["VLLM_NO_USAGE_STATS"] = os.environ["DO_NOT_TRACK"] = "1"
    if downloads:
        os.environ.pop("HF_HUB_OFFLINE", None)
        os.environ.pop("TRANSFORMERS_OFFLINE", None)
    else:
        os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"


def _folder(settings: dict[str, Any]) -> tuple[Path, str]:
    """The folder of the model, and its commit if it has one; downloads it where that was asked for."""
    if not settings["repository"]:
        return Path(settings["folder"]), settings["revision"]
    hub: Any = importlib.import_module("huggingface_hub")
    name = settings["repository"]
    try:
        folder = Path(
            hub.snapshot_download(
                name, revision=settings["revision"], token=settings["token"] or False, allow_patterns=_FILES
            )
        )
    except Exception as error:
        said = scrub(str(error), (settings["token"],) if settings["token"] else (), 300)
        raise ModelNotFound(f"Model {name!r} could not be downloaded from the hub: {said}") from error
    constants: Any = importlib.import_module("huggingface_hub.constants")
    constants.HF_HUB_OFFLINE = True  # a configuration may name other models: they are not asked for
    _seal(downloads=False)
    return folder, folder.name


def _check_quantisation() -> None:
    absent = [name for name in ("bitsandbytes", "accelerate") if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingDependency(
            f"Quantised loading needs {' and '.join(absent)}. Install what is missing with: lollms install quantisation"
        )


def _device(torch: Any, wanted: str) -> str:
    """The device to compute on. Raises `ConfigError` for one that is not there."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    there = {"cpu": True, "cuda": cuda, "mps": mps}.get(wanted.partition(":")[0], False)
    if wanted.startswith("cuda:"):
        there = there and int(wanted[5:]) < torch.cuda.device_count()
    if not there:
        raise ConfigError(f"device is {wanted!r}, which torch does not find here. Set device to auto or cpu.")
    return wanted


def _config(transformers: Any, folder: Path, name: str) -> Any:
    config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    parts = [config, *(each for each in vars(config).values() if hasattr(each, "_attn_implementation"))]
    for each in parts:
        chosen = getattr(each, "_attn_implementation", None)
        if chosen is not None and chosen not in _ATTENTION:
            raise ModelLoadFailed(f"{name} wants the attention {str(chosen)[:100]!r}, which is code from elsewhere.")
    return config


def _numbers(torch: Any, transformers: Any, settings: dict[str, Any], device: str, size: int) -> dict[str, Any]:
    """In what numbers the weights are held."""
    on_card = device != "cpu"
    dtype: Any = settings["dtype"]
    if dtype == "auto" and not on_card:
        dtype = "float32" if size <= _FULL else "bfloat16"
    named = dtype if dtype == "auto" else getattr(torch, dtype)
    if not settings["quantisation"]:
        return {"dtype": named}
    four = settings["quantisation"] == "4bit"
    more = {"bnb_4bit_compute_dtype": torch.bfloat16, "bnb_4bit_quant_type": "nf4"} if four else {}
    how = transformers.BitsAndBytesConfig(load_in_4bit=four, load_in_8bit=not four, **more)
    return {"dtype": named, "quantization_config": how, "device_map": {"": device}}


def refused(error: Exception, folder: Path, name: str) -> ModelLoadFailed:
    """Why a model could not be loaded, in words."""
    said = " ".join(str(error).replace(str(folder), name).split())[:300]
    if "trust_remote_code" in str(error):
        code = ", ".join(sorted(path.name for path in folder.glob("*.py"))[:3]) or "code from elsewhere"
        return ModelLoadFailed(
            f"{name} can be loaded only by code that it brings itself ({code}). Such code is never run: it could do "
            "anything on this machine. Use a model of a kind that transformers knows."
        )
    return ModelLoadFailed(
        f"{name} cannot be loaded. Check that its folder is complete, that this transformers knows its kind, and that "
        f"there is memory enough. transformers said: {type(error).__name__}: {said}"
    )


def loaded_of(model: Any, read: Read, settings: dict[str, Any], facts: dict[str, str]) -> Loaded:
    """A loaded model with what is known of it; `facts` are those that only who computes knows."""
    config, tokenizer = read.config.get_text_config(), read.tokenizer
    limits = [getattr(config, "max_position_embeddings", None), getattr(config, "n_positions", None)]
    trained = [each for each in limits if isinstance(each, int) and each > 0]
    if isinstance(tokenizer.model_max_length, int) and tokenizer.model_max_length < _NO_LIMIT:
        trained.append(tokenizer.model_max_length)
    if settings["context_size"]:
        trained.append(settings["context_size"])
    context = min(trained, default=None)
    template = "" if settings["plain"] else _template(tokenizer)
    details = {
        **facts,
        "revision": read.revision or None,
        "quantization_level": settings["quantisation"] or None,
        "family": str(getattr(config, "model_type", "")),
        "format": "safetensors",
        "template": template,
        "bos_token": _text(tokenizer.bos_token),
        "eos_token": _text(tokenizer.eos_token),
    }
    kept = {name: value for name, value in details.items() if value}
    # Tools go into the prompt where the template takes none.
    info = ModelInfo(settings["name"], context, supports_tools=True, details=kept)
    ends = _ends(read.generation, tokenizer)
    hidden, markers = _hidden(tokenizer, ends), _markers(tokenizer)
    return Loaded(model, tokenizer, read.generation, ends, context, template, hidden, markers, info)


def _template(tokenizer: Any) -> str:
    """The chat template; of several named ones all that are there, of which transformers chooses."""
    given = tokenizer.chat_template
    return given if isinstance(given, str) else "\n".join(map(str, given.values())) if given else ""


def _text(token: Any) -> str | None:
    return None if token is None else str(token)


def _ends(generation: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens after which an answer is over: the model's, and the tokenizer's, which ends a turn of a chat."""
    stated = generation.eos_token_id
    found = list(stated) if isinstance(stated, list | tuple) else [stated]
    found.append(tokenizer.eos_token_id)
    return tuple(dict.fromkeys(each for each in found if isinstance(each, int)))


def _hidden(tokenizer: Any, ends: tuple[int, ...]) -> frozenset[int]:
    """The tokens that are no part of an answer: markers of beginnings, ends and turns."""
    special = _special(tokenizer)
    return frozenset(number for number, name in special.items() if not is_shown(name)) | frozenset(ends)


def _markers(tokenizer: Any) -> frozenset[str]:
    """The names of special tokens, and of added ones in brackets, which templates use alike; not runs of blanks."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    return frozenset({name for name in added if _BRACKETED.fullmatch(name)} | set(_special(tokenizer).values()) - {""})


def _special(tokenizer: Any) -> dict[int, str]:
    special = {int(number): str(token) for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special.update(zip(tokenizer.all_special_ids, map(str, tokenizer.all_special_tokens), strict=False))
    return special


def is_shown(name: str) -> bool:
    """Whether a special token of this name is part of an answer: around a thought, or around a call of a tool."""
    return any(word in name.lower() for word in _SHOWN)
