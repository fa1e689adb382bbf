"""Four ways to get an answer: whole, by a callback, event by event, and in groups: `python streaming.py`."""

from lollms_client import MSG_TYPE, LollmsClient
from lollms_core.types import Done, TextDelta

QUESTION = "What is the opposite of hot?"


def show(chunk, msg_type):
    """A callback gets everything that comes; only a chunk is a piece of the answer."""
    if msg_type == MSG_TYPE.MSG_TYPE_CHUNK:
        print(f"[{chunk}]", end="", flush=True)
    return True  # False would stop the model


with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano", n_predict=40, temperature=0) as client:
    print("whole:   ", client.generate_text(QUESTION))

    print("callback: ", end="")
    text = client.generate_text(QUESTION, streaming_callback=show)
    print("\nreturned:", text)

    print("events:   ", end="")
    with client.stream(QUESTION) as stream:
        for event in stream:
            match event:
                case TextDelta(text=piece):
                    print(f"[{piece}]", end="", flush=True)
                case Done(finish_reason=reason) if reason:
                    print(f"\nended by: {reason}")
    print("result:  ", stream.result().text)

    # What came together in one read comes together here: fewer turns of the loop when a model is fast.
    with client.stream(QUESTION) as stream:
        pieces = ["".join(event.text for event in batch if isinstance(event, TextDelta)) for batch in stream.batches()]
    print("groups:  ", "".join(pieces))
