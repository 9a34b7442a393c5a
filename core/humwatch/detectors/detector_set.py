"""Several detectors with one budget of false alarms: the detector that decides, and its score.

``profile`` finds changes that last: a spectrum that is not the machine's (:mod:`humwatch.detectors.consensus`).
``rhythm`` finds irregularity in time (:mod:`humwatch.detectors.rhythm`), ``lines`` narrow tones that move or go
(:mod:`humwatch.detectors.lines`). Each has a share of the false alarms, and a level of its own at that share. The raw
score is the largest deviation from normal, each in units of its own alarm level, so a detector adds alarms and never
removes one of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from humwatch.arrays import Float64, Int64
from humwatch.detectors.consensus import Consensus, ConsensusLevels
from humwatch.detectors.consensus import judged as consensus_judged
from humwatch.detectors.lines import ClipLines
from humwatch.detectors.normal_level import NormalLevel
from humwatch.detectors.normal_lines import SCORES, LineFinding, LineScore, NormalLines, raw_scores
from humwatch.detectors.normal_lines import USUAL_SPREAD as LINES_SPREAD
from humwatch.detectors.rhythm import USUAL_SPREAD as RHYTHM_SPREAD
from humwatch.detectors.rhythm import irregularity

DetectorName = Literal["profile", "rhythm", "lines", "error"]
"""Names of detectors; ``error`` stands for a score that is a mean error of predictions, with no detector beside it."""

SHARES: Final[dict[DetectorName, float]] = {"profile": 0.8, "rhythm": 0.1, "lines": 0.1}
"""Share of the false alarms that each detector may raise; the share of one that is not in use is not spent."""

BELOW_ALARM: Final = 3.0
"""Slope of rhythm and lines below their alarm level, beside the profile: their score of a normal clip is chance, and
would only blur the profile's order of clips (0.006 of AUC on toy cars)."""

EVENT_DEGREES: Final = 7.0
"""Degrees of freedom of the scores of rhythm and lines on normal clips."""


