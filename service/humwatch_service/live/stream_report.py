"""What one stream reports to: its machine, a calibration that collects, the metrics, and the evidence."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from humwatch.live.monitor import LiveStep
from humwatch.predictor import Prediction, Predictor
from humwatch_service.live.evidence_writer import EvidenceDesk
from humwatch_service.live.load import Load
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.reference_recorder import NormalWatch
from humwatch_service.live.stream import LiveStream
from humwatch_service.live.stream_items import ClockReading, Gap, Overflow
from humwatch_service.live.subscriber import Subscriber
from humwatch_service.metrics.registry import Metrics
from humwatch_service.protocol.messages import ServerMessage
from humwatch_service.telemetry.tracing import stage_span

Float32 = npt.NDArray[np.float32]


class CountedPredictor:
    """A machine's predictor, with its windows and its time in the metrics and in the load."""

    def __init__(self, predictor: Predictor, machine_id: str, metrics: Metrics, load: Load) -> None:
        self._predictor = predictor
        self._machine_id = machine_id
        self._metrics = metrics
        self._load = load

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB."""
        started_s, used_s = time.perf_counter(), time.thread_time()
        with stage_span("predict", machine_id=self._machine_id, windows=len(windows)):
            prediction = self._predictor.predict(windows)
        self._load.predicted(time.thread_time() - used_s)
        self._metrics.stage("live_predict", time.perf_counter() - started_s)
        self._metrics.windows(self._machine_id, len(windows))
        return prediction


class StreamReport:
    """What one stream reports to: its machine, metrics, load, evidence, and those who look on. Called from workers."""

    def __init__(
        self,
        machine: LiveMachine,
        metrics: Metrics,
        load: Load,
        desk: EvidenceDesk,
        normal: NormalWatch,
        subscribers: Sequence[Subscriber],
    ) -> None:
        self._machine = machine
        self._metrics = metrics
        self._load = load
        self._desk = desk
        self._normal = normal
        self._subscribers = subscribers

    def heard(self, stream: LiveStream, steps: list[LiveStep]) -> list[ServerMessage]:
        """Judge steps; return what the client is told."""
        with stage_span("judge", machine_id=self._machine.machine_id, steps=len(steps)):
            messages = self._machine.heard(stream, steps)
        for step in steps:
            latency_s = stream.latency_s(step.end_sample)
            if latency_s is not None and stream.form.realtime:
                self._metrics.live.latency(latency_s)
                if not stream.catching_up:
                    self._load.scored(latency_s)
        self._desk.advance(stream)
        if self._machine.stream is stream:
            self._normal.heard(self._machine, stream, steps)
            for subscriber in self._subscribers:
                subscriber.heard(self._machine, stream, steps)
        return messages

    def taken(self, stream: LiveStream, start: int, mono: Float32) -> None:
        """See the sound that is listened to."""
        collector = self._machine.collector
        if collector is not None:
            collector.push(mono)

    def worked(self, stream: LiveStream, seconds: float) -> None:
        """Know of the processor time that a turn took."""
        if not stream.catching_up:
            self._load.worked(seconds)

    def noted(self, stream: LiveStream, item: Gap | Overflow | ClockReading) -> None:
        """Know of samples that never came, and of the source's clock."""
        collector = self._machine.collector
        if isinstance(item, Gap):
            self._lost(stream, item.samples)
        if collector is None:
            return
        if isinstance(item, Gap):
            collector.gap(item.samples)
        elif isinstance(item, Overflow):
            collector.overflow(item.count)
        else:
            collector.clock(item.sample, item.time_s)

    def _lost(self, stream: LiveStream, samples: int) -> None:
        rate_hz, model = stream.form.rate_hz, self._machine.model
        windows = 0 if model is None else model.windows_in(samples, rate_hz)
        self._metrics.live.lost(self._machine.machine_id, samples / rate_hz, windows)
