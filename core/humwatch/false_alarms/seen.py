"""False alarms that were seen, beside what was promised: an exact interval, and whether the promise is kept."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from scipy import stats

WEEK_S: Final = 604_800.0
COVERAGE: Final = 0.9
EXPECTED_TO_TELL: Final = 3.0
"""False alarms that have to be promised for the time watched before a promise counts as kept: with fewer, a rate twice
as high would often have shown none."""

PromiseState = Literal["kept", "broken", "too_early", "not_promised"]


class AlarmCounts(BaseModel):
    """Alarms that one version raised under one rule, by what operators said of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    false_alarm: int = Field(0, ge=0, description="judged false")
    true_alarm: int = Field(0, ge=0, description="judged true")
    unsure: int = Field(0, ge=0, description="nobody was sure")
    unjudged: int = Field(0, ge=0, description="nobody said")


class SeenRate(BaseModel):
    """False alarms a week that were seen, and what that says of a promise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    a_week: float | None = Field(description="judged false, a week of scored sound; null before any was watched")
    low_a_week: float | None = Field(description="lower end of its exact 90 % interval (Poisson)")
    high_a_week: float | None = Field(description="upper end")
    most_a_week: float | None = Field(description="upper end if all alarms that nobody judged were false, too")
    promise: PromiseState = Field(
        description="`broken`: the lower end is over what was promised; `kept`: watched for long enough, and not broken"
        " even if all that nobody judged was false; `too_early`: else; `not_promised`: nothing was"
    )


def seen_rate(counts: AlarmCounts, watched_s: float, promised_a_week: float | None) -> SeenRate:
    """Return the rate of false alarms that were seen in so many seconds of scored sound.

    Example:
        >>> seen = seen_rate(AlarmCounts(false_alarm=9), 3 * WEEK_S, promised_a_week=1.0)
        >>> round(seen.low_a_week, 2), seen.a_week, round(seen.high_a_week, 2), seen.promise
        (1.57, 3.0, 5.24, 'broken')
    """
    if watched_s <= 0:
        promise: PromiseState = "not_promised" if promised_a_week is None else "too_early"
        return SeenRate(a_week=None, low_a_week=None, high_a_week=None, most_a_week=None, promise=promise)
    weeks = watched_s / WEEK_S
    low, high = poisson_interval(counts.false_alarm)
    low_if_all, high_if_all = poisson_interval(counts.false_alarm + counts.unsure + counts.unjudged)
    return SeenRate(
        a_week=counts.false_alarm / weeks,
        low_a_week=low / weeks,
        high_a_week=high / weeks,
        most_a_week=high_if_all / weeks,
        promise=_promise(low, low_if_all, None if promised_a_week is None else promised_a_week * weeks),
    )


def poisson_interval(count: int, coverage: float = COVERAGE) -> tuple[float, float]:
    """Return the exact interval of the mean of a Poisson count (Garwood, Biometrika 28, 1936)."""
    tail = (1.0 - coverage) / 2
    low = float(stats.chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low, float(stats.chi2.isf(tail, 2 * count + 2)) / 2


def _promise(low: float, low_if_all: float, promised: float | None) -> PromiseState:
    """Return what counts say of a promised number in the same time."""
    if promised is None:
        return "not_promised"
    if low > promised:
        return "broken"
    return "kept" if promised >= EXPECTED_TO_TELL and low_if_all <= promised else "too_early"
