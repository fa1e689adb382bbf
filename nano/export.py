"""Write the trained weights as a transformers folder and as GGUF files.

usage: python export.py   reads build/model.pt, train.json and tokenizer.json; writes hf/ and build/lollms-nano-*.gguf
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from corpus import CHAT_TEMPLATE
from model import HERE, WORK, Config
from safetensors.torch import save_file
from tokenizer import END, PAD, SPECIAL, STOP
from torch import Tensor

NAME = "lollms-nano"
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def to_hf(state: dict[str, Tensor], cfg: Config) -> dict[str, Tensor]:
    """Use the names of transformers; bf16 is what training computed with."""
    out = {
        "model.embed_tokens.weight": state["embed"] * cfg.embed_scale,
        "model.norm.weight": state["norm"] / cfg.embed_scale,
    }
    for i in range(cfg.layers):
        parts = {
            "self_attn.q_proj": state[f"q.{i}"],
            "self_attn.k_proj": state[f"k.{i}"],
            "self_attn.v_proj": state[f"v.{i}"],
            "self_attn.o_proj": state[f"out.{i}"],
            "mlp.gate_proj": state[f"gate.{i}"],
            "mlp.up_proj": state[f"up.{i}"],
            "mlp.down_proj": state[f"down.{i}"],
            "input_layernorm": state[f"norm1.{i}"],
            "post_attention_layernorm": state[f"norm2.{i}"],
        }
        out |= {f"model.layers.{i}.{n}.weight": w for n, w in parts.items()}
    return {n: w.to(torch.bfloat16).contiguous() for n, w in out.items()}


def write_hf(folder: Path, weights: dict[str, Tensor], cfg: Config) -> None:
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": cfg.vocab,
        "hidden_size": cfg.dim,
        "intermediate_size": cfg.ffn,
        "num_hidden_layers": cfg.layers,
        "num_attention_heads": cfg.heads,
        "num_key_value_heads": cfg.heads,
        "head_dim": cfg.dim // cfg.heads,
        "hidden_act": "silu",
        "max_position_embeddings": cfg.context,
        "rms_norm_eps": cfg.eps,
        "rope_theta": cfg.theta,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": END,
        "eos_token_id": STOP,
        "pad_token_id": PAD,
        "torch_dtype": "bfloat16",
    }
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[END],
        "eos_token": SPECIAL[STOP],
        "pad_token": SPECIAL[PAD],
        "clean_up_tokenization_spaces": False,
        "model_max_length": cfg.context,
        "chat_template": CHAT_TEMPLATE,
    }
    generation = {"bos_token_id": END, "eos_token_id": STOP, "pad_token_id": PAD, "do_sample": False}
    for name, value in (("config", config), ("tokenizer_config", tokenizer), ("generation_config", generation)):
        (folder / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")
    shutil.copy(HERE / "tokenizer.json", folder / "tokenizer.json")


def permute(w: np.ndarray, heads: int) -> np.ndarray:
    """Half-split rotary order -> the interleaved order of GGML."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def write_gguf(path: Path, weights: dict[str, Tensor], cfg: Config, kind: str) -> None:
    tok: dict[str, Any] = json.loads((HERE / "tokenizer.json").read_text())
    vocab, special = tok["model"]["vocab"], {t["content"] for t in tok["added_tokens"]}
    tokens = sorted(vocab, key=vocab.get)
    w = gguf.GGUFWriter(path, "llama")
    w.add_name(NAME)
    w.add_description("Tiny smoke-test model trained from scratch on synthetic text")
    w.add_license("Apache-2.0")
    w.add_context_length(cfg.context)
    w.add_embedding_length(cfg.dim)
    w.add_block_count(cfg.layers)
    w.add_feed_forward_length(cfg.ffn)
    w.add_head_count(cfg.heads)
    w.add_head_count_kv(cfg.heads)
    w.add_layer_norm_rms_eps(cfg.eps)
    w.add_rope_dimension_count(cfg.dim // cfg.heads)
    w.add_rope_freq_base(cfg.theta)
    w.add_vocab_size(cfg.vocab)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if kind == "q8_0" else gguf.LlamaFileType.MOSTLY_F16)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tok["model"]["merges"]])
    w.add_bos_token_id(END)
    w.add_eos_token_id(STOP)
    w.add_pad_token_id(PAD)
    w.add_add_bos_token(False)
    w.add_chat_template(CHAT_TEMPLATE)

    def add(name: str, x: np.ndarray) -> None:
        x = np.ascontiguousarray(x, dtype=np.float32)
        if x.ndim == 1:
            w.add_tensor(name, x)
        elif kind == "q8_0":
            q8 = gguf.GGMLQuantizationType.Q8_0
            w.add_tensor(name, gguf.quants.quantize(x, q8), raw_dtype=q8)
        else:
            w.add_tensor(name, x.astype(np.float16))

    for name, tensor in weights.items():
        x = tensor.float().numpy()
        if name == "model.embed_tokens.weight":
            add("token_embd.weight", x)
        elif name == "model.norm.weight":
            add("output_norm.weight", x)
        else:
            _, _, i, rest = name.split(".", 3)
            part = rest.removesuffix(".weight")
            add(
                f"blk.{i}.{GGUF_NAMES[part]}.weight",
                permute(x, cfg.heads) if part.endswith(("q_proj", "k_proj")) else x,
            )
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    config = Config(**json.loads((HERE / "train.json").read_text())["config"])
    hf = to_hf(torch.load(WORK / "model.pt"), config)
    write_hf(HERE / "hf", hf, config)
    for quant in ("f16", "q8_0"):
        target = WORK / f"{NAME}-{quant}.gguf"
        write_gguf(target, hf, config, quant)
        print(target.name, target.stat().st_size)
