"""Ask a local model one question: `python ask_a_local_model.py [QUESTION] [PATH OF A GGUF FILE]`."""

import sys

from lollms_client import LollmsClient

question = sys.argv[1] if len(sys.argv) > 1 else "What is the capital of France?"
model = sys.argv[2] if len(sys.argv) > 2 else "lollms-nano"

with LollmsClient(binding_name="pythonllamacpp", model_name=model) as client:
    reply = client.complete(question, max_tokens=200)

print(reply.text)
print(f"({reply.model}: {reply.usage}, ended by {reply.finish_reason})", file=sys.stderr)
for item in reply.receipt:  # what was not done as asked
    print(f"({item.name} was {item.action}: {item.reason})", file=sys.stderr)
