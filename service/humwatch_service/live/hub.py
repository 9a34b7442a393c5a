"""All machines that are listened to: opens streams, follows models, carries out what operators want, and keeps time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from starlette.concurrency import run_in_threadpool

from humwatch.alarm_events import AlarmEvent
from humwatch.errors import AudioRateUnsupported, MachineNotFound
from humwatch.live import LiveModel, LiveMonitor, LiveStep
from humwatch.predictor import Prediction, Predictor
from humwatch.recording import choose_channel
from humwatch_service.errors import ShuttingDown, StateUnusable, StreamOwned, StreamsFull
from humwatch_service.live.evidence_desk import EvidenceDesk
from humwatch_service.live.items import ClockReading, Gap, Overflow, RunSignal, StreamFormat, Swap
from humwatch_service.live.logbook import Logbook
from humwatch_service.live.machine import Collecting, LiveMachine, Reading
from humwatch_service.live.messages import Hello, ServerMessage
from humwatch_service.live.stream import Connection, LiveStream
from humwatch_service.logs import event_logger
from humwatch_service.machines import Fleet, Machine, Machines
from humwatch_service.metrics import Metrics
from humwatch_service.scorer import ScoreJob, Scorer
from humwatch_service.settings import Settings
from humwatch_service.state.evidence import EvidenceFolder
from humwatch_service.state.records import KeptMachine, MachineChange, StreamPosition, alarm_id_of, split_alarm_id
from humwatch_service.state.store import StateStore
from humwatch_service.webhooks.settings import recipients

Float32 = npt.NDArray[np.float32]

FLUSH_S: Final = 10.0
"""Between writes of history and positions: what a power cut takes of them. Alarms are written at once."""
TIDY_S: Final = 600.0
"""Between looks at quotas and retention."""
MAX_AGE_S: Final = 3_600.0
"""Sound may be this old when it comes; what a client says beyond that is its clock's fault."""
CLOSE_S: Final = 3.0
"""Time that a stream gets to score what was taken, when the service stops."""
REWARM_S: Final = 2.0
"""Sound that is asked for again after a restart, beyond one clip: frames and windows take some before the first."""

_log = event_logger("humwatch.live")


@dataclass(frozen=True)
class Opened:
    """A stream that a connection feeds from now on."""

    stream: LiveStream
    resumed: bool


class CountedPredictor:
    """A machine's predictor, with its windows and its time in the metrics."""

    def __init__(self, predictor: Predictor, machine_id: str, metrics: Metrics) -> None:
        self._predictor = predictor
        self._machine_id = machine_id
        self._metrics = metrics

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB."""
        started_s = time.perf_counter()
        prediction = self._predictor.predict(windows)
        self._metrics.stage("live_predict", time.perf_counter() - started_s)
        self._metrics.windows(self._machine_id, len(windows))
        return prediction


class StreamReport:
    """What one stream reports to: its machine, the metrics, and the evidence. Called from workers."""

    def __init__(self, hub: Hub, machine: LiveMachine) -> None:
        self._hub = hub
        self._machine = machine

    def heard(self, stream: LiveStream, steps: list[LiveStep]) -> list[ServerMessage]:
        """Judge steps; return what the client is told."""
        messages = self._machine.heard(stream, steps)
        for step in steps:
            latency_s = stream.latency_s(step.end_sample)
            if latency_s is not None and stream.form.realtime:
                self._hub.metrics.live.latency(latency_s)
        self._hub.heard(stream)
        return messages

    def taken(self, stream: LiveStream, start: int, mono: Float32) -> None:
        """See the sound that is listened to."""
        collector = self._machine.collector
        if collector is not None:
            collector.push(mono)

    def noted(self, stream: LiveStream, item: Gap | Overflow | ClockReading) -> None:
        """Know of samples that never came, and of the source's clock."""
        collector = self._machine.collector
        if isinstance(item, Gap):
            self._hub.lost(self._machine, stream, item.samples)
        if collector is None:
            return
        if isinstance(item, Gap):
            collector.gap(item.samples)
        elif isinstance(item, Overflow):
            collector.overflow(item.count)
        else:
            collector.clock(item.sample, item.time_s)


