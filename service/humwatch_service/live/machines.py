"""Live machines: which there are, and which model each of them uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from starlette.concurrency import run_in_threadpool

from humwatch.errors import HumwatchError, MachineNotFound
from humwatch.live.model import LiveModel
from humwatch_service.config.settings import Settings
from humwatch_service.errors import ModelsLoading, StateUnusable
from humwatch_service.live.gauges import MachineGauges
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.machine_parties import SoundCollector
from humwatch_service.live.recorder import MachineRecorder
from humwatch_service.models.registry import LoadedModel, ModelRegistry, ModelSet
from humwatch_service.storage.records import KeptMachine
from humwatch_service.streams.stream import LiveStream


class LiveMachines:
    """All live machines. Belongs to the event loop, but for ``tick``; its properties may be read from any thread.

    There are none before what outlived the last run is read.

    Attributes:
        on_models: callback after machines follow a set of models.
        on_restored: callback for the end of the last sound before a restart, of all machines, seconds since 1970; None:
            there was none.
    """

    def __init__(
        self,
        settings: Settings,
        models: ModelRegistry,
        recorder: MachineRecorder,
        gauges: MachineGauges,
        *,
        make_model: Callable[[LoadedModel], LiveModel],
    ) -> None:
        """Begin without machines.

        Args:
            settings: rules of machines.
            models: models that are loaded.
            recorder: recorder of what machines do.
            gauges: metrics of machines.
            make_model: maker of the model of a live stream.
        """
        self._settings = settings
        self._models = models
        self._recorder = recorder
        self._gauges = gauges
        self._make_model = make_model
        self._machines: dict[str, LiveMachine] = {}
        self._kept: Mapping[str, KeptMachine] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._awaited: frozenset[str] = frozenset()
        self.on_models: Callable[[ModelSet], None] = lambda current: None
        self.on_restored: Callable[[float | None], None] = lambda heard_s: None

    @property
    def by_id(self) -> Mapping[str, LiveMachine]:
        """Machines by their ids, as they are at every moment."""
        return self._machines

    @property
    def streams(self) -> list[LiveStream]:
        """Streams of all machines, also those that no connection feeds now."""
        return [machine.stream for machine in self.all() if machine.stream is not None]

    @property
    def fed(self) -> list[LiveStream]:
        """Streams that connections feed."""
        return [machine.stream for machine in self.all() if machine.is_fed and machine.stream is not None]

    @property
    def waiting_s(self) -> float:
        """Sound of all streams that waits to be scored, seconds."""
        return sum(stream.waiting_s for stream in self.streams)

    def all(self) -> list[LiveMachine]:
        """Return the machines of this moment."""
        return list(self._machines.values())

    def get(self, machine_id: str) -> LiveMachine:
        """Return a machine, for sound to come or an operator's command.

        Raises:
            MachineNotFound, MachineUnavailable, ModelsLoading: it has no model, or is not taken up yet.
            StateUnusable: what is known of it cannot be read.
        """
        if machine_id not in self._machines:
            if machine_id in self._awaited and machine_id not in self._models.current.models:
                raise ModelsLoading("its commissioning is being taken up; ask again in a moment")
            self._models.get(machine_id)
            self._refuse_if_unread()
            self.follow_models(self._models.current)  # it was read a moment ago
        return self._machines[machine_id]

    def unready(self) -> list[str]:
        """Return the reasons why machines cannot be followed, or alarms not kept."""
        if self._recorder.failure is not None:
            return [f"alarms cannot be kept: {self._recorder.failure}"]
        return [] if self._kept is not None else ["the database of alarms is being read"]

    async def restore(self) -> None:
        """Read what outlived the last run, unless it was read; there are machines from then on."""
        if self._kept is not None:
            return
        kept = await run_in_threadpool(self._recorder.open)
        if kept is not None:
            heard = [machine.heard_s for machine in kept if machine.heard_s is not None]
            self.on_restored(max(heard, default=None))
            self._kept = {machine.machine_id: machine for machine in kept}
            self.follow_models(self._models.current)

    async def reload(self) -> ModelSet:
        """Read the models folder again; streams go on with what is new. Raises :class:`RepositoryError`."""
        current = await run_in_threadpool(self._models.reload)
        self._gauges.follow_models(current)
        self.follow_models(current)
        return current

    def follow_models(self, current: ModelSet) -> None:
        """Take up machines and models that are new, let go of those that are gone."""
        if self._kept is None:
            self._gauges.follow(current.models)  # there from the start, and unknown
            return
        for machine_id in set(self._machines) - set(current.models):
            if self._machines[machine_id].collector is None:
                self._let_go(self._machines.pop(machine_id))
        self._gauges.follow({*self._machines, *current.models})
        for machine_id, loaded in current.models.items():
            machine = self._machines.get(machine_id)
            if machine is None:
                self._take_up(machine_id, self._make_model(loaded))
            elif machine.model is None or machine.model.bundle.digest != loaded.digest:
                machine.swap(self._make_model(loaded))
                self._gauges.expect(machine)
        self.on_models(current)

    def collect(self, machine_id: str, collector: SoundCollector | None) -> None:
        """Give all the sound of a machine, which may have no model yet, to a collector; None: no more.

        Raises:
            StateUnusable: what is known of machines cannot be read.
        """
        self._refuse_if_unread()
        machine = self._machines.get(machine_id)
        if machine is None:
            self._gauges.follow({*self._machines, machine_id})
            machine = self._take_up(machine_id, None)
        machine.collect(collector)
        self.follow_models(self._models.current)

    def expect(self, machine_ids: Iterable[str]) -> None:
        """Have machines come later that may have no model: whoever asks for one has to ask again until then."""
        self._awaited = frozenset(machine_ids)

    def alarm_in_force(self, machine_id: str) -> bool:
        """Return True while an alarm of the machine is in force."""
        machine = self._machines.get(machine_id)
        return machine is not None and machine.alarm.snapshot.active is not None

    def tick(self) -> None:
        """Let shelves end, take machines without sound for unknown, and write what waits (blocking)."""
        now_s = time.time()
        for machine in self.all():
            machine.tick(now_s)
            if machine.silent_for(self._settings.no_sound_s):
                machine.on_silence(now_s)
                self._recorder.on_silence(machine)
        self._recorder.retry()

    def disconnect(self, reason: HumwatchError) -> None:
        """End all connections that feed streams."""
        for machine in self.all():
            machine.disconnect(reason)

    def _refuse_if_unread(self) -> None:
        if self._kept is None:
            raise StateUnusable("; ".join(self.unready()))

    def _take_up(self, machine_id: str, model: LiveModel | None) -> LiveMachine:
        kept = (self._kept or {}).get(machine_id)
        machine = self._machines[machine_id] = LiveMachine(
            machine_id,
            self._recorder,
            rule=self._settings.machine(machine_id).alarm,
            model=model,
            snapshot=None if kept is None else kept.snapshot,
            running=None if kept is None else kept.running,
            restored=None if kept is None else kept.position,
        )
        machine.alarm_late_s = 0.0 if kept is None else kept.alarm_late_s
        self._gauges.on_resume(machine, None if kept is None else kept.heard_s)
        return machine

    def _let_go(self, machine: LiveMachine) -> None:
        """Forget a machine, but for what it needs if it comes back."""
        self._recorder.on_gone(machine.machine_id)
        before = (self._kept or {}).get(machine.machine_id)
        with machine.lock:
            kept = KeptMachine(
                machine_id=machine.machine_id,
                snapshot=machine.alarm.snapshot,
                running=machine.running,
                position=machine.position or machine.restored,
                alarm_late_s=machine.alarm_late_s,
                heard_s=machine.reading.at_s if machine.reading else before.heard_s if before else None,
            )
        self._kept = {**(self._kept or {}), machine.machine_id: kept}
        machine.disconnect(MachineNotFound(f"{machine.machine_id} is not there any more"))
        stream, machine.stream = machine.stream, None
        if stream is not None:
            ending = asyncio.get_running_loop().create_task(self._end(stream))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _end(self, stream: LiveStream) -> None:
        """Stop a stream whose machine is gone: nobody judges it any more."""
        await stream.abandon(0.0)
        self._recorder.on_stream_end(stream)
