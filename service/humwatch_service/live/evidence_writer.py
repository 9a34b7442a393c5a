"""Sound of alarms on the disk: what was before an alarm at once, what came after it as soon as it is there."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from humwatch.errors import HumwatchError
from humwatch.live.step import LiveStep
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.records import EvidenceState
from humwatch_service.storage.sounds.flac import Samples
from humwatch_service.storage.store import StateStore
from humwatch_service.streams.audio_ring import SoundRing
from humwatch_service.streams.stream import LiveStream
from humwatch_service.streams.stream_items import StreamFormat
from humwatch_service.streams.stream_scorer import RING_S
from humwatch_service.telemetry.logs import event_logger

MARGIN_S: Final = 10.0
"""Sound before and after what raised the alarm."""
SLACK_S: Final = 2.0
"""Sound that is kept beyond what is asked for: clips are a little longer than they are called."""

_log = event_logger("humwatch.evidence")


@dataclass(frozen=True, eq=False)
class _Pending:
    """Alarm whose sound is not all there yet; sample indices of its stream.

    It holds what was there when it was raised: the stream forgets that before the rest has come.
    """

    alarm_id: str
    head: Samples
    start: int
    end: int

    def sound(self, ring: SoundRing) -> Samples:
        return np.concatenate([self.head, ring.between(self.start, self.end)])


def sound_before_s(delay_s: float) -> float:
    """Return how much sound before a clip is wanted that raises an alarm after an on-delay, seconds."""
    return min(RING_S, delay_s + MARGIN_S)


def wanted_s(clip_s: float, delay_s: float) -> float:
    """Return how much of the last sound of a stream may be asked for, seconds.

    Args:
        clip_s: length of a clip, seconds.
        delay_s: on-delay of the rule, seconds.
    """
    return clip_s + sound_before_s(delay_s) + SLACK_S


class EvidenceWriter:
    """Writer of evidence with a thread of its own. Thread-safe; one thread at a time for each stream."""

    def __init__(self, store: StateStore, folder: EvidenceFolder, *, paint: Callable[[str], bytes | None]) -> None:
        """Start the thread.

        Args:
            store: database.
            folder: folder of the evidence.
            paint: maker of the picture of an alarm whose clip is written; None where that cannot be done.
        """
        self._store = store
        self._folder = folder
        self._paint = paint
        self._pending: dict[LiveStream, list[_Pending]] = {}
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="humwatch-evidence")

    def begin(self, stream: LiveStream, alarm_id: str, step: LiveStep, *, delay_s: float) -> EvidenceState:
        """Write what is there of the sound of an alarm that ``step`` raises, after an on-delay of ``delay_s``.

        Blocks until it is on the disk: once anybody knows of an alarm, its sound outlives a power cut.

        Returns:
            State of the evidence for the alarm's row.
        """
        rate_hz = stream.form.rate_hz
        first = step.start_sample if step.clip_start_sample is None else step.clip_start_sample
        start = max(0, first - math.ceil(sound_before_s(delay_s) * rate_hz))
        end = step.end_sample + math.ceil(MARGIN_S * rate_hz)
        sound = stream.ring.between(start, end)
        written: EvidenceState = "none"
        if len(sound):
            with _errors_logged(alarm_id=alarm_id):
                written = self._folder.write_clip(
                    alarm_id, sound, rate_hz, partial=True, fit=not stream.form.full_scale
                )
        with self._lock:
            pending = self._pending.setdefault(stream, [])
            pending.append(_Pending(alarm_id, sound, max(start, min(stream.ring.end, end)), end))
        return written

    def advance(self, stream: LiveStream) -> None:
        """Write what has become whole by the sound that came."""
        if stream in self._pending and stream.ring.end >= min(item.end for item in self._pending[stream]):
            self._finish(stream, stream.ring.end)

    def complete(self, stream: LiveStream) -> None:
        """Write what there is: the stream is over."""
        if stream in self._pending:
            self._finish(stream, None)

    def submit(self, machine_id: str, write: Callable[[], None]) -> None:
        """Write something else of a machine's sound, in this thread."""
        self._executor.submit(self._write, machine_id, write)

    def close(self) -> None:
        """Write what waits (blocking)."""
        self._executor.shutdown(wait=True)

    def _finish(self, stream: LiveStream, until: int | None) -> None:
        with self._lock:
            pending = self._pending.pop(stream, [])
            ready = [item for item in pending if until is None or item.end <= until]
            rest = [item for item in pending if item not in ready]
            if rest:
                self._pending[stream] = rest
        for item in ready:
            sound = item.sound(stream.ring)
            if len(sound):
                self._executor.submit(self._keep, item.alarm_id, sound, stream.form)

    def _write(self, machine_id: str, write: Callable[[], None]) -> None:
        with _errors_logged(machine_id=machine_id):
            write()

    def _keep(self, alarm_id: str, sound: Samples, form: StreamFormat) -> None:
        with _errors_logged(alarm_id=alarm_id):
            written = self._folder.write_clip(alarm_id, sound, form.rate_hz, partial=False, fit=not form.full_scale)
            self._store.evidence(alarm_id, written)
            picture = self._paint(alarm_id)
            if picture is not None:
                self._folder.write_picture(alarm_id, picture)


@contextmanager
def _errors_logged(**whose: str) -> Iterator[None]:
    """Log what goes wrong with evidence inside: it stops nothing else."""
    try:
        yield
    except HumwatchError as error:
        _log.error("evidence not kept", **whose, code=error.code, reason=str(error))
    except Exception:
        _log.exception("evidence not kept", **whose)
