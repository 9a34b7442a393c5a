"""When a machine's normal sound is kept, without a server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch_service.errors import NormalSoundNotFound
from humwatch_service.live.audio_ring import SoundRing
from humwatch_service.live.reference_recorder import EVERY_S, NormalWatch
from humwatch_service.storage.normal_sounds import NormalSounds

RATE_HZ = 1_000


@dataclass
class Plant:
    """A machine that is heard second by second; sample n has the value n modulo 1,000."""

    watch: NormalWatch
    machine: Any = field(
        default_factory=lambda: SimpleNamespace(
            machine_id="fan-1", state="normal", alarm=SimpleNamespace(warn_level=0.6)
        )
    )
    stream: Any = field(
        default_factory=lambda: SimpleNamespace(
            form=SimpleNamespace(rate_hz=RATE_HZ), ring=SoundRing(120 * RATE_HZ, integers=True)
        )
    )
    heard: int = 0

    def hear(
        self, seconds: int, *, score: float | None = 0.2, state: str = "normal", faults: tuple[Any, ...] = ()
    ) -> None:
        self.machine.state = state
        for _ in range(seconds):
            start, self.heard = self.heard, self.heard + RATE_HZ
            values = np.arange(start, self.heard) % 1_000
            self.stream.ring.push(start, (values / 32_768).astype(np.float32))
            step = SimpleNamespace(start_sample=start, end_sample=self.heard, clip_score=score, faults=faults)
            self.watch.heard(self.machine, self.stream, [step])  # type: ignore[list-item]


class Desk:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.kept: list[str] = []

    def do(self, machine_id: str, write: Callable[[], None]) -> None:
        self.kept.append(machine_id)
        write()


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def sounds(tmp_path: Path) -> NormalSounds:
    return NormalSounds(tmp_path / "normal")


@pytest.fixture
def plant(desk: Desk, sounds: NormalSounds) -> Plant:
    return Plant(NormalWatch(sounds, submit=desk.do, clock=lambda: desk.now_s))


def test_after_a_minute_of_normal_sound_its_last_ten_seconds_are_kept(
    plant: Plant, desk: Desk, sounds: NormalSounds
) -> None:
    with pytest.raises(NormalSoundNotFound):
        sounds.path("fan-1")
    plant.hear(59)
    assert desk.kept == []
    plant.hear(1)
    assert desk.kept == ["fan-1"]
    samples, rate_hz = soundfile.read(sounds.path("fan-1"), dtype="int16")
    assert rate_hz == RATE_HZ
    assert np.array_equal(samples, np.arange(50_000, 60_000) % 1_000)


@pytest.mark.parametrize(
    "break_",
    [{"score": 0.3}, {"score": None}, {"state": "unknown"}, {"state": "warning"}, {"faults": ("clipped",)}],
    ids=str,
)
def test_a_second_that_is_not_well_begins_the_minute_anew(plant: Plant, desk: Desk, break_: dict[str, Any]) -> None:
    plant.hear(59)
    plant.hear(1, **break_)
    plant.hear(59)
    assert desk.kept == []
    plant.hear(1)
    assert desk.kept == ["fan-1"]


def test_another_stream_begins_the_minute_anew(plant: Plant, desk: Desk) -> None:
    plant.hear(59)
    other = Plant(plant.watch, plant.machine)
    other.hear(59)
    assert desk.kept == []
    other.hear(1)
    assert desk.kept == ["fan-1"]


def test_it_is_kept_once_an_hour_and_replaced(plant: Plant, desk: Desk, sounds: NormalSounds) -> None:
    plant.hear(180)
    assert desk.kept == ["fan-1"]
    desk.now_s = EVERY_S
    plant.hear(1)
    assert desk.kept == ["fan-1", "fan-1"]
    samples, _ = soundfile.read(sounds.path("fan-1"), dtype="int16")
    assert np.array_equal(samples, np.arange(171_000, 181_000) % 1_000)
    assert [path.name for path in sounds.root.iterdir()] == ["fan-1.flac"]


def test_after_a_restart_the_hour_goes_on(desk: Desk, sounds: NormalSounds) -> None:
    sounds.write("fan-1", np.zeros(10, np.int16), RATE_HZ)
    old_s = time.time() - EVERY_S + 600
    os.utime(sounds.path("fan-1"), (old_s, old_s))
    plant = Plant(NormalWatch(sounds, submit=desk.do, clock=lambda: desk.now_s))
    plant.hear(60)
    desk.now_s = 500.0
    plant.hear(1)
    assert desk.kept == []
    desk.now_s = 601.0
    plant.hear(1)
    assert desk.kept == ["fan-1"]


def test_a_machine_that_went_is_forgotten_and_its_sound_is_not(plant: Plant, sounds: NormalSounds) -> None:
    plant.hear(60)
    plant.watch.forget("fan-1")
    plant.watch.forget("nobody")
    assert sounds.path("fan-1").is_file()
