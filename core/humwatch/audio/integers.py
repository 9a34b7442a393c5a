"""Sound as 16-bit integers: what came as such is given back bit for bit."""

from __future__ import annotations

from typing import Final

import numpy as np

from humwatch.arrays import Float32, Int16

BITS: Final = 16
_FULL_SCALE: Final = np.float32(32_768.0)


def to_int16(samples: Float32) -> Int16:
    """Return float32 of any shape, full scale [-1, 1], as the nearest int16; beyond full scale it is clipped."""
    whole = samples * _FULL_SCALE
    np.rint(whole, out=whole)
    np.clip(whole, -32_768, 32_767, out=whole)
    return whole.astype(np.int16)
