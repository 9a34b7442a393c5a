"""One stream as a good client feeds it: in real time, resumed after a break, and patient when it is refused."""

from __future__ import annotations

import random
import selectors
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic_core import from_json
from websockets.frames import Close, Opcode
from websockets.http11 import Response

from humwatch_capacity.frames import ServiceFrame
from humwatch_capacity.playback import Playback
from humwatch_capacity.score_ledger import ScoreLedger
from humwatch_capacity.websocket import WebSocketConnection, text_frame
from humwatch_service.backoff import Backoff
from humwatch_service.client.refusal import Refusal, of_close, of_response, unreachable
from humwatch_service.protocol.messages import Hello

MAX_AT_ONCE_S: Final = 5.0
"""Most sound that one stream sends before others may."""
ANSWER_S: Final = 30.0
"""Longest wait for a connection and for the answer to ``hello``."""
SETTLED_S: Final = 10.0
"""A connection that lasted so long was a success: the next waits are short again."""

State = Literal["waiting", "connecting", "asking", "greeting", "live", "ending", "over"]


@dataclass(frozen=True)
class EndedConnection:
    """End of a connection that should not have ended.

    Attributes:
        how: ``http_503`` for an answer to the handshake, ``close_1013`` for a WebSocket's close code, ``no_answer``.
        code: the service's stable code, or ``service_unreachable`` where it said none.
    """

    how: str
    code: str


