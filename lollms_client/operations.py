"""What `LollmsClient` does with several calls of a model: structured answers, code, questions.

Each operation is a flow of `lollms_core.flows`; here are its documented arguments and what it returns on failure. What
a method does not say of its arguments is as in `generate_text`. A flow is imported where it is first used.

`AsyncLollmsClient` has the same (`python -m release.async_client`), so this file does nothing that takes time but
through the functions of `generation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lollms_client.calls import Asked, PreparedCall
from lollms_client.generation import error_result, failure, run
from lollms_client.images import ImageSource
from lollms_client.text_operations import TextOperations
from lollms_core.errors import LollmsError, StructuredOutputError

if TYPE_CHECKING:
    from lollms_core.flows.base import Flow
    from lollms_core.flows.codegen import Codes
    from lollms_core.flows.shapes import Shape
    from lollms_core.types import Reply

__all__ = ["Operations"]


class Operations(TextOperations):
    """The operations of `LollmsClient` that take several calls."""

    # ---- structured answers

    def generate_structured_content(
        self,
        prompt: str,
        images: Sequence[ImageSource] | None = None,
        schema: Mapping[str, Any] | Sequence[Any] | type | None = None,
        system_prompt: str | None = None,
        max_retries: int = 2,
        use_override: bool = False,
        *,
        output_format: Mapping[str, Any] | Sequence[Any] | type | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer a prompt with JSON of a given shape, as a dictionary; None where the model gives none.

        `schema`, or `output_format`, is a template such as `{"name": "string", "age": "integer"}`, a JSON Schema, one
        of them as JSON text, or a pydantic class. The answer obeys it, whatever the model does: it is asked again up to
        `max_retries` times, with what was wrong. With `use_override` nothing is added to the prompt.

        A callback is shown the value as it grows, as `MSG_TYPE_JSON_INFOS` with the value in `params["data"]`. On
        failure it gets `MSG_TYPE_EXCEPTION`, and None is returned; with `raise_errors` the error is raised, a
        `StructuredOutputError` with its `attempts`. A callback that returns False ends it with None. Costs one call
        where the first answer fits, at most `1 + max_retries`, each with at most `n_predict` tokens; a backend that
        refuses a schema or tools is asked in another way, and the refused requests (two at most) write nothing.

        Raises TypeError for what could not be a shape, and `InvalidRequest`, a ValueError, for a shape that is wrong.
        """
        from lollms_core.flows.pydantic_shapes import any_shape

        given = schema if output_format is None else output_format
        callback = streaming_callback or callback or self.default_streaming_callback
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
        callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `generate_structured_content`, for a pydantic class: an instance of it, or None."""
        from lollms_core.flows.pydantic_shapes import pydantic_shape

        callback = streaming_callback or callback or self.default_streaming_callback
        return self._structured(
            pydantic_shape(pydantic_model, describe=not use_override),
            self._question(prompt, kwargs, callback, system=system_prompt, images=images),
            max_retries,
            callback,
            raise_errors,
        )

    # ---- code

    def generate_code(
        self,
        prompt: str,
        images: Sequence[ImageSource] | None = None,
        system_prompt: str | None = None,
        template: str | None = None,
        language: str | None = None,
        code_tag_format: str = "markdown",
        n_predict: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repeat_penalty: float | None = None,
        repeat_last_n: int | None = None,
        callback: Callable[..., Any] | None = None,
        debug: bool = False,
        *,
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> str | None:
        """One block of code, without what stands around it; None where the model gives none.

        `language` is asked for, and chosen if there are several blocks: the first of it that is closed ends the call.
        Without one, commands for a shell beside other code are passed over, and so are examples of use, which come
        later; where nothing fits, it is the last block. `template` is code to follow. `code_tag_format` is "markdown"
        or "html", in which the model is to write; entities stay as it wrote them. A block that is cut off is continued
        and joined. `debug` has no effect.

        A callback gets the answer as it comes, and what continuations add; when it returns False, the code so far is
        returned. On failure it gets `MSG_TYPE_EXCEPTION`, and None is returned; with `raise_errors` the error is
        raised, with the code so far in `partial`. Costs one call, one more for each continuation, of which there are at
        most 3, and one more where the first answer has no code; each has at most `n_predict` tokens.
        """
        from lollms_core.flows.codegen import Codes, one_code

        params = {
            "n_predict": n_predict,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "repeat_penalty": repeat_penalty,
            "repeat_last_n": repeat_last_n,
            **kwargs,
        }
        callback = callback or streaming_callback or self.default_streaming_callback
        asked = self._question(prompt, params, callback, system=system_prompt, images=images)
        found = self._codes(
            lambda p: one_code(p.call, language, code_tag_format, template),
            asked,
            callback,
            raise_errors,
            lambda reply: Codes((), reply),
        )
        return found.reply.text or None if found else None

    def generate_codes(
        self,
        prompt: str,
        images: Sequence[ImageSource] | None = None,
        template: str | None = None,
        language: str | None = None,
        code_tag_format: str = "markdown",
        n_predict: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repeat_penalty: float | None = None,
        repeat_last_n: int | None = None,
        callback: Callable[..., Any] | None = None,
        debug: bool = False,
        *,
        system_prompt: str | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """All blocks of code that the model gives, as `extract_code_blocks` describes them; [] on failure.

        `language` is asked for, and leaves nothing out. All else is as in `generate_code`, also what it costs.
        """
        from lollms_core.flows.codegen import code_blocks, codes_so_far

        params = {
            "n_predict": n_predict,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "repeat_penalty": repeat_penalty,
            "repeat_last_n": repeat_last_n,
            **kwargs,
        }
        callback = callback or streaming_callback or self.default_streaming_callback
        asked = self._question(prompt, params, callback, system=system_prompt, images=images)
        found = self._codes(
            lambda p: code_blocks(p.call, language, code_tag_format, template),
            asked,
            callback,
            raise_errors,
            lambda reply: codes_so_far(reply, code_tag_format),
        )
        return list(found.blocks) if found else []

    def _codes(
        self,
        flow: Callable[[PreparedCall], Flow[Codes]],
        asked: Asked,
        callback: Callable[..., Any] | None,
        raise_errors: bool | None,
        stopped: Callable[[Reply], Codes],
    ) -> Codes | None:
        try:
            return run(asked, flow, callback, self.observer, stopped=stopped)
        except LollmsError as error:
            failure(error, callback, raise_errors=self._raises(raise_errors))
            return None

    def update_code(
        self,
        original_code: str,
        modification_prompt: str,
        language: str = "python",
        images: Sequence[ImageSource] | None = None,
        system_prompt: str | None = None,
        patch_format: str = "unified",
        n_predict: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repeat_penalty: float | None = None,
        repeat_last_n: int | None = None,
        callback: Callable[..., Any] | None = None,
        debug: bool = False,
        max_retries: int = 3,
        *,
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Change code as a prompt says: `{"success": bool, "updated_code": str, "patch": str, "error": None}`.

        The model writes a patch, in the form "unified" (a unified diff) or "simple" (blocks of `<<<<<<< SEARCH`,
        `=======`, `>>>>>>> REPLACE`), which is applied as a whole or not at all: each part where its lines stand, in
        one place only. One that does not fit is given back with the reason, and at last the whole code is asked for.
        The code keeps its line ends. `patch` is the exact unified diff that leads to the new code. `debug` has no
        effect.

        On failure, or when the callback stops it, `success` is False, `error` says why and the other two are None. A
        failure is told to the callback with `MSG_TYPE_EXCEPTION`; with `raise_errors` it is raised. Costs one call
        where the first patch fits, at most `max_retries`, each with at most `n_predict` tokens.
        """
        from lollms_core.flows.code_update import code_update

        params = {
            "n_predict": n_predict,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "repeat_penalty": repeat_penalty,
            "repeat_last_n": repeat_last_n,
            **kwargs,
        }
        callback = callback or streaming_callback or self.default_streaming_callback
        asked = self._question(modification_prompt, params, callback, system=system_prompt, images=images)
        failed = {"success": False, "updated_code": None, "patch": None}
        try:
            found = run(
                asked,
                lambda p: code_update(p.call, original_code, language, patch_format, max_retries),
                callback,
                self.observer,
                stopped=lambda _: None,
            )
        except LollmsError as error:
            error_result(error, callback, raise_errors=self._raises(raise_errors))
            return {**failed, "error": str(error)}
        if found is None:
            return {**failed, "error": "It was stopped by the callback."}
        return {"success": True, "updated_code": found.code, "patch": found.patch, "error": None}

    # ---- questions

    def yes_no(
        self,
        question: str,
        context: str = "",
        max_answer_length: int | None = None,
        conditionning: str = "",
        return_explanation: bool = False,
        callback: Callable[..., Any] | None = None,
        *,
        conditioning: str = "",
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Whether the answer to a question is yes; with `return_explanation` as `{"answer": bool, "explanation": str}`.

        `conditionning`, or `conditioning`, is an instruction, sent as system prompt. `max_answer_length` is how many
        tokens the explanation may have, which comes before the answer; a model that thinks may need some for that too.
        A callback is shown the step and what the model thinks, but not its JSON.

        Where the model says neither yes nor no, the callback gets `MSG_TYPE_EXCEPTION` and the answer is False, or with
        `raise_errors` a `StructuredOutputError`. All other errors are raised, a stop by the callback as `Cancelled`.
        Costs one call where the first answer is one, at most 3, each with at most `n_predict` tokens.
        """
        from lollms_core.flows.questions import Verdict, Wanted, decide

        callback = callback or streaming_callback or self.default_streaming_callback
        asked = self._question(question, kwargs, callback, system=conditionning or conditioning or None)
        wanted = Wanted(return_explanation, max_answer_length)
        try:
            found = run(asked, lambda p: decide(p.call, question, context, wanted), callback, self.observer)
        except LollmsError as error:
            unanswered = isinstance(error, StructuredOutputError)
            failure(error, callback, raise_errors=self._raises(raise_errors) or not unanswered)
            found = Verdict(False)
        return {"answer": found.answer, "explanation": found.explanation} if return_explanation else found.answer

    def multichoice_question(
        self,
        question: str,
        possible_answers: Iterable[Any],
        context: str = "",
        max_answer_length: int | None = None,
        conditionning: str = "",
        return_explanation: bool = False,
        callback: Callable[..., Any] | None = None,
        *,
        conditioning: str = "",
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """The index of the best of the answers, from 0; with `return_explanation` `{"index": int, "explanation": str}`.

        The other arguments are as in `yes_no`; answers that are no text are written as `str` writes them. On failure
        the callback gets `MSG_TYPE_EXCEPTION` and the index is -1, as it is when the callback stops it; with
        `raise_errors` the error is raised. Costs as `yes_no`, and nothing where there is one answer and no explanation
        is wanted. Raises TypeError for `possible_answers` that are no list.
        """
        from lollms_core.flows.questions import Choice, Wanted, choose
        from lollms_core.text.choices import answers_of

        answers, wanted = answers_of(possible_answers), Wanted(return_explanation, max_answer_length)
        callback = callback or streaming_callback or self.default_streaming_callback
        asked = self._question(question, kwargs, callback, system=conditionning or conditioning or None)
        try:
            found = run(asked, lambda p: choose(p.call, question, answers, context, wanted), callback, self.observer)
        except LollmsError as error:
            failure(error, callback, raise_errors=self._raises(raise_errors))
            found = Choice(-1)
        return {"index": found.index, "explanation": found.explanation} if return_explanation else found.index

    def multichoice_ranking(
        self,
        question: str,
        possible_answers: Iterable[Any],
        context: str = "",
        max_answer_length: int | None = None,
        conditionning: str = "",
        return_explanation: bool = False,
        callback: Callable[..., Any] | None = None,
        *,
        conditioning: str = "",
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """All the answers from the best to the worst, as `{"ranking": [...]}` of their indices from 0.

        With `return_explanation` there is also `explanations`, a list in the order of the ranking; `max_answer_length`
        is of each. The rest is as in `multichoice_question`; on failure the lists are empty. Costs as `yes_no`, and
        nothing where there are fewer than two answers and no explanation is wanted.
        """
        from lollms_core.flows.questions import Ranking, Wanted, rank
        from lollms_core.text.choices import answers_of

        answers, wanted = answers_of(possible_answers), Wanted(return_explanation, max_answer_length)
        callback = callback or streaming_callback or self.default_streaming_callback
        asked = self._question(question, kwargs, callback, system=conditionning or conditioning or None)
        try:
            found = run(asked, lambda p: rank(p.call, question, answers, context, wanted), callback, self.observer)
        except LollmsError as error:
            failure(error, callback, raise_errors=self._raises(raise_errors))
            found = Ranking(())
        ranking = {"ranking": list(found.ranking)}
        return {**ranking, "explanations": list(found.explanations)} if return_explanation else ranking

    # ---- inside

    def _structured(
        self,
        shape: Shape,
        asked: Asked,
        max_retries: int,
        callback: Callable[..., Any] | None,
        raise_errors: bool | None,
    ) -> Any:
        from lollms_core.flows.spending import Limits
        from lollms_core.flows.structured import structured
        from lollms_core.flows.views import JsonView

        limits = Limits(calls=1 + max(0, max_retries))
        try:
            found = run(asked, lambda p: structured(p.call, shape, limits, JsonView), callback, self.observer)
        except LollmsError as error:
            failure(error, callback, raise_errors=self._raises(raise_errors))
            return None
        return found.value
