"""Talk to a local model; an empty line ends it."""

from lollms_client import LollmsClient
from lollms_core.types import TextDelta

messages = [{"role": "system", "content": "Answer in one sentence."}]

with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano") as client:
    while True:
        try:
            said = input("> ")
        except EOFError:
            break
        if not said:
            break
        messages.append({"role": "user", "content": said})
        with client.stream(messages, max_tokens=200) as stream:
            for event in stream:
                if isinstance(event, TextDelta):
                    print(event.text, end="", flush=True)
        print()
        messages.append({"role": "assistant", "content": stream.result().text})
