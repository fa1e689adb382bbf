"""Train the byte-level BPE tokenizer on the corpus.

Merges never join a space to a capital, nor two digits, nor a letter to punctuation, so a name or a
number has the same tokens wherever it stands; that is what makes copying learnable for a tiny model.
At run time only the plain GPT-2 split is needed (llama.cpp pre-tokenizer "gpt-2").

usage: python tokenizer.py   writes tokenizer.json
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from corpus import for_training, make, render
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
END, START, STOP, PAD = range(4)


def texts(count: int, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    for _ in range(count):
        conv = make(rng)
        if not for_training(conv):
            continue
        text = "".join(t for t, _ in render(conv))
        for s in SPECIAL:
            text = text.replace(s, "\n")
        yield text


def build(path: str, vocab: int = 2048, count: int = 40000, seed: int = 7) -> Tokenizer:
    tok = Tokenizer(models.BPE())
    split = Regex(r" ?[a-zà-öø-ÿœ]+|[A-Z][a-zà-öø-ÿœ]*|\d| ?[^\sA-Za-zà-öø-ÿœ\d]+|\s")
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(
        texts(count, seed),
        trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=SPECIAL,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            min_frequency=20,
            show_progress=False,
        ),
    )
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.save(path)
    return tok


if __name__ == "__main__":
    t = build(str(Path(__file__).resolve().parent / "tokenizer.json"))
    for s in ("What is the capital of France?", '{"name": "Maria", "age": 34, "city": "Addis Ababa"}', "héllo 世界"):
        e = t.encode(s)
        print(len(e.ids), e.tokens, t.decode(e.ids) == s)
