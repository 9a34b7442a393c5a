"""Split into train and test for data sets that have none."""

from __future__ import annotations

import hashlib
from collections.abc import Collection


def held_out(normal: Collection[str], anomalous: Collection[str], machine: str) -> frozenset[str]:
    """Return the keys of normal clips that are for testing.

    As many as there are anomalous ones, half of the normals at most, the first by the SHA-256 of machine and key: the
    same clips on every machine, whatever folder they are in and however they are ordered.
    """
    wanted = min(len(anomalous), len(normal) // 2)
    ordered = sorted(normal, key=lambda key: hashlib.sha256(f"{machine}/{key}".encode()).digest())
    return frozenset(ordered[:wanted])
