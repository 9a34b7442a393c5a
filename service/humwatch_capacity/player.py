"""Plays to many streams from one thread, and knows how late it is itself."""

from __future__ import annotations

import heapq
import random
import selectors
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Final

from humwatch_capacity.microphone import CHUNK_S, Microphone
from humwatch_capacity.played_sound import PlayedSound
from humwatch_capacity.score_ledger import ScoreLedger, StepGrid, Tally
from humwatch_capacity.wire import Wire

LONGEST_WAIT_S: Final = 0.05
"""Between looks at whether it should stop."""


class Player:
    """Microphones, and the loop that serves them. It belongs to one thread.

    Attributes:
        microphones: all that were ever added.
        lags_s: how late each waking was; whoever reads them clears them.
    """

    def __init__(self) -> None:
        self.microphones: list[Microphone] = []
        self.lags_s: list[float] = []
        self._selector = selectors.DefaultSelector()
        self._watched: dict[Microphone, tuple[Wire, int]] = {}
        self._alarms: list[tuple[float, int, Microphone]] = []
        self._set: dict[Microphone, float | None] = {}
        self._numbers = count()

    def add(self, microphones: Iterable[Microphone]) -> None:
        """Serve these, too."""
        for microphone in microphones:
            self.microphones.append(microphone)
            self._settle(microphone)

    def play(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Play for so long, or until something is so."""
        end_s = time.monotonic() + seconds
        while (now_s := time.monotonic()) < end_s and not until():
            self._wake(now_s)
            next_s = min(end_s, self._alarms[0][0] if self._alarms else end_s)
            wait_s = min(LONGEST_WAIT_S, next_s - time.monotonic())
            for key, events in self._selector.select(max(0.0, wait_s)):
                microphone: Microphone = key.data
                microphone.ready(events, time.monotonic())
                self._settle(microphone)

    def told_until(self, moment_s: float) -> bool:
        """Whether every score came, or is lost, that was due before a moment; none is of a stream never taken."""
        return all(microphone.ledger.next_due_s >= moment_s for microphone in self.microphones)

    def finish(self, seconds: float) -> None:
        """Let all streams say goodbye, for so long at most; then hang up."""
        for microphone in self.microphones:
            microphone.finish()
            self._settle(microphone)
        self.play(seconds, until=lambda: all(microphone.state == "over" for microphone in self.microphones))
        self.hang_up(self.microphones)

    def hang_up(self, microphones: Iterable[Microphone]) -> None:
        """End these at once."""
        for microphone in microphones:
            microphone.hang_up()
            self._settle(microphone)

    def close(self) -> None:
        """End everything."""
        self.hang_up(self.microphones)
        self._selector.close()

    def _wake(self, now_s: float) -> None:
        while self._alarms and self._alarms[0][0] <= now_s:
            due_s, _, microphone = heapq.heappop(self._alarms)
            if self._set.get(microphone) != due_s:
                continue  # it was set to another time since
            self._set[microphone] = None
            now_s = time.monotonic()
            self.lags_s.append(now_s - due_s)
            microphone.wake(now_s)
            if microphone.wake_s is not None and microphone.wake_s <= now_s:
                microphone.wake_s = time.monotonic()  # others that are due have their turn first
            self._settle(microphone)
            if microphone.wake_s is not None and microphone.wake_s <= now_s:
                return

    def _settle(self, microphone: Microphone) -> None:
        """Watch what a microphone wants to be told of, and set its alarm."""
        self._watch(microphone)
        if microphone.wake_s is not None and self._set.get(microphone) != microphone.wake_s:
            heapq.heappush(self._alarms, (microphone.wake_s, next(self._numbers), microphone))
        self._set[microphone] = microphone.wake_s

    def _watch(self, microphone: Microphone) -> None:
        wire = microphone.wire
        wanted = None if wire is None else (wire, microphone.events)
        watched = self._watched.get(microphone)
        if watched == wanted:
            return
        if watched is not None and wanted is not None and watched[0] is wanted[0]:
            self._selector.modify(wanted[0].socket, wanted[1], microphone)
            self._watched[microphone] = wanted
            return
        if watched is not None:
            self._selector.unregister(watched[0].socket)
            del self._watched[microphone]
        if wanted is not None:
            self._selector.register(wanted[0].socket, wanted[1], microphone)
            self._watched[microphone] = wanted


def microphones(
    port: int, machine_ids: Sequence[str], sound: PlayedSound, grid: StepGrid, tally: Tally, *, seed: int
) -> list[Microphone]:
    """A microphone for each machine, each from another moment of the sound on, and at a random phase of its steps.

    Without the phases all streams would have their steps scored at the same moments, which microphones that were
    switched on by hand do not.

    Args:
        port: of the service, on 127.0.0.1.
        machine_ids: of the machines.
        sound: to play.
        grid: where scores are due.
        tally: where scores are noted.
        seed: of all that is random.
    """
    chance = random.Random(seed)
    now_s = time.monotonic()
    step_s = grid.step_samples / sound.rate_hz
    rate_hz, chunk = sound.rate_hz, round(CHUNK_S * sound.rate_hz)
    return [
        Microphone(
            port,
            machine_id,
            sound,
            ScoreLedger(grid, tally, rate_hz=rate_hz, chunk_samples=chunk),
            offset=sound.samples * number // len(machine_ids),
            start_s=now_s + chance.uniform(0.0, step_s),
            chance=random.Random(chance.getrandbits(64)),
        )
        for number, machine_id in enumerate(machine_ids)
    ]
