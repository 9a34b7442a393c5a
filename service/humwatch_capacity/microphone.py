"""One stream as a good client feeds it: in real time, resumed after a break, and patient when it is refused."""

from __future__ import annotations

import json
import random
import selectors
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal

from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response

from humwatch_capacity.played_sound import PlayedSound
from humwatch_capacity.score_ledger import ScoreLedger
from humwatch_capacity.wire import Wire
from humwatch_service.client.backoff import Backoff
from humwatch_service.client.refusal import Refusal, of_close, of_response, unreachable
from humwatch_service.protocol.messages import Hello

CHUNK_S: Final = 0.1
CHUNKS_A_TURN: Final = 50
"""Most chunks that one stream sends before the others have their turn."""
ANSWER_S: Final = 30.0
"""Longest wait for a connection and for the answer to ``hello``."""
SETTLED_S: Final = 10.0
"""A connection that lasted so long was a success: the next waits are short again."""

State = Literal["waiting", "connecting", "asking", "greeting", "live", "ending", "over"]


@dataclass(frozen=True)
class Ended:
    """How a connection ended that should not have.

    Attributes:
        how: ``http_503`` for an answer to the handshake, ``close_1013`` for a WebSocket's close code, ``no_answer``.
        code: the service's stable code, or ``service_unreachable`` where it said none.
    """

    how: str
    code: str


