"""Train the model on the generated corpus, on the CPU.

Whole conversations are packed into windows of 256 or 640 tokens. The loss is taken on the answers and
on a sample of the other tokens. Muon updates the matrices, AdamW the rest.

The learning rates follow the step number, never the clock: the same seed and steps give the same batches
in the same order. Sums of floating-point numbers still depend on the number of threads, on the processor
and on the version of torch, so weights made elsewhere are close, not equal bit by bit.

usage: python train.py [--steps N] [--seed N] [--threads N]   writes build/model.pt and train.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import asdict

import torch
from corpus import for_training, make, render
from model import HERE, WORK, Config, Nano
from tokenizer import END, PAD
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

STEPS = 4200  # what the released weights were made with
SEED = 11
THREADS = 2
TOKENS = 4096  # per step, about
WINDOWS = (256, 256, 256, 256, 256, 640)
ADAM_RATE = 4e-3
MUON_RATE = 0.02


def batches(tok: Tokenizer, seed: int, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (ids, weights): rows of whole conversations packed into windows, about `tokens` tokens in all."""
    rng = random.Random(seed)
    pool: list[tuple[list[int], list[float]]] = []
    while True:
        if len(pool) < 512:
            convs = [c for c in (make(rng) for _ in range(1024)) if for_training(c)]
            spans = [render(c) for c in convs]
            encoded = iter(tok.encode_batch([t for s in spans for t, _ in s]))
            for s in spans:
                ids: list[int] = []
                weights: list[float] = []
                for _, answer in s:
                    e = next(encoded).ids
                    w = min(2.0, max(0.5, (12 / len(e)) ** 0.5)) if answer else 0.0
                    ids += e
                    weights += [w] * len(e)
                pool.append(([*ids, END], [*weights, 0.0]))
            rng.shuffle(pool)
        rng.shuffle(pool)  # or conversations too long for the short windows would gather at its end
        size = max(WINDOWS) if sum(len(ids) > 257 for ids, _ in pool) > len(pool) // 8 else rng.choice(WINDOWS)
        rows: list[tuple[list[int], list[float]]] = []
        for _ in range(max(1, tokens // size)):
            row: list[int] = []
            weight: list[float] = []
            i = len(pool) - 1
            while i >= max(0, len(pool) - 60):
                ids, weights = pool[i]
                if len(row) + len(ids) <= size + 1 and (size < 600 or row or len(ids) > 200 or rng.random() < 0.2):
                    row, weight = row + ids, weight + weights
                    pool.pop(i)
                i -= 1
            pad = size + 1 - len(row)
            rows.append((row + [PAD] * pad, weight + [-1.0] * pad))
        pool = [p for p in pool if len(p[0]) <= 641]
        yield torch.tensor([r[0] for r in rows]), torch.tensor([r[1] for r in rows])


def main() -> None:
    ap = argparse.ArgumentParser(description="Train lollms-nano from scratch.")
    ap.add_argument("--steps", type=int, default=STEPS)
    ap.add_argument("--seed", type=int, default=SEED)
    ap.add_argument("--threads", type=int, default=THREADS)
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch._dynamo.config.recompile_limit = 64

    tok = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    WORK.mkdir(exist_ok=True)
    cfg = Config(vocab=tok.get_vocab_size())
    net = Nano(cfg, compiled=True)
    named = dict(net.named_parameters())
    attention = [p for n, p in named.items() if n.startswith(("q.", "k."))]
    matrices = [p for n, p in named.items() if p.ndim == 2 and n != "embed" and not n.startswith(("q.", "k."))]
    others = [p for n, p in named.items() if p.ndim != 2 or n == "embed"]
    print("parameters", sum(p.numel() for p in net.parameters()), "vocabulary", cfg.vocab, flush=True)
    # Slower and decayed queries and keys: at the full rate the attention scores grow until softmax saturates.
    groups = [
        {"params": matrices, "lr": MUON_RATE, "weight_decay": 0.01},
        {"params": attention, "lr": 0.3 * MUON_RATE, "weight_decay": 0.1},
    ]
    opts = [
        torch.optim.Muon(groups, lr=MUON_RATE, momentum=0.95, ns_steps=4),
        torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    schedule = [(g, g["lr"]) for opt in opts for g in opt.param_groups]

    data = batches(tok, args.seed, TOKENS)
    start, seen, answers, mean = time.time(), 0, 0, 0.0
    for step in range(1, args.steps + 1):
        left = (args.steps - step + 1) / args.steps
        scale = min(1.0, step / 60) * min(1.0, max(0.01, left / 0.65))
        for group, lr in schedule:
            group["lr"] = lr * scale
        x, w = next(data)
        hidden = net(x[:, :-1]).reshape(-1, cfg.dim)
        goal, w = x[:, 1:].reshape(-1), w[:, 1:].reshape(-1)
        keep = ((w > 0) | ((w == 0) & (torch.rand(w.shape) < 0.15))).nonzero().squeeze(1)
        loss_each = functional.cross_entropy(net.logits(hidden[keep]), goal[keep], reduction="none")
        w = w[keep]
        loss = (loss_each * w.where(w > 0, 0.5)).sum() / w.where(w > 0, 0.5).sum()
        for opt in opts:
            opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for opt in opts:
            opt.step()
        seen += x.numel()
        answers += int((w > 0).sum())
        now = loss_each[w > 0].mean().item()
        mean = now if mean == 0 else 0.97 * mean + 0.03 * now
        if step % 50 == 0 or step in (10, 30):
            t = time.time() - start
            print(
                f"step {step} time {t:.0f} tokens {seen} rate {seen / t:.0f}/s answer_loss {mean:.4f} lr {scale:.3f}",
                flush=True,
            )
        if step % 250 == 0:
            torch.save(net.state_dict(), WORK / "model.pt.tmp")
            os.replace(WORK / "model.pt.tmp", WORK / "model.pt")
    torch.save(net.state_dict(), WORK / "model.pt")
    with open(HERE / "train.json", "w", encoding="utf-8") as f:
        json.dump(
            {
                "config": asdict(cfg),
                "steps": args.steps,
                "tokens": seen,
                "answer_tokens": answers,
                "seconds": round(time.time() - start),
                "answer_loss": round(mean, 4),
                "arguments": vars(args),
                "torch": torch.__version__,
            },
            f,
            indent=1,
        )
        f.write("\n")


if __name__ == "__main__":
    main()
