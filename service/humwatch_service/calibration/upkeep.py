"""What commissionings do by themselves: they go on after a restart, and take their steps."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from humwatch.errors import HumwatchError
from humwatch_service.calibration.commissioning import Commissioning
from humwatch_service.calibration.record import CommissioningRecord
from humwatch_service.calibration.running import RunningCommissionings
from humwatch_service.calibration.sound_feed import SoundFeed
from humwatch_service.calibration.starting import CommissioningStarter
from humwatch_service.calibration.steps import CommissioningSteps
from humwatch_service.errors import StateUnusable
from humwatch_service.models.registry import ModelRegistry
from humwatch_service.storage.commissionings import CommissioningFolder
from humwatch_service.telemetry.logs import event_logger

LOOK_EVERY_S: Final = 1.0

_log = event_logger("humwatch.calibration")


class CommissioningUpkeep:
    """Upkeep of the commissionings that go on. Its methods belong to the event loop.

    Args:
        running: those that go on.
        starter: maker of commissionings.
        steps: steps that they take by themselves.
        registry: models in use.
        live: source of the sound.
        folder: what is known of commissionings, and their minutes.
    """

    def __init__(
        self,
        running: RunningCommissionings,
        starter: CommissioningStarter,
        steps: CommissioningSteps,
        registry: ModelRegistry,
        live: SoundFeed,
        folder: CommissioningFolder,
    ) -> None:
        self._running = running
        self._starter = starter
        self._steps = steps
        self._registry = registry
        self._live = live
        self._folder = folder
        self._set_by_s: deque[float] = deque(maxlen=1_000)

    def on_clock_set(self, seconds: float) -> None:
        """Know that the clock was set by so many seconds; from any thread."""
        self._set_by_s.append(seconds)

    async def run(self) -> None:
        """Take up what was going on before a restart, and do what is due, until cancelled."""
        while True:
            try:
                await self.restore()
                await self.advance()
            except HumwatchError as error:
                _log.warning("commissionings wait", code=error.code, reason=str(error))
            except Exception:  # whatever is wrong with one time, the next one comes
                _log.exception("a commissioning failed")
            await asyncio.sleep(LOOK_EVERY_S)

    async def begin(self) -> None:
        """Take up what was going on before a restart, if that can be read now; else ``run`` tries it again."""
        try:
            await self.restore()
        except HumwatchError as error:
            _log.warning("commissionings wait", code=error.code, reason=str(error))

    async def announce(self) -> None:
        """Say whose commissionings will be taken up, before the models are known."""
        try:
            self._live.expect(await run_in_threadpool(self._folder.records))
        except StateUnusable as error:
            _log.warning("commissionings wait", code=error.code, reason=str(error))

    async def restore(self) -> None:
        """Take up what was going on before a restart, once models and machines are known.

        Raises:
            StateUnusable: the disk cannot be read, or what is known of machines is not.
        """
        async with self._running.changing:
            if self._running.restored or not self._registry.loaded:
                return
            for machine_id, content in (await run_in_threadpool(self._folder.records)).items():
                if machine_id not in self._running:
                    await self._take_up(machine_id, content)
            self._running.restored = True
            self._live.expect(())

    async def advance(self) -> None:
        """Keep minutes, and do what is due for each commissioning: make a version, use it, or end."""
        set_by_s = sum(self._set_by_s.popleft() for _ in range(len(self._set_by_s)))
        for running in self._running:
            async with self._running.changing:
                if not self._running.has(running):
                    continue
                try:
                    await run_in_threadpool(_follow_clock, running, set_by_s)
                    last = await self._steps.step(running)
                    if last is not None:
                        await self._running.complete(running, last)
                    running.trouble = running.fit_trouble
                except (HumwatchError, OSError) as error:
                    if running.trouble != str(error):
                        _log.warning("a commissioning waits", machine_id=running.machine_id, reason=str(error))
                    running.trouble = str(error)

    async def close(self) -> None:
        """Keep the minutes that are settled: the service stops."""
        async with self._running.changing:
            for running in self._running:
                try:
                    await run_in_threadpool(running.save, running.collector.settled())
                except HumwatchError as error:
                    _log.warning("minutes not kept", machine_id=running.machine_id, reason=str(error))

    async def _take_up(self, machine_id: str, content: bytes) -> None:
        """Go on with a commissioning that is on the disk; one that cannot is named in the log, and stays there."""
        try:
            record = CommissioningRecord.model_validate_json(content)
            running = await run_in_threadpool(self._starter.resumed, record)
        except (ValidationError, HumwatchError) as error:
            _log.error("a commissioning cannot go on", machine_id=machine_id, reason=str(error))
            return
        self._running.take_up(running)
        _log.info("a commissioning goes on", machine_id=machine_id, minutes=len(running.times))


def _follow_clock(running: Commissioning, set_by_s: float) -> None:
    if set_by_s:
        running.on_clock_set(set_by_s)
    running.leave_the_future()
