"""Capture from sound cards: the devices that there are, and their sound as it comes, through unplugging and back."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import queue
import re
import sys
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from humwatch_service.backoff import Backoff
from humwatch_service.errors import SoundDeviceUnavailable
from humwatch_service.protocol.messages import SampleFormat

Bits = Literal[16, 24]
"""Resolutions that a sound card is asked for; one that has fewer fills the rest with zeros."""
NATIVE_FORMATS: Final[dict[Bits, SampleFormat]] = (
    {16: "s16le", 24: "s24le"} if sys.byteorder == "little" else {16: "s16be", 24: "s24be"}
)
"""Formats of this machine's sound cards; PortAudio packs 24 bits."""

BLOCK_S: Final = 0.05
QUEUE_S: Final = 10.0
"""Most sound that waits between the card's thread and the program; beyond it a gap is counted."""

SILENCE_S: Final = 3.0
"""Silence after which a card is gone, whatever it says of itself."""

_POLL_S: Final = 0.02
_HELP: Final = "install PortAudio (Debian, Ubuntu: apt install libportaudio2; macOS: brew install portaudio)"


@dataclass(frozen=True)
class InputDevice:
    """A microphone or line input, as the system names it.

    Attributes:
        number: number of the moment; plugging something in or out changes numbers.
        name: name in the system.
        host_api: part of the system that it is reached through.
        channels: most channels that it gives.
        rate_hz: sample rate that it likes best, Hz.
        default: True if it is taken when none is named.
    """

    number: int
    name: str
    host_api: str
    channels: int
    rate_hz: int
    default: bool


@dataclass(frozen=True)
class Block:
    """Sound from the card's thread.

    Attributes:
        data: frames in the microphone's format, channels interleaved.
        samples: number of frames.
        time_s: arrival of the last frame, monotonic seconds.
        overflows: number of times that the card lost frames before it; nobody knows how many.
        gap_samples: number of frames before it that are known to be lost.
    """

    data: bytes
    samples: int
    time_s: float
    overflows: int = 0
    gap_samples: int = 0


def load_sounddevice() -> Any:
    """Return the module for sound cards. Raises :class:`SoundDeviceUnavailable` where its library is missing."""
    try:
        return importlib.import_module("sounddevice")
    except ImportError as error:
        raise SoundDeviceUnavailable("the Python package sounddevice is not installed") from error
    except OSError as error:
        raise SoundDeviceUnavailable(f"{error}: {_HELP}") from error


def input_devices(sound: Any) -> list[InputDevice]:
    """Return every device with an input. Raises :class:`SoundDeviceUnavailable` where the system cannot say."""
    try:
        apis = [str(api["name"]) for api in sound.query_hostapis()]
        default = int(sound.default.device[0])
        return [
            InputDevice(
                number=number,
                name=str(device["name"]),
                host_api=apis[int(device["hostapi"])],
                channels=int(device["max_input_channels"]),
                rate_hz=round(device["default_samplerate"]),
                default=number == default,
            )
            for number, device in enumerate(sound.query_devices())
            if device["max_input_channels"] > 0
        ]
    except sound.PortAudioError as error:
        raise SoundDeviceUnavailable(f"the sound devices cannot be listed: {error}") from error


def choose_device(devices: list[InputDevice], wanted: str | None) -> InputDevice:
    """Find a device by its number, its name or a part of it that no other has; without any the default one.

    Raises:
        SoundDeviceUnavailable: there is none, or more than one.
    """
    if wanted is None:
        found = [device for device in devices if device.default] or devices[:1]
    elif wanted.isascii() and wanted.isdigit():
        found = [device for device in devices if device.number == int(wanted)]
    else:
        name = wanted.casefold()
        found = [device for device in devices if device.name.casefold() == name]
        found = found or [device for device in devices if name in device.name.casefold()]
    if not found:
        raise SoundDeviceUnavailable(f"there is no input device {wanted or ''}".rstrip() + "; see `humwatch devices`")
    if len({device.host_api for device in found}) < len(found):
        names = "; ".join(f"{device.number}: {device.name}" for device in found)
        raise SoundDeviceUnavailable(f"more than one input device is called {wanted} ({names}): name one by its number")
    return found[0]