class Hub:
    """Belongs to the event loop, but for what is said to be called from elsewhere."""

    def __init__(
        self,
        settings: Settings,
        machines: Machines,
        store: StateStore,
        evidence: EvidenceFolder,
        metrics: Metrics,
        scorer: Scorer,
    ) -> None:
        self.settings = settings
        self.store = store
        self.evidence = evidence
        self.metrics = metrics
        self.machines: dict[str, LiveMachine] = {}
        self.on_owed: Callable[[], None] = lambda: None
        self._models = machines
        self._kept: Mapping[str, KeptMachine] | None = None
        self._logbook = Logbook(
            store,
            recipients=lambda machine_id, event: recipients(settings.webhooks, machine_id, event),
            on_events=self._happened,
        )
        self._scorer = scorer
        self._desk = EvidenceDesk(store, evidence, paint=self._paint)
        self._executor = ThreadPoolExecutor(settings.stream_workers, thread_name_prefix="humwatch-live")
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        metrics.live.watch(lambda: self.live, lambda: self.waiting_s, lambda: self.unsaved)

    async def start(self) -> None:
        """Begin to keep time."""
        self._task = asyncio.create_task(self._run())

    @property
    def failure(self) -> str | None:
        """Why alarms cannot be kept, if they cannot."""
        return self._logbook.failure

    @property
    def unsaved(self) -> int:
        """Changes that the disk has not taken yet."""
        return self._logbook.unsaved

    @property
    def waiting_s(self) -> float:
        """Sound that waits to be scored, of all streams."""
        streams = [machine.stream for machine in self.machines.values()]
        return sum(stream.waiting_s for stream in streams if stream is not None)

    @property
    def live(self) -> int:
        """Streams that somebody feeds."""
        return sum(machine.is_fed for machine in self.machines.values())

    def get(self, machine_id: str) -> LiveMachine:
        """A machine that is listened to.

        Raises:
            MachineNotFound, MachineUnavailable, ModelsLoading: it has no model.
            StateUnusable: what is known of it cannot be read.
        """
        machine = self.machines.get(machine_id)
        if machine is not None:
            return machine
        self._models.get(machine_id)
        raise StateUnusable(self._logbook.failure or "the database of alarms has not been read yet")

    def follow_fleet(self, fleet: Fleet) -> None:
        """Take up machines and models that are new, let go of those that are gone."""
        if self._kept is None:
            return
        for machine_id in set(self.machines) - set(fleet.machines):
            if self.machines[machine_id].collector is None:
                self._let_go(self.machines.pop(machine_id))
        for machine_id, loaded in fleet.machines.items():
            machine = self.machines.get(machine_id)
            if machine is None:
                self.machines[machine_id] = self._taken_up(machine_id, self._model(loaded))
            elif machine.model is None or machine.model.bundle.digest != loaded.digest:
                self._swap(machine, self._model(loaded))
        self.metrics.live.follow(self.machines)

    async def open(self, machine: LiveMachine, hello: Hello, connection: Connection) -> Opened:
        """Let a connection feed a stream: the one that it names and that is there, or a new one.

        Raises:
            StreamOwned: another stream is live for the machine.
            StreamsFull, ShuttingDown: not now.
            AudioRateUnsupported, AudioChannelMissing: the format cannot be heard.
        """
        async with machine.opening:
            form = self._format(machine, hello)
            if self._stopping:
                raise ShuttingDown("the service is stopping")
            stream = machine.stream
            if stream is not None and stream.form == form and not stream.ended:
                if stream.connection is not None:
                    stream.connection.evict(StreamOwned("the same stream came over another connection"))
                stream.anchor(self._start_time_s(hello, stream.accepted))
                stream.connection = connection
                return Opened(stream, resumed=True)
            await self._make_room(machine)
            machine.stream = stream = self._new_stream(machine, form, hello)
            stream.connection = connection
            return Opened(stream, resumed=stream.heard_until > 0)

    def heard(self, stream: LiveStream) -> None:
        """A stream has new sound; from its worker."""
        self._desk.advance(stream)

    def lost(self, machine: LiveMachine, stream: LiveStream, samples: int) -> None:
        """Count samples that never came; from a worker."""
        model = machine.model
        windows = 0 if model is None else model.windows_in(samples, stream.form.rate_hz)
        self.metrics.live.lost(machine.machine_id, samples / stream.form.rate_hz, windows)

    def overflowed(self, machine: LiveMachine, count: int) -> None:
        """Count samples that a sound card lost."""
        self.metrics.live.overflowed(machine.machine_id, count)

    def collect(self, machine_id: str, collector: Collecting | None) -> None:
        """Give all the sound of a machine, which may have no model yet, to a collector; None: no more.

        Raises:
            StateUnusable: what is known of machines cannot be read.
        """
        if self._kept is None:
            raise StateUnusable(self._logbook.failure or "the database of alarms has not been read yet")
        machine = self.machines.get(machine_id)
        if machine is None:
            machine = self.machines[machine_id] = self._taken_up(machine_id, None)
        machine.collector = collector
        if collector is not None:
            collector.pause(machine.running is False)
        if collector is not None and machine.stream is not None:
            collector.begin(machine.stream.form.rate_hz, 16 if machine.stream.form.integers else 24)
        self.follow_fleet(self._models.fleet)

    async def reload(self) -> Fleet:
        """Read the models folder again; streams go on with what is new. Raises :class:`RepositoryError`."""
        fleet = await run_in_threadpool(self._models.reload)
        self.metrics.follow_fleet(fleet)
        self.follow_fleet(fleet)
        return fleet

    def set_running(self, machine: LiveMachine, running: bool | None, *, who: str, why: str) -> None:
        """Take an explicit signal (blocking); None leaves it to the level again."""
        with machine.lock:
            machine.running = running
            if machine.collector is not None:
                machine.collector.pause(running is False)
            self._logbook.change(
                MachineChange(machine_id=machine.machine_id, snapshot=machine.alarm.snapshot, running=running)
            )
        self.store.note(
            machine.machine_id, "run_signal", at_s=time.time(), who=who, why=why, details={"running": running}
        )
        if machine.stream is not None:
            machine.stream.note_from_anywhere(RunSignal(running))

    def stop_streams(self) -> None:
        """Take no more sound; the service stops."""
        self._stopping = True
        for machine in self.machines.values():
            if machine.stream is not None and machine.stream.connection is not None:
                machine.stream.connection.evict(ShuttingDown("the service is stopping; come back in a moment"))

    async def close(self) -> None:
        """Score and keep what was taken."""
        self.stop_streams()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        streams = [machine.stream for machine in self.machines.values() if machine.stream is not None]
        for stream in streams:
            await stream.abandon(CLOSE_S)
            self._desk.complete(stream)
        await run_in_threadpool(self._close)

    def _close(self) -> None:
        self._executor.shutdown(wait=True)
        self._logbook.flush(self._positions())
        self._desk.close()
        self.store.close()

    async def _run(self) -> None:
        flushed_s = tidied_s = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            try:
                if self._kept is None:
                    await self.restore()
                await run_in_threadpool(self._tick)
                if time.monotonic() - flushed_s >= FLUSH_S:
                    flushed_s = time.monotonic()
                    await run_in_threadpool(self._logbook.flush, self._positions())
                if time.monotonic() - tidied_s >= TIDY_S:
                    tidied_s = time.monotonic()
                    await run_in_threadpool(self._tidy)
            except Exception:  # whatever is wrong with one second, the next one comes
                _log.exception("the clock of the live machines stumbled")

    async def restore(self) -> None:
        """Read what outlived the last run; machines are listened to from then on."""
        try:
            kept = await run_in_threadpool(self._read)
        except StateUnusable as error:
            if self._logbook.failure is None:
                _log.error("alarms cannot be read", code=error.code, reason=str(error))
            self._logbook.failure = str(error)
            return
        self._kept = {machine.machine_id: machine for machine in kept}
        self._logbook.failure = None
        self.follow_fleet(self._models.fleet)

    def _read(self) -> list[KeptMachine]:
        self.store.reconcile_evidence(self.evidence.states())
        return self.store.machines()

    def _tick(self) -> None:
        now_s = time.time()
        for machine in list(self.machines.values()):
            machine.tick(now_s)
            if machine.silent_for(self.settings.no_sound_s):
                machine.not_heard(now_s)
                if machine.stream is not None:
                    self._desk.complete(machine.stream)
        if self._logbook.unsaved:
            self._logbook.flush()

    def _tidy(self) -> None:
        try:
            self.store.prune(time.time())
            active = {
                alarm_id_of(machine.machine_id, machine.alarm.snapshot.active.number)
                for machine in self.machines.values()
                if machine.alarm.snapshot.active is not None
            }
            for alarm_id in self.evidence.enforce(time.time(), active):
                self.store.evidence(alarm_id, "purged")
        except StateUnusable as error:
            _log.error("retention could not be kept", code=error.code, reason=str(error))

    def _positions(self) -> list[tuple[LiveMachine, StreamPosition]]:
        return [(machine, machine.position) for machine in self.machines.values() if machine.position is not None]

    def _happened(self, machine: LiveMachine, events: list[AlarmEvent], step: LiveStep | None) -> None:
        """Events are kept: tell them, and keep the sound of an alarm."""
        self.metrics.live.events(machine.machine_id, events, machine.state)
        for event in events:
            if event.kind == "raised" and event.alarm is not None and step is not None and machine.stream is not None:
                alarm_id = alarm_id_of(machine.machine_id, event.alarm)
                self._desk.begin(machine.stream, alarm_id, step, delay_s=machine.rule.on_delay_s)
        if events:
            self.on_owed()

    def happened(self, machine: LiveMachine, events: list[AlarmEvent], step: LiveStep | None) -> None:
        """Keep events, then tell them; from any thread."""
        self._logbook.happened(machine, events, step)

    def second(self, machine: LiveMachine, reading: Reading) -> None:
        """Keep and show a second; from any thread."""
        self._logbook.second(machine, reading)
        codes = [fault.code for fault in reading.faults]
        self.metrics.live.heard(machine.machine_id, at_s=reading.at_s, level_dbfs=reading.level_dbfs, faults=codes)
        if reading.score is not None and reading.raw_score is not None and machine.state != "unknown":
            self.metrics.judged(machine.machine_id, reading.score, reading.raw_score)

    def _paint(self, alarm_id: str) -> bytes | None:
        """The picture of an alarm's sound, by the machine's model; None where it has none any more."""
        loaded = self._models.fleet.machines.get(split_alarm_id(alarm_id)[0])
        if loaded is None:
            return None
        job = ScoreJob(self.evidence.clip_path(alarm_id), loaded, picture=True)
        return self._scorer.score(job).png

    def _format(self, machine: LiveMachine, hello: Hello) -> StreamFormat:
        settings = self.settings
        if not settings.min_rate_hz <= hello.rate_hz <= settings.max_rate_hz:
            raise AudioRateUnsupported(
                f"{hello.rate_hz} Hz; {settings.min_rate_hz} to {settings.max_rate_hz} Hz are taken"
            )
        default = machine.model.bundle.manifest.channel if machine.model is not None else 0
        return StreamFormat(
            stream_id=hello.stream_id or "",
            rate_hz=hello.rate_hz,
            channels=hello.channels,
            channel=choose_channel(hello.channels, hello.channel, default),
            integers=hello.format != "f32le",
            realtime=hello.realtime,
        )

    async def _make_room(self, machine: LiveMachine) -> None:
        """End the stream that the machine has, if it may be ended."""
        stream = machine.stream
        if stream is None or stream.ended:
            if self.live >= self.settings.max_streams:
                raise StreamsFull(f"{self.live} streams are live, as many as the service takes")
            return
        if stream.connection is not None:
            if self.settings.stream_owner == "first":
                raise StreamOwned(f"{machine.machine_id} is fed by another stream")
            stream.connection.evict(StreamOwned("a newer stream took over"))
            stream.connection = None
        await stream.end()
        self._desk.complete(stream)

    def _new_stream(self, machine: LiveMachine, form: StreamFormat, hello: Hello) -> LiveStream:
        first, heard_until = hello.start_sample, 0
        kept = machine.restored
        if kept is not None and (kept.stream_id, kept.rate_hz) == (form.stream_id, form.rate_hz):
            heard_until = kept.next_sample
            again_s = REWARM_S + (machine.model.clip_seconds if machine.model is not None else 0.0)
            first = max(0, heard_until - round(again_s * form.rate_hz))
        machine.restored = None
        stream = LiveStream(
            form,
            StreamReport(self, machine),
            listen_with=self._monitor_of(machine),
            first_sample=first,
            heard_until=heard_until,
            start_time_s=self._start_time_s(hello, first),
            buffer_s=self.settings.stream_buffer_s,
            executor=self._executor,
        )
        if machine.model is not None:
            stream.note(Swap(machine.model))
        if machine.collector is not None:
            machine.collector.begin(form.rate_hz, 16 if form.integers else 24)
        return stream

    def _monitor_of(self, machine: LiveMachine) -> Callable[[LiveStream, LiveModel, int], LiveMonitor]:
        use_level = self.settings.machine(machine.machine_id).run_state == "level"

        def listen_with(stream: LiveStream, model: LiveModel, first_sample: int) -> LiveMonitor:
            return LiveMonitor(
                model,
                source_rate_hz=stream.form.rate_hz,
                first_sample=first_sample,
                heard_until=stream.heard_until,
                time_of=stream.time_of,
                running=machine.running,
                use_level=use_level,
            )

        return listen_with

    def _start_time_s(self, hello: Hello, sample: int) -> float:
        """Wall clock of sample 0: what the client says, unless that cannot be."""
        now_s = time.time()
        said = hello.start_time_s
        if said is not None and now_s - MAX_AGE_S <= said + sample / hello.rate_hz <= now_s + 1.0:
            return said
        return now_s - sample / hello.rate_hz

    def _model(self, machine: Machine) -> LiveModel:
        return LiveModel(machine.bundle, CountedPredictor(machine.predictor, machine.manifest.machine_id, self.metrics))

    def _taken_up(self, machine_id: str, model: LiveModel | None) -> LiveMachine:
        kept = (self._kept or {}).get(machine_id)
        return LiveMachine(
            machine_id,
            self,
            rule=self.settings.machine(machine_id).alarm,
            model=model,
            snapshot=None if kept is None else kept.snapshot,
            running=None if kept is None else kept.running,
            restored=None if kept is None else kept.position,
        )

    def _swap(self, machine: LiveMachine, model: LiveModel) -> None:
        machine.model = model
        if machine.stream is not None and not machine.stream.ended:
            machine.stream.note_from_anywhere(Swap(model))

    def _let_go(self, machine: LiveMachine) -> None:
        if machine.stream is not None and machine.stream.connection is not None:
            machine.stream.connection.evict(MachineNotFound(f"{machine.machine_id} is not there any more"))
