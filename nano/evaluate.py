"""Held-out accuracy per skill through llama.cpp (package xllamacpp), and a hand-written paraphrase set.

usage: python evaluate.py [MODEL.gguf [PER_SKILL [OUT.json]]]   writes evaluation.json
"""

from __future__ import annotations

import collections
import json
import random
import re
import sys
import time
from pathlib import Path
from typing import Any

import xllamacpp
from corpus import for_evaluation, make, render
from paraphrases import FRESH, PARAPHRASES

HERE = Path(__file__).resolve().parent
SHIPPED = str(HERE.parent / "lollms_runtime" / "models" / "lollms-nano-q8_0.gguf")


def load(path: str, ctx: int = 2048) -> tuple[xllamacpp.Server, float]:
    p = xllamacpp.CommonParams()
    p.model.path = path
    p.n_ctx = ctx
    p.n_parallel = 1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    p.verbosity = -1
    p.warmup = False
    start = time.time()
    return xllamacpp.Server(p), time.time() - start


def complete(server: xllamacpp.Server, prompt: str) -> tuple[str, dict[str, float]]:
    out = server.handle_completions(
        {"prompt": prompt, "n_predict": 220, "temperature": 0, "stop": ["<|im_end|>"], "cache_prompt": False}
    )
    return (out["choices"][0]["text"] if "choices" in out else out["content"]), out.get("timings", {})


def decision(text: str) -> str:
    """The last "yes" or "no" of a text: the reason may stand before it."""
    return (["", *re.findall(r"\b(yes|no)\b", text.lower())])[-1]


def relaxed(kind: str, want: str, got: str) -> bool:
    """Compare the decision of yes/no answers, the last number of sums, the parsed value of JSON, else the text."""
    if kind == "yesno":
        return decision(want) == decision(got)
    if kind == "arith":
        return re.findall(r"\d+", want)[-1:] == re.findall(r"\d+", got)[-1:]
    if kind in ("yesno_json", "choice_json") or want.startswith(("{", "```json")):
        try:
            a, b = (json.loads(re.sub(r"^```json\n|\n```$", "", t.strip())) for t in (want, got))
        except ValueError:
            return False
        if kind in ("yesno_json", "choice_json"):
            return all(a.get(k) == b.get(k) for k in ("answer", "index"))
        return bool(a == b)
    return want.strip().lower() == got.strip().lower()


def contains(kind: str, must: str, got: str) -> bool:
    """Whether the answer to a hand-written prompt holds what it must."""
    return decision(got) == must.lower() if kind == "yesno" else must in got


def held_out(server: xllamacpp.Server, per_skill: int) -> dict[str, Any]:
    """Ask held-out questions of every skill; per skill the counts and a few misses, and the speed."""
    rng = random.Random(99)
    skills: dict[str, Any] = collections.defaultdict(lambda: {"n": 0, "exact": 0, "relaxed": 0})
    misses: dict[str, list[list[str]]] = collections.defaultdict(list)
    times: dict[str, float] = collections.Counter()
    for _ in range(400000):
        conv = make(rng)
        kind = conv["kind"]
        score = skills[kind]
        if score["n"] >= per_skill or not for_evaluation(conv):
            continue
        want = conv["messages"][-1]["content"]
        got, timing = complete(server, "".join(s for s, _ in render(conv)[:-2]))
        for k in ("prompt_n", "prompt_ms", "predicted_n", "predicted_ms"):
            times[k] += timing.get(k, 0)
        good = relaxed(kind, want, got)
        score["n"] += 1
        score["exact"] += got.strip() == want.strip()
        score["relaxed"] += good
        if not good and len(misses[kind]) < 4:
            misses[kind].append([conv["messages"][-2]["content"][-200:], want, got])
    speed = {
        "prompt_tokens_per_second": round(times["prompt_n"] / times["prompt_ms"] * 1e3),
        "generated_tokens_per_second": round(times["predicted_n"] / times["predicted_ms"] * 1e3),
    }
    return {"speed": speed, "skills": dict(skills), "misses": misses}


def hand_written(server: xllamacpp.Server, prompts: list[tuple[str, str, str, str]]) -> dict[str, Any]:
    """Ask hand-written prompts; [right, asked] per skill and the misses."""
    scores: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    misses = []
    for kind, system, question, must in prompts:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": ""}]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        got, _ = complete(server, "".join(s for s, _ in render({"messages": messages, "tools": None})[:-2]))
        good = contains(kind, must, got)
        scores[kind][0] += good
        scores[kind][1] += 1
        if not good:
            misses.append([kind, question, must, got])
    return {"skills": dict(scores), "misses": misses}


def share(right: int, asked: int) -> str:
    return f"{right}/{asked} ({100 * right / asked:.1f} %)"


def table(report: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    skills, first, second = report["skills"], report["hand_written"]["skills"], report["fresh"]["skills"]
    lines = ["| skill | held-out exact | held-out relaxed | hand-written | fresh |", "|---|---|---|---|---|"]
    for k in sorted(skills):
        cells = [f"{skills[k]['exact']}/{skills[k]['n']}", f"{skills[k]['relaxed']}/{skills[k]['n']}"]
        cells += ["/".join(map(str, s[k])) if k in s else "" for s in (first, second)]
        lines.append(f"| {k} | {' | '.join(cells)} |")
    asked = sum(s["n"] for s in skills.values())
    total = [share(sum(s[k] for s in skills.values()), asked) for k in ("exact", "relaxed")]
    total += [share(sum(v[0] for v in s.values()), sum(v[1] for v in s.values())) for s in (first, second)]
    return "\n".join([*lines, f"| all | {' | '.join(total)} |"])


def main(path: str, per_skill: int, out: str) -> None:
    server, seconds = load(path)
    report: dict[str, Any] = {"model": Path(path).name, "load_seconds": round(seconds, 3)}
    report |= held_out(server, per_skill)
    report["hand_written"] = hand_written(server, PARAPHRASES)
    report["fresh"] = hand_written(server, FRESH)
    print(table(report))
    print({"load_seconds": report["load_seconds"], **report["speed"]})
    with open(out, "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1, ensure_ascii=False)
        f.write("\n")


if __name__ == "__main__":
    args = dict(enumerate(sys.argv))
    main(args.get(1, SHIPPED), int(args.get(2, 60)), args.get(3, str(HERE / "evaluation.json")))
