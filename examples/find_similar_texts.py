"""Which text is nearest in meaning? Embeddings of a local model, compared: `python find_similar_texts.py [TEXT]`."""

import math
import sys

from lollms_client import LollmsClient

TEXTS = ["A cat is sleeping.", "What is 12 plus 30?", "The capital of Spain is Madrid."]
wanted = sys.argv[1] if len(sys.argv) > 1 else "The capital of France is Paris."


def cosine(a, b):
    """How much two vectors point the same way: 1 is the same direction, 0 nothing in common."""
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


# a local model makes embeddings only if it is started for that
with LollmsClient("pythonllamacpp", model_name="lollms-nano", llm_binding_config={"embedding": True}) as client:
    vector = client.embed(wanted)  # one text, one list of numbers
    vectors = client.embed(TEXTS)  # several at once, in their order

for likeness, text in sorted(zip([cosine(vector, each) for each in vectors], TEXTS, strict=True), reverse=True):
    print(f"{likeness:.2f}  {text}")
