"""The weights for transformers in `nano/hf` and the shipped GGUF file are one model: same prompt, same greedy text."""

from __future__ import annotations

from pathlib import Path

import pytest

from lollms_client import LollmsClient

pytestmark = [pytest.mark.group("torch"), pytest.mark.group("engine"), pytest.mark.timeout(240)]

HF = Path(__file__).resolve().parents[2] / "nano" / "hf"
QUESTIONS = (
    "What is the capital of France?",
    "What is 34 + 48?",
    "How do you say water in Spanish?",
    "Write a Python function that reverses a string.",
    "Hello",
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_same_prompt_gives_the_same_greedy_text() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # it leaves a thread behind
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(HF, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(HF, local_files_only=True, dtype=torch.float32)
    with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano") as client:
        for question in QUESTIONS:
            prompt = tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
            )
            ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=60, do_sample=False)
            theirs = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
            ours = client.complete(question, temperature=0.0, max_tokens=60).text
            assert ours.strip() == theirs.strip(), question
