"""Player of many streams in one thread, which measures how late it is itself."""

from __future__ import annotations

import heapq
import random
import selectors
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Final

from humwatch_capacity.microphone import SimulatedMicrophone
from humwatch_capacity.playback import Playback
from humwatch_capacity.played_sound import PlayedSound
from humwatch_capacity.score_ledger import ScoreLedger, StepGrid, Tally
from humwatch_capacity.websocket import WebSocketConnection

MESSAGE_S: Final = 0.25
"""Sound of a message."""
LONGEST_WAIT_S: Final = 0.05
"""Between looks at whether it should stop."""
TICK_S: Final = 0.004
"""Shortest time between looks at the sockets: hundreds of streams are served at a time, not one by one."""


class Player:
    """Microphones, and the loop that serves them. It belongs to one thread.

    Attributes:
        microphones: all that were ever added.
        lags_s: lateness of each waking, seconds; cleared by the reader.
    """

    def __init__(self) -> None:
        self.microphones: list[SimulatedMicrophone] = []
        self.lags_s: list[float] = []
        self._selector = selectors.DefaultSelector()
        self._watched: dict[SimulatedMicrophone, tuple[WebSocketConnection, int]] = {}
        self._timers: list[tuple[float, int, SimulatedMicrophone]] = []
        self._timer_of: dict[SimulatedMicrophone, float | None] = {}
        self._numbers = count()

    def add(self, microphones: Iterable[SimulatedMicrophone]) -> None:
        """Serve these, too."""
        for microphone in microphones:
            self.microphones.append(microphone)
            self._settle(microphone)

    def play(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Play for so long, or until something is so."""
        end_s = time.monotonic() + seconds
        while (now_s := time.monotonic()) < end_s and not until():
            self._wake(now_s)
            next_s = min(end_s, self._timers[0][0] if self._timers else end_s)
            wait_s = min(LONGEST_WAIT_S, next_s - time.monotonic())
            ready = self._selector.select(max(0.0, wait_s))
            for key, events in ready:
                microphone: SimulatedMicrophone = key.data
                microphone.on_events(events, time.monotonic())
                self._settle(microphone)
            time.sleep(max(0.0, min(now_s + TICK_S, end_s) - time.monotonic()))

    def settled_until(self, moment_s: float) -> bool:
        """Return whether every score that was due before a moment came or is lost; none is of a stream never taken."""
        return all(microphone.ledger.next_due_s >= moment_s for microphone in self.microphones)

    def finish(self, seconds: float) -> None:
        """Let all streams say goodbye, for so long at most; then hang up."""
        for microphone in self.microphones:
            microphone.finish()
            self._settle(microphone)
        self.play(seconds, until=lambda: all(microphone.state == "over" for microphone in self.microphones))
        self.hang_up(self.microphones)

    def hang_up(self, microphones: Iterable[SimulatedMicrophone]) -> None:
        """End these at once."""
        for microphone in microphones:
            microphone.hang_up()
            self._settle(microphone)

    def close(self) -> None:
        """End everything."""
        self.hang_up(self.microphones)
        self._selector.close()

    def _wake(self, now_s: float) -> None:
        while self._timers and self._timers[0][0] <= now_s:
            due_s, _, microphone = heapq.heappop(self._timers)
            if self._timer_of.get(microphone) != due_s:
                continue  # it was set to another time since
            self._timer_of[microphone] = None
            now_s = time.monotonic()
            self.lags_s.append(now_s - due_s)
            microphone.wake(now_s)
            if microphone.wake_s is not None and microphone.wake_s <= now_s:
                microphone.wake_s = time.monotonic()  # others that are due come first
            self._settle(microphone)
            if microphone.wake_s is not None and microphone.wake_s <= now_s:
                return

    def _settle(self, microphone: SimulatedMicrophone) -> None:
        """Watch the events that a microphone wants, and set its timer."""
        self._watch(microphone)
        if microphone.wake_s is not None and self._timer_of.get(microphone) != microphone.wake_s:
            heapq.heappush(self._timers, (microphone.wake_s, next(self._numbers), microphone))
        self._timer_of[microphone] = microphone.wake_s

    def _watch(self, microphone: SimulatedMicrophone) -> None:
        connection = microphone.connection
        wanted = None if connection is None else (connection, microphone.events)
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
    port: int,
    machine_ids: Sequence[str],
    sound: PlayedSound,
    grid: StepGrid,
    tally: Tally,
    *,
    seed: int,
    message_s: float = MESSAGE_S,
) -> list[SimulatedMicrophone]:
    """Return a microphone for each machine, each from another moment of the sound and at a random phase of its steps.

    Without the phases all streams would have their steps scored at the same moments, which microphones that were
    switched on by hand do not.

    Args:
        port: port of the service, on 127.0.0.1.
        machine_ids: ids of the machines.
        sound: sound to play.
        grid: steps at which scores are due.
        tally: tally that scores are added to.
        seed: seed of all that is random.
        message_s: sound of a message, seconds.
    """
    chance = random.Random(seed)
    now_s = time.monotonic()
    step_s = grid.step_samples / sound.rate_hz
    total = len(machine_ids)
    playbacks = [Playback(sound, sound.samples * number // total, message_s) for number in range(total)]
    return [
        SimulatedMicrophone(
            port,
            machine_id,
            playback,
            ScoreLedger(grid, tally, rate_hz=sound.rate_hz, chunk_samples=playback.message_samples),
            start_s=now_s + chance.uniform(0.0, step_s),
            chance=random.Random(chance.getrandbits(64)),
        )
        for machine_id, playback in zip(machine_ids, playbacks, strict=True)
    ]