class DetectorLevels(BaseModel):
    """Levels of the detectors of one time scale, fitted to normal clips; absent where a detector is not in use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: ConsensusLevels
    profile_alarm: float = Field(gt=0, description="alarm level of the profile's score, in spreads")
    rhythm: NormalLevel | None = Field(None, description="of the mean log kurtosis of the level over time")
    rhythm_alarm: float | None = Field(None, description="its alarm level, in spreads")
    lines: dict[str, NormalLevel] | None = Field(None, description="of each score of narrow lines")
    lines_alarm: float | None = Field(None, description="their alarm level, in spreads")


@dataclass(frozen=True)
class Judgement:
    """Common result of the detectors for a clip.

    Attributes:
        raw: largest deviation, in units of its detector's alarm level.
        detector: name of that detector.
        contributions: float64 (bands,), share of each band in the profile's score, >= 0.
        line: score of narrow lines that lies furthest out, where ``detector`` is ``lines``.
    """

    raw: float
    detector: DetectorName
    contributions: Float64
    line: LineScore | None = None


@dataclass(frozen=True)
class DetectorSet:
    """Detectors of one machine on one time scale.

    Attributes:
        consensus: profile detector.
        levels: levels of all detectors.
        lines: narrow lines of normal clips; None where that detector is not in use.
    """

    consensus: Consensus
    levels: DetectorLevels
    lines: NormalLines | None = None

    def judge(
        self, slope: Float64, level: Float64, rhythm: Float64 | None = None, lines: ClipLines | None = None
    ) -> Judgement:
        """Judge a clip.

        Args:
            slope: float64 (bands,), mean slope of the likelihood in each band, 1/dB.
            level: float64 (bands,), mean level of each band, dB.
            rhythm: float64 (groups, powers), sums of powers of the level; None leaves the detector out.
            lines: line spectra of the clip's halves; None leaves the detector out.
        """
        rhythms = None if rhythm is None else [rhythm]
        return judged([self], slope[None], level[None], rhythms, None if lines is None else [lines])[0]

    def explain_lines(self, clip: ClipLines, line: LineScore) -> LineFinding | None:
        """Return the frequency of the line before and now."""
        return None if self.lines is None else self.lines.explain(clip, line)

    def _rhythm(self, sums: Float64) -> float:
        level, alarm = self.levels.rhythm, self.levels.rhythm_alarm
        if level is None or alarm is None:
            return -np.inf
        return float(_in_alarm_units(np.array(level.deviation(irregularity(sums))), alarm))

    def _lines(self, raw: Float64) -> Float64:
        levels, alarm = self.levels.lines, self.levels.lines_alarm
        if levels is None or alarm is None:
            return np.full(len(raw), -np.inf)
        deviations = np.array([levels[name].deviation(float(raw[i])) for i, name in enumerate(SCORES)])
        return _in_alarm_units(deviations, alarm)


def judged(
    sets: Sequence[DetectorSet],
    slopes: Float64,
    levels: Float64,
    rhythms: Sequence[Float64] | None = None,
    lines: Sequence[ClipLines] | None = None,
) -> list[Judgement]:
    """Judge a clip of each of several machines, as :meth:`DetectorSet.judge` does.

    Args:
        sets: detectors of the machines; all of them have lines, or none.
        slopes: float64 (machines, bands).
        levels: float64 (machines, bands).
        rhythms: sums of powers of each; None leaves the detector out.
        lines: line spectra of each; None leaves the detector out.
    """
    deviations, contributions = consensus_judged([one.consensus for one in sets], slopes, levels)
    found = [
        Judgement(deviation / one.levels.profile_alarm, "profile", shares)
        for one, deviation, shares in zip(sets, deviations, contributions, strict=True)
    ]
    for number, rhythm in enumerate(rhythms or ()):
        if (raw := sets[number]._rhythm(rhythm)) > found[number].raw:
            found[number] = Judgement(raw, "rhythm", found[number].contributions)
    normal = [one.lines for one in sets if one.lines is not None]
    if lines is not None and normal:
        for number, raws in enumerate(raw_scores(normal, lines)):
            ratios = sets[number]._lines(raws)
            worst = int(np.argmax(ratios))
            if ratios[worst] > found[number].raw:
                contributed = found[number].contributions
                found[number] = Judgement(float(ratios[worst]), "lines", contributed, SCORES[worst])
    return found


def _in_alarm_units(deviations: Float64, alarm: float) -> Float64:
    """Return deviations of a detector of events, given in spreads, in units of its alarm level; lowered below that."""
    units = deviations / alarm
    return np.where(units < 1.0, 1.0 - BELOW_ALARM * (1.0 - units), units)


def fit_detectors(
    consensus: Consensus,
    profile_deviations: Float64,
    *,
    rhythm: Sequence[Float64] | None,
    lines: Sequence[ClipLines] | None,
    groups: Int64,
    recordings: int,
    alarm_rate: float,
) -> tuple[DetectorSet, Float64]:
    """Fit levels to normal clips; return also the raw score of each, float64 (clips,), measured by the others.

    Args:
        consensus: profile detector.
        profile_deviations: float64 (clips,), deviation of each clip, measured by the others, in spreads.
        rhythm: sums of powers of each clip, float64 (groups, powers); None leaves the detector out.
        lines: line spectra of each clip; None leaves the detector out.
        groups: int64 (clips,), index of each clip's recording.
        recordings: number of independent recordings.
        alarm_rate: share of normal clips that may exceed the alarm level, over all detectors.
    """
    profile_alarm = consensus.levels.score.alarm_deviation(SHARES["profile"] * alarm_rate)
    raw = profile_deviations / profile_alarm
    levels: dict[str, object] = {"profile": consensus.levels, "profile_alarm": profile_alarm}
    if rhythm is not None:
        values = np.array([irregularity(sums) for sums in rhythm])
        level = NormalLevel.fit(values, recordings=recordings, usual_spread=RHYTHM_SPREAD, degrees=EVENT_DEGREES)
        alarm = level.alarm_deviation(SHARES["rhythm"] * alarm_rate)
        levels |= {"rhythm": level, "rhythm_alarm": alarm}
        raw = np.maximum(raw, _in_alarm_units(level.deviations(values), alarm))
    normal_lines = None
    if lines is not None:
        normal_lines = NormalLines.fit(lines)
        scores = NormalLines.cross_fitted(lines, groups)  # (clips, scores)
        line_levels = {
            name: NormalLevel.fit(
                scores[:, i], recordings=recordings, usual_spread=LINES_SPREAD[name], degrees=EVENT_DEGREES
            )
            for i, name in enumerate(SCORES)
        }
        alarm = line_levels[SCORES[0]].alarm_deviation(SHARES["lines"] * alarm_rate / len(SCORES))
        levels |= {"lines": line_levels, "lines_alarm": alarm}
        for i, name in enumerate(SCORES):
            raw = np.maximum(raw, _in_alarm_units(line_levels[name].deviations(scores[:, i]), alarm))
    return DetectorSet(consensus, DetectorLevels.model_validate(levels), normal_lines), raw
