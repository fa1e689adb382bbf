"""See every model call of a program: how long it took, how many tokens, how it ended: `python trace_calls.py`.

An observer is told of every call where the model is asked, so it must be quick and must not raise. Calls that run at
once are told apart by their identity. What they say never has to be noted: prompts are private.
"""

import time

from lollms_client import LollmsClient, Observer


class Trace(Observer):
    """Notes each call as a line."""

    def __init__(self):
        self.lines = []
        self.running = {}

    def started(self, call):
        self.running[id(call)] = [time.monotonic(), None]

    def delivered(self, call, batch):
        times = self.running[id(call)]
        times[1] = times[1] or time.monotonic()

    def finished(self, call, reply):
        self.note(call, reply.finish_reason, reply.usage and reply.usage.completion_tokens)

    def failed(self, call, error):
        self.note(call, type(error).__name__, None)

    def note(self, call, outcome, tokens):
        start, first = self.running.pop(id(call))
        now = time.monotonic()
        self.lines.append((outcome, tokens, (first or now) - start, now - start))


trace = Trace()
with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano", temperature=0) as client:
    client.observer = trace
    client.generate_text("What is the capital of France?")
    client.generate_text("What is the capital of France?", n_predict=3)
    with client.stream("Count from one to twenty.") as stream:
        next(stream)  # and leave it

for outcome, tokens, first, whole in trace.lines:
    print(f"{outcome:10} {tokens or '-':>4} tokens, the first after {first:.3f} s, all after {whole:.3f} s")
