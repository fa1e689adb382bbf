"""Streams over a binding that has only the documented methods, as third parties write them.

Such a binding pushes: `generate_text` runs to its end and calls a callback on the way. Here it runs on a thread of its
own and its pieces go through a queue, so that the caller pulls them like any other stream and is never held up by a
binding that does not come back: to stop means that the callback returns False from then on and that nobody listens any
more. The callback always returns a bool, because a binding of this kind takes None for "stop".

The documented methods may also be coroutines, which run in an event loop of their own on that thread and are cancelled
to stop them, or generators of the pieces, which are closed.

Which method is asked: `chat` with the caller's own discussion where there is one; for several turns
`generate_from_messages`, else `chat`; else `generate_text`, unless its signature does not name the system prompt or the
images that the call has and there is a `chat`, which finds them in the discussion. It gets only the arguments that its
signature accepts; a parameter that it does not accept is reported, and what would change the meaning of the call
(images, tools, a schema, another model) is refused.
"""

from __future__ import annotations

import codecs
import contextlib
import contextvars
import inspect
import queue
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from lollms_client.documented_results import event_of, not_text, text_of, typed
from lollms_client.lollms_llm_binding import LollmsLLMBinding, accepted_arguments
from lollms_client.lollms_types import MSG_TYPE
from lollms_client.one_call_discussion import OneCallDiscussion, lollms_text
from lollms_client.settings import DEFAULTS
from lollms_core.errors import UnsupportedFeature
from lollms_core.types import Batch, Done, GenerationCall, Message, ReceiptItem, TextDelta
from lollms_runtime.cancel import Cancel
from lollms_runtime.waiting import item_of

__all__ = ["open_documented"]

_PATIENCE = 0.1  # seconds for which a stopped binding is waited for; then it ends in the background
_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}


@contextlib.contextmanager
def open_documented(
    binding: LollmsLLMBinding, call: GenerationCall, cancel: Cancel, discussion: tuple[Any, str | None] | None = None
) -> Iterator[Iterator[Batch]]:
    """Run a call on a binding and give its events. Raises what the binding does not support, and its errors, typed.

    `discussion` is the caller's own and the message to go on from, for a binding that has `chat`.
    """
    _refuse(binding, call)
    work = _Work(binding, call, discussion)
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work.run,), name=f"binding {binding.binding_name}", daemon=True)
    thread.start()
    batches = work.batches(cancel)
    try:
        yield batches
    finally:
        work.stop()
        batches.close()
        thread.join(_PATIENCE)


