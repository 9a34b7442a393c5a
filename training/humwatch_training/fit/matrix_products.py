"""Float32 matrix products of the CPU by oneDNN, where its kernels are faster than MKL's and as exact.

Torch leaves float32 products to MKL, which has no AVX-512 kernels for processors of other makers than Intel; oneDNN
has, and is twice as fast there. Torch asks oneDNN only where bfloat16 is allowed inside a product. oneDNN takes that
up on processors with instructions for tiles (AMX) and computes in float32 elsewhere, so the allowance is given where a
product shows that it is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

PROBE_SIZE = 256
PROBE_VALUE = 1.0 + 2.0**-20
"""A number that float32 holds, and neither bfloat16 nor TF32: either would make 1 of it."""


@contextmanager
def fast_float32_products() -> Iterator[None]:
    """Multiply float32 matrices of the CPU by oneDNN within the block where that is exact, else as torch does anyway.

    The setting is torch's own, of the whole process. Sums run in another order than MKL's, so the last digits differ.
    """
    if not onednn_products_are_float32():
        yield
        return
    with _bfloat16_allowed():
        yield


@cache
def onednn_products_are_float32() -> bool:
    """Return whether this processor's products keep all digits of float32 although torch allows bfloat16 in them."""
    values = torch.full((PROBE_SIZE, PROBE_SIZE), PROBE_VALUE)
    with _bfloat16_allowed():
        return torch.equal(values @ torch.eye(PROBE_SIZE), values)


@contextmanager
def _bfloat16_allowed() -> Iterator[None]:
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before
