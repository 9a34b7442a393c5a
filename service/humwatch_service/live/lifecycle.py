"""Live part of the service: its parts, made elsewhere, and the order in which they start and stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.concurrency import run_in_threadpool

from humwatch_service.errors import ShuttingDown
from humwatch_service.live.admission import StreamAdmission
from humwatch_service.live.coalescing import Coalescing
from humwatch_service.live.load import Load
from humwatch_service.live.machines import LiveMachines
from humwatch_service.live.overload_watch import OverloadWatch
from humwatch_service.live.periodic import PeriodicTasks
from humwatch_service.live.recorder import MachineRecorder
from humwatch_service.live.session import StreamSession
from humwatch_service.metrics.live import LiveMetrics
from humwatch_service.streams.workers import StreamWorkers

CLOSE_S: Final = 3.0
"""Time that a stream gets to score what was taken, when the service stops."""


@dataclass(frozen=True)
class LiveParts:
    """Parts that follow live sound. Its methods belong to the event loop.

    Attributes:
        machines: machines that there are.
        admission: admission of streams.
        recorder: recorder of what machines do.
        load: load of the service.
        workers: workers that score.
        overload: watch over the load.
        coalescing: rests of the event loop.
        periodic: periodic work.
        metrics: metrics of live streams.
        conclude: callback once no sound comes any more, before what is recorded is closed (blocking).
    """

    machines: LiveMachines
    admission: StreamAdmission
    recorder: MachineRecorder
    load: Load
    workers: StreamWorkers
    overload: OverloadWatch
    coalescing: Coalescing
    periodic: PeriodicTasks
    metrics: LiveMetrics
    conclude: Callable[[], None]

    def start(self) -> None:
        """Begin the work that goes on whether sound comes or not."""
        self.periodic.start()
        self.overload.start()
        self.coalescing.start()

    def session(self, machine_id: str) -> StreamSession:
        """Return the session of a connection that is to feed a machine's stream. Raises as :meth:`LiveMachines.get`."""
        return StreamSession(self.machines.get(machine_id), self.admission, self.metrics)

    def stop_streams(self) -> None:
        """Take no more sound: the service stops."""
        self.admission.close()
        self.machines.disconnect(ShuttingDown("the service is stopping; come back in a moment"))

    async def close(self) -> None:
        """Score and keep what was taken."""
        self.stop_streams()
        self.coalescing.close()
        await self.overload.close()
        await self.periodic.close()
        for stream in self.machines.streams:
            await stream.abandon(CLOSE_S)
            self.recorder.on_stream_end(stream)
        await run_in_threadpool(self._close)

    def _close(self) -> None:
        self.workers.close()
        self.conclude()
        self.recorder.close(self.machines.all())
