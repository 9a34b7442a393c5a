"""Where in the spectrum a score comes from, in Hz."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Float64 = npt.NDArray[np.float64]

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
    """The ranges that make up most of a score, the largest first.

    The highest bands that together hold ``EXPLAINED_SHARE`` of the whole are taken, and neighbours (one band
    between them allowed) are joined.

    Args:
        contributions: float64 (bands,), >= 0.
        departures_db: float64 (bands,) in dB; NaN where a band was not observed.
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
