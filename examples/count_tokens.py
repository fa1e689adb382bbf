"""How many tokens is it, does it fit, and where to cut: `python count_tokens.py < text.txt`, or without input."""

import sys

from lollms_client import LollmsClient

ANSWER = 100  # tokens to leave for the answer

text = "" if sys.stdin.isatty() else sys.stdin.read()
text = text or "The quick brown fox jumps over the lazy dog."

with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano") as client:
    tokens = client.tokenize(text)
    assert len(tokens) == client.count_tokens(text)
    print(f"{len(text)} characters are {len(tokens)} tokens: {tokens[:8]}")
    print("the first words again:", repr(client.detokenize(tokens[:4])))

    # a chat puts some tokens of its own around each message; 50 are enough for one
    room = client.get_ctx_size() - ANSWER - 50
    if len(tokens) > room:
        text = client.detokenize(tokens[:room])
        print(f"cut to {room} tokens, so that the question and the answer fit into {client.get_ctx_size()}")
    reply = client.complete(f"Summarise in one sentence: {text}", max_tokens=ANSWER, temperature=0)
    print(f"asked {reply.usage.prompt_tokens}, answered {reply.usage.completion_tokens}")
