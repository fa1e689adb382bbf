"""An image projector of random weights for `tiny_gguf`'s llama: an image goes in, the numbers of four tokens come out.

It has the layout of a CLIP vision tower with a two-layer projector on top, in a GGUF file as llama.cpp's multimodal
part reads it. It sees nothing in any sense, but other pixels give other numbers, and with them other answers: enough
to show that an image reaches the model, and which one does.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

_WIDTH, _HEADS, _FEED_FORWARD = 64, 2, 128
_IMAGE, _PATCH = 28, 14
TOKENS = (_IMAGE // _PATCH) ** 2
"""How many tokens an image takes in the prompt."""


def write_random_projector(path: Path, *, width: int = 384) -> Path:
    """Write the projector for a text model of embedding length `width`."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("mlp")
    writer.add_vision_use_gelu(True)
    writer.add_vision_image_size(_IMAGE)
    writer.add_vision_patch_size(_PATCH)
    writer.add_vision_embedding_length(_WIDTH)
    writer.add_vision_feed_forward_length(_FEED_FORWARD)
    writer.add_vision_block_count(2)
    writer.add_vision_head_count(_HEADS)
    writer.add_vision_projection_dim(width)
    writer.add_vision_attention_layernorm_eps(1e-5)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_weights(writer, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_weights(writer: gguf.GGUFWriter, width: int) -> None:
    random = np.random.default_rng(11)

    def matrix(name: str, *shape: int, scale: float = 1.0) -> None:
        values = random.standard_normal(shape, dtype=np.float32)
        writer.add_tensor(f"{name}.weight", values * np.float32(scale / np.prod(shape[1:]) ** 0.5))

    def vector(name: str, size: int, value: float = 0.0) -> None:
        writer.add_tensor(name, np.full(size, value, np.float32))

    def norm(name: str) -> None:
        vector(f"{name}.weight", _WIDTH, 1.0)
        vector(f"{name}.bias", _WIDTH)

    matrix("v.patch_embd", _WIDTH, 3, _PATCH, _PATCH, scale=4.0)
    writer.add_tensor("v.class_embd", random.standard_normal(_WIDTH, dtype=np.float32))
    matrix("v.position_embd", TOKENS + 1, _WIDTH)
    norm("v.pre_ln")
    norm("v.post_ln")
    for layer in range(2):
        block = f"v.blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            matrix(f"{block}.{name}", _WIDTH, _WIDTH)
            vector(f"{block}.{name}.bias", _WIDTH)
        matrix(f"{block}.ffn_up", _FEED_FORWARD, _WIDTH)
        vector(f"{block}.ffn_up.bias", _FEED_FORWARD)
        matrix(f"{block}.ffn_down", _WIDTH, _FEED_FORWARD)
        vector(f"{block}.ffn_down.bias", _WIDTH)
        norm(f"{block}.ln1")
        norm(f"{block}.ln2")
    matrix("mm.0", width, _WIDTH)
    vector("mm.0.bias", width)
    matrix("mm.2", width, width, scale=4.0)
    vector("mm.2.bias", width)
