"""The sixty seconds of a minute, small: about 340 bytes of random scores, less where nothing changes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from humwatch.alarm.events import MachineState
from humwatch.arrays import Float32, Int16
from humwatch_service.storage.records import HistoryPoint, ScoreSecond

_CODES: Final[Mapping[MachineState, int]] = {
    "normal": 1,
    "warning": 2,
    "alarm": 3,
    "unknown": 4,
    "off": 5,
    "out_of_service": 6,
}
"""As they are in the file; 0 is a second that nobody wrote."""
_STATES: Final = {code: state for state, code in _CODES.items()}
_NO_LEVEL: Final = -32_768
_ZLIB_LEVEL: Final = 6
_PACKED_BYTES: Final = 60 * (4 + 2 + 1)


def code_of(state: MachineState) -> int:
    """Return the number of a state in a packed minute."""
    return _CODES[state]


def state_of(code: int) -> MachineState:
    """Return the state of a second that was written."""
    return _STATES[code]


class PackedMinute:
    """The sixty seconds of a minute.

    Attributes:
        scores: float32 (60,), NaN for none.
        levels: int16 (60,), hundredths of a dB relative to full scale; ``_NO_LEVEL`` for none.
        states: uint8 (60,), codes.
    """

    def __init__(self, scores: Float32, levels: Int16, states: npt.NDArray[np.uint8]) -> None:
        self.scores = scores
        self.levels = levels
        self.states = states

    @staticmethod
    def empty() -> PackedMinute:
        """Return a minute of which nothing is known."""
        return PackedMinute(np.full(60, np.nan, np.float32), np.full(60, _NO_LEVEL, np.int16), np.zeros(60, np.uint8))

    @staticmethod
    def from_bytes(packed: bytes) -> PackedMinute:
        """Unpack what :meth:`to_bytes` packed; of a minute that is damaged, nothing is known any more."""
        try:
            raw = np.frombuffer(zlib.decompress(packed, bufsize=_PACKED_BYTES), np.uint8)
        except zlib.error:
            return PackedMinute.empty()
        scores, levels, states = np.split(raw, [240, 360])
        return PackedMinute(
            np.ascontiguousarray(scores.reshape(4, 60).T).view("<f4")[:, 0],
            np.ascontiguousarray(levels.reshape(2, 60).T).view("<i2")[:, 0],
            states.copy(),
        )

    def to_bytes(self) -> bytes:
        """Return all of it, compressed."""
        # byte by byte: the high bytes of neighbours are alike
        scores = self.scores.astype("<f4").view(np.uint8).reshape(60, 4).T
        levels = self.levels.astype("<i2").view(np.uint8).reshape(60, 2).T
        return zlib.compress(scores.tobytes() + levels.tobytes() + self.states.tobytes(), _ZLIB_LEVEL)

    def put(self, row: ScoreSecond) -> bool:
        """Write a second, over what it was; False if it is old sound of a second that is judged already."""
        second = row.at_s % 60
        if row.late and self.states[second] not in (0, _CODES["unknown"]):
            return False
        self.scores[second] = np.nan if row.score is None else row.score
        level = _NO_LEVEL if row.level_dbfs is None else round(100 * max(-300.0, min(row.level_dbfs, 300.0)))
        self.levels[second] = level
        self.states[second] = _CODES[row.state]
        return True

    def sums(self) -> dict[str, Any]:
        """Return the minute's row of numbers."""
        scores = self.scores[np.isfinite(self.scores)].astype(np.float64)
        powers = 10.0 ** (self.levels[self.levels != _NO_LEVEL] / 1000.0)
        counts = np.bincount(self.states, minlength=len(_CODES) + 1)
        return {
            "scores": len(scores),
            "score_sum": float(scores.sum()),
            "score_min": float(scores.min()) if len(scores) else None,
            "score_max": float(scores.max()) if len(scores) else None,
            "levels": len(powers),
            "power_sum": float(powers.sum()),
            **{f"{state}_s": int(counts[code]) for state, code in _CODES.items()},
        }

    def last_s(self, minute: int) -> float | None:
        """Return the last second that was written; None where none was."""
        written = np.flatnonzero(self.states)
        return float(minute * 60 + written[-1]) if len(written) else None

    def points(self, minute: int) -> list[HistoryPoint]:
        """Return the seconds that were written."""
        rows = zip(self.scores.tolist(), self.levels.tolist(), self.states.tolist(), strict=True)
        return [_point(minute * 60 + second, *row) for second, row in enumerate(rows) if row[2]]


def _point(at_s: int, score: float, level: int, code: int) -> HistoryPoint:
    known = score if math.isfinite(score) else None
    return HistoryPoint(
        at_s=at_s,
        span_s=1,
        score_min=known,
        score_mean=known,
        score_max=known,
        level_dbfs=None if level == _NO_LEVEL else level / 100,
        states={_STATES[code]: 1},
    )
