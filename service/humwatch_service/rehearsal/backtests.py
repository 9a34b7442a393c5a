"""Backtests of a running service: one at a time, over what it has kept of a machine, within bounds."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from humwatch.alarm.rule import AlarmRule
from humwatch.live.model import LiveModel
from humwatch_service.config.settings import Settings
from humwatch_service.errors import BacktestRunning
from humwatch_service.models.registry import LoadedModel, ModelRegistry
from humwatch_service.rehearsal.backtest import Contender, backtest
from humwatch_service.rehearsal.backtest_report import Backtest
from humwatch_service.rehearsal.kept_sounds import at_most, kept_history, kept_sounds
from humwatch_service.scoring.queue import CancellationToken, ScoringQueue
from humwatch_service.storage.state_folder import StateFolder

MAX_SOUND_S: Final = 3_600.0
"""Kept sound that is played at most; the newest alarms come first."""
TIMEOUT_S: Final = 300.0
"""Longest time that a backtest may take."""
DAY_S: Final = 86_400.0


class Backtests:
    """Backtests in the threads that score recordings. Belongs to the event loop.

    Args:
        settings: run state of machines.
        registry: models.
        state: what is kept of machines.
        queue: threads that score.
        clock: wall clock, seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        registry: ModelRegistry,
        state: StateFolder,
        queue: ScoringQueue,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._state = state
        self._queue = queue
        self._clock = clock
        self._running: str | None = None

    async def run(
        self,
        machine_id: str,
        *,
        old: str | None,
        new: str,
        rule: AlarmRule,
        days: float,
        gone: Callable[[], Awaitable[None]],
    ) -> Backtest:
        """Play what is kept of a machine through two versions.

        Args:
            machine_id: id of the machine.
            old: version to compare with; None for the one in use.
            new: version to try.
            rule: rule of the new version; the old one has the machine's own.
            days: how far back sound is played.
            gone: coroutine function that returns once the caller has hung up.

        Raises:
            BacktestRunning: one is being run.
            NothingToPlay: nothing is kept that can be played.
            MachineNotFound, MachineUnavailable, ModelsLoading: the machine has no model in use.
            RepositoryError, BundleError, PredictorError: there is no such version, or it fails a check.
            ScoringTimedOut, ShuttingDown, ClientGone, Overloaded: it was ended, or cannot begin.
            StateUnusable: what is kept cannot be read.
        """
        in_use = self._registry.get(machine_id)
        if self._running is not None:
            raise BacktestRunning(f"a backtest of {self._running} is being run; one goes at a time")
        self._running = machine_id

        def job(token: CancellationToken) -> Backtest:
            return self._played(in_use, old or in_use.manifest.version, new, rule, days, token)

        try:
            return await self._queue.run(job, gone, timeout_s=TIMEOUT_S)
        finally:
            self._running = None

    def _played(
        self, in_use: LoadedModel, old: str, new: str, rule: AlarmRule, days: float, token: CancellationToken
    ) -> Backtest:
        machine_id = in_use.manifest.machine_id
        since_s = self._clock() - days * DAY_S
        known = self._settings.machine(machine_id)
        pieces, notes = at_most(kept_sounds(self._state, machine_id, since_s=since_s), MAX_SOUND_S)
        return backtest(
            Contender(self._model(in_use, old), known.alarm),
            Contender(self._model(in_use, new), rule),
            pieces,
            history=kept_history(self._state, machine_id, {old, new}, in_use=in_use.manifest.version, since_s=since_s),
            use_level=known.run_state == "level",
            notes=notes,
            on_played=lambda seconds: token.check(),
        )

    def _model(self, in_use: LoadedModel, version: str) -> LiveModel:
        loaded = in_use
        if version != in_use.manifest.version:
            loaded = self._registry.load(in_use.manifest.machine_id, version)
        return LiveModel(loaded.bundle, loaded.predictor)
