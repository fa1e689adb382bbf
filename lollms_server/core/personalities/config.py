"""The `config.yaml` of a personality as a model, and reading it with what the main configuration overrides.

Files written for other programs of the lollms world are full of fields of their own: those are kept and never refused.
A documented field of the wrong type or out of bounds is refused by name, and only that personality is left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lollms_core.errors import ConfigError, StorageError
from lollms_core.types import Params
from lollms_runtime.files import read_text_strict
from lollms_runtime.yaml_file import FieldPath, YamlFile, dotted, parse_yaml

__all__ = ["CONFIG_NAME", "PersonalityConfig", "read_personality"]

CONFIG_NAME = "config.yaml"
_MAX_BYTES = 1_000_000
_NULLABLE = ("lollms_version", "language", "category", "icon", "script_path")

Label = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Line = Annotated[str, Field(max_length=4096)]
Text = Annotated[str, Field(max_length=1_000_000)]
Tokens = Annotated[int, Field(ge=-1, le=10_000_000)]


class PersonalityConfig(BaseModel):
    """All documented fields. Numbers that are not set leave the choice to the request or the backend.

    `model_n_predicts` and `model_repeat_last_n` are tokens. `functions` names functions of the server that the model
    may call; it is an extension. `dependencies` are only looked for, never installed.
    """

    model_config = ConfigDict(
        extra="allow", strict=True, frozen=True, hide_input_in_errors=True, protected_namespaces=()
    )

    name: Label
    version: Line
    author: Line
    personality_description: Text
    personality_conditioning: Text
    lollms_version: Line | None = None
    user_name: Line = "user"
    language: Line | None = "english"
    category: Line | None = "generic"
    welcome_message: Text = ""
    user_message_prefix: Line = "User"
    link_text: Line = "\n"
    ai_message_prefix: Line = "Assistant"
    dependencies: Annotated[list[Line], Field(max_length=200)] = []
    anti_prompts: Annotated[list[Annotated[str, Field(min_length=1, max_length=500)]], Field(max_length=64)] = []
    disclaimer: Text = ""
    model_temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    model_n_predicts: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    model_top_k: Tokens | None = None
    model_top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    model_repeat_penalty: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    model_repeat_last_n: Tokens | None = None
    prompts_list: Annotated[list[Text], Field(max_length=1000)] = []
    tags: Annotated[list[Line], Field(max_length=200)] = []
    icon: Line | None = "default.png"
    script_path: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    functions: Annotated[list[Label], Field(max_length=128)] = []

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, values: Any) -> Any:
        """A field that is left empty counts as not written, unless empty means something there."""
        if not isinstance(values, dict):
            return values
        optional = {name for name, info in cls.model_fields.items() if not info.is_required()}
        return {k: v for k, v in values.items() if v is not None or k not in optional or k in _NULLABLE}

    @field_validator("version", "lollms_version", mode="before")
    @classmethod
    def _version(cls, value: Any) -> Any:
        """YAML takes `1.0` for a number."""
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    def params(self) -> Params:
        """The generation parameters that are set."""
        return Params(
            temperature=self.model_temperature,
            max_tokens=self.model_n_predicts,
            top_k=self.model_top_k,
            top_p=self.model_top_p,
            repeat_penalty=self.model_repeat_penalty,
            repeat_last_n=self.model_repeat_last_n,
            stop=tuple(self.anti_prompts) or None,
        )


def read_personality(folder: Path, overrides: Mapping[str, Any], main_file: str) -> PersonalityConfig:
    """The configuration of a personality's folder, with `overrides` in the place of what the file says.

    Raises ConfigError of the form `folder/config.yaml:line: field: sentence`; for an override it names `main_file`.
    """
    document = _document(folder)
    try:
        return PersonalityConfig.model_validate({**document.values, **overrides})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    problems = []
    for detail in details:
        path: FieldPath = detail["loc"]
        sentence = _sentence(str(detail["type"]), detail.get("ctx") or {})
        if detail["type"] == "missing" and (near := _written_instead(str(path[0]), document)):
            sentence += f" Is {near!r} meant for it?"
        if path and path[0] in overrides:
            where = dotted(("personalities_config", folder.name, *path))
            problems.append(f"{main_file}: {where}: {sentence}")
        else:
            problems.append(document.place(path, sentence))
    raise ConfigError("\n".join(dict.fromkeys(problems)))


def _written_instead(name: str, document: YamlFile) -> str:
    """What stands in the file that looks like a mistyped name of a field; "" if nothing does."""
    others = [each for each in document.values if each not in PersonalityConfig.model_fields]
    return next(iter(difflib.get_close_matches(name, map(str, others), 1, 0.8)), "")


def _document(folder: Path) -> YamlFile:
    name = f"{folder.name}/{CONFIG_NAME}"
    try:
        return parse_yaml(read_text_strict(folder / CONFIG_NAME, _MAX_BYTES), name)
    except StorageError as error:
        raise ConfigError(f"{name}:1: {error.message.replace(str(folder / CONFIG_NAME), 'the file')}") from error


def _sentence(kind: str, context: Mapping[str, Any]) -> str:
    """A problem in words that never contain the value at fault."""
    sentences = {
        "missing": "is missing; every personality must have it.",
        "string_type": "must be text; put it in quotes if it looks like a number.",
        "int_type": "must be a whole number without quotes.",
        "float_type": "must be a number without quotes.",
        "finite_number": "must be a number without quotes.",
        "list_type": "must be a list.",
        "greater_than_equal": f"must be at least {context.get('ge')}.",
        "less_than_equal": f"must be at most {context.get('le')}.",
        "string_too_long": f"must have at most {context.get('max_length')} characters.",
        "string_too_short": "must not be empty.",
        "too_long": f"must have at most {context.get('max_length')} entries.",
        "string_pattern_mismatch": "must not hold control characters.",
    }
    return sentences.get(kind, "has a value that cannot be used here.")
