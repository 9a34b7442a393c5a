"""Observer of one stream: its machine judges, a calibration collects, load and metrics count, the rest is recorded."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from humwatch.arrays import Float32
from humwatch.live.step import LiveStep
from humwatch.predictor import Predictor
from humwatch_service.inference.timing import PredictorRun, TimedPredictor
from humwatch_service.live.load import Load
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.recorder import MachineRecorder
from humwatch_service.metrics.registry import Metrics
from humwatch_service.protocol.messages import ServerMessage
from humwatch_service.streams.sample_clock import Note
from humwatch_service.streams.stream import LiveStream
from humwatch_service.streams.stream_items import ClockReading, Elsewhere, Gap, Overflow
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.telemetry.tracing import stage_span
from humwatch_service.utc import utc_text

_log = event_logger("humwatch.live")


def counted_predictor(predictor: Predictor, machine_id: str, metrics: Metrics, load: Load) -> TimedPredictor:
    """Return a machine's predictor with its runs in the metrics, in the load and in traces."""

    def on_run(run: PredictorRun) -> None:
        load.on_predict_time(run.cpu_s)
        metrics.stage("live_predict", run.wall_s)
        metrics.windows(machine_id, run.windows)

    def span(windows: int) -> AbstractContextManager[Any]:
        return stage_span("predict", machine_id=machine_id, windows=windows)

    return TimedPredictor(predictor, span=span, on_run=on_run)


def beside_predictor(predictor: Predictor, machine_id: str, load: Load) -> TimedPredictor:
    """Return the predictor of a candidate, with its runs in the load and in traces, and in no metric of the machine."""

    def span(windows: int) -> AbstractContextManager[Any]:
        return stage_span("predict", machine_id=machine_id, windows=windows)

    return TimedPredictor(predictor, span=span, on_run=lambda run: load.on_predict_time(run.cpu_s))


class StreamRecorder:
    """Observer of one stream of a machine. Called by the worker that has the stream's batch."""

    def __init__(self, machine: LiveMachine, recorder: MachineRecorder, metrics: Metrics, load: Load) -> None:
        """Observe a stream.

        Args:
            machine: machine whose stream it is.
            recorder: recorder of what follows from steps.
            metrics: metrics of the service.
            load: load of the service.
        """
        self._machine = machine
        self._recorder = recorder
        self._metrics = metrics
        self._load = load

    def on_steps(self, stream: LiveStream, steps: list[LiveStep]) -> list[ServerMessage]:
        """Judge steps, measure how late they are, and record them; return the messages for the client."""
        with stage_span("judge", machine_id=self._machine.machine_id, steps=len(steps)):
            messages = self._machine.on_steps(stream, steps)
        for step in steps:
            latency_s = stream.latency_s(step.end_sample)
            if latency_s is not None and stream.form.realtime:
                self._metrics.live.latency(latency_s)
                if not stream.catching_up:
                    self._load.on_score(latency_s)
        self._recorder.on_steps(self._machine, stream, steps)
        return messages

    def on_audio(self, stream: LiveStream, start: int, mono: Float32) -> None:
        """Give the sound to the calibration that collects it, and forget what is old enough."""
        self._recorder.on_audio(self._machine, stream, start)
        collector = self._machine.collector
        if collector is not None:
            collector.push(mono, stream.clock.start_of(start) if _is_dated(stream, start) else None)

    def on_note(self, stream: LiveStream, note: Note) -> None:
        """Say that the times of the stream are counted anew."""
        machine_id = self._machine.machine_id
        self._metrics.live.redated(machine_id, note)
        sound_at = utc_text(stream.time_of(stream.accepted))
        _log.warning("times of sound counted anew", machine_id=machine_id, why=note, sound_at=sound_at)

    def on_cpu_time(self, stream: LiveStream, seconds: float) -> None:
        """Count the processor time of a batch of a stream in time."""
        if not stream.catching_up:
            self._load.on_cpu_time(seconds)

    def on_item(self, stream: LiveStream, item: Gap | Overflow | ClockReading | Elsewhere) -> None:
        """Count samples that never came, and give the item to the calibration that collects."""
        collector = self._machine.collector
        if isinstance(item, Gap):
            self._count_lost(stream, item.samples)
        if collector is None:
            return
        if isinstance(item, Gap):
            collector.gap(item.samples)
        elif isinstance(item, Overflow):
            collector.overflow(item.count)
        elif isinstance(item, Elsewhere):
            collector.elsewhere(item.alive)
        else:
            collector.clock(item.sample, item.time_s)

    def _count_lost(self, stream: LiveStream, samples: int) -> None:
        rate_hz, model = stream.form.rate_hz, self._machine.model
        windows = 0 if model is None else model.windows_in(samples, rate_hz)
        self._metrics.live.gap(self._machine.machine_id, samples / rate_hz, windows)


def _is_dated(stream: LiveStream, sample: int) -> bool:
    """Return True if it is known when a sample was recorded; else it fills a plan in the time of its samples."""
    source = stream.clock.source_of(sample)
    if stream.join_s is not None:
        return source != "assumed"
    return source == "said" or (source == "arrival" and stream.form.realtime)