class Microphone:
    """Plays the endless sound from its own moment on; it holds all of it, so that a break loses nothing.

    Sample 0 is taken when the service has said ``ready`` for the first time, and a chunk is due when its last sample
    is. A chunk that the socket does not take waits, and so do those behind it.

    Attributes:
        machine_id: whose stream it feeds.
        ledger: of its scores.
        state: of the connection.
        wake_s: when it wants to be woken; None: never.
        admitted: whether the service ever said ``ready``.
        refusals: connections that ended before ``ready``.
        breaks: connections that ended after it.
        machine_state: of the machine, as the service told last.
        backlog_s: most sound that waited because the service did not read.
    """

    def __init__(
        self,
        port: int,
        machine_id: str,
        sound: PlayedSound,
        ledger: ScoreLedger,
        *,
        offset: int,
        start_s: float,
        chance: random.Random,
    ) -> None:
        """Connect at ``start_s``.

        Args:
            port: of the service, on 127.0.0.1.
            machine_id: to listen to this.
            sound: to play.
            ledger: of its scores.
            offset: sample of the sound to begin with.
            start_s: of the player's clock.
            chance: for the waits between tries.
        """
        self.machine_id = machine_id
        self.ledger = ledger
        self.state: State = "waiting"
        self.wake_s: float | None = start_s
        self.admitted = False
        self.refusals: Counter[Ended] = Counter()
        self.breaks: Counter[Ended] = Counter()
        self.machine_state = "unknown"
        self.backlog_s = 0.0
        self._port = port
        self._sound = sound
        self._offset = offset
        self._stream_id = f"{machine_id}.{chance.getrandbits(32):08x}"
        self._backoff = Backoff(chance=chance)
        self._chunk = round(CHUNK_S * sound.rate_hz)
        self._wire: Wire | None = None
        self._cursor = 0
        self._epoch_s = 0.0
        self._since_s = start_s
        self._greeted = False
        self._said: Refusal | None = None
        self._how = "no_answer"

    @property
    def wire(self) -> Wire | None:
        """The connection, for a selector; None while there is none."""
        return self._wire

    @property
    def events(self) -> int:
        """What the selector should look for."""
        writing = self.state == "connecting" or (self._wire is not None and self._wire.blocked)
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)

    def wake(self, now_s: float) -> None:
        """Do what is due."""
        if self.state == "waiting":
            self._connect(now_s)
        elif self.state == "live":
            self._play(now_s)
        elif self.state in ("connecting", "asking", "greeting"):
            self._end(unreachable(f"no answer for {ANSWER_S:g} s"), now_s)

    def ready(self, events: int, now_s: float) -> None:
        """The selector found that the connection can be read or written."""
        wire = self._wire
        if wire is None:
            return
        if self.state == "connecting" and events & selectors.EVENT_WRITE:
            try:
                wire.ask()
            except OSError as error:
                self._end(unreachable(error), now_s)
                return
            self.state = "asking"
        if events & selectors.EVENT_WRITE:
            wire.flush()
            if self.state == "live":
                self._play(now_s)
        if events & selectors.EVENT_READ:
            self._receive(wire, now_s)

    def finish(self) -> None:
        """Say that nothing more comes; a stream that is not live is over at once."""
        if self.state == "live" and self._wire is not None:
            self.state, self.wake_s = "ending", None
            self._wire.text('{"type": "eof"}')
        elif self.state != "ending":
            self.hang_up()

    def hang_up(self) -> None:
        """End it at once, as a cable does that is pulled."""
        if self._wire is not None:
            self._wire.close()
        self._wire, self.state, self.wake_s = None, "over", None

    def _connect(self, now_s: float) -> None:
        self._greeted, self._said, self._how = False, None, "no_answer"
        self._since_s = now_s
        try:
            self._wire = Wire("127.0.0.1", self._port, f"/v1/machines/{self.machine_id}/stream")
        except OSError as error:
            self._end(unreachable(error), now_s)
            return
        self.state, self.wake_s = "connecting", now_s + ANSWER_S

    def _receive(self, wire: Wire, now_s: float) -> None:
        for event in wire.receive():
            if isinstance(event, Response):
                self._answered(wire, event)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._told(json.loads(bytes(event.data)), now_s)
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                self._closed(event)
            if self.state == "over":
                return
        if self._how != "no_answer" or wire.closed:
            self._end(self._said or unreachable("the connection ended"), now_s)

    def _answered(self, wire: Wire, response: Response) -> None:
        if wire.upgraded(response):
            self.state = "greeting"
            hello = Hello(rate_hz=self._sound.rate_hz, stream_id=self._stream_id, start_sample=self._cursor)
            wire.text(hello.model_dump_json(exclude_none=True))
        else:
            self._how = f"http_{response.status_code}"
            self._said = of_response(response.status_code, response.headers, bytes(response.body))

    def _closed(self, frame: Frame) -> None:
        close = Close.parse(bytes(frame.data))
        self._how = f"close_{close.code}"
        self._said = self._said or of_close(close.code, close.reason)

    def _told(self, message: dict[str, Any], now_s: float) -> None:
        kind = message["type"]
        self.machine_state = message.get("state", self.machine_state)
        if kind == "score":
            self.ledger.came(message["end_sample"], now_s)
        elif kind == "ready":
            self._begin(message, now_s)
        elif kind == "error":
            self._said = Refusal(message["code"], message["detail"], message["retry"], message["retry_after_s"])
        elif kind == "bye":
            self.hang_up()

    def _begin(self, ready: dict[str, Any], now_s: float) -> None:
        """Go on where the service stands."""
        if not self.admitted:
            self._epoch_s = now_s
        if not ready["resumed"]:
            self.ledger.begin(ready["next_sample"], self._epoch_s)
        self.admitted = self._greeted = True
        self._cursor = ready["next_sample"]
        self.state, self._since_s = "live", now_s
        self.wake_s = self._due_s()

    def _due_s(self) -> float:
        """When the chunk that begins at the cursor, or holds it, is whole."""
        return self._epoch_s + (self._cursor // self._chunk + 1) * self._chunk / self._sound.rate_hz

    def _play(self, now_s: float) -> None:
        """Send the chunks that are due, as far as the service takes them, and once a second when they were taken."""
        wire = self._wire
        if wire is None:
            return
        turns = CHUNKS_A_TURN
        while not (wire.blocked or wire.closed) and (due_s := self._due_s()) <= now_s and turns:
            end = (self._cursor // self._chunk + 1) * self._chunk
            wire.data(self._sound.piece(self._offset + self._cursor, end - self._cursor))
            self._cursor = end
            turns -= 1
            if end % self._sound.rate_hz < self._chunk:
                wire.text(f'{{"type": "clock", "sample": {end}, "time_s": {due_s:.6f}}}')
        if wire.closed:
            self._end(unreachable("the connection broke"), now_s)
            return
        if wire.blocked:
            self.backlog_s = max(self.backlog_s, now_s - self._due_s() + CHUNK_S)
        self.wake_s = now_s + CHUNK_S if wire.blocked else max(now_s, self._due_s())

    def _end(self, refusal: Refusal, now_s: float) -> None:
        """The connection is gone; try again when it may help, and not before the service wants it."""
        ended = Ended(self._how, refusal.code)
        (self.breaks if self._greeted else self.refusals)[ended] += 1
        if self._greeted and now_s - self._since_s >= SETTLED_S:
            self._backoff.reset()
        stays = refusal.retry and self.state != "ending"
        self.hang_up()
        if stays:
            self.state, self.wake_s = "waiting", now_s + self._backoff.next_s(refusal.retry_after_s)