class _Work:
    """One call while it runs on its thread."""

    def __init__(
        self, binding: LollmsLLMBinding, call: GenerationCall, discussion: tuple[Any, str | None] | None
    ) -> None:
        self._binding = binding
        self._call = call
        self._discussion = discussion
        # Unbounded: what can pile up is what the binding answers before the reader takes it, one answer at most.
        self._events: queue.SimpleQueue[Batch | Exception | None] = queue.SimpleQueue()
        self._dropped: tuple[ReceiptItem, ...] = ()
        self._has_text = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # for bindings that pass bytes on as they come
        self._interrupt: Callable[[], object] | None = None
        self._stopped = False

    def batches(self, cancel: Cancel) -> Generator[Batch, None, None]:
        """What the binding says, on the reader's thread. Raises its error, and `Cancelled` at once when cancelled."""
        with cancel.undoing(lambda: self._events.put(None)):
            while (item := item_of(self._events)) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item

    def stop(self) -> None:
        """Nobody listens any more: the callback says so, and a coroutine is cancelled."""
        self._stopped = True
        if self._interrupt is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended by itself
                self._interrupt()

    def run(self) -> None:
        """Ask the binding, on the thread of the work."""
        try:
            with _image_files(self._call) as paths:
                result = self._settled(self._ask(paths))
            self._conclude(result)
        except BaseException as error:  # a plug-in may even call sys.exit()
            self._events.put(typed(error, self._binding))
        finally:
            self._events.put(None)

    def callback(self, chunk: Any = "", msg_type: Any = MSG_TYPE.MSG_TYPE_CHUNK, *_: Any, **__: Any) -> bool:
        """What the binding calls, from any thread; False when it should stop."""
        event = event_of(self._text(chunk), msg_type)
        if event is not None and not self._stopped:
            self._has_text = self._has_text or isinstance(event, TextDelta)
            self._events.put((event,))
        return not self._stopped

    def _text(self, chunk: Any, *, last: bool = False) -> str:
        if isinstance(chunk, (bytes, bytearray, memoryview)):
            try:
                return self._decoder.decode(bytes(chunk), final=last)
            except UnicodeDecodeError as error:
                raise not_text(self._binding) from error
        return chunk if isinstance(chunk, str) else "" if chunk is None else str(chunk)

    # ---- asking

    def _ask(self, paths: list[str]) -> Any:
        binding, messages = self._binding, self._call.messages
        turns = [each for each in messages if each.role != "system"]
        chats = _overrides(binding, "chat")
        if chats and self._discussion is not None and not paths:
            discussion, tip = self._discussion
            if tip is None or _names(binding.chat, "branch_tip_id"):  # else it would continue another branch
                return binding.chat(discussion, **self._arguments(binding.chat, {"branch_tip_id": tip}))
        if len(turns) != 1 and _overrides(binding, "generate_from_messages"):
            exported = OneCallDiscussion(messages).export("openai_chat")
            return binding.generate_from_messages(exported, **self._arguments(binding.generate_from_messages, {}))  # type: ignore[arg-type]
        if chats and (len(turns) != 1 or not self._fits_generate_text(bool(paths))):
            return binding.chat(OneCallDiscussion(messages), **self._arguments(binding.chat, {"branch_tip_id": None}))
        return self._ask_for_text(turns, paths)

    def _fits_generate_text(self, has_images: bool) -> bool:
        """Whether `generate_text` is there and names what a call of one turn has besides its prompt."""
        generate = self._binding.generate_text
        has_system = any(each.role == "system" for each in self._call.messages)
        lost = (has_system and not _names(generate, "system_prompt")) or (has_images and not _names(generate, "images"))
        return _overrides(self._binding, "generate_text") and not lost

    def _ask_for_text(self, turns: list[Message], paths: list[str]) -> Any:
        generate = self._binding.generate_text
        system = "\n\n".join(each.text for each in self._call.messages if each.role == "system")
        several = len(turns) != 1
        prompt = lollms_text(turns) if several else turns[0].text
        given: dict[str, Any] = {"images": paths or None, "system_prompt": system, "split": several}
        arguments = self._arguments(generate, given)
        if paths and "images" not in arguments:
            raise UnsupportedFeature(f"The binding {self._binding.binding_name!r} takes no images.", param="images")
        if system and "system_prompt" not in arguments:
            prompt = f"{system}\n\n{prompt}"
        return generate(prompt, **arguments)

    def _arguments(self, method: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments for a method; parameters it does not accept are noted as dropped."""
        call = self._call
        wanted = call.params.given()
        if "max_tokens" in wanted:
            wanted["n_predict"] = wanted.pop("max_tokens")
        wanted |= call.params.extra
        callback = {"streaming_callback": self.callback} if call.stream else {}
        everything = {**_defaults(self._binding), **given, **wanted, "stream": call.stream, **callback}
        accepted = accepted_arguments(method, everything)
        name = self._binding.binding_name
        self._dropped = tuple(
            ReceiptItem(each, "dropped", f"the binding {name!r} does not take it")
            for each in wanted
            if each not in accepted
        )
        required = dict.fromkeys(_required(method, accepted))
        if "streaming_callback" in required:
            required["streaming_callback"] = self.callback
        return {**required, **accepted}

    # ---- answers

    def _settled(self, result: Any) -> Any:
        """What a plain method would have returned: coroutines are run, and pieces of generators are passed on."""
        if inspect.isawaitable(result) or isinstance(result, AsyncIterator):
            import asyncio  # only needed by bindings of this kind

            result = asyncio.run(self._awaited(result))
        if not isinstance(result, Iterator):
            return result
        try:
            while self._say(next(result)):
                pass
        except StopIteration as end:
            return "" if end.value is None else end.value
        if isinstance(result, Generator):
            result.close()
        return ""

    async def _awaited(self, result: Any) -> Any:
        import asyncio

        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101  this is a coroutine that runs
        self._interrupt = lambda: loop.call_soon_threadsafe(task.cancel)
        if self._stopped:  # stopped before there was anything to interrupt
            task.cancel()
        if inspect.isawaitable(result):
            return await result
        async for piece in result:
            if not self._say(piece):
                break
        if inspect.isasyncgen(result):
            await result.aclose()
        return ""

    def _say(self, piece: Any) -> bool:
        """Pass on what a generator gave: a text, (text, kind), or a dictionary as `generate_text` returns it."""
        if isinstance(piece, Mapping):
            piece = text_of(piece, self._binding, spoke=True)
        return self.callback(*piece) if isinstance(piece, tuple) else self.callback(piece)

    def _conclude(self, result: Any) -> None:
        """Turn what the binding returned into the end of the stream. Raises the error it returned."""
        text = text_of(result, self._binding, spoke=self._has_text)
        self._text(b"", last=True)  # raises when a character was cut off
        if text and not self._has_text:
            self._events.put((TextDelta(text),))
        self._events.put((Done(model=self._binding.model_name or "", receipt=self._dropped),))


def _refuse(binding: LollmsLLMBinding, call: GenerationCall) -> None:
    name = binding.binding_name
    if not any(_overrides(binding, each) for each in ("generate_text", "chat", "generate_from_messages")):
        raise UnsupportedFeature(f"The binding {name!r} has neither generate_text nor chat, so it generates nothing.")
    if call.tools:
        raise UnsupportedFeature(f"The binding {name!r} cannot offer tools to a model.", param="tools")
    if call.schema is not None:
        raise UnsupportedFeature(f"The binding {name!r} cannot hold an answer to a schema.", param="schema")
    if call.model and call.model != (binding.model_name or ""):
        raise UnsupportedFeature(
            f"The binding {name!r} cannot choose a model for one call. Use switch_model({call.model!r}).", param="model"
        )


def _overrides(binding: LollmsLLMBinding, method: str) -> bool:
    return getattr(type(binding), method) is not getattr(LollmsLLMBinding, method)


def _names(method: Callable[..., Any], argument: str) -> bool:
    return argument in inspect.signature(method).parameters


def _defaults(binding: LollmsLLMBinding) -> dict[str, Any]:
    """What the binding was set up with for calls that do not say otherwise."""
    known = {name: getattr(binding, f"default_{name}", None) for name in DEFAULTS}
    return {name: value for name, value in known.items() if value is not None}


def _required(method: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """The documented arguments that a signature insists on and nobody gave."""
    documented = inspect.signature(LollmsLLMBinding.generate_text).parameters
    return [
        each.name
        for each in list(inspect.signature(method).parameters.values())[1:]
        if each.default is each.empty and each.name in documented and each.name not in given
    ]


@contextlib.contextmanager
def _image_files(call: GenerationCall) -> Iterator[list[str]]:
    """The images of a call as files, because the documented methods take paths; they are gone after the call."""
    images = [image for message in call.messages for image in message.images]
    if not images:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="lollms_images_") as folder:
        paths = []
        for index, image in enumerate(images):
            path = Path(folder) / f"image_{index}{_SUFFIXES.get(image.mime, '')}"
            path.write_bytes(image.data)
            paths.append(str(path))
        yield paths
