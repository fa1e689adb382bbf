"""What a script can do with several calls of a model: structured answers, code, long texts, questions.

The operations have the names and the main arguments of those of the client, and run the same flows of
`lollms_core.flows`. Other than there, what goes wrong is always raised, and no text is shown on the way: what the
caller of the request sees of it are the steps, and how the calls get on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lollms_core.flows.code_update import code_update
from lollms_core.flows.codegen import code_blocks, one_code
from lollms_core.flows.passages import as_json
from lollms_core.flows.pydantic_shapes import any_shape, pydantic_shape
from lollms_core.flows.questions import Wanted, choose, decide, rank
from lollms_core.flows.rag import SEARCH, Research, Search, answer_from_documents
from lollms_core.flows.shapes import Shape
from lollms_core.flows.structured import structured
from lollms_core.text.choices import answers_of
from lollms_server.core.personalities.workflow_asking import limits_of, scripts_fault
from lollms_server.core.personalities.workflow_flows import ScriptTool
from lollms_server.core.personalities.workflow_texts import ScriptTexts

__all__ = ["ScriptOperations"]


class ScriptOperations(ScriptTexts):
    """The operations of a binding, for scripts; see `ScriptAsking` for what they have in common."""

    # ---- structured answers

    async def generate_structured_content(
        self,
        prompt: str,
        images: Sequence[Any] | None = None,
        schema: Mapping[str, Any] | Sequence[Any] | type | None = None,
        system_prompt: str | None = None,
        max_retries: int = 2,
        use_override: bool = False,
        *,
        output_format: Mapping[str, Any] | Sequence[Any] | type | None = None,
        **params: Any,
    ) -> Any:
        """The JSON of a given shape with which the model answers a prompt.

        `schema`, or `output_format`, is a template such as `{"name": "string", "age": "integer"}`, a JSON Schema, one
        of them as JSON text, or a pydantic class. With `use_override` nothing is added to the prompt. Costs one call
        where the first answer fits, at most `1 + max_retries`. Raises `StructuredOutputError` where none fits.
        """
        shape = _shape(schema if output_format is None else output_format, described=not use_override)
        call = self._question(prompt, params, images, system_prompt)
        return (await self._run(call, structured(call, shape, limits_of(max_retries)))).value

    async def generate_structured_content_pydantic(
        self,
        prompt: str,
        pydantic_model: Any,
        images: Sequence[Any] | None = None,
        system_prompt: str | None = None,
        max_retries: int = 2,
        use_override: bool = False,
        **params: Any,
    ) -> Any:
        """As `generate_structured_content`, for a pydantic class: an instance of it."""
        with scripts_fault():
            shape = pydantic_shape(pydantic_model, describe=not use_override)
        call = self._question(prompt, params, images, system_prompt)
        return (await self._run(call, structured(call, shape, limits_of(max_retries)))).value

    # ---- code

    async def generate_code(
        self,
        prompt: str,
        images: Sequence[Any] | None = None,
        system_prompt: str | None = None,
        template: str | None = None,
        language: str | None = None,
        code_tag_format: str = "markdown",
        **params: Any,
    ) -> str:
        """One block of code, of `language` if it is given; one that is cut off is continued.

        Costs one call, one more for each of at most 3 continuations, and one more where the first answer has no code.
        Raises `StructuredOutputError` where there is none.
        """
        call = self._question(prompt, params, images, system_prompt)
        return (await self._run(call, one_code(call, language, code_tag_format, template))).reply.text

    async def generate_codes(
        self,
        prompt: str,
        images: Sequence[Any] | None = None,
        template: str | None = None,
        language: str | None = None,
        code_tag_format: str = "markdown",
        *,
        system_prompt: str | None = None,
        **params: Any,
    ) -> list[dict[str, Any]]:
        """All blocks of code of an answer: `index`, `file_name`, `content`, `type` and `is_complete` of each.

        Costs and raises as `generate_code`.
        """
        call = self._question(prompt, params, images, system_prompt)
        return list((await self._run(call, code_blocks(call, language, code_tag_format, template))).blocks)

    async def update_code(
        self,
        original_code: str,
        modification_prompt: str,
        language: str = "python",
        images: Sequence[Any] | None = None,
        system_prompt: str | None = None,
        patch_format: str = "unified",
        *,
        max_retries: int = 3,
        **params: Any,
    ) -> dict[str, Any]:
        """Change code as a prompt says: `{"success": True, "updated_code", "patch", "error": None}`.

        Costs one call where the first patch fits, at most `max_retries`. Raises `StructuredOutputError` where none
        fits.
        """
        call = self._question(modification_prompt, params, images, system_prompt)
        found = await self._run(call, code_update(call, original_code, language, patch_format, max_retries))
        return {"success": True, "updated_code": found.code, "patch": found.patch, "error": None}

    # ---- questions

    async def yes_no(
        self,
        question: str,
        context: str = "",
        max_answer_length: int | None = None,
        conditionning: str = "",
        return_explanation: bool = False,
        *,
        conditioning: str = "",
        images: Sequence[Any] | None = None,
        max_retries: int = 2,
        **params: Any,
    ) -> bool | dict[str, Any]:
        """Whether the answer is yes; with `return_explanation` as `{"answer", "explanation"}`.

        `max_answer_length` is how many tokens the explanation may have, `conditionning`, or `conditioning`,
        a system prompt. Costs one call, at most `1 + max_retries`. Raises `StructuredOutputError` where the model says
        neither yes nor no.
        """
        wanted = Wanted(return_explanation, max_answer_length, limits_of(max_retries))
        call = self._question(question, params, images, conditionning or conditioning or None)
        verdict = await self._run(call, decide(call, question, context, wanted))
        return {"answer": verdict.answer, "explanation": verdict.explanation} if return_explanation else verdict.answer

    async def multichoice_question(
        self,
        question: str,
        possible_answers: Iterable[Any],
        context: str = "",
        max_answer_length: int | None = None,
        conditionning: str = "",
        return_explanation: bool = False,
        *,
        conditioning: str = "",
        images: Sequence[Any] | None = None,
        max_retries: int = 2,
        **params: Any,
    ) -> int | dict[str, Any]:
        """The index of the right answer, from 0; with `return_explanation` as `{"index", "explanation"}`.

        Costs and raises as `yes_no`; one answer alone costs nothing.
        """
        answers = answers_of(possible_answers)
        wanted = Wanted(return_explanation, max_answer_length, limits_of(max_retries))
        call = self._question(question, params, images, conditionning or conditioning or None)
        choice = await self._run(call, choose(call, question, answers, context, wanted))
        return {"index": choice.index, "explanation": choice.explanation} if return_explanation else choice.index

    async def multichoice_ranking(
        self,
        question: str,
        possible_answers: Iterable[Any],
        context: str = "",
        max_answer_length: int | None = None,
        conditionning: str = "",
        return_explanation: bool = False,
        *,
        conditioning: str = "",
        images: Sequence[Any] | None = None,
        max_retries: int = 2,
        **params: Any,
    ) -> dict[str, Any]:
        """The indices of all answers, the best first, as `{"ranking"}`, and `"explanations"` if wanted.

        Costs and raises as `yes_no`; fewer than two answers cost nothing.
        """
        answers = answers_of(possible_answers)
        wanted = Wanted(return_explanation, max_answer_length, limits_of(max_retries))
        call = self._question(question, params, images, conditionning or conditioning or None)
        found = await self._run(call, rank(call, question, answers, context, wanted))
        ranking: dict[str, Any] = {"ranking": list(found.ranking)}
        return {**ranking, "explanations": list(found.explanations)} if return_explanation else ranking

    # ---- answers from documents

    async def generate_text_with_rag(
        self,
        prompt: str,
        rag_query_function: Callable[..., Any],
        system_prompt: str | None = None,
        objective_extraction_system_prompt: str = "Extract objectives",
        rag_query_text: str | None = None,
        rag_vectorizer_name: str | None = None,
        rag_top_k: int = 5,
        rag_min_similarity_percent: float = 70.0,
        max_rag_hops: int = 3,
        images: Sequence[Any] | None = None,
        *,
        extract_objectives: bool = True,
        max_rag_context_characters: int = 32_000,
        **params: Any,
    ) -> dict[str, Any]:
        """Answer a prompt from what a function finds: `(query, vectorizer, top_k, min_similarity_percent)`, which
        returns a list of `{"chunk_text", "file_path", "similarity_percent"}` and may be `async def`.

        Returns `{"final_answer", "rag_hops_history", "all_retrieved_sources", "error"}`, where `error` is None. Costs
        at most `max_rag_hops + 2` calls: objectives, a query for each hop, the answer. Raises `WorkflowFailed` where
        the function fails.
        """
        if not callable(rag_query_function):
            raise TypeError(f"rag_query_function must be a function, not {type(rag_query_function).__name__}")
        search = Search(
            rag_query_text,
            rag_vectorizer_name,
            rag_top_k,
            rag_min_similarity_percent,
            max_rag_hops,
            max_rag_context_characters,
            (objective_extraction_system_prompt or "") if extract_objectives else None,
        )
        call, research = self._question(prompt, params, images, system_prompt), Research()
        tools = {SEARCH: ScriptTool(rag_query_function, as_json)}
        reply = await self._run(call, answer_from_documents(call, search, research), tools)
        return research.documented(reply.text)


def _shape(given: Any, *, described: bool) -> Shape:
    with scripts_fault():
        return any_shape(given, describe=described)
