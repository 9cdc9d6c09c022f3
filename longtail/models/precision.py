"""What the device computes in."""

from __future__ import annotations

import torch


def computes_bf16(device: str) -> bool:
    """Whether `cpu` or `cuda` computes in bf16 itself; emulated bf16 is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
