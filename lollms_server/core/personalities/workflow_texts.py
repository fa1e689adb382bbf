"""The operations of scripts on long texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lollms_core.flows.base import Flow
from lollms_core.flows.long_plan import Extent, is_long
from lollms_core.flows.rolling import READ_FILE, deep_analysis, rolling_summary
from lollms_core.flows.rolling_plan import Sizes
from lollms_core.flows.rolling_words import AGGREGATE, CONCLUDE, FIND, UPDATE, Task
from lollms_core.flows.summarize import processed, summary
from lollms_core.types import GenerationCall, Reply
from lollms_server.core.personalities.workflow_asking import ScriptAsking
from lollms_server.core.personalities.workflow_flows import ScriptTool

__all__ = ["ScriptTexts"]


class ScriptTexts(ScriptAsking):
    """What a script can do with texts that are longer than the context of the model."""

    async def summarize(
        self,
        text_to_summarize: str,
        contextual_prompt: str | None = None,
        chunk_size_tokens: int = 1500,
        overlap_tokens: int = 250,
        *,
        system_prompt: str | None = None,
        **params: Any,
    ) -> str:
        """Summarise a text of any length; `contextual_prompt` says on what to look. "" for a blank text.

        Costs one call where the text fits in one chunk, else one for each chunk and one for the whole; summaries that
        do not fit in one call together cost one for each group of them. As many calls run at once as the instance has
        places. A chunk that fails twice is left out, and the end of the text says so.
        """
        extent = Extent(chunk_size_tokens, overlap_tokens)
        return await self._long(summary, text_to_summarize, contextual_prompt, extent, params, system_prompt)

    async def long_context_processing(
        self,
        text_to_process: str,
        contextual_prompt: str | None = None,
        system_prompt: str | None = None,
        chunk_size_tokens: int | None = None,
        overlap_tokens: int = 250,
        **params: Any,
    ) -> str:
        """Do the task of `contextual_prompt` with a text of any length; a chunk is as large as fits the context.

        All else is as in `summarize`.
        """
        extent = Extent(chunk_size_tokens, overlap_tokens)
        return await self._long(processed, text_to_process, contextual_prompt, extent, params, system_prompt)

    async def _long(
        self,
        flow: Callable[[GenerationCall, str, str, Extent], Flow[Reply]],
        text: str,
        task: str | None,
        extent: Extent,
        params: Mapping[str, Any],
        system: str | None,
    ) -> str:
        call = self._question("", params, None, system)
        context = await self._context_size(call.params.ctx_size) if is_long(text) else call.params.ctx_size
        known = extent.within(context, self._at_once)
        return (await self._run(call, flow(call, text, task or "", known))).text

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
        *,
        system_prompt: str | None = None,
        **params: Any,
    ) -> str:
        """Read a text chunk by chunk with a memory, and make the answer of the memory.

        Sizes are tokens: a chunk has a quarter of the context, an overlap a tenth of a chunk. Costs one call for each
        chunk and one for the answer, and one more for each memory that has grown too long.
        """
        task = Task(
            update=chunk_processing_prompt,
            update_form=chunk_processing_output_format,
            conclude=final_memory_processing_prompt,
            conclude_form=final_output_format,
        )
        sizes = await self._sizes(ctx_size, chunk_size, overlap, bootstrap_chunk_size, bootstrap_steps)
        call = self._question("", {**params, "ctx_size": ctx_size}, None, system_prompt)
        return (await self._run(call, rolling_summary(call, text, task, sizes))).text

    async def deep_analyze(
        self,
        query: str,
        text: str | None = None,
        files: Mapping[str, str] | None = None,
        aggregation_prompt: str = AGGREGATE,
        output_format: str = "markdown",
        ctx_size: int | None = None,
        chunk_size: int | None = None,
        overlap: int | None = None,
        bootstrap_chunk_size: int | None = None,
        bootstrap_steps: int | None = None,
        *,
        system_prompt: str | None = None,
        **params: Any,
    ) -> str:
        """Answer a question from a long text and from files, each read with a memory of its own.

        `files` are texts by the names that the model is told: a script opens its files itself. The sizes and the cost
        are as in `sequential_summarize`, with one call more for each group of findings that are too much for one.
        """
        if not text and not files:
            raise ValueError("deep_analyze needs a text or files")
        given = dict(files or {})
        task = Task(update=FIND, conclude=aggregation_prompt, conclude_form=output_format, query=query)
        sizes = await self._sizes(ctx_size, chunk_size, overlap, bootstrap_chunk_size, bootstrap_steps)
        call = self._question("", {**params, "ctx_size": ctx_size}, None, system_prompt)
        tools = {READ_FILE: ScriptTool(given.__getitem__)}
        return (await self._run(call, deep_analysis(call, text, list(given), task, sizes), tools)).text

    async def _sizes(self, context: int | None, *rest: int | None) -> Sizes:
        return Sizes(await self._context_size(context), *rest)
