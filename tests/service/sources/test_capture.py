"""Microphones, with a module in place of sounddevice that plays what the tests want."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import numpy as np
import pytest

from humwatch_service.errors import SoundDeviceUnavailable
from humwatch_service.sources import capture
from humwatch_service.sources.capture import (
    Block,
    InputDevice,
    Microphone,
    capture_blocks,
    choose_device,
    input_devices,
    load_sounddevice,
)
from tests.sound_cards import FakeSound, card


def test_devices_with_an_input_are_listed() -> None:
    sound = FakeSound([card("Speakers", channels=0), card("USB mic (hw:1,0)"), card("Line", channels=8)], default=2)
    assert input_devices(sound) == [
        InputDevice(1, "USB mic (hw:1,0)", "ALSA", 1, 48_000, False),
        InputDevice(2, "Line", "ALSA", 8, 48_000, True),
    ]


DEVICES = [
    InputDevice(0, "USB mic", "ALSA", 1, 48_000, False),
    InputDevice(3, "USB mic pro", "ALSA", 1, 48_000, False),
    InputDevice(4, "Line", "ALSA", 2, 44_100, True),
    InputDevice(7, "Line", "JACK", 2, 44_100, False),
]


@pytest.mark.parametrize(
    ("wanted", "number"), [(None, 4), ("3", 3), ("usb MIC", 0), ("pro", 3), ("Line", 4), ("line", 4)]
)
def test_a_device_is_found_by_number_name_or_part_of_it(wanted: str | None, number: int) -> None:
    assert choose_device(DEVICES, wanted).number == number


@pytest.mark.parametrize(("wanted", "said"), [("9", "no input device 9"), ("gone", "gone"), ("mic", "more than one")])
def test_a_device_that_is_not_there_or_not_the_only_one_is_named(wanted: str, said: str) -> None:
    devices = [InputDevice(0, "mic a", "ALSA", 1, 1, False), InputDevice(1, "mic b", "ALSA", 1, 1, False)]
    with pytest.raises(SoundDeviceUnavailable, match=said):
        choose_device(devices, wanted)


def test_no_device_at_all() -> None:
    with pytest.raises(SoundDeviceUnavailable, match="there is no input device; see"):
        choose_device([], None)


@pytest.mark.parametrize(
    ("error", "said"), [(OSError("PortAudio library not found"), "libportaudio2"), (ImportError("x"), "not installed")]
)
def test_a_missing_library_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fails(name: str) -> Any:
        assert name == "sounddevice"
        raise error

    monkeypatch.setattr(capture.importlib, "import_module", fails)
    with pytest.raises(SoundDeviceUnavailable, match=said):
        load_sounddevice()


def test_the_module_is_imported_only_when_it_is_needed() -> None:
    assert "sounddevice" not in sys.modules or isinstance(sys.modules["sounddevice"], FakeSound)


def test_a_microphone_takes_the_rate_that_the_device_likes() -> None:
    sound = FakeSound([card("mic", rate_hz=44_100)])
    microphone = Microphone(sound, None)
    microphone.open()
    stream = sound.streams[-1]
    assert (stream.samplerate, stream.channels, stream.dtype, stream.blocksize) == (44_100, 1, "int16", 2_205)
    assert not microphone.gone
    microphone.close()
    assert stream.closed
    assert microphone.gone


def test_what_the_device_does_not_take_is_named() -> None:
    sound = FakeSound([card("mic")])
    sound.refuses = "Invalid sample rate"
    with pytest.raises(SoundDeviceUnavailable, match=r"mic does not open with 12345 Hz .*Invalid sample rate"):
        Microphone(sound, "mic", rate_hz=12_345).open()


def test_blocks_are_copied_with_overflows_where_they_were() -> None:
    sound = FakeSound([card("mic")])
    microphone = Microphone(sound, None, channels=2)
    microphone.open()
    stream = sound.streams[-1]
    samples = np.arange(20, dtype=np.int16)
    buffer = bytearray(samples.tobytes())
    stream.give(buffer)
    stream.give(buffer, overflow=True)
    buffer[:] = bytes(len(buffer))
    first, second = microphone.drain()
    assert (first.data, first.samples, first.overflows) == (samples.tobytes(), 10, 0)
    assert (second.data, second.overflows) == (samples.tobytes(), 1)
    assert microphone.drain() == []


def test_what_nobody_fetches_is_a_gap_of_its_size() -> None:
    sound = FakeSound([card("mic")])
    microphone = Microphone(sound, None)
    microphone.open()
    for _ in range(203):
        sound.streams[-1].give(bytes(200))
    assert sum(block.samples for block in microphone.drain()) == 200 * 100
    sound.streams[-1].give(bytes(200))
    assert [block.gap_samples for block in microphone.drain()] == [300]


def test_a_device_that_gives_nothing_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = FakeSound([card("mic")])
    microphone = Microphone(sound, None)
    microphone.open()
    assert not microphone.gone
    monkeypatch.setattr(capture, "SILENCE_S", -1.0)
    assert microphone.gone


async def collect(microphone: Microphone, sound: FakeSound, plan: Any) -> tuple[list[Block], list[str]]:
    stop = asyncio.Event()
    blocks: list[Block] = []
    troubles: list[str] = []

    async def listening() -> None:
        async for block in capture_blocks(microphone, stop=stop, on_trouble=troubles.append):
            blocks.append(block)

    task = asyncio.create_task(listening())
    await plan(blocks, troubles)
    stop.set()
    await asyncio.wait_for(task, 5)
    return blocks, troubles


async def until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_a_device_that_comes_back_goes_on_after_a_gap_as_long_as_it_was_away() -> None:
    sound = FakeSound([card("Intel"), card("USB mic (hw:1,0)")])
    microphone = Microphone(sound, "USB")
    microphone.open()

    async def plan(blocks: list[Block], troubles: list[str]) -> None:
        sound.streams[-1].give(bytes(2 * 2_400))
        await until(lambda: len(blocks) == 1)
        sound.unplug(1)
        await until(lambda: any("is not there" in trouble for trouble in troubles))
        sound.cards.append(card("USB mic (hw:2,0)"))
        sound.cards.insert(0, card("Speakers", channels=0))
        await until(lambda: any("open again" in trouble for trouble in troubles))
        sound.streams[-1].give(bytes(2 * 2_400))
        await until(lambda: len(blocks) == 2)

    blocks, troubles = asyncio.run(collect(microphone, sound, plan))
    first, second = blocks
    assert first.gap_samples == 0
    assert second.gap_samples == max(0, round((second.time_s - first.time_s) * 48_000) - 2_400)
    assert second.gap_samples >= 0
    assert microphone.device.number == 2
    assert troubles[0] == "USB mic (hw:1,0) gives no sound any more"
    assert all(stream.closed for stream in sound.streams)


def test_of_two_of_the_same_name_the_number_decides() -> None:
    sound = FakeSound([card("mic"), card("mic")])
    with pytest.raises(SoundDeviceUnavailable, match="name one by its number"):
        Microphone(sound, "mic")
    microphone = Microphone(sound, "1")
    microphone.open()
    microphone.reopen()
    assert microphone.device.number == 1


def test_a_sound_system_that_does_not_start_is_tried_again() -> None:
    sound = FakeSound([card("mic")])
    microphone = Microphone(sound, None)
    microphone.open()
    sound.starts = False
    for _ in range(2):
        with pytest.raises(SoundDeviceUnavailable, match="does not start"):
            microphone.reopen()
    sound.starts = True
    microphone.reopen()
    assert not microphone.gone


def test_it_stops_while_the_device_is_away() -> None:
    sound = FakeSound([card("mic")])
    microphone = Microphone(sound, None)
    microphone.open()

    async def plan(_: list[Block], troubles: list[str]) -> None:
        sound.unplug(0)
        await until(lambda: len(troubles) >= 3)

    started_s = time.monotonic()
    blocks, _ = asyncio.run(collect(microphone, sound, plan))
    assert blocks == []
    assert time.monotonic() - started_s < 5
