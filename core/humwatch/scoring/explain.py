"""Explanation of a score: its ranges of frequency, in Hz."""

from __future__ import annotations

from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from humwatch.arrays import Float64

EXPLAINED_SHARE: Final = 0.6
MAX_RANGES: Final = 5


class BandRange(BaseModel):
    """Neighbouring mel bands that add to the score together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low_hz: float
    high_hz: float
    contribution: float = Field(ge=0, le=1, description="share of the raw score's excess over all bands")
    departure_db: float = Field(
        description="mean departure in dB, above 0 is louder: from the machine's normal clips for profiles, from what"
        " the model expects for errors"
    )


def explain_bands(contributions: Float64, departures_db: Float64, edges_hz: Float64) -> list[BandRange]:
    """Return the ranges that make up most of a score, the largest first.

    They are the highest bands that together hold ``EXPLAINED_SHARE`` of the whole, with neighbours (one band between
    them allowed) joined.

    Args:
        contributions: float64 (bands,), >= 0, share of each band in the score.
        departures_db: float64 (bands,), departure from normal in dB; NaN where a band was not observed.
        edges_hz: float64 (bands, 2), lower and upper edge of each band.
    """
    total = float(contributions.sum())
    if total <= 0:
        return []
    order = np.argsort(-contributions, kind="stable")
    enough = int(np.searchsorted(np.cumsum(contributions[order]), EXPLAINED_SHARE * total)) + 1
    chosen = np.sort(order[:enough])
    ranges = []
    for group in np.split(chosen, np.flatnonzero(np.diff(chosen) > 2) + 1):
        first, last = int(group[0]), int(group[-1])
        inside = slice(first, last + 1)
        ranges.append(
            BandRange(
                low_hz=round(float(edges_hz[first, 0]), 1),
                high_hz=round(float(edges_hz[last, 1]), 1),
                contribution=round(min(1.0, float(contributions[inside].sum()) / total), 4),
                departure_db=round(float(np.nanmean(departures_db[inside])), 2),
            )
        )
    return sorted(ranges, key=lambda found: -found.contribution)[:MAX_RANGES]
