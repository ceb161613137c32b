"""What a step computes, on paper, and what a device can do."""

from __future__ import annotations

import functools
import time

from gristlm.model.config import ModelConfig

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40": 181e12, "4090": 165e12, "A10": 125e12, "T4": 65e12}
"""Dense bfloat16 (T4: float16) products per second of known devices, FLOP/s, from their data sheets."""


def per_token(config: ModelConfig, seq_len: int) -> float:
    """Returns the floating-point operations of training on one token.

    Six per weight that a token meets (PaLM, arXiv 2204.02311, appendix B), the embedding table counted once as the
    head, plus attention over the half of the row, or of the window, that comes before a position.
    """
    embedding = (config.vocab_size or 0) * config.d_model
    met = config.num_parameters(active=True) - (0 if config.tie_embeddings else embedding)
    attended = sum(min(config.window(layer) or seq_len, seq_len / 2) for layer in range(config.num_layers))
    return 6.0 * met + 12.0 * config.num_heads * config.head_dim * attended


@functools.cache
def peak(device_name: str | None = None) -> float | None:
    """Returns the FLOP/s of a CUDA device by its name (None when unknown), or those measured on this CPU.

    The CPU's are the best of three float32 products of 768 x 768, on the threads torch now uses: about 30 ms, once.
    """
    if device_name is not None:
        return next((flops for name, flops in PEAKS.items() if name in device_name), None)
    import torch

    from gristlm.model.products import Fast

    a, best = torch.ones(768, 768), 0.0
    with Fast():
        for _ in range(4):
            began = time.perf_counter()
            torch.mm(a, a)
            best = max(best, 2 * 768**3 / (time.perf_counter() - began))
    return best
