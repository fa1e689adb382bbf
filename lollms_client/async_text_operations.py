"""What `AsyncLollmsClient` does with long texts and documents.

Made from `text_operations.py` by `python -m release.async_client`; changes belong there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lollms_client.async_generation import call, error_result, run
from lollms_client.client_base import ClientBase
from lollms_client.images import ImageSource
from lollms_client.ports import Tools
from lollms_core.errors import Cancelled, LollmsError, ModelLoadFailed
from lollms_core.flows.base import Flow
from lollms_core.flows.rolling_words import AGGREGATE, CONCLUDE, FIND, UPDATE, Task
from lollms_core.types import GenerationCall, Reply

if TYPE_CHECKING:
    from lollms_client.text_files import FileSource
    from lollms_core.flows.long_plan import Extent
    from lollms_core.flows.rolling_plan import Sizes

__all__ = ["AsyncTextOperations"]


class AsyncTextOperations(ClientBase):
    """The operations of `AsyncLollmsClient` on long texts and documents."""

    # ---- long texts

    async def summarize(
        self,
        text_to_summarize: str,
        contextual_prompt: str | None = None,
        chunk_size_tokens: int = 1500,
        overlap_tokens: int = 250,
        streaming_callback: Callable[..., Any] | None = None,
        *,
        system_prompt: str | None = None,
        callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **gen_kwargs: Any,
    ) -> str:
        """Summarise a text of any length; `contextual_prompt` says on what to look. "" for a blank text.

        A text of more than `chunk_size_tokens` is summarised in chunks, cut where sections, lines or sentences end and
        overlapping by `overlap_tokens`, and their summaries are made into one. What does not fit the model's context
        is made smaller (`ctx_size`, else what the binding knows, else 8192). A chunk that fails is tried once more,
        then left out: a warning and the end of the text say so. `raise_errors` has no effect.

        The callback gets `MSG_TYPE_STEP_START` and `MSG_TYPE_STEP_END` for each chunk, with its `id` ("chunk_1", ...),
        the `fraction` of the work that is done and at its end a `summary_snippet`, the same for "final_synthesis", and
        the final text as it comes; or, for a short text, one `MSG_TYPE_STEP`. When it returns False, the final text so
        far is returned, or the summaries that are finished. It gets `MSG_TYPE_EXCEPTION` when the work fails, and the
        error is raised: what would go wrong with every chunk, and what three chunks in a row fail with.

        Costs one call where the text fits in one chunk, else one for each chunk and one for the whole; summaries that
        do not fit in one call together cost one for each group of them. As many calls run at once as `parallel_calls`
        of the binding says.
        """
        from lollms_core.flows.long_plan import Extent
        from lollms_core.flows.summarize import summary

        extent = Extent(chunk_size_tokens, overlap_tokens)
        callback = streaming_callback or callback
        return await self._long(
            summary, text_to_summarize, contextual_prompt, extent, gen_kwargs, callback, system_prompt
        )

    async def long_context_processing(
        self,
        text_to_process: str,
        contextual_prompt: str | None = None,
        system_prompt: str | None = None,
        chunk_size_tokens: int | None = None,
        overlap_tokens: int = 250,
        streaming_callback: Callable[..., Any] | None = None,
        *,
        callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> str:
        """Do a task with a text of any length: extract, list, answer, summarise; `contextual_prompt` is the task.

        A chunk is as large as fits the model's context, unless `chunk_size_tokens` says less. All else is as in
        `summarize`.
        """
        from lollms_core.flows.long_plan import Extent
        from lollms_core.flows.summarize import processed

        extent = Extent(chunk_size_tokens, overlap_tokens)
        callback = streaming_callback or callback
        return await self._long(processed, text_to_process, contextual_prompt, extent, kwargs, callback, system_prompt)

    async def _long(
        self,
        flow: Callable[[GenerationCall, str, str, Extent], Flow[Reply]],
        text: str,
        task: str | None,
        extent: Extent,
        params: Mapping[str, Any],
        callback: Callable[..., Any] | None,
        system_prompt: str | None,
    ) -> str:
        """The text that a flow over a long text comes to; where the callback stopped it, what there was."""
        from lollms_core.flows.long_plan import is_long

        callback = callback or self.default_streaming_callback
        try:
            asked = self._question("", params, callback, system=system_prompt)
            context = asked.params.get("ctx_size")
            if context is None and is_long(text):
                context = await self._known_context()
            known = extent.within(context, self._need().parallel_calls)
            reply = await run(
                asked,
                lambda p: flow(p.call, text, task or "", known),
                callback,
                self.observer,
                stopped=lambda reply: reply,
            )
        except LollmsError as error:
            await error_result(error, callback, raise_errors=True)
            raise
        return reply.text

    async def _known_context(self) -> object:
        """What the binding says of its model's context, which it may have to ask for; None where it cannot.

        Raises `ModelLoadFailed` where it had to load the model.
        """
        try:
            return await call(self._need().get_ctx_size)
        except (Cancelled, ModelLoadFailed):
            raise
        except Exception as error:  # whoever wrote the binding; what is wrong with it, the first call will say
            logging.getLogger("lollms_client").debug("The binding does not know its model's context: %r", error)
            return None

    # ---- long texts, one part after another

    async def sequential_summarize(
        self,
        text: str,
        chunk_processing_prompt: str = UPDATE,
        chunk_processing_output_format: str = "markdown",
        final_memory_processing_prompt: str = CONCLUDE,
        final_output_format: str = "markdown",
        ctx_size: int | None = None,
        chunk_size: int | None = None,
        overlap: int | None = None,
        bootstrap_chunk_size: int | None = None,
        bootstrap_steps: int | None = None,
        callback: Callable[..., Any] | None = None,
        debug: bool = False,
        *,
        system_prompt: str | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> str:
        """Read a long text chunk by chunk, with a memory that each chunk updates, and make the answer of the memory.

        Sizes are tokens: `ctx_size` is the model's context where it is not given (8192 where nobody knows it),
        `chunk_size` a quarter of it, `overlap` of two chunks a tenth of a chunk. The first `bootstrap_steps` chunks may
        have another size. The memory has at most `n_predict` tokens, and a quarter of the context. The formats are
        words for the model: "markdown", "text", "json" or any other. `debug` and `raise_errors` have no effect.

        A chunk that fails is tried once more, then left out, and the memory is still the one from before it: a warning
        says so, and the end of an answer that is prose. A memory that has grown too long is condensed, so that the end
        of a text is read as its beginning.

        The callback gets a step for each chunk, with its `id` ("chunk_1", ...) and the `fraction` of the work that is
        done, then "final_synthesis", with the answer as it comes; when it returns False, the answer so far is returned,
        or the memory so far. It gets `MSG_TYPE_EXCEPTION` when the work fails, and the error is raised: what would go
        wrong with every chunk, and what three chunks in a row fail with.

        Costs one call for each chunk and one for the answer, each within the context; one more for each chunk whose
        memory has grown too long, and for each call that failed or was cut off. A blank text costs nothing.
        """
        from lollms_core.flows.rolling import rolling_summary
        from lollms_core.flows.rolling_plan import Sizes

        task = Task(
            update=chunk_processing_prompt,
            update_form=chunk_processing_output_format,
            conclude=final_memory_processing_prompt,
            conclude_form=final_output_format,
        )
        sizes = Sizes(ctx_size, chunk_size, overlap, bootstrap_chunk_size, bootstrap_steps)
        return await self._rolled(
            lambda asked, known: rolling_summary(asked, text, task, known),
            sizes,
            kwargs,
            callback or streaming_callback,
            system_prompt,
            bool(text),
        )

    async def deep_analyze(
        self,
        query: str,
        text: str | None = None,
        files: Sequence[FileSource] | FileSource | None = None,
        aggregation_prompt: str = AGGREGATE,
        output_format: str = "markdown",
        ctx_size: int | None = None,
        chunk_size: int | None = None,
        overlap: int | None = None,
        bootstrap_chunk_size: int | None = None,
        bootstrap_steps: int | None = None,
        callback: Callable[..., Any] | None = None,
        debug: bool = False,
        *,
        system_prompt: str | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> str:
        """Answer a question from a long text and files, read chunk by chunk with a memory of findings for each of them.

        `files` are paths of UTF-8 texts of at most 32 MiB. They are read one at a time and to their end; one that
        cannot be read is reported as a warning, and its error is raised only where nothing else could be read either.
        The model is told their names without the folders. The sizes and the callback are as in `sequential_summarize`;
        the steps of a file are called "file_2_chunk_1" and so on, the findings of all sources are what there is when
        the callback stops the work. `debug` and `raise_errors` have no effect.

        Costs one call for each chunk of each source and one for the answer, and more as in `sequential_summarize`;
        findings that are too much for one call are first put together, with one call for each group. Raises
        `InvalidRequest` with neither text nor files.
        """
        from lollms_client.text_files import paths_of, read_text_file
        from lollms_core.flows.rolling import READ_FILE, deep_analysis
        from lollms_core.flows.rolling_plan import Sizes

        task = Task(update=FIND, conclude=aggregation_prompt, conclude_form=output_format, query=query)
        sizes = Sizes(ctx_size, chunk_size, overlap, bootstrap_chunk_size, bootstrap_steps)
        return await self._rolled(
            lambda asked, known: deep_analysis(asked, text, paths_of(files), task, known),
            sizes,
            kwargs,
            callback or streaming_callback,
            system_prompt,
            bool(text or files),
            {READ_FILE: read_text_file},
        )

    async def _rolled(
        self,
        flow: Callable[[GenerationCall, Sizes], Flow[Reply]],
        sizes: Sizes,
        params: Mapping[str, Any],
        callback: Callable[..., Any] | None,
        system_prompt: str | None,
        reads: bool,
        tools: Tools | None = None,
    ) -> str:
        """As `_long`; `reads` says whether there is anything to read, and `tools` what the flow may ask for."""
        callback = callback or self.default_streaming_callback
        try:
            asked = self._question("", {**params, "ctx_size": sizes.context}, callback, system=system_prompt)
            context = asked.params.get("ctx_size")
            if context is None and reads:
                context = await self._known_context()
            known = sizes.within(context)
            reply = await run(
                asked, lambda p: flow(p.call, known), callback, self.observer, stopped=lambda reply: reply, tools=tools
            )
        except LollmsError as error:
            await error_result(error, callback, raise_errors=True)
            raise
        return reply.text

    # ---- answers from documents

    async def generate_text_with_rag(
        self,
        prompt: str,
        rag_query_function: Callable[..., Any],
        system_prompt: str = "",
        objective_extraction_system_prompt: str = "Extract objectives",
        rag_query_text: str | None = None,
        rag_vectorizer_name: str | None = None,
        rag_top_k: int = 5,
        rag_min_similarity_percent: float = 70.0,
        max_rag_hops: int = 3,
        images: Sequence[ImageSource] | None = None,
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
        extract_objectives: bool = True,
        streaming_callback: Callable[..., Any] | None = None,
        max_rag_context_characters: int = 32_000,
        *,
        callback: Callable[..., Any] | None = None,
        raise_errors: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Answer a prompt from documents that a function of yours searches.

        `rag_query_function(query, vectorizer, top_k, min_similarity_percent)` returns a list of
        `{"chunk_text", "file_path", "similarity_percent"}`; it may be slow, call this client, and with
        `AsyncLollmsClient` be `async def`. It is asked up to `max_rag_hops` times: with `rag_query_text` or a query
        that the model writes, then for what the model still misses; a search that finds nothing new is the last one.
        The model gets the best passages, each as a whole, in at most `max_rag_context_characters`, as data.

        Returns `{"final_answer", "rag_hops_history", "all_retrieved_sources", "error"}`: a hop is `{"hop", "query",
        "retrieved_chunks_details", "new_chunks_count"}`, a source has the three keys of the function and stands there
        once, the best first, and `error` is None. On failure, also of your function, the callback gets
        `MSG_TYPE_EXCEPTION` and the result has what there is, with the error's sentence; with `raise_errors` the error
        is raised. A callback that returns False ends the work with what there is. The steps that it is told of have
        the ids `objectives`, `rag_hop_1` and so on, and `final_answer`.

        Costs at most `1 + max_rag_hops + 1` calls: the objectives (none without `extract_objectives`), a query for
        each hop (none for the first with `rag_query_text`) and the answer. With `n_predict` those before the answer
        have at most that many tokens, or 1,024 where it is less; those after a search read the passages.
        """
        from lollms_client.documents import search_tools
        from lollms_core.flows.rag import Research, Search, answer_from_documents

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
        callback = streaming_callback or callback or self.default_streaming_callback
        streams = stream if stream is not None else callback is not None or self.default_stream
        asked = self._asked(prompt, params, stream=streams, system=system_prompt, images=images)
        search = Search(
            rag_query_text,
            rag_vectorizer_name,
            rag_top_k,
            rag_min_similarity_percent,
            max_rag_hops,
            max_rag_context_characters,
            (objective_extraction_system_prompt or "") if extract_objectives else None,
        )
        research = Research()
        try:
            reply = await run(
                asked,
                lambda p: answer_from_documents(p.call, search, research),
                callback,
                self.observer,
                stopped=lambda so_far: so_far,
                tools=search_tools(rag_query_function),
            )
        except LollmsError as error:
            await error_result(error, callback, raise_errors=self._raises(raise_errors))
            return research.documented(error.partial.text if error.partial else "", error)
        return research.documented(reply.text)
