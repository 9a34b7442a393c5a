"""A module in place of ``sounddevice``: cards that come, go and give what a test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any


def card(name: str, *, channels: int = 1, rate_hz: float = 48_000.0) -> dict[str, Any]:
    return {"name": name, "hostapi": 0, "max_input_channels": channels, "default_samplerate": rate_hz}


class FakeStream:
    def __init__(self, sound: FakeSound, **given: Any) -> None:
        self.samplerate: int = given["samplerate"]
        self.channels: int = given["channels"]
        self.dtype: str = given["dtype"]
        self.blocksize: int = given["blocksize"]
        self.active = False
        self.closed = False
        self._sound = sound
        self._callback: Callable[..., None] = given["callback"]

    @property
    def _frame_bytes(self) -> int:
        return int(self.dtype.removeprefix("int")) // 8 * self.channels

    def start(self) -> None:
        self.active = True
        if self._sound.feed is not None:
            threading.Thread(target=self._play, daemon=True).start()

    def abort(self) -> None:
        self.active = False

    def close(self) -> None:
        self.closed = True

    def give(self, data: bytes | bytearray, *, overflow: bool = False) -> None:
        """Call back as PortAudio does."""
        samples = len(data) // self._frame_bytes
        self._callback(data, samples, None, SimpleNamespace(input_overflow=overflow))

    def _play(self) -> None:
        """Give out the sound of the card at ``speed`` times its pace, from its own thread, over and over."""
        feed, size = self._sound.feed, self.blocksize * self._frame_bytes
        assert feed is not None
        at = 0
        while self.active:
            self.give(feed[at : at + size])
            at = (at + size) % (len(feed) - size)
            time.sleep(self.blocksize / self.samplerate / self._sound.speed)


class FakeSound(ModuleType):
    """Attributes: cards, default, streams (opened so far), refuses (why none opens), starts (if PortAudio does)."""

    class PortAudioError(Exception):
        pass

    def __init__(self, cards: list[dict[str, Any]], *, default: int = 0) -> None:
        super().__init__("sounddevice")
        self.cards = cards
        self.default = SimpleNamespace(device=(default, 0))
        self.streams: list[FakeStream] = []
        self.refuses = ""
        self.starts = True
        self.feed: bytes | None = None
        self.speed = 1.0
        self._started = True

    def query_devices(self) -> list[dict[str, Any]]:
        return list(self.cards)

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": "ALSA"}]

    def RawInputStream(self, **given: Any) -> FakeStream:
        if self.refuses or not self._started or given["device"] >= len(self.cards):
            raise self.PortAudioError(self.refuses or "no such device")
        stream = FakeStream(self, **given)
        self.streams.append(stream)
        return stream

    def unplug(self, number: int) -> None:
        del self.cards[number]
        self.streams[-1].active = False

    def _terminate(self) -> None:
        if not self._started:
            raise self.PortAudioError("not initialized")
        self._started = False

    def _initialize(self) -> None:
        if not self.starts:
            raise self.PortAudioError("host error")
        self._started = True
