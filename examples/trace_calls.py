"""See every model call of a program: how long it took, how many tokens, how it ended: `python trace_calls.py`.

An observer is an object with these four methods. They are called where the model is asked, so they must be quick and
must not raise. What the calls say never has to be noted: prompts are private.
"""

import time

from lollms_client import LollmsClient


class Trace:
    """Notes each call as a line; one observer may serve one client at a time."""

    def __init__(self):
        self.lines = []

    def started(self, call):
        self.start, self.first = time.monotonic(), None

    def delivered(self, batch):
        self.first = self.first or time.monotonic()

    def finished(self, call, reply):
        self.note(reply.finish_reason, reply.usage and reply.usage.completion_tokens)

    def failed(self, call, error):
        self.note(f"{type(error).__name__}", None)

    def note(self, outcome, tokens):
        first = (self.first or time.monotonic()) - self.start
        self.lines.append((outcome, tokens, first, time.monotonic() - self.start))


trace = Trace()
with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano", temperature=0) as client:
    client.observer = trace
    client.generate_text("What is the capital of France?")
    client.generate_text("What is the capital of France?", n_predict=3)
    with client.stream("Count from one to twenty.") as stream:
        next(stream)  # and leave it

for outcome, tokens, first, whole in trace.lines:
    print(f"{outcome:10} {tokens or '-':>4} tokens, the first after {first:.3f} s, all after {whole:.3f} s")
