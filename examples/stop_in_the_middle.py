"""Stop a generation after twenty pieces: the model stops as well, and what came is kept."""

from lollms_client import MSG_TYPE, LollmsClient
from lollms_core.types import TextDelta

with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano") as client:
    # by leaving the stream
    pieces = []
    with client.stream("Count from one to twenty.", max_tokens=400) as stream:
        for event in stream:
            if isinstance(event, TextDelta):
                pieces.append(event.text)
            if len(pieces) == 20:
                break
    print("".join(pieces))

    # by a callback that returns False
    seen = 0

    def twenty(chunk, msg_type):
        global seen
        seen += msg_type == MSG_TYPE.MSG_TYPE_CHUNK
        return seen < 20

    print(client.generate_text("Count from one to twenty.", n_predict=400, streaming_callback=twenty))
