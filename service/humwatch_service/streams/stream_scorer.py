"""Scoring of one stream: what comes on it goes through the monitor of its model in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.levels import ChannelLevels
from humwatch.audio.quality import dbfs, silent_below
from humwatch.live.monitor import LiveMonitor
from humwatch.live.step import LiveStep
from humwatch.together import Work
from humwatch_service.protocol.pcm import floats
from humwatch_service.streams.audio_ring import SoundRing
from humwatch_service.streams.monitor_feed import feeding
from humwatch_service.streams.stream_items import (
    Beside,
    Companion,
    Elsewhere,
    Gap,
    Item,
    MonitorMaker,
    ScoredItem,
    StreamFormat,
    Swap,
)

RING_S: Final = 120.0
"""Sound that is kept for evidence: delay, clip and what is wanted before them."""


class StreamScorer:
    """Monitor, last sound and scores of one stream. Belongs to the worker that has the stream's batch.

    Without a monitor until a :class:`Swap` brings a model: a machine that is being calibrated may have none.

    Attributes:
        monitor: monitor of the model in use; None without one.
        ring: last ``RING_S`` of the sound.
        position: index of the next sample.
        steps: number of steps with scores.
        worst_score: highest score of a clip; None without one.
    """

    def __init__(self, form: StreamFormat, first_sample: int, *, make_monitor: MonitorMaker) -> None:
        """Begin at a sample.

        Args:
            form: format of the stream.
            first_sample: index of the first sample that comes.
            make_monitor: maker of the monitor of a model from a sample on.
        """
        self.monitor: LiveMonitor | None = None
        self.ring = SoundRing(round(RING_S * form.rate_hz), integers=form.sample_bits <= 16)
        self.position = first_sample
        self.steps = 0
        self.worst_score: float | None = None
        self._form = form
        self._make_monitor = make_monitor
        self._companion: Companion | None = None
        self._told = first_sample

    def scoring(self, item: ScoredItem) -> Work[list[LiveStep]]:
        """Return the work that finds the steps an item makes due; sound is float32 (n,) of the monitored channel."""
        steps = yield from self._scoring(item)
        self.steps += sum(step.scores is not None for step in steps)
        scores = [step.clip_score for step in steps if step.clip_score is not None]
        self.worst_score = max([*scores, *([] if self.worst_score is None else [self.worst_score])], default=None)
        return steps

    @property
    def has_companion(self) -> bool:
        """True while a companion hears the stream."""
        return self._companion is not None

    def tell(self, items: Sequence[ScoredItem]) -> None:
        """Let the companion hear items that were scored."""
        for item in items:
            if isinstance(item, Beside):
                self._companion = item.companion
                if self._companion is not None:
                    self._companion.begin(
                        self._form, self._told, make_monitor=self._make_monitor, sound=self.ring.between
                    )
            elif self._companion is not None and not isinstance(item, Swap):
                self._companion.hear(item)
            if isinstance(item, np.ndarray):
                self._told += len(item)
            elif isinstance(item, Gap):
                self._told += item.samples

    def _scoring(self, item: ScoredItem) -> Work[list[LiveStep]]:
        monitor = self.monitor
        if isinstance(item, np.ndarray):
            scale = 1.0 if monitor is None or self._form.full_scale else monitor.sample_scale
            self.ring.push(self.position, item if scale == 1.0 else item * np.float32(scale))
            self.position += len(item)
        elif isinstance(item, Gap):
            self.position += item.samples
        elif isinstance(item, Swap):
            if monitor is None:
                self.monitor = self._make_monitor(item.model, self.position)
            else:
                monitor.swap(item.model)
        if monitor is None or isinstance(item, (Swap, Beside)):
            return []
        return (yield from feeding(monitor, item))


def merged(batch: Sequence[Item]) -> Iterator[ScoredItem]:
    """Yield the items of a batch, with sound that came in pieces as one piece: a call of the monitor has its price.

    Integers become float32 here: once a batch, and not on the event loop.
    """
    for kind, items in groupby(batch, lambda item: item.dtype.kind if isinstance(item, np.ndarray) else None):
        if kind is not None:
            pieces: list[Any] = [item for item in items if isinstance(item, np.ndarray)]
            yield floats(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))
        else:
            yield from (item for item in items if not isinstance(item, np.ndarray))


class MonitoredChannel:
    """Sound of all channels in, that of the one that is monitored out; says which other is alive while it is silent."""

    def __init__(self, form: StreamFormat) -> None:
        self._form = form
        self._silent_dbfs = silent_below(-np.inf, full_scale=form.full_scale)
        self._alive: str | None = None

    def of(self, item: ScoredItem) -> list[ScoredItem]:
        """Return float32 (n,) of the channel in place of float32 (n, channels), and what there is to say before it."""
        if not isinstance(item, np.ndarray):
            return [item]
        mono = np.ascontiguousarray(item[:, self._form.channel])
        if self._form.channels == 1:
            return [mono]
        alive = self._other(item) if dbfs(float(np.var(mono, dtype=np.float64))) < self._silent_dbfs else None
        if (alive is None) == (self._alive is None):
            return [mono]
        self._alive = alive
        return [Elsewhere(alive), mono]

    def _other(self, samples: Float32) -> str | None:
        levels = ChannelLevels(self._form.channels)
        levels.push(samples)
        return levels.alive(self._form.channel, self._silent_dbfs)
