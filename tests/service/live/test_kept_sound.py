"""How much of a stream's sound is kept, and that an alarm has all of its own, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from humwatch.alarm.rule import AlarmRule
from humwatch_service.live.evidence_writer import MARGIN_S, SLACK_S, EvidenceWriter
from humwatch_service.live.recorder import MachineRecorder
from humwatch_service.streams.audio_ring import SoundRing

RATE_HZ = 1_000
CLIP_S = 10.0
HOUR_S = 3_600


class Folder:
    """The clips that were written, the last of each alarm."""

    def __init__(self) -> None:
        self.clips: dict[str, np.ndarray] = {}

    def write_clip(self, alarm_id: str, sound: np.ndarray, rate_hz: int, *, partial: bool, fit: bool) -> str:
        self.clips[f"{alarm_id}{' partial' if partial else ''}"] = sound
        return "partial" if partial else "whole"


class Stream:
    def __init__(self) -> None:
        self.form = SimpleNamespace(rate_hz=RATE_HZ, full_scale=True)
        self.ring = SoundRing(120 * RATE_HZ, integers=True)


@dataclass
class Rig:
    """A machine whose sample n has the value n modulo 30,000, heard turn by turn."""

    recorder: MachineRecorder
    writer: EvidenceWriter
    folder: Folder
    machine: Any = field(
        default_factory=lambda: SimpleNamespace(
            machine_id="fan-1",
            model=SimpleNamespace(clip_seconds=CLIP_S),
            rule=AlarmRule(),
            companion=None,
            stream=None,
        )
    )
    stream: Any = field(default_factory=Stream)
    heard: int = 0

    def hear(self, samples: int) -> None:
        """Hear a turn: what is old goes before it is judged, its steps are recorded after it."""
        start, self.heard = self.heard, self.heard + samples
        self.recorder.on_audio(self.machine, self.stream, start)
        values = np.arange(start, self.heard) % 30_000
        self.stream.ring.push(start, (values / 32_768).astype(np.float32))

    def judged(self) -> None:
        self.recorder.on_steps(self.machine, self.stream, [])

    def raise_at(self, end: int, alarm_id: str) -> None:
        step: Any = SimpleNamespace(start_sample=end - RATE_HZ, end_sample=end, clip_start_sample=end - 10 * RATE_HZ)
        self.writer.begin(self.stream, alarm_id, step, delay_s=self.machine.rule.on_delay_s)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    folder, unused = Folder(), SimpleNamespace()
    store = SimpleNamespace(evidence=lambda alarm_id, state: True)
    writer = EvidenceWriter(store, folder, paint=lambda alarm_id: None)  # type: ignore[arg-type]
    recorder = MachineRecorder(unused, unused, writer, unused, unused, on_owed=lambda: None)  # type: ignore[arg-type]
    yield Rig(recorder, writer, folder)
    writer.close()


def values(start: int, end: int) -> list[int]:
    return (np.arange(start, end) % 30_000).tolist()


@pytest.mark.parametrize(("on_delay_s", "most_s"), [(5.0, 29.0), (60.0, 84.0), (86_400.0, 121.0)])
def test_an_hour_of_sound_takes_no_more_bytes_than_the_rule_can_ask_for(
    rig: Rig, on_delay_s: float, most_s: float
) -> None:
    rig.machine.rule = AlarmRule(on_delay_s=on_delay_s)
    sizes = []
    for _ in range(HOUR_S):
        rig.hear(RATE_HZ)
        sizes.append(rig.stream.ring.nbytes)
    asked_s = min(CLIP_S + on_delay_s + MARGIN_S + SLACK_S, 120.0)
    assert len(rig.stream.ring.between(0, rig.heard)) >= asked_s * RATE_HZ
    assert max(sizes) <= 2 * RATE_HZ * most_s
    assert max(sizes[-300:]) == max(sizes[300:600])


def test_an_alarm_has_all_its_sound_though_the_stream_forgets_its_begin(rig: Rig) -> None:
    for _ in range(300):
        rig.hear(RATE_HZ)
    raised = rig.heard - 300  # a step lies behind the newest sound
    rig.raise_at(raised, "a")
    begin, end = raised - 25 * RATE_HZ, raised + 10 * RATE_HZ
    for _ in range(12):
        rig.hear(RATE_HZ)
        rig.judged()
    assert len(rig.stream.ring.between(begin, begin + 5 * RATE_HZ)) == 0
    rig.writer.close()
    assert rig.folder.clips["a partial"].tolist() == values(begin, rig.heard - 12 * RATE_HZ)
    assert rig.folder.clips["a"].tolist() == values(begin, end)


def test_a_turn_of_many_seconds_has_the_sound_of_its_first_step(rig: Rig) -> None:
    for _ in range(60):
        rig.hear(RATE_HZ)
    rig.hear(60 * RATE_HZ)  # as after a break
    raised = 61 * RATE_HZ
    rig.raise_at(raised, "a")
    rig.judged()
    rig.writer.close()
    assert rig.folder.clips["a"].tolist() == values(raised - 25 * RATE_HZ, raised + 10 * RATE_HZ)


def test_a_longer_delay_keeps_more_from_then_on(rig: Rig) -> None:
    for _ in range(100):
        rig.hear(RATE_HZ)
    rig.machine.rule = AlarmRule(on_delay_s=30.0)
    for _ in range(10):
        rig.hear(RATE_HZ)
    rig.raise_at(rig.heard, "early")
    kept_s = CLIP_S + 5.0 + MARGIN_S + SLACK_S + 10
    assert kept_s * RATE_HZ <= len(rig.folder.clips["early partial"]) < (kept_s + 2) * RATE_HZ
    for _ in range(30):
        rig.hear(RATE_HZ)
    rig.raise_at(rig.heard, "late")
    assert rig.folder.clips["late partial"].tolist() == values(rig.heard - 50 * RATE_HZ, rig.heard)


def test_a_candidate_with_a_longer_delay_has_its_sound_kept_too(rig: Rig) -> None:
    rig.machine.companion = SimpleNamespace(wanted_s=70.0)
    for _ in range(200):
        rig.hear(RATE_HZ)
    assert 70 * RATE_HZ <= len(rig.stream.ring.between(0, rig.heard)) <= 72 * RATE_HZ
