"""Buffer of the clips that a calibration will rest on: each minute of sound counts as one recording."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.calibration.clean_segment import Sound
from humwatch.detectors.lines import ClipLines, LinePower
from humwatch.detectors.rhythm import GROUPS, POWERS
from humwatch.pipeline import PipelineSpec
from humwatch.scoring.evidence import Evidence
from humwatch.scoring.normal_clip import NormalClip

RECORDING_S: Final = 60.0
"""A minute of a stream counts as one recording. Clips that follow each other share the machine's speed, load and
temperature; counted one by one they would promise six times what they can. A minute is a convention between two
wishes: long against strokes, short pauses and a speed that wanders, and short enough that the hundred recordings that
a promise of 1 % needs are heard in two hours. It does not make the minutes of one hour as telling as those of a day."""
FLOAT64_BYTES: Final = 8


@dataclass(frozen=True)
class KeptClip:
    """A clip, and the sound since the one before it.

    Attributes:
        minute: minute that it belongs to, counted from 0.
        until_s: length of the stream at the end of the clip, seconds.
        evidence: evidence of the clip.
        sound: measured sound since the clip before.
        digest: SHA-256 of the samples (float32), hexadecimal.
        sample_bits: resolution of a sample, bits.
        lines: line spectra of the clip; None for a score without lines.
        at_s: time of the beginning of the clip, seconds since 1970.
        samples: float32 (n,), the sound since the clip before; None where it is not kept.
        rate_hz: sample rate of that sound, Hz.
    """

    minute: int
    until_s: float
    evidence: Evidence
    sound: Sound
    digest: str
    sample_bits: int
    lines: ClipLines | None = None
    at_s: float = 0.0
    samples: Float32 | None = None
    rate_hz: int = 0


@dataclass(frozen=True)
class CollectedMinute:
    """A whole minute of normal sound: one recording of a calibration.

    Attributes:
        number: number of the minute, counted from 1.
        at_s: time of its beginning, seconds since 1970.
        clips: normal clips of the minute.
        digests: SHA-256 of the sound of each clip, hexadecimal.
        samples: float32 (n,), its sound; None where it is not kept.
        rate_hz: sample rate of that sound, Hz.
    """

    number: int
    at_s: float
    clips: Sequence[NormalClip]
    digests: Sequence[str]
    samples: Float32 | None = None
    rate_hz: int = 0


class CalibrationBuffer:
    """Clips in order; one thread changes them, any may read.

    Evidence is held without the part that no threshold needs (``Evidence.signed`` is NaN), and with one copy of the
    counts where they are alike in all clips, as they are but for masks that are drawn. A minute never takes more than
    :func:`most_bytes_a_minute`.
    """

    def __init__(self, spec: PipelineSpec, *, first_minute: int = 0) -> None:
        """Begin without clips.

        Args:
            spec: front end, windows and score of the evidence.
            first_minute: index of the first minute, counted from 0.
        """
        self._first = first_minute
        self._clip_s = spec.windows.clip_seconds
        self._minute_s = max(RECORDING_S, self._clip_s)
        self._lock = threading.Lock()
        self._clips: list[KeptClip] = []
        shape = spec.clip_windows, len(spec.band_edges_hz)
        self._counts: Float64 = np.zeros(shape)
        self._unsigned: Float64 = np.full(shape, np.nan)

    def __len__(self) -> int:
        """Return the number of clips, those of the open minute included."""
        return len(self._clips)

    @property
    def whole(self) -> int:
        """Number of whole minutes."""
        return self.open[0]

    @property
    def open(self) -> tuple[int, float]:
        """The minute that is not whole yet, counted from 0, and the sound that it wants, seconds."""
        return self._open(self._held())

    @property
    def last_s(self) -> float:
        """Length of the stream at the end of the last clip, seconds; 0 without one."""
        clips = self._held()
        return clips[-1].until_s if clips else 0.0

    @property
    def held_bytes(self) -> int:
        """Memory of the evidence, bytes."""
        evidence = [clip.evidence for clip in self._held()]
        counts = {id(held.counts): held.counts.nbytes for held in evidence}
        lines = sum(_bytes_of_lines(clip.lines) for clip in self._held())
        return sum(_bytes_of(held) for held in evidence) + sum(counts.values()) + self._unsigned.nbytes + lines

    def add(self, clip: KeptClip) -> None:
        """Keep the part of a clip that thresholds need."""
        evidence = clip.evidence
        # Laid out as it was: matrix products round differently over arrays that lie the other way round.
        if not np.array_equal(evidence.counts, self._counts):
            self._counts = evidence.counts.copy(order="K")
        sums, profiles = evidence.sums, evidence.profiles
        if profiles is not None:
            own = sums is profiles.slope
            profiles = profiles.copied()
            sums = profiles.slope if own else sums.copy(order="K")
        else:
            sums = sums.copy(order="K")
        held = replace(clip, evidence=Evidence(sums, self._counts, self._unsigned, profiles))
        with self._lock:
            self._clips.append(held)

    def extend(self, minute: int, sound: Sound, samples: Float32 | None = None) -> None:
        """Add the sound behind the last clip to it, if that clip is of ``minute``."""
        with self._lock:
            if self._clips and self._clips[-1].minute == minute:
                last = self._clips[-1]
                joined = None if last.samples is None or samples is None else np.concatenate([last.samples, samples])
                self._clips[-1] = replace(last, sound=last.sound + sound, samples=joined)

    def drop_since(self, at_s: float) -> list[KeptClip]:
        """Drop the clips that ended later than ``at_s`` of the stream, seconds; return them."""
        with self._lock:
            kept = len(self._clips)
            while kept and self._clips[kept - 1].until_s > at_s:
                kept -= 1
            dropped = self._clips[kept:]
            del self._clips[kept:]
        return dropped

    def release(self, number: int) -> None:
        """Let go of the minutes up to a number, counted from 1: they are kept elsewhere."""
        with self._lock:
            self._clips = [clip for clip in self._clips if clip.minute >= number]
            self._first = max(self._first, number)

    def shift(self, seconds: float) -> None:
        """Move the times of what is held, as after the clock was set."""
        with self._lock:
            self._clips = [replace(clip, at_s=clip.at_s + seconds) for clip in self._clips]

    def times(self) -> list[float]:
        """Return the times at which the minutes that are held begin, the open one left out, seconds since 1970."""
        held = self._held()
        whole = self._open(held)[0]
        first = {clip.minute: clip.at_s for clip in reversed(held) if clip.minute < whole}
        return list(first.values())

    def collected(self, until_s: float = np.inf) -> list[CollectedMinute]:
        """Return the whole minutes, in order.

        Args:
            until_s: length of the stream up to which they have to have ended, seconds.
        """
        held = self._held()
        whole = self._open(held)[0]
        minutes: dict[int, list[KeptClip]] = {}
        for clip in held:
            if clip.minute < whole:
                minutes.setdefault(clip.minute, []).append(clip)
        return [_minute(minute + 1, clips) for minute, clips in minutes.items() if clips[-1].until_s <= until_s]

    def _held(self) -> list[KeptClip]:
        with self._lock:
            return list(self._clips)

    def _open(self, clips: list[KeptClip]) -> tuple[int, float]:
        if not clips:
            return self._first, self._minute_s
        last = clips[-1].minute
        wanted_s = self._minute_s - self._clip_s * sum(clip.minute == last for clip in clips)
        return (last, wanted_s) if wanted_s > self._clip_s * (1 - 1e-9) else (last + 1, self._minute_s)


def _minute(number: int, clips: list[KeptClip]) -> CollectedMinute:
    """Return a minute, each clip of which has the level of all of it."""
    sound = sum((clip.sound for clip in clips), Sound())
    bits = min(clip.sample_bits for clip in clips)
    name, quietest = f"minute {number}", sound.quietest_dbfs
    rate_hz = clips[0].rate_hz
    heard = [clip.samples for clip in clips if clip.samples is not None and clip.rate_hz == rate_hz]
    return CollectedMinute(
        number,
        clips[0].at_s,
        [NormalClip(name, clip.evidence, sound.level_dbfs, bits, quietest, clip.lines) for clip in clips],
        [clip.digest for clip in clips],
        np.concatenate(heard) if heard else None,
        rate_hz,
    )


def most_bytes_a_minute(spec: PipelineSpec) -> int:
    """Return the most memory that a minute of evidence takes, bytes: all windows, and the lines of all clips."""
    clips = max(1, int(RECORDING_S // spec.windows.clip_seconds))
    bands = len(spec.band_edges_hz)
    sums = 2 if spec.scoring.kind == "consensus" else 3  # slope and level; of another score, its own as well
    window = bands * (sums + 1) + GROUPS * POWERS + 1
    lines = 2 * LinePower.nothing(spec.features.rate_hz).power.size if spec.uses_lines else 0
    return clips * (spec.clip_windows * window + lines) * FLOAT64_BYTES


def _bytes_of(evidence: Evidence) -> int:
    profiles = evidence.profiles
    if profiles is None:
        return evidence.sums.nbytes
    own = 0 if evidence.sums is profiles.slope else evidence.sums.nbytes
    return own + sum(int(getattr(profiles, part.name).nbytes) for part in fields(profiles))


def _bytes_of_lines(lines: ClipLines | None) -> int:
    return 0 if lines is None else lines.early.power.nbytes + lines.late.power.nbytes
