"""A small Llama in plain torch: bf16 matrix products, fp32 weights and residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).resolve().parent
WORK = HERE / "build"  # heavy intermediate files, not under version control


@dataclass
class Config:
    """Shape of the network; the defaults are those of the released model."""

    vocab: int = 2048
    dim: int = 192
    layers: int = 6
    heads: int = 6
    ffn: int = 512
    context: int = 1024
    theta: float = 10000.0
    eps: float = 1e-5
    embed_scale: float = 128.0  # keeps the embedding visible in the residual stream; export folds it into the weights


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight).bfloat16()


def block(
    x: Tensor,
    n1: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    out: Tensor,
    n2: Tensor,
    gate: Tensor,
    up: Tensor,
    down: Tensor,
    cos: Tensor,
    sin: Tensor,
    mask: Tensor,
    heads: int,
    eps: float,
) -> Tensor:
    """One layer; explicit attention, because the fused CPU kernel is slower at these lengths."""
    b, t, d = x.shape
    hd = d // heads
    q, k, v = (
        functional.linear(norm(x, n1, eps), torch.cat([wq, wk, wv]).bfloat16())
        .view(b, t, 3, heads, hd)
        .permute(2, 0, 3, 1, 4)
    )
    q = q * cos + q.roll(hd // 2, -1) * sin
    k = k * cos + k.roll(hd // 2, -1) * sin
    w = torch.baddbmm(mask, q.reshape(b * heads, t, hd), k.reshape(b * heads, t, hd).transpose(1, 2), alpha=hd**-0.5)
    a = torch.bmm(w.softmax(-1), v.reshape(b * heads, t, hd)).view(b, heads, t, hd).transpose(1, 2).reshape(b, t, d)
    x = x + functional.linear(a, out.bfloat16()).float()
    g, u = functional.linear(norm(x, n2, eps), torch.cat([gate, up]).bfloat16()).chunk(2, -1)
    return x + functional.linear(functional.silu(g) * u, down.bfloat16()).float()


class Nano(nn.Module):
    """Weights are kept in fp32 and cast to bf16 where they are used."""

    def __init__(self, cfg: Config, compiled: bool = False) -> None:
        super().__init__()
        self.cfg = cfg
        d, f, n = cfg.dim, cfg.ffn, cfg.layers

        def weights(rows: int, cols: int, std: float = 0.02) -> nn.ParameterList:
            return nn.ParameterList(torch.randn(rows, cols) * std for _ in range(n))

        self.embed = nn.Parameter(torch.randn(cfg.vocab, d) * 0.02)
        # Separate matrices: orthogonalised together, the large gradient of v would starve q and k.
        self.q, self.k, self.v, self.out = weights(d, d), weights(d, d), weights(d, d), weights(d, d, 0.002)
        self.gate, self.up, self.down = weights(f, d), weights(f, d), weights(d, f, 0.002)
        self.norm1 = nn.ParameterList(torch.ones(d) for _ in range(n))
        self.norm2 = nn.ParameterList(torch.ones(d) for _ in range(n))
        self.norm = nn.Parameter(torch.ones(d))
        half = d // cfg.heads // 2
        angle = torch.outer(torch.arange(cfg.context).float(), cfg.theta ** (-torch.arange(half).float() / half))
        self.register_buffer("cos", torch.cat([angle.cos(), angle.cos()], 1).bfloat16(), persistent=False)
        self.register_buffer("sin", torch.cat([-angle.sin(), angle.sin()], 1).bfloat16(), persistent=False)
        self.register_buffer("mask", torch.full((cfg.context, cfg.context), -1e4).triu(1).bfloat16(), persistent=False)
        self.block = torch.compile(block, dynamic=False) if compiled else block

    def forward(self, ids: Tensor) -> Tensor:
        """ids [batch, time] -> final hidden states [batch, time, dim] in bf16."""
        t = ids.shape[1]
        cos, sin, mask = self.cos[:t].contiguous(), self.sin[:t].contiguous(), self.mask[:t, :t].contiguous()
        x = functional.embedding(ids, self.embed) * self.cfg.embed_scale
        for i in range(self.cfg.layers):
            x = self.block(
                x,
                self.norm1[i],
                self.q[i],
                self.k[i],
                self.v[i],
                self.out[i],
                self.norm2[i],
                self.gate[i],
                self.up[i],
                self.down[i],
                cos,
                sin,
                mask,
                self.cfg.heads,
                self.cfg.eps,
            )
        return norm(x, self.norm, self.cfg.eps)

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.embed.bfloat16()).float()
