"""Segment of clean sound: scored like a file of its own, cut into clips as it comes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.band_limit import BandLimit
from humwatch.audio.levels import SecondLevels
from humwatch.audio.quality import level_dbfs
from humwatch.detectors.lines import ClipLines
from humwatch.normal_recording import clip_lines, whole_clips
from humwatch.pipeline import EvidencePipeline, WindowBlock
from humwatch.scoring.evidence import Evidence


@dataclass(frozen=True)
class Sound:
    """Sums over samples, and the quietest of their whole seconds."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    quietest_dbfs: float | None = None

    def __add__(self, other: Sound) -> Sound:
        quiet = [level for level in (self.quietest_dbfs, other.quietest_dbfs) if level is not None]
        return Sound(self.n + other.n, self.total + other.total, self.squares + other.squares, min(quiet, default=None))

    @property
    def level_dbfs(self) -> float:
        """Level without the mean, dBFS."""
        return level_dbfs(self.n, self.total, self.squares)


class CleanSegment:
    """Clean sound without a break, as much as its minute still wants; its evidence is that of a file of its own."""

    def __init__(
        self, pipeline: EvidencePipeline, *, minute: int, samples: int, rate_hz: int, keep_sound: bool = False
    ) -> None:
        """Begin a segment.

        Args:
            pipeline: pipeline for the sound; it starts anew.
            minute: minute that the sound belongs to, counted from 0.
            samples: number of samples that are wanted.
            rate_hz: sample rate, Hz.
            keep_sound: whether the samples are kept.
        """
        self.minute = minute
        self._keep_sound = keep_sound
        self.left = samples
        self.sound = Sound()
        self._spec = pipeline.spec
        self._pipeline = pipeline
        self._pipeline.reset()
        self._levels = SecondLevels(rate_hz)
        spec = self._spec
        self._band_limit = BandLimit(spec.features, spec.scoring.bands(spec.features))
        self._digest = hashlib.sha256()
        self._heard: list[Float32] = []
        self._parts: list[Evidence] = []
        self._blocks: list[WindowBlock] = []
        self._clips = 0

    def push(self, mono: Float32) -> list[tuple[Evidence, ClipLines | None]]:
        """Take float32 (n,), n <= ``left``; return the clips that are whole, each with its lines.

        Those that the pipeline held back are among them at the end.
        """
        self.left -= len(mono)
        self._digest.update(mono.tobytes())
        if self._keep_sound:
            self._heard.append(mono.copy())
        wide = mono.astype(np.float64)
        quietest = min(self._levels.push(mono), default=None)
        self.sound += Sound(wide.size, float(wide.sum()), float(wide @ wide), quietest)
        blocks = self._pipeline.push(mono[:, None])
        return self._cut(blocks if self.left else blocks + self._pipeline.flush())

    def measured(self) -> tuple[Sound, str, Float32 | None]:
        """Return the measured sound since the last call, its digest, and its samples where they are kept."""
        sound, digest, samples = self.sound, self._digest.hexdigest(), self.samples
        self.sound, self._digest, self._heard = Sound(), hashlib.sha256(), []
        return sound, digest, samples

    @property
    def limit_hz(self) -> float | None:
        """Frequency above which nothing is there to be heard; None where there is no such limit."""
        return self._band_limit.limit_hz

    @property
    def samples(self) -> Float32 | None:
        """Samples since the last clip, float32 (n,); None where they are not kept."""
        return np.concatenate([np.zeros(0, np.float32), *self._heard]) if self._keep_sound else None

    def _cut(self, blocks: list[WindowBlock]) -> list[tuple[Evidence, ClipLines | None]]:
        self._parts += [block.evidence for block in blocks]
        self._blocks += blocks
        for block in blocks:
            self._band_limit.push(block.windows)
        if not blocks:
            return []
        size = self._spec.clip_windows
        evidence = Evidence.concatenate(self._parts)
        clips = whole_clips(evidence, self._spec)
        self._parts = [evidence[len(clips) * size :]]
        first = self._clips * size
        found = [
            (clip, clip_lines(self._blocks, self._spec, first + number * size)) for number, clip in enumerate(clips)
        ]
        self._clips += len(clips)
        self._blocks = [block for block in self._blocks if block.first_window >= self._clips * size]
        return found
