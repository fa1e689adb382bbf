"""Check that transformers loads hf/ and gives the same prompts, tokens and greedy text as llama.cpp.

usage: python check_hf.py [MODEL.gguf] [N]
"""

from __future__ import annotations

import json
import random
import sys
import time
import urllib.request
from typing import Any

import torch
from corpus import for_evaluation, make, render
from evaluate import HERE, SHIPPED, complete, load
from transformers import AutoModelForCausalLM, AutoTokenizer


def llama_prompt(address: str, messages: list[Any], tools: list[Any] | None) -> str:
    """The prompt that llama.cpp builds from the chat template in the GGUF file."""
    body = json.dumps({"messages": messages} | ({"tools": tools} if tools else {})).encode()
    request = urllib.request.Request(address + "/apply-template", body, {"content-type": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=60).read())["prompt"]


def main(path: str, count: int) -> None:
    torch.set_num_threads(1)
    tok = AutoTokenizer.from_pretrained(HERE / "hf")
    net = AutoModelForCausalLM.from_pretrained(HERE / "hf", dtype=torch.float32).eval()
    print(type(net).__name__, type(tok).__name__, net.dtype, sum(p.numel() for p in net.parameters()))
    server, _ = load(path)
    rng = random.Random(5)
    same_prompt = same_llama = same_text = n = 0
    tokens, spent = 0, 0.0
    while n < count:
        conv = make(rng)
        if not for_evaluation(conv) or any(
            m["role"] == "assistant" and "<tool_call>" in m["content"] for m in conv["messages"][:-1]
        ):
            continue
        n += 1
        want = "".join(s for s, _ in render(conv)[:-2])
        prompt = tok.apply_chat_template(
            conv["messages"][:-1], tools=conv["tools"], tokenize=False, add_generation_prompt=True
        )
        same_prompt += prompt == want
        same_llama += llama_prompt(server.listening_address, conv["messages"][:-1], conv["tools"]) == want
        ids = tok(prompt, return_tensors="pt", add_special_tokens=False).input_ids
        start = time.time()
        with torch.no_grad():
            out = net.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=200, do_sample=False)[
                0, ids.shape[1] :
            ]
        tokens, spent = tokens + len(out), spent + time.time() - start
        text = tok.decode(out, skip_special_tokens=True)
        other, _ = complete(server, prompt)
        same_text += text == other
        if text != other:
            print("differs:", repr(text), repr(other))
    print(
        f"same prompt as in training: transformers {same_prompt}/{n}, llama.cpp {same_llama}/{n}; "
        f"same greedy text {same_text}/{n}, transformers {tokens / spent:.0f} tokens/s"
    )


if __name__ == "__main__":
    args = dict(enumerate(sys.argv))
    main(args.get(1, SHIPPED), int(args.get(2, 60)))
