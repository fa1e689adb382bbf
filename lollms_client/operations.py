"""What `LollmsClient` does with several calls of a model: structured answers, code, long texts, questions.

Each operation is a flow of `lollms_core.flows`; here are its documented arguments and what it returns on failure. What
a method does not say of its arguments is as in `generate_text`.

`AsyncLollmsClient` has the same (`python -m release.async_client`), so this file does nothing that takes time but
through the functions of `generation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lollms_client.calls import Asked
from lollms_client.client_base import ClientBase
from lollms_client.generation import error_result, run
from lollms_client.images import ImageSource
from lollms_client.shapes import any_shape, pydantic_shape
from lollms_core.errors import LollmsError
from lollms_core.flows.shapes import Shape
from lollms_core.flows.spending import Limits
from lollms_core.flows.structured import structured
from lollms_core.flows.views import JsonView

__all__ = ["Operations"]


class Operations(ClientBase):
    """The operations of `LollmsClient` that take several calls."""

    # ---- structured answers

    def generate_structured_content(
        self,
        prompt: str,
        images: Sequence[ImageSource] | None = None,
        schema: Mapping[str, Any] | str | type | None = None,
        system_prompt: str | None = None,
        max_retries: int = 2,
        use_override: bool = False,
        *,
        output_format: Mapping[str, Any] | str | type | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer a prompt with JSON of a given shape, as a dictionary; None where the model gives none.

        `schema`, or `output_format`, is a template such as `{"name": "string", "age": "integer"}`, a JSON Schema, one
        of them as JSON text, or a pydantic class. The answer obeys it, whatever the model does: it is asked again up to
        `max_retries` times, with what was wrong. With `use_override` nothing is added to the prompt.

        A callback is shown the value as it grows, as `MSG_TYPE_JSON_INFOS` with the value in `params["data"]`. On
        failure it gets `MSG_TYPE_EXCEPTION`, and None is returned; with `raise_errors` the error is raised, a
        `StructuredOutputError` with its `attempts`. Costs one call where the first answer fits, at most
        `1 + max_retries`, each with at most `n_predict` tokens.
        """
        given = schema if output_format is None else output_format
        callback = streaming_callback or self.default_streaming_callback
        return self._structured(
            any_shape(given, describe=not use_override),
            self._question(prompt, kwargs, callback, system=system_prompt, images=images),
            max_retries,
            callback,
            raise_errors,
        )

    def generate_structured_content_pydantic(
        self,
        prompt: str,
        pydantic_model: Any,
        images: Sequence[ImageSource] | None = None,
        system_prompt: str | None = None,
        max_retries: int = 2,
        use_override: bool = False,
        *,
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `generate_structured_content`, for a pydantic class: an instance of it, or None."""
        callback = streaming_callback or self.default_streaming_callback
        return self._structured(
            pydantic_shape(pydantic_model, describe=not use_override),
            self._question(prompt, kwargs, callback, system=system_prompt, images=images),
            max_retries,
            callback,
            raise_errors,
        )

    # ---- code

    # ---- long texts

    # ---- questions

    # ---- answers from documents

    # ---- inside

    def _structured(
        self,
        shape: Shape,
        asked: Asked,
        max_retries: int,
        callback: Callable[..., Any] | None,
        raise_errors: bool | None,
    ) -> Any:
        limits = Limits(calls=1 + max(0, max_retries))
        try:
            found = run(asked, lambda p: structured(p.call, shape, limits, JsonView), callback, self.observer)
        except LollmsError as error:
            error_result(error, callback, raise_errors=self._raises(raise_errors))
            return None
        return found.value

    def _question(
        self, prompt: str, params: Mapping[str, Any], callback: Callable[..., Any] | None, **rest: Any
    ) -> Asked:
        """What the calls of an operation have in common; they are streamed where somebody watches."""
        return self._asked(prompt, params, stream=callback is not None or self.default_stream, **rest)

    def _raises(self, raise_errors: bool | None) -> bool:
        return self.raise_errors if raise_errors is None else raise_errors