class Microphone:
    """One device, opened and closed as often as it must be; its blocks wait in a bounded queue.

    Raises:
        SoundDeviceUnavailable: there is no such device, or it does not take the rate or the channels.
    """

    def __init__(
        self, sound: Any, wanted: str | None, *, rate_hz: int | None = None, channels: int = 1, bits: Bits = 16
    ) -> None:
        self.device = choose_device(input_devices(sound), wanted)
        self.rate_hz = rate_hz or self.device.rate_hz
        self.channels = channels
        self.format = NATIVE_FORMATS[bits]
        self._bits = bits
        self._sound = sound
        self._blocks: queue.Queue[Block] = queue.Queue(maxsize=round(QUEUE_S / BLOCK_S))
        self._overflows = 0
        self._lost_samples = 0
        self._stream: Any = None
        self._last_block_s = 0.0

    def open(self) -> None:
        """Start to listen. Raises :class:`SoundDeviceUnavailable`."""
        try:
            self._stream = self._sound.RawInputStream(
                samplerate=self.rate_hz,
                blocksize=round(self.rate_hz * BLOCK_S),
                device=self.device.number,
                channels=self.channels,
                dtype=f"int{self._bits}",
                callback=self._take,
            )
            self._last_block_s = time.monotonic()
            self._stream.start()
        except (self._sound.PortAudioError, ValueError) as error:
            self.close()
            raise SoundDeviceUnavailable(
                f"{self.device.name} does not open with {self.rate_hz} Hz and {self.channels} channels: {error}"
            ) from error

    def reopen(self) -> None:
        """Look at the devices anew, and open the one of the same name. Raises :class:`SoundDeviceUnavailable`."""
        self.close()
        try:
            # PortAudio lists devices when it starts, and never again.
            with contextlib.suppress(self._sound.PortAudioError):
                self._sound._terminate()
            self._sound._initialize()
        except self._sound.PortAudioError as error:
            raise SoundDeviceUnavailable(f"the sound system does not start: {error}") from error
        self.device = _same_device(input_devices(self._sound), self.device)
        self.open()

    def close(self) -> None:
        """Stop to listen; a device that is gone does not mind."""
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                stream.abort()
                stream.close()
            except self._sound.PortAudioError:
                pass  # what is not there cannot be stopped

    @property
    def gone(self) -> bool:
        """True if nothing comes any more."""
        return self._stream is None or not self._stream.active or time.monotonic() - self._last_block_s > SILENCE_S

    def drain(self) -> list[Block]:
        """Return the blocks that have come since the last call."""
        blocks = []
        while True:
            try:
                blocks.append(self._blocks.get_nowait())
            except queue.Empty:
                return blocks

    def _take(self, data: Any, samples: int, _: Any, status: Any) -> None:
        """Copy a block, on the card's own thread: anything slow here loses sound."""
        self._last_block_s = time.monotonic()
        self._overflows += bool(status.input_overflow)
        try:
            self._blocks.put_nowait(
                Block(bytes(data), samples, self._last_block_s, self._overflows, self._lost_samples)
            )
        except queue.Full:
            self._lost_samples += samples
        else:
            self._overflows = self._lost_samples = 0


async def capture_blocks(
    microphone: Microphone, *, stop: asyncio.Event, on_trouble: Callable[[str], None]
) -> AsyncGenerator[Block, None]:
    """Yield an open microphone's blocks until ``stop``; one that goes away is waited for, and the gap is measured.

    Args:
        microphone: open microphone; it is closed at the end.
        stop: event that ends the capture.
        on_trouble: callback for what happens to the device, in words.
    """
    last_s = time.monotonic()
    was_away = False
    try:
        while not stop.is_set():
            gone = microphone.gone  # asked first: what came before it went is taken below
            for block in microphone.drain():
                yield _with_gap(block, last_s, microphone.rate_hz) if was_away else block
                last_s, was_away = block.time_s, False
            if gone:
                was_away = True
                await _reopen(microphone, stop, on_trouble)
            await asyncio.sleep(_POLL_S)
    finally:
        microphone.close()


async def _reopen(microphone: Microphone, stop: asyncio.Event, on_trouble: Callable[[str], None]) -> None:
    """Try until the device is back, or ``stop``."""
    backoff = Backoff()
    on_trouble(f"{microphone.device.name} gives no sound any more")
    while not stop.is_set():
        try:
            await asyncio.to_thread(microphone.reopen)
        except SoundDeviceUnavailable as error:
            on_trouble(str(error))
        else:
            on_trouble(f"{microphone.device.name} is open again")
            return
        await _pause(backoff.next_s(), stop)


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


def _with_gap(block: Block, last_s: float, rate_hz: int) -> Block:
    """Return the first block after a device was away, with the gap before it: by the clock, nobody counted."""
    away_samples = round((block.time_s - last_s) * rate_hz) - block.samples
    return replace(block, gap_samples=max(away_samples, block.gap_samples, 0))


def _same_device(devices: list[InputDevice], before: InputDevice) -> InputDevice:
    """Return the same device after numbers may have changed. Raises :class:`SoundDeviceUnavailable`."""
    same = [device for device in devices if _stable_name(device) == _stable_name(before)]
    if not same:
        raise SoundDeviceUnavailable(f"{before.name} is not there")
    exact = [device for device in same if device.name == before.name]
    return next((device for device in exact or same if device.number == before.number), (exact or same)[0])


def _stable_name(device: InputDevice) -> tuple[str, str]:
    """Return what of a name stays when a device is plugged in again: ALSA puts the card's number at its end."""
    return device.host_api, re.sub(r"\s*\(hw:\d+,\d+\)$", "", device.name)
