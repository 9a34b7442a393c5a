"""A candidate without a server: what stops it, and what it holds."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from humwatch.alarm.rule import AlarmRule
from humwatch.bundle.repository import ModelRepository
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch_service.models.registry import load_model
from humwatch_service.shadow import unwritten as module
from humwatch_service.shadow.candidate import Candidate
from humwatch_service.shadow.candidate_state import CandidateState
from humwatch_service.shadow.comparison import Comparison
from humwatch_service.storage.sounds.shadow_sounds import ShadowSounds, sound_name
from humwatch_service.streams.stream_items import End, Gap, StreamFormat

RATE_HZ = 16_000
FORM = StreamFormat("s", RATE_HZ, 1, 0, sample_bits=16, full_scale=True, realtime=False)
QUICK = AlarmRule(on_delay_s=2.0, off_delay_s=3.0)


def state() -> CandidateState:
    return CandidateState(
        version="1", digest="d", in_use="2", in_use_digest="e", rule=QUICK, started_s=0.0, who="ada", why=""
    )


@pytest.fixture(scope="module")
def model(shared_models: Path) -> LiveModel:
    loaded = load_model(ModelRepository(shared_models), "pump-2")
    return LiveModel(loaded.bundle, loaded.predictor)


class Stage:
    """A candidate, and what it gives away."""

    def __init__(self, model: LiveModel, **given: Any) -> None:
        self.settled: list[str] = []
        self.sounds: list[tuple[str, int]] = []
        self.candidate = Candidate(
            "pump-2",
            state(),
            Comparison(),
            model,
            on_settled=self.settled.append,
            on_sound=lambda name, sound, rate_hz: self.sounds.append((name, len(sound))),
            **given,
        )

    def begin(self, sound: np.ndarray) -> None:
        self.candidate.begin(
            FORM,
            0,
            make_monitor=lambda model, first: LiveMonitor(
                model, source_rate_hz=RATE_HZ, first_sample=first, time_of=lambda sample: 1000.0 + sample / RATE_HZ
            ),
            sound=lambda start, end: sound[start:end],
        )


def test_one_that_is_slow_is_stopped(model: LiveModel, workshop: Any) -> None:
    ticks = count()
    stage = Stage(model, clock=lambda: 0.3 * next(ticks))  # 0.3 s for each call
    sound = workshop.normal(300, 40.0)
    stage.begin(sound)
    for at in range(0, len(sound), RATE_HZ):
        stage.candidate.hear(sound[at : at + RATE_HZ])
    assert stage.candidate.running
    for at in range(0, len(sound), RATE_HZ // 2):  # 0.6 s for a second
        stage.candidate.hear(sound[at : at + RATE_HZ // 2])
    assert not stage.candidate.running
    assert (stage.candidate.state.failure or "").startswith("too slow: ")
    heard_s = stage.candidate.state.heard_s
    stage.candidate.hear(sound)
    assert stage.candidate.state.heard_s == heard_s


def test_one_whose_monitor_cannot_be_made_fails_alone(model: LiveModel) -> None:
    stage = Stage(model)

    def broken(model: LiveModel, first: int) -> LiveMonitor:
        raise ValueError("no monitor")

    stage.candidate.begin(FORM, 0, make_monitor=broken, sound=lambda start, end: np.zeros(0, np.float32))
    stage.candidate.hear(np.zeros(100, np.float32))
    assert stage.candidate.state.failure == "ValueError: no monitor"


def test_the_sound_of_its_own_alarm_is_kept_also_when_the_stream_ends(model: LiveModel, workshop: Any) -> None:
    sound = np.concatenate([workshop.normal(300, 8.0), workshop.faulty(301, 8.0)])
    stage = Stage(model)
    stage.begin(sound)
    stage.candidate.hear(sound)
    assert stage.sounds == []
    stage.candidate.hear(End())
    ((name, samples),) = stage.sounds
    (alarm,) = stage.candidate.comparison.open
    assert name == alarm.sound == sound_name("1", alarm.start_s)
    assert 8 * RATE_HZ < samples <= len(sound)
    assert stage.settled == []


def test_what_waits_for_the_disk_is_bounded_and_comes_once(
    model: LiveModel, workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SECONDS", 10)
    stage = Stage(model)
    sound = workshop.normal(300, 30.0)
    stage.begin(sound)
    stage.candidate.hear(sound)
    first = stage.candidate.take_unwritten()
    assert first is not None
    assert [second.at_s for second in first.seconds] == list(range(1020, 1030))
    assert stage.candidate.take_unwritten() is None
    stage.candidate.put_back(first)
    stage.candidate.hear(Gap(RATE_HZ))
    stage.candidate.hear(sound)
    again = stage.candidate.take_unwritten()
    assert again is not None
    assert len(again.seconds) == 10
    assert again.seconds[-1].at_s > 1055


def test_sounds_of_candidates_are_bounded_the_oldest_go_first(tmp_path: Path) -> None:
    sounds = ShadowSounds(tmp_path, max_files=3, max_bytes=1 << 20)
    noise = np.random.default_rng(1).integers(-9_000, 9_000, 8_000).astype(np.int16)
    for number in (5, 1, 30, 4):
        sounds.write("pump-2", sound_name("2", float(number)), noise, RATE_HZ)
    assert sounds.names("pump-2") == ["2-4000", "2-5000", "2-30000"]
    small = ShadowSounds(tmp_path, max_files=3, max_bytes=20_000)
    small.write("pump-2", "3-40000", noise, RATE_HZ)
    assert small.names("pump-2") == ["3-40000"]
    assert (sounds.names("fan-1"), sounds.names("../x")) == ([], [])
