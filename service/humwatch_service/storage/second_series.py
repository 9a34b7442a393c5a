"""Seconds that were written of a machine, as arrays: weeks of them are read at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from humwatch.alarm.events import MachineState
from humwatch.arrays import Float32, Int64
from humwatch_service.storage.packed_minute import PackedMinute, code_of, state_of


@dataclass(frozen=True)
class SecondSeries:
    """Seconds of one machine that were written, in order.

    Attributes:
        at_s: int64 (n,), starts of the seconds, since 1970.
        scores: float32 (n,), normalised; NaN where there was none.
        codes: uint8 (n,), codes of the states.
    """

    at_s: Int64
    scores: Float32
    codes: npt.NDArray[np.uint8]

    @staticmethod
    def of(minutes: Iterable[tuple[int, bytes]]) -> SecondSeries:
        """Unpack minutes, each with its number since 1970, in order."""
        at_s, scores, codes = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)], [np.zeros(0, np.uint8)]
        for minute, packed in minutes:
            seconds = PackedMinute.from_bytes(packed)
            written = np.flatnonzero(seconds.states)
            at_s.append(60 * minute + written)
            scores.append(seconds.scores[written])
            codes.append(seconds.states[written])
        return SecondSeries(np.concatenate(at_s), np.concatenate(scores), np.concatenate(codes))

    def __len__(self) -> int:
        """Return the number of seconds."""
        return len(self.at_s)

    def only(self, chosen: npt.NDArray[np.bool_]) -> SecondSeries:
        """Return the seconds where a mask, bool (n,), is true."""
        return SecondSeries(self.at_s[chosen], self.scores[chosen], self.codes[chosen])

    def between(self, start_s: float, end_s: float) -> npt.NDArray[np.bool_]:
        """Return a mask, bool (n,), of the seconds from one time to before another."""
        inside: npt.NDArray[np.bool_] = (self.at_s >= start_s) & (self.at_s < end_s)
        return inside

    def judged(self) -> npt.NDArray[np.bool_]:
        """Return a mask, bool (n,), of the seconds whose score decided, on good sound of a machine that runs."""
        deciding = [code_of(state) for state in ("normal", "warning", "alarm")]
        mask: npt.NDArray[np.bool_] = np.isin(self.codes, deciding) & np.isfinite(self.scores)
        return mask

    def states(self) -> list[MachineState]:
        """Return the state of each second."""
        return [state_of(code) for code in self.codes.tolist()]
