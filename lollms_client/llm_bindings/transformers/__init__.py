"""Models of Hugging Face's transformers on this machine, in a process of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lollms_client.completion_format import completion_format
from lollms_client.lollms_types import ELF_COMPLETION_FORMAT
from lollms_client.transformers_binding import TransformersModels, options_of

__all__ = ["BindingName", "TransformersBinding"]

BindingName = "TransformersBinding"


class TransformersBinding(TransformersModels):
    """One model of transformers on this machine. Another one takes its place."""

    binding_name = "transformers"

    def __init__(
        self,
        model_name_or_id: str | Path | None = None,
        models_path: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        default_completion_format: object = None,
        model_name: str | Path | None = None,
        device: str | None = None,
        dtype: str | None = None,
        quantisation: str | None = None,
        revision: str | None = None,
        allow_downloads: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """`model_name_or_id` (also `model_name`) is a model's folder, a name in `models_path`, or `organisation/model`.

        A model of the hub has to be in its cache, unless `allow_downloads`; `revision` is a branch, tag or commit.
        `device` is auto, cpu, cuda or mps; `dtype` auto, float32, bfloat16 or float16; `quantisation` 4bit or 8bit
        (also `load_in_4bit`, `load_in_8bit`). `default_completion_format` Instruct continues texts, without the
        model's chat template. More settings, also in `config`: see `lollms_client.transformers_binding.Options`.

        Raises `ModelNotFound`, `InvalidRequest` for a setting of a wrong type, `ConfigError` for one out of bounds,
        `UnsupportedFeature` for `trust_remote_code`.
        """
        given = {
            "device": device,
            "dtype": dtype,
            "quantisation": quantisation,
            "revision": revision,
            "allow_downloads": allow_downloads,
            "plain": completion_format(default_completion_format) is ELF_COMPLETION_FORMAT.Instruct,
        }
        model = model_name_or_id or model_name
        super().__init__(
            str(model) if model else None, models_path, options_of(self.binding_name, given, config, kwargs)
        )
