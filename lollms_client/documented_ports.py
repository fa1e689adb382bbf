"""Streams over a binding that has only the documented methods, as third parties write them.

Such a binding pushes: `generate_text` runs to its end and calls a callback on the way. Here it runs on a thread of its
own and its pieces go through a queue, so that the caller pulls them like any other stream and is never held up by a
binding that does not come back: to stop means that the callback returns False from then on and that nobody listens any
more. The callback always returns a bool, because a binding of this kind takes None for "stop".

The binding gets only the arguments that its signature accepts; a parameter that it does not accept is reported, and
what would change the meaning of the call (images, tools, a schema, another model) is refused.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import queue
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from lollms_client.lollms_llm_binding import LollmsLLMBinding, accepted_arguments
from lollms_client.lollms_types import MSG_TYPE
from lollms_client.one_call_discussion import OneCallDiscussion, lollms_text
from lollms_core.errors import (
    AuthFailed,
    ConnectFailed,
    LollmsError,
    MissingDependency,
    UnsupportedFeature,
    UpstreamFailed,
    UpstreamTimeout,
)
from lollms_core.types import (
    Batch,
    Done,
    Event,
    GenerationCall,
    Message,
    Notice,
    Progress,
    ReceiptItem,
    TextDelta,
    ThoughtDelta,
)
from lollms_runtime.cancel import Cancel

__all__ = ["open_documented"]

_PATIENCE = 0.1  # seconds for which a stopped binding is waited for; then it ends in the background
_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}
_TEXT_KEYS = ("text", "content", "response", "generated_text")


@contextlib.contextmanager
def open_documented(
    binding: LollmsLLMBinding, call: GenerationCall, cancel: Cancel, discussion: tuple[Any, str | None] | None = None
) -> Iterator[Iterator[Batch]]:
    """Run a call on a binding and give its events. Raises what the binding does not support, and its errors, typed."""
    _refuse(binding, call)
    work = _Work(binding, call)
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work.run,), name=f"binding {binding.binding_name}", daemon=True)
    thread.start()
    batches = work.batches(cancel)
    try:
        yield batches
    finally:
        work.stopped = True
        batches.close()
        thread.join(_PATIENCE)


class _Work:
    """One call while it runs on its thread."""

    def __init__(self, binding: LollmsLLMBinding, call: GenerationCall) -> None:
        self._binding = binding
        self._call = call
        # Unbounded: what can pile up is what the binding answers before the reader takes it, one answer at most.
        self._events: queue.SimpleQueue[Batch | Exception | None] = queue.SimpleQueue()
        self._dropped: tuple[ReceiptItem, ...] = ()
        self._has_text = False
        self.stopped = False

    def batches(self, cancel: Cancel) -> Generator[Batch, None, None]:
        """What the binding says, on the reader's thread. Raises its error, and `Cancelled` at once when cancelled."""
        with cancel.undoing(lambda: self._events.put(None)):
            while (item := self._events.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item

    def run(self) -> None:
        """Ask the binding, on the thread of the work."""
        try:
            with _image_files(self._call) as paths:
                result = self._ask(paths)
            self._conclude(result)
        except BaseException as error:  # a plug-in may even call sys.exit()
            self._events.put(_typed(error, self._binding))
        finally:
            self._events.put(None)

    def callback(self, chunk: Any = "", msg_type: Any = MSG_TYPE.MSG_TYPE_CHUNK, *_: Any, **__: Any) -> bool:
        """What the binding calls; False when it should stop."""
        event = _event(chunk, msg_type)
        if event is not None and not self.stopped:
            self._has_text = self._has_text or isinstance(event, TextDelta)
            self._events.put((event,))
        return not self.stopped

    def _ask(self, paths: list[str]) -> Any:
        binding, messages = self._binding, self._call.messages
        turns = [each for each in messages if each.role != "system"]
        if len(turns) != 1 and _overrides(binding, "generate_from_messages"):
            exported = OneCallDiscussion(messages).export("openai_chat")
            return binding.generate_from_messages(exported, **self._arguments(binding.generate_from_messages, {}))  # type: ignore[arg-type]
        if not _overrides(binding, "generate_text"):
            return binding.chat(OneCallDiscussion(messages), **self._arguments(binding.chat, {"images": paths or None}))
        return self._ask_for_text(turns, paths)

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
        accepted = accepted_arguments(method, {**given, **wanted, "stream": call.stream, **callback})
        name = self._binding.binding_name
        self._dropped = tuple(
            ReceiptItem(each, "dropped", f"the binding {name!r} does not take it")
            for each in wanted
            if each not in accepted
        )
        return {**_required(method, accepted), **accepted}

    def _conclude(self, result: Any) -> None:
        """Turn what the binding returned into the end of the stream. Raises the error it returned."""
        text = _text_of(result, self._binding, spoke=self._has_text)
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


def _required(method: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, None]:
    """None for each documented argument that a signature insists on and nobody gave."""
    documented = inspect.signature(LollmsLLMBinding.generate_text).parameters
    return {
        each.name: None
        for each in list(inspect.signature(method).parameters.values())[1:]
        if each.default is each.empty and each.name in documented and each.name not in given
    }


def _event(chunk: Any, msg_type: Any) -> Event | None:
    """What a binding said, as an event; None for nothing."""
    text = chunk if isinstance(chunk, str) else "" if chunk is None else str(chunk)
    if not text:
        return None
    try:
        kind = MSG_TYPE(msg_type)
    except ValueError:
        kind = MSG_TYPE.MSG_TYPE_CHUNK
    if kind is MSG_TYPE.MSG_TYPE_CHUNK:
        return TextDelta(text)
    if kind is MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK:
        return ThoughtDelta(text)
    name = kind.name.removeprefix("MSG_TYPE_").lower()
    if name.startswith("step"):
        return Progress(name, text)
    warns = kind in (MSG_TYPE.MSG_TYPE_WARNING, MSG_TYPE.MSG_TYPE_EXCEPTION, MSG_TYPE.MSG_TYPE_ERROR)
    return Notice("warning" if warns else "info", text)


def _text_of(result: Any, binding: LollmsLLMBinding, *, spoke: bool) -> str:
    """The text in a binding's result. Raises `UpstreamFailed` for its error dictionaries and for no text at all."""
    if isinstance(result, str):
        return result
    if isinstance(result, Mapping):
        failed = result.get("error") or ("status" in result and result["status"] in (False, "error"))
        if not failed:
            for key in _TEXT_KEYS:
                if isinstance(text := result.get(key), str):
                    return text
        reason = result.get("error") or result.get("message") or f"it returned {sorted(map(str, result))}"
        raise UpstreamFailed(f"The binding {binding.binding_name!r} failed: {reason}")
    if result is None and spoke:
        return ""
    raise UpstreamFailed(
        f"The binding {binding.binding_name!r} returned {type(result).__name__} where text was expected."
    )


def _typed(error: BaseException, binding: LollmsLLMBinding) -> LollmsError:
    """The error of a binding as one of ours; the original stays its cause."""
    if isinstance(error, LollmsError):
        return error
    kinds: tuple[tuple[type[BaseException], type[LollmsError]], ...] = (
        (NotImplementedError, UnsupportedFeature),
        (ImportError, MissingDependency),
        (ConnectionError, ConnectFailed),
        (TimeoutError, UpstreamTimeout),
        (PermissionError, AuthFailed),
    )
    kind = next((ours for theirs, ours in kinds if isinstance(error, theirs)), UpstreamFailed)
    typed = kind(f"The binding {binding.binding_name!r} failed: {type(error).__name__}: {error}")
    typed.__cause__ = error
    return typed


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
