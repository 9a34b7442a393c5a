"""All machines that are listened to: opens streams, follows models, carries out what operators want, and keeps time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from starlette.concurrency import run_in_threadpool

from humwatch.alarm.events import AlarmEvent, Mark
from humwatch.errors import MachineNotFound
from humwatch.live.monitor import LiveModel, LiveStep
from humwatch_service.config.settings import Settings
from humwatch_service.config.webhooks import recipients
from humwatch_service.errors import ShuttingDown, StateUnusable
from humwatch_service.live.admission import Opened, Reception
from humwatch_service.live.evidence_writer import EvidenceDesk
from humwatch_service.live.executor import TurnPool
from humwatch_service.live.gauges import Display
from humwatch_service.live.load import Load
from humwatch_service.live.logbook import Logbook
from humwatch_service.live.machine import Collecting, LiveMachine, Reading, detector_of
from humwatch_service.live.overload_watch import OverloadWatch
from humwatch_service.live.periodic import Chore, Timekeeper
from humwatch_service.live.reference_recorder import NormalWatch
from humwatch_service.live.stream import Connection, LiveStream
from humwatch_service.live.stream_items import RunSignal, Swap
from humwatch_service.live.stream_report import CountedPredictor, StreamReport
from humwatch_service.live.subscriber import Subscriber
from humwatch_service.metrics.registry import Metrics
from humwatch_service.models.registry import Fleet, Machine, Machines
from humwatch_service.protocol.messages import Hello
from humwatch_service.scoring.scorer import ScoreJob, Scorer
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.folder_lock import FolderLock
from humwatch_service.storage.normal_sounds import NormalSounds
from humwatch_service.storage.records import EvidenceState, KeptMachine, MachineChange, alarm_id_of, split_alarm_id
from humwatch_service.storage.store import StateStore
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.telemetry.tracing import Tracing

Float32 = npt.NDArray[np.float32]

FLUSH_S: Final = 10.0
"""Between writes of history and positions: what a power cut takes of them. Alarms are written at once."""
TIDY_S: Final = 600.0
"""Between looks at quotas and retention."""
MEASURE_S: Final = 5.0
"""Between looks at what the metrics show of the disk."""
CLOSE_S: Final = 3.0
"""Time that a stream gets to score what was taken, when the service stops."""

_log = event_logger("humwatch.live")


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
        load: Load,
        tracing: Tracing,
    ) -> None:
        self.settings = settings
        self.store = store
        self.evidence = evidence
        self.metrics = metrics
        self.load = load
        self.machines: dict[str, LiveMachine] = {}
        self.on_owed: Callable[[], None] = lambda: None
        self._models = machines
        self._folder = FolderLock(settings.state_dir)
        self._kept: Mapping[str, KeptMachine] | None = None
        self._logbook = Logbook(
            store,
            recipients=lambda machine_id, event: recipients(settings.webhooks, machine_id, event),
            on_events=self._happened,
        )
        self._scorer = scorer
        self._desk = EvidenceDesk(store, evidence, paint=self._paint)
        self._display = Display(settings, metrics, store, evidence)
        self._turns = TurnPool(settings.stream_workers, around=tracing.turn if tracing.follows_turns else None)
        self._overload = OverloadWatch(load, metrics.live, self._fed)
        self.normal = NormalWatch(NormalSounds(settings.state_dir / "normal"), submit=self._desk.do)
        self._subscribers: list[Subscriber] = []
        self._reception = Reception(
            settings,
            self._turns,
            load,
            report_for=lambda machine: StreamReport(machine, metrics, load, self._desk, self.normal, self._subscribers),
            live=lambda: self.live,
            stream_s=self._stream_s,
            on_end=self._desk.complete,
            on_refusal=lambda refusal: metrics.live.refused(refusal.code),
        )
        self._timekeeper = Timekeeper(
            Chore(0.0, self._restore_if_needed),
            Chore(0.0, self._tick),
            Chore(FLUSH_S, lambda: self._logbook.flush(list(self.machines.values()))),
            Chore(TIDY_S, self._tidy),
            Chore(MEASURE_S, self._display.measure),
        )
        metrics.live.watch(lambda: self.live, lambda: self.waiting_s, lambda: self.unsaved)
        metrics.live.watch_load(load.share, lambda: load.lateness_s, budget_s=settings.stream_latency_s)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell somebody what machines do, from before the first stream on."""
        self._subscribers.append(subscriber)

    async def start(self) -> None:
        """Begin to keep time."""
        self._timekeeper.start()
        self._overload.start()

    def refuse_if_full(self, machine_id: str) -> None:
        """Refuse a stream that there is no room for before its connection is taken.

        Raises:
            StreamsFull, Overloaded, ShuttingDown: not now.
        """
        self._reception.refuse_if_full(self.get(machine_id))

    def _stream_s(self, machine: LiveMachine) -> float:
        loaded = self._models.fleet.machines.get(machine.machine_id)
        return 0.0 if loaded is None else loaded.stream_s

    def unready(self) -> list[str]:
        """Why machines cannot be listened to, or alarms not kept."""
        if self._logbook.failure is not None:
            return [f"alarms cannot be kept: {self._logbook.failure}"]
        return [] if self._kept is not None else ["the database of alarms is being read"]

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
        return len(self._fed())

    def _fed(self) -> list[LiveStream]:
        return [machine.stream for machine in self.machines.values() if machine.is_fed and machine.stream is not None]

    def get(self, machine_id: str) -> LiveMachine:
        """A machine that is listened to.

        Raises:
            MachineNotFound, MachineUnavailable, ModelsLoading: it has no model.
            StateUnusable: what is known of it cannot be read.
        """
        if machine_id not in self.machines:
            self._models.get(machine_id)
            if self._kept is None:
                raise StateUnusable("; ".join(self.unready()))
            self.follow_fleet(self._models.fleet)  # it was read a moment ago
        return self.machines[machine_id]

    def follow_fleet(self, fleet: Fleet) -> None:
        """Take up machines and models that are new, let go of those that are gone."""
        if self._kept is None:
            self.metrics.live.follow(fleet.machines)  # there from the start, and unknown
            return
        for machine_id in set(self.machines) - set(fleet.machines):
            if self.machines[machine_id].collector is None:
                self._let_go(self.machines.pop(machine_id))
        self.metrics.live.follow({*self.machines, *fleet.machines})
        for machine_id, loaded in fleet.machines.items():
            machine = self.machines.get(machine_id)
            if machine is None:
                self._take_up(machine_id, self._model(loaded))
            elif machine.model is None or machine.model.bundle.digest != loaded.digest:
                self._swap(machine, self._model(loaded))

    async def open(self, machine: LiveMachine, hello: Hello, connection: Connection) -> Opened:
        """Let a connection feed a stream; see :meth:`humwatch_service.live.admission.Reception.open`."""
        opened = await self._reception.open(machine, hello, connection)
        self._display.expect(machine)
        return opened

    def overflowed(self, machine: LiveMachine, count: int) -> None:
        """Count samples that a sound card lost."""
        self.metrics.live.overflowed(machine.machine_id, count)

    def collect(self, machine_id: str, collector: Collecting | None) -> None:
        """Give all the sound of a machine, which may have no model yet, to a collector; None: no more.

        Raises:
            StateUnusable: what is known of machines cannot be read.
        """
        if self._kept is None:
            raise StateUnusable("; ".join(self.unready()))
        machine = self.machines.get(machine_id)
        if machine is None:
            self.metrics.live.follow({*self.machines, machine_id})
            machine = self._take_up(machine_id, None)
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
                MachineChange(
                    machine_id=machine.machine_id,
                    snapshot=machine.alarm.snapshot,
                    running=running,
                    signalled=Mark(who=who, at_s=time.time(), why=why),
                )
            )
        if machine.stream is not None:
            machine.stream.note_from_anywhere(RunSignal(running))

    def stop_streams(self) -> None:
        """Take no more sound, and show no more; the service stops."""
        for subscriber in self._subscribers:
            subscriber.close()
        self._reception.close()
        for machine in self.machines.values():
            if machine.stream is not None and machine.stream.connection is not None:
                machine.stream.connection.evict(ShuttingDown("the service is stopping; come back in a moment"))

    async def close(self) -> None:
        """Score and keep what was taken."""
        self.stop_streams()
        await self._overload.close()
        await self._timekeeper.close()
        streams = [machine.stream for machine in self.machines.values() if machine.stream is not None]
        for stream in streams:
            await stream.abandon(CLOSE_S)
            self._desk.complete(stream)
        await run_in_threadpool(self._close)

    def _close(self) -> None:
        self._turns.shutdown(wait=True)
        self._logbook.flush(list(self.machines.values()))
        self._desk.close()
        self.store.close()
        self._folder.release()

    async def _restore_if_needed(self) -> None:
        if self._kept is None:
            await self.restore()

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
        self._folder.acquire()
        self.store.reconcile_evidence(self.evidence.states())
        return self.store.machines()

    def _tick(self) -> None:
        now_s = time.time()
        for machine in list(self.machines.values()):
            machine.tick(now_s)
            if machine.silent_for(self.settings.no_sound_s):
                machine.not_heard(now_s)
                self._display.not_heard(machine)
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
            purged = self.evidence.enforce(time.time(), active)
            self.metrics.state.purged(len(purged))
            for alarm_id in purged:
                self.store.evidence(alarm_id, "purged")
        except StateUnusable as error:
            _log.error("retention could not be kept", code=error.code, reason=str(error))

    def _happened(self, machine: LiveMachine, events: list[AlarmEvent], step: LiveStep | None) -> None:
        """Events are kept: tell them."""
        self._display.happened(machine, events, detector_of(step))
        for subscriber in self._subscribers:
            subscriber.happened(machine, events)
        if events:
            self.on_owed()

    def happened(self, machine: LiveMachine, events: list[AlarmEvent], step: LiveStep | None) -> None:
        """Keep the sound of a new alarm, then events, then tell them; from any thread."""
        evidence: EvidenceState = "none"
        for event in events:
            if event.kind == "raised" and event.alarm is not None and step is not None and machine.stream is not None:
                alarm_id = alarm_id_of(machine.machine_id, event.alarm)
                evidence = self._desk.begin(machine.stream, alarm_id, step, delay_s=machine.rule.on_delay_s)
        self._logbook.happened(machine, events, step, evidence)

    def advanced(self, machine: LiveMachine) -> None:
        """Write history and position now: much was heard since they were; from any thread."""
        self._logbook.advanced(machine)

    def second(self, machine: LiveMachine, reading: Reading) -> None:
        """Keep and show a second; from any thread."""
        self._logbook.second(machine, reading)
        self._display.second(machine, reading)

    def _paint(self, alarm_id: str) -> bytes | None:
        """The picture of an alarm's sound, by the machine's model; None where it has none any more."""
        loaded = self._models.fleet.machines.get(split_alarm_id(alarm_id)[0])
        if loaded is None:
            return None
        job = ScoreJob(self.evidence.clip_path(alarm_id), loaded, picture=True)
        return self._scorer.score(job).png

    def _model(self, machine: Machine) -> LiveModel:
        counted = CountedPredictor(machine.predictor, machine.manifest.machine_id, self.metrics, self.load)
        return LiveModel(machine.bundle, counted)

    def _take_up(self, machine_id: str, model: LiveModel | None) -> LiveMachine:
        kept = (self._kept or {}).get(machine_id)
        machine = self.machines[machine_id] = LiveMachine(
            machine_id,
            self,
            rule=self.settings.machine(machine_id).alarm,
            model=model,
            snapshot=None if kept is None else kept.snapshot,
            running=None if kept is None else kept.running,
            restored=None if kept is None else kept.position,
        )
        self._display.resumed(machine, None if kept is None else kept.heard_s)
        return machine

    def _swap(self, machine: LiveMachine, model: LiveModel) -> None:
        machine.model = model
        self._display.expect(machine)
        if machine.stream is not None and not machine.stream.ended:
            machine.stream.note_from_anywhere(Swap(model))

    def _let_go(self, machine: LiveMachine) -> None:
        """Forget a machine, but for what it needs if it comes back."""
        for subscriber in self._subscribers:
            subscriber.gone(machine.machine_id)
        self.normal.forget(machine.machine_id)
        before = (self._kept or {}).get(machine.machine_id)
        with machine.lock:
            kept = KeptMachine(
                machine_id=machine.machine_id,
                snapshot=machine.alarm.snapshot,
                running=machine.running,
                position=machine.position or machine.restored,
                heard_s=machine.reading.at_s if machine.reading else before.heard_s if before else None,
            )
        self._kept = {**(self._kept or {}), machine.machine_id: kept}
        if machine.stream is not None and machine.stream.connection is not None:
            machine.stream.connection.evict(MachineNotFound(f"{machine.machine_id} is not there any more"))