class SimulatedMicrophone:
    """Client that plays the endless sound from its own moment on; it holds all of it, so that a break loses nothing.

    Sample 0 is taken when the service has said ``ready`` for the first time, and a chunk is due when its last sample
    is. A chunk that the socket does not take waits, and so do those behind it.

    Attributes:
        machine_id: id of the machine whose stream it feeds.
        ledger: ledger of its scores.
        state: state of the connection.
        wake_s: time at which it wants to be woken; None: never.
        admitted: whether the service ever said ``ready``.
        refusals: connections that ended before ``ready``.
        breaks: connections that ended after it.
        machine_state: state of the machine in the service's last message.
        backlog_s: most sound that waited because the service did not read.
    """

    def __init__(
        self,
        port: int,
        machine_id: str,
        playback: Playback,
        ledger: ScoreLedger,
        *,
        start_s: float,
        chance: random.Random,
    ) -> None:
        """Connect at ``start_s``.

        Args:
            port: port of the service, on 127.0.0.1.
            machine_id: id of the machine to feed.
            playback: sound to play.
            ledger: ledger of its scores.
            start_s: time to connect at, of the player's clock.
            chance: source of the jitter between tries.
        """
        self.machine_id = machine_id
        self.ledger = ledger
        self.state: State = "waiting"
        self.wake_s: float | None = start_s
        self.admitted = False
        self.refusals: Counter[EndedConnection] = Counter()
        self.breaks: Counter[EndedConnection] = Counter()
        self.machine_state = "unknown"
        self.backlog_s = 0.0
        self._port = port
        self._stream_id = f"{machine_id}.{chance.getrandbits(32):08x}"
        self._backoff = Backoff(chance=chance)
        self._playback = playback
        self._connection: WebSocketConnection | None = None
        self._since_s = start_s
        self._greeted = False
        self._refusal: Refusal | None = None
        self._how = "no_answer"

    @property
    def connection(self) -> WebSocketConnection | None:
        """The connection, for a selector; None while there is none."""
        return self._connection

    @property
    def events(self) -> int:
        """Events that the selector should wait for."""
        writing = self.state == "connecting" or (self._connection is not None and self._connection.waiting_bytes > 0)
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)

    def wake(self, now_s: float) -> None:
        """Do what is due."""
        if self.state == "waiting":
            self._connect(now_s)
        elif self.state == "live":
            self._play(now_s)
        elif self.state in ("connecting", "asking", "greeting"):
            self._end(unreachable(f"no answer for {ANSWER_S:g} s"), now_s)

    def on_events(self, events: int, now_s: float) -> None:
        """Read or write the connection: the selector found that it can be."""
        connection = self._connection
        if connection is None:
            return
        if self.state == "connecting" and events & selectors.EVENT_WRITE:
            try:
                connection.send_upgrade()
            except OSError as error:
                self._end(unreachable(error), now_s)
                return
            self.state = "asking"
        if events & selectors.EVENT_WRITE:
            connection.flush()
            if self.state == "live":
                self._play(now_s)
        if events & selectors.EVENT_READ:
            self._receive(connection, now_s)

    def finish(self) -> None:
        """Say that nothing more comes; a stream that is not live is over at once."""
        if self.state == "live" and self._connection is not None:
            self.state, self.wake_s = "ending", None
            self._connection.send_text('{"type": "eof"}')
        elif self.state != "ending":
            self.hang_up()

    def hang_up(self) -> None:
        """End it at once, as a cable does that is pulled."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self.state, self.wake_s = None, "over", None

    def _connect(self, now_s: float) -> None:
        self._greeted, self._refusal, self._how = False, None, "no_answer"
        self._since_s = now_s
        try:
            self._connection = WebSocketConnection("127.0.0.1", self._port, f"/v1/machines/{self.machine_id}/stream")
        except OSError as error:
            self._end(unreachable(error), now_s)
            return
        self.state, self.wake_s = "connecting", now_s + ANSWER_S

    def _receive(self, connection: WebSocketConnection, now_s: float) -> None:
        for event in connection.receive():
            if isinstance(event, Response):
                self._on_upgrade(connection, event)
            elif event.opcode == Opcode.TEXT:
                self._on_message(from_json(event.data), now_s)
            elif event.opcode == Opcode.CLOSE:
                self._on_close(event)
            if self.state == "over":
                return
        if self._how != "no_answer" or connection.closed:
            self._end(self._refusal or unreachable("the connection ended"), now_s)

    def _on_upgrade(self, connection: WebSocketConnection, response: Response) -> None:
        if connection.upgraded:
            self.state = "greeting"
            playback = self._playback
            hello = Hello(rate_hz=playback.rate_hz, stream_id=self._stream_id, start_sample=playback.cursor)
            connection.send_text(hello.model_dump_json(exclude_none=True))
        else:
            self._how = f"http_{response.status_code}"
            self._refusal = of_response(response.status_code, response.headers, bytes(response.body))

    def _on_close(self, frame: ServiceFrame) -> None:
        close = Close.parse(frame.data)
        self._how = f"close_{close.code}"
        self._refusal = self._refusal or of_close(close.code, close.reason)

    def _on_message(self, message: dict[str, Any], now_s: float) -> None:
        kind = message["type"]
        self.machine_state = message.get("state", self.machine_state)
        if kind == "score":
            self.ledger.came(message["end_sample"], now_s)
        elif kind == "ready":
            self._begin(message, now_s)
        elif kind == "error":
            self._refusal = Refusal(message["code"], message["detail"], message["retry"], message["retry_after_s"])
        elif kind == "bye":
            self.hang_up()

    def _begin(self, ready: dict[str, Any], now_s: float) -> None:
        """Go on where the service stands."""
        if not self.admitted:
            self._playback.epoch_s = now_s
        if not ready["resumed"]:
            self.ledger.begin(ready["next_sample"], self._playback.epoch_s)
        self.admitted = self._greeted = True
        self._playback.cursor = ready["next_sample"]
        self.state, self._since_s = "live", now_s
        self.wake_s = self._playback.due_s

    def _play(self, now_s: float) -> None:
        """Send the chunks that are due, as far as the service takes them, and once a second when they were taken."""
        connection = self._connection
        if connection is None:
            return
        if not connection.waiting_bytes and (frames := self._due_frames(now_s)):
            connection.send(frames)
        if connection.closed:
            self._end(unreachable("the connection broke"), now_s)
            return
        playback, waiting = self._playback, connection.waiting_bytes
        if waiting:
            unsent_s = max(0.0, now_s - playback.due_s + playback.message_s)
            self.backlog_s = max(self.backlog_s, playback.seconds_of(waiting) + unsent_s)
        self.wake_s = now_s + playback.message_s if waiting else max(now_s, playback.due_s)

    def _due_frames(self, now_s: float) -> bytes:
        playback, frames = self._playback, list[bytes]()
        until_s = min(now_s, playback.due_s + MAX_AT_ONCE_S)
        while (due_s := playback.due_s) <= until_s:
            frames.append(playback.next_frame())
            if playback.begins_second:
                clock = f'{{"type": "clock", "sample": {playback.cursor}, "time_s": {due_s:.6f}}}'
                frames.append(text_frame(clock))
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _end(self, refusal: Refusal, now_s: float) -> None:
        """Count a connection that is gone; try again when it may help, and not before the service wants it."""
        ended = EndedConnection(self._how, refusal.code)
        (self.breaks if self._greeted else self.refusals)[ended] += 1
        if self._greeted and now_s - self._since_s >= SETTLED_S:
            self._backoff.reset()
        stays = refusal.retry and self.state != "ending"
        self.hang_up()
        if stays:
            self.state, self.wake_s = "waiting", now_s + self._backoff.next_s(refusal.retry_after_s)
