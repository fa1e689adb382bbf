"""A llama model of random weights: writes in a second, reads a long prompt slowly, never stops by itself.

It has the tokenizer and chat template of the embedded model and a training context of 32,768 tokens. Only tokens of
printable ASCII have a say in the output, so that it writes valid text and no end marker at temperature 0. One pair of
key and value heads keeps the cache small (256 bytes a token and layer) while every query head costs its full time.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from lollms_runtime.models import EMBEDDED, find_model

CONTEXT = 32_768
_HEAD = 64


def write_random_llama(path: Path, *, layers: int = 6, width: int = 384, feed_forward: int = 1024) -> Path:
    """Write the model to `path`; more layers and width make it slower."""
    donor = gguf.GGUFReader(find_model(EMBEDDED))
    tokens: list[str] = donor.fields["tokenizer.ggml.tokens"].contents()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(width // _HEAD)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_HEAD)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _copy_tokenizer(donor, writer, tokens)
    _add_weights(writer, tokens, layers, width, feed_forward)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _copy_tokenizer(donor: gguf.GGUFReader, writer: gguf.GGUFWriter, tokens: list[str]) -> None:
    def value(name: str) -> object:
        return donor.fields[f"tokenizer.{name}"].contents()

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(value("ggml.pre"))
    writer.add_token_list(tokens)
    writer.add_token_types(value("ggml.token_type"))
    writer.add_token_merges(value("ggml.merges"))
    writer.add_bos_token_id(value("ggml.bos_token_id"))
    writer.add_eos_token_id(value("ggml.eos_token_id"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(value("chat_template"))


def _add_weights(writer: gguf.GGUFWriter, tokens: list[str], layers: int, width: int, feed_forward: int) -> None:
    random = np.random.default_rng(7)

    def matrix(name: str, rows: int, columns: int, scale: float = 1.0) -> None:
        values = random.standard_normal((rows, columns), dtype=np.float32) * (scale / columns**0.5)
        writer.add_tensor(name, values.astype(np.float16))

    printable = np.array([all("!" <= c <= "~" or c == "Ġ" for c in token) for token in tokens])
    printable &= np.array([not token.startswith("<|") for token in tokens])
    matrix("token_embd.weight", len(tokens), width, width**0.5)
    output = random.standard_normal((len(tokens), width), dtype=np.float32) * printable[:, None]
    writer.add_tensor("output.weight", output.astype(np.float16))
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in range(layers):
        block = f"blk.{layer}"
        matrix(f"{block}.attn_q.weight", width, width)
        matrix(f"{block}.attn_k.weight", _HEAD, width)
        matrix(f"{block}.attn_v.weight", _HEAD, width)
        matrix(f"{block}.attn_output.weight", width, width)
        matrix(f"{block}.ffn_gate.weight", feed_forward, width)
        matrix(f"{block}.ffn_up.weight", feed_forward, width)
        matrix(f"{block}.ffn_down.weight", width, feed_forward)
        writer.add_tensor(f"{block}.attn_norm.weight", np.ones(width, np.float32))
        writer.add_tensor(f"{block}.ffn_norm.weight", np.ones(width, np.float32))
