"""Source of a recording: which stretches of it cannot be judged, and why, by the same rules as a live stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from humwatch.arrays import Float32, Int64
from humwatch.audio.band_limit import WINDOW_STEPS
from humwatch.audio.levels import SecondLevels
from humwatch.audio.quality import (
    STUCK_SECONDS,
    SoundWarning,
    WarningCode,
    clipping,
    holes_text,
    off_centre,
    silence,
    standstill,
)
from humwatch.audio.sound_blocks import HELD_SECONDS, SoundBlock, SoundSums
from humwatch.run_state import OFF_SECONDS, RunGate
from humwatch.source.health import LEAST_SOUND_S, SourceHealth
from humwatch.source.monitor import SourceMonitor

Span = tuple[int, int]
"""First sample, and one past the last."""


class RecordingSource:
    """Mono samples and windows of a recording in, what of it can be judged out; holds ten sums a second, no sound.

    A live stream says at each moment what is wrong; here it is known of the whole recording, so that what led up to
    a fault is left out with it.
    """

    def __init__(self, health: SourceHealth, *, rate_hz: int, full_scale: bool, run_gate: RunGate | None) -> None:
        """Follow a recording from its start.

        Args:
            health: health of the source, fresh.
            rate_hz: sample rate, Hz.
            full_scale: whether samples have a full scale.
            run_gate: levels by which the machine starts and stops; None where it always runs.
        """
        self._health = health
        self._rate_hz = rate_hz
        self._full_scale = full_scale
        self._gate = run_gate
        self._monitor = SourceMonitor(health, rate_hz=rate_hz, run_gate=run_gate)
        self._seconds = SecondLevels(rate_hz)
        self._seconds_dbfs: list[float] = []
        self._rest: Float32 = np.zeros(0, np.float32)
        self._blocks: list[SoundBlock] = []
        self._off: list[Span] = []
        self._silent: list[Span] = []
        self._unlimited: list[Span] = []
        self._missing_band: str | None = None
        self._heard: deque[Span] = deque(maxlen=WINDOW_STEPS)
        self._stuck: list[Span] = []
        self._holes: dict[int, int] = {}
        self._short: dict[int, int] = {}
        self._bounds: list[tuple[WarningCode, Int64]] | None = None  # of each fault, until more is known

    def push(self, mono: Float32) -> None:
        """Take float32 (n,)."""
        self._seconds_dbfs += self._seconds.push(mono)
        held = np.concatenate([self._rest, mono])
        whole = len(held) - len(held) % self._monitor.quantum_samples
        self._rest = held[whole:].copy()
        if whole:
            self._follow(held[:whole])

    def hear(self, windows: Float32, span: Span) -> None:
        """Take the windows of a step, float32 (n, frames, n_mels) in dB, and the samples that they are of."""
        self._health.hear(windows)
        self._heard.append(span)
        self._note_band_limit((self._heard[0][0], span[1]))

    def finish(self) -> None:
        """Take the end of the recording."""
        if len(self._rest):
            self._follow(self._rest)
            self._rest = np.zeros(0, np.float32)
        self._health.settle()
        if not self._unlimited:  # too short to have said so before
            self._note_band_limit((0, self._monitor.position))
        rest = self._health.finish()
        if rest is not None:
            self._note(rest, self._monitor.position)
        if self._sums_of_all.level_dbfs < self._health.silent_dbfs:
            self._silent = [(0, self._monitor.position)]
        quiet = self._monitor.position - round(self._monitor.quiet_s * self._rate_hz), self._monitor.position
        if self._monitor.running is not False and self._monitor.stopping and not self._reaches_stuck(quiet):
            _add(self._off, quiet)
        self._bounds = None

    def reasons(self, start: int, end: int) -> tuple[WarningCode, ...]:
        """Return why the samples from ``start`` to before ``end`` cannot be judged; empty where they can."""
        if self._bounds is None:
            self._bounds = [(code, np.array(spans)) for code, spans in self._spans() if spans]
        return tuple(code for code, spans in self._bounds if ((spans[:, 0] < end) & (spans[:, 1] > start)).any())

    @property
    def level_dbfs(self) -> float:
        """Level of what can be judged; of all where nothing can."""
        return self._sums.level_dbfs

    @property
    def quietest_dbfs(self) -> float | None:
        """Level of the quietest whole second that can be judged; None without one."""
        rate = self._rate_hz
        levels = [level for at, level in enumerate(self._seconds_dbfs) if not self.reasons(at * rate, (at + 1) * rate)]
        return min(levels, default=None)

    def warnings(self) -> list[SoundWarning]:
        """Return the warnings about the sound itself."""
        sums, everything = self._sums, self._sums_of_all
        holes = self._short_holes
        silent = silence(everything.level_dbfs, self._health.silent_dbfs)
        found: list[tuple[WarningCode, str | None]] = [
            ("bandwidth_limited", self._missing_band),
            (
                "silent",
                silent or (f"nothing is heard for {self._length_s(self._silent):.1f} s" if self._silent else None),
            ),
            ("stuck", None if silent else standstill(max((self._length_s([one]) for one in self._stuck), default=0.0))),
            ("drop_outs", self._missing(holes) if (holes or self._short) and not silent else None),
            ("not_running", self._standing() if self._off and not silent else None),
            ("clipped", clipping(sums.clipped_share, full_scale=self._full_scale)),
            ("dc_offset", off_centre(sums.mean, full_scale=self._full_scale)),
        ]
        return [SoundWarning(code=code, message=text) for code, text in found if text is not None]

    @property
    def is_off(self) -> bool:
        """True if all that keeps the recording from being judged is that the machine does not run."""
        return bool(self._off) and not any(spans for code, spans in self._spans() if code != "not_running")

    def _spans(self) -> Iterator[tuple[WarningCode, list[Span]]]:
        yield "bandwidth_limited", self._unlimited
        yield "silent", self._silent
        yield "stuck", self._stuck
        yield "drop_outs", [*self._short_holes, *self._short.items()]
        yield "not_running", self._off

    @property
    def _short_holes(self) -> list[Span]:
        holes = sorted(self._holes.items())
        return [one for one in holes if self._length_s([one]) < STUCK_SECONDS or not self._reaches_stuck(one)]

    def _reaches_stuck(self, span: Span) -> bool:
        """Return True if a value that stays is in a span: it is quiet without the machine."""
        return any(start < span[1] and end > span[0] for start, end in self._stuck)

    def _follow(self, mono: Float32) -> None:
        for quantum in self._monitor.follow(mono):
            block = self._health.newest
            if block is not None and quantum.stop - quantum.start == self._monitor.quantum_samples:
                self._note(block, self._monitor.position)

    def _note_band_limit(self, span: Span) -> None:
        """Leave out what a band limit was found in."""
        self._bounds = None
        found = self._health.missing_band_text
        if found is not None:
            self._missing_band = found
            _add(self._unlimited, span)

    def _note(self, block: SoundBlock, end: int) -> None:
        self._bounds = None
        self._blocks.append(block)
        self._holes.update(self._health.holes())
        if block.held:
            self._short.update(self._health.short_holes())
        if block.longest >= STUCK_SECONDS * self._rate_hz:
            _add(self._stuck, (max(0, end - max(block.longest, block.n)), end))
        if self._health.is_silent:
            _add(self._silent, (max(0, end - round(LEAST_SOUND_S * self._rate_hz)), end))
        if self._monitor.running is False:
            _add(self._off, (max(0, end - OFF_SECONDS * self._rate_hz), end))

    @property
    def _sums_of_all(self) -> SoundSums:
        return SoundSums(self._blocks)

    @property
    def _sums(self) -> SoundSums:
        """Statistics of what can be judged; of all where nothing can."""
        if not any(spans for _, spans in self._spans()):
            return self._sums_of_all
        judged, end = [], 0
        for block in self._blocks:
            start, end = end, end + block.n
            if not self.reasons(start, end):
                judged.append(block)
        return SoundSums(judged or self._blocks)

    def _length_s(self, spans: list[Span]) -> float:
        return sum(end - start for start, end in spans) / self._rate_hz

    def _missing(self, holes: list[Span]) -> str:
        if not holes:
            first_s = min(self._short) / self._rate_hz
            at_least = f"stretches of one value for {HELD_SECONDS * 1000:.0f} ms or more"
            return f"{at_least}, the first near {first_s:.1f} s: sound was lost"
        return f"{holes_text(holes, self._rate_hz)}, the first at {holes[0][0] / self._rate_hz:.2f} s: sound was lost"

    def _standing(self) -> str:
        assert self._gate is not None  # without it, the machine runs
        return (
            f"for {self._length_s(self._off):.1f} s it is quieter than {self._gate.off_dbfs:.1f} dBFS: the machine does"
            " not run"
        )


def _add(spans: list[Span], span: Span) -> None:
    """Add a span that begins behind the others, and join it to the last where they meet."""
    if spans and span[0] <= spans[-1][1]:
        spans[-1] = min(spans[-1][0], span[0]), max(spans[-1][1], span[1])
    else:
        spans.append(span)
