"""The detector that decided a score, and its reasons: on the axis of time of an answer, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, get_args

from humwatch.detectors.detector_set import DetectorName
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime
from humwatch.monitor import ScaleScore

DETECTORS: Final[tuple[DetectorName, ...]] = get_args(DetectorName)

DETECTOR_MEANING: Final = (
    "which detector decided: `profile`, the spectrum over the clip; `rhythm`, what is irregular in time; `lines`,"
    " narrow tones that move or go missing; `error`, a mean prediction error, which has no detectors"
)
"""Description of the field `detector` wherever it occurs."""
LINE_MEANING: Final = "what has become of narrow tones; null unless `lines` decided a score from the warning level on"
"""Description of the field `line` wherever it occurs."""

DETECTOR_TITLES: Final[dict[DetectorName, str]] = {
    "profile": "spectrum",
    "rhythm": "irregularity in time",
    "lines": "narrow tones",
    "error": "prediction error",
}

_TIMES_IN_WORDS: Final = 3
_BANDS_IN_WORDS: Final = 3


@dataclass(frozen=True)
class Detection:
    """The detector that decided a score, with its explanation.

    Attributes:
        detector: detector that decided.
        irregular_times: times at which the sound was irregular, seconds on the axis of the answer; the largest share
            first.
        line: change of narrow tones.
    """

    detector: DetectorName
    irregular_times: tuple[IrregularTime, ...] = ()
    line: LineFinding | None = None

    @staticmethod
    def of(score: ScaleScore, start_s: float) -> Detection:
        """Put a score's explanation on an axis of time.

        Args:
            score: score with an explanation that counts from its first sample.
            start_s: time of that sample on the axis, seconds.
        """
        return Detection(score.detector, tuple(_later(time, start_s) for time in score.times), score.line)

    @staticmethod
    def ending_at(score: ScaleScore, end_s: float, rate_hz: int) -> Detection:
        """Put a score's explanation on an axis of time by its end.

        Args:
            score: score with an explanation that counts from its first sample.
            end_s: time one past its last sample on the axis, seconds.
            rate_hz: sample rate of the model, Hz.
        """
        if not score.times:
            return Detection(score.detector, (), score.line)
        return Detection.of(score, end_s - (score.end_sample - score.start_sample) / rate_hz)


def _later(time: IrregularTime, by_s: float) -> IrregularTime:
    return time.model_copy(update={"start_s": round(time.start_s + by_s, 3), "end_s": round(time.end_s + by_s, 3)})


class Explained(Protocol):
    """A score with the explanation of its detectors."""

    @property
    def detector(self) -> DetectorName | None:
        """Detector that decided; None where it is not known."""

    @property
    def irregular_times(self) -> Sequence[IrregularTime]:
        """Times at which the sound was irregular, seconds."""

    @property
    def line(self) -> LineFinding | None:
        """Change of narrow tones."""


class BandShare(Protocol):
    """A range of frequencies that adds to a score."""

    @property
    def low_hz(self) -> float:
        """Lower edge, Hz."""

    @property
    def high_hz(self) -> float:
        """Upper edge, Hz."""

    @property
    def contribution(self) -> float:
        """Share of the score, 0 to 1."""


def explanation_text(explained: Explained, bands: Sequence[BandShare], *, start_s: float = 0.0) -> str:
    """Describe a score in a line: irregular times, a changed line, or else frequencies.

    Args:
        explained: score with the detector that decided.
        bands: frequencies that add most to the profile's score.
        start_s: time that is shown as 0, seconds.
    """
    if explained.detector == "rhythm" and explained.irregular_times:
        return rhythm_text(explained.irregular_times, start_s)
    if explained.detector == "lines" and explained.line is not None:
        return line_text(explained.line)
    shares = (f"{band.low_hz:.0f}-{band.high_hz:.0f} Hz {band.contribution:.0%}" for band in bands[:_BANDS_IN_WORDS])
    return ", ".join(shares)


def rhythm_text(times: Sequence[IrregularTime], start_s: float = 0.0) -> str:
    """Name the times that have the largest shares, in order of time: `12.0 dB louder from 3.20 to 3.40 s`."""
    largest = sorted(times[:_TIMES_IN_WORDS], key=lambda time: time.start_s)
    named = [
        f"{abs(time.change_db):.1f} dB {'louder' if time.change_db >= 0 else 'quieter'}"
        f" from {time.start_s - start_s:.2f} to {time.end_s - start_s:.2f} s"
        for time in largest
    ]
    more = len(times) - len(largest)
    return ", ".join(named) + (f" and {more} more" if more else "")


def line_text(line: LineFinding) -> str:
    """Describe the change of narrow tones."""
    if line.change == "missing":
        return _missing_text(line)
    if line.shift_percent is None:
        return "the pitch drifts within the clip" if line.change == "drift" else "the machine runs at another speed"
    percent = f"{abs(line.shift_percent):.1f} %"
    higher = line.shift_percent >= 0
    if line.change == "drift":
        said = f"the pitch drifts {'up' if higher else 'down'} by {percent} within the clip"
    else:
        said = f"the machine runs {percent} {'faster' if higher else 'slower'}"
    if line.before_hz is None or line.after_hz is None:
        return said
    return f"{said} ({line.before_hz:.0f} to {line.after_hz:.0f} Hz)"


def _missing_text(line: LineFinding) -> str:
    if line.before_hz is None:
        return "a tone is gone"
    change = "" if line.change_db is None else f" ({line.change_db:+.1f} dB)"
    if line.after_hz is not None:  # the largest surplus near it, which need not be the same tone
        return f"a tone moved from {line.before_hz:.0f} to {line.after_hz:.0f} Hz, or is gone{change}"
    return f"the tone at {line.before_hz:.0f} Hz is gone{change}"
