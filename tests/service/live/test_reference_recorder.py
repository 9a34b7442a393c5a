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
from humwatch_service.live.reference_recorder import CANDIDATE_S, EVERY_S, FORGOTTEN_S, ReferenceRecorder
from humwatch_service.storage.sounds.kept_sounds import KeptSounds
from humwatch_service.storage.sounds.normal_sounds import NormalSounds
from humwatch_service.streams.audio_ring import SoundRing

RATE_HZ = 1_000
MODEL = SimpleNamespace(bundle=SimpleNamespace(manifest=SimpleNamespace(version="4")))


@dataclass
class Rig:
    """A machine that is heard second by second; sample n has the value n modulo 1,000."""

    recorder: ReferenceRecorder
    machine: Any = field(
        default_factory=lambda: SimpleNamespace(
            machine_id="fan-1", state="normal", alarm=SimpleNamespace(warn_level=0.6)
        )
    )
    stream: Any = field(
        default_factory=lambda: SimpleNamespace(
            form=SimpleNamespace(rate_hz=RATE_HZ),
            ring=SoundRing(120 * RATE_HZ, integers=True),
            time_of=lambda sample: sample / RATE_HZ,
        )
    )
    heard: int = 0
    gain: float = 1.0

    def hear(
        self, seconds: int, *, score: float | None = 0.2, state: str = "normal", faults: tuple[Any, ...] = ()
    ) -> None:
        self.machine.state = state
        for _ in range(seconds):
            start, self.heard = self.heard, self.heard + RATE_HZ
            values = np.arange(start, self.heard) % 1_000
            self.stream.ring.push(start, (self.gain * values / 32_768).astype(np.float32))
            step = SimpleNamespace(
                start_sample=start, end_sample=self.heard, clip_score=score, faults=faults, model=MODEL
            )
            self.recorder.on_steps(self.machine, self.stream, [step])  # type: ignore[list-item]


class Writer:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.kept: list[str] = []

    def submit(self, machine_id: str, write: Callable[[], None]) -> None:
        if "_sounds" in write.__code__.co_names:
            self.kept.append(machine_id)
        write()


def none_kept(sounds: NormalSounds) -> KeptSounds:
    return KeptSounds(sounds.root.parent / "kept", quota=0, retention_s=1e9)


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def sounds(tmp_path: Path) -> NormalSounds:
    return NormalSounds(tmp_path / "normal")


@pytest.fixture
def rig(writer: Writer, sounds: NormalSounds) -> Rig:
    return Rig(ReferenceRecorder(sounds, none_kept(sounds), submit=writer.submit, clock=lambda: writer.now_s))


def test_after_a_minute_of_normal_sound_its_last_ten_seconds_are_kept(
    rig: Rig, writer: Writer, sounds: NormalSounds
) -> None:
    with pytest.raises(NormalSoundNotFound):
        sounds.path("fan-1")
    rig.hear(59)
    assert writer.kept == []
    rig.hear(1)
    assert writer.kept == ["fan-1"]
    samples, rate_hz = soundfile.read(sounds.path("fan-1"), dtype="int16")
    assert rate_hz == RATE_HZ
    assert np.array_equal(samples, np.arange(50_000, 60_000) % 1_000)


@pytest.mark.parametrize(
    "break_",
    [{"score": 0.3}, {"score": None}, {"state": "unknown"}, {"state": "warning"}, {"faults": ("clipped",)}],
    ids=str,
)
def test_a_second_that_is_not_well_begins_the_minute_anew(rig: Rig, writer: Writer, break_: dict[str, Any]) -> None:
    rig.hear(59)
    rig.hear(1, **break_)
    rig.hear(59)
    assert writer.kept == []
    rig.hear(1)
    assert writer.kept == ["fan-1"]


def test_another_stream_begins_the_minute_anew(rig: Rig, writer: Writer) -> None:
    rig.hear(59)
    other = Rig(rig.recorder, rig.machine)
    other.hear(59)
    assert writer.kept == []
    other.hear(1)
    assert writer.kept == ["fan-1"]


def test_it_is_kept_once_an_hour_and_replaced(rig: Rig, writer: Writer, sounds: NormalSounds) -> None:
    rig.hear(180)
    assert writer.kept == ["fan-1"]
    writer.now_s = EVERY_S
    rig.hear(1)
    assert writer.kept == ["fan-1", "fan-1"]
    samples, _ = soundfile.read(sounds.path("fan-1"), dtype="int16")
    assert np.array_equal(samples, np.arange(171_000, 181_000) % 1_000)
    assert [path.name for path in sounds.root.iterdir()] == ["fan-1.flac"]


def test_after_a_restart_the_hour_goes_on(writer: Writer, sounds: NormalSounds) -> None:
    sounds.write("fan-1", np.zeros(10, np.int16), RATE_HZ)
    old_s = time.time() - EVERY_S + 600
    os.utime(sounds.path("fan-1"), (old_s, old_s))
    rig = Rig(ReferenceRecorder(sounds, none_kept(sounds), submit=writer.submit, clock=lambda: writer.now_s))
    rig.hear(60)
    writer.now_s = 500.0
    rig.hear(1)
    assert writer.kept == []
    writer.now_s = 601.0
    rig.hear(1)
    assert writer.kept == ["fan-1"]


def test_a_machine_that_went_is_forgotten_and_its_sound_is_not(rig: Rig, sounds: NormalSounds) -> None:
    rig.hear(60)
    rig.recorder.forget("fan-1")
    rig.recorder.forget("nobody")
    assert sounds.path("fan-1").is_file()


def test_sounds_to_train_with_are_kept_every_ten_minutes_and_those_before_an_alarm_go(
    writer: Writer, sounds: NormalSounds, tmp_path: Path
) -> None:
    kept = KeptSounds(tmp_path / "kept", quota=10, retention_s=1e9)
    rig = Rig(ReferenceRecorder(sounds, kept, submit=writer.submit, clock=lambda: writer.now_s))
    rig.hear(100)
    assert [(sound.at_s, sound.score, sound.model_version) for sound in kept.sounds("fan-1")] == [(60.0, 0.2, "4")]
    samples, _ = soundfile.read(kept.path("fan-1", kept.sounds("fan-1")[0]), dtype="int16")
    assert np.array_equal(samples, np.arange(50_000, 60_000) % 1_000)
    rig.gain = 2.0
    rig.hear(round(CANDIDATE_S) - 41)
    assert [sound.at_s for sound in kept.sounds("fan-1")] == [60.0]
    rig.hear(1)
    assert [sound.at_s for sound in kept.sounds("fan-1")] == [60.0, 660.0]
    rig.recorder.on_raised("fan-1", 660.0 + FORGOTTEN_S)
    assert [sound.at_s for sound in kept.sounds("fan-1")] == [60.0]


def test_sounds_to_train_with_may_be_nearer_to_the_warning_level_and_no_warning(
    writer: Writer, sounds: NormalSounds, tmp_path: Path
) -> None:
    kept = KeptSounds(tmp_path / "kept", quota=10, retention_s=1e9)
    rig = Rig(ReferenceRecorder(sounds, kept, submit=writer.submit, clock=lambda: writer.now_s))
    rig.hear(59, score=0.47)
    rig.hear(1, score=0.49)
    rig.hear(59, score=0.47)
    assert kept.sounds("fan-1") == []
    rig.hear(1, score=0.47)
    assert [sound.score for sound in kept.sounds("fan-1")] == [0.47]
    assert writer.kept == []
