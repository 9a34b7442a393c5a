from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.state_machine import AlarmStateMachine
from humwatch.arrays import Float32
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import AudioChannelMissing
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch.synthetic import Fault
from humwatch_service.inference.caching import CachedPredictor
from humwatch_service.live.alarm_machine import warn_level
from humwatch_service.models.registry import load_model
from humwatch_service.rehearsal.rehearsal import rehearse
from humwatch_service.rehearsal.report import poisson_rate
from humwatch_service.sources import looped as looped_module
from humwatch_service.sources.looped import LoopedRecording, LoopPosition

ROOT = Path(__file__).parents[3]
RATE_HZ = 16_000
QUICK = AlarmRule(on_delay_s=2.0, off_delay_s=3.0)


@pytest.fixture(scope="module")
def model(shared_models: Path) -> LiveModel:
    machine = load_model(ModelRepository(shared_models), "pump-2")
    return LiveModel(machine.bundle, CachedPredictor(machine.predictor))


@pytest.fixture
def files(tmp_path: Path, workshop: Any) -> dict[str, Path]:
    sounds = {
        "a": workshop.normal(300, 9.0),
        "b": workshop.normal(306, 6.0),
        "fault": workshop.faulty(302, 7.0),
        "other": workshop.normal(309, 5.0),
    }
    for name, samples in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE_HZ, subtype="PCM_16")
    return {name: tmp_path / f"{name}.wav" for name in sounds}


def looped(*paths: Path) -> LoopedRecording:
    return LoopedRecording(paths, channel=None, default_channel=0)


def samples_of(*paths: Path) -> Float32:
    return np.concatenate([soundfile.read(path, dtype="float32")[0] for path in paths])


@pytest.mark.parametrize("kept_samples", [1 << 26, 0])
def test_a_reel_is_an_endless_loop_of_its_files(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, kept_samples: int
) -> None:
    monkeypatch.setattr(looped_module, "KEPT_SAMPLES", kept_samples)
    recording = looped(files["a"], files["b"])
    loop = samples_of(files["a"], files["b"])
    assert (recording.samples, recording.duration_s) == (len(loop), 15.0)
    rng = np.random.default_rng(4)
    for start, length in zip(rng.integers(0, 3 * len(loop), 8), rng.integers(1, 3 * len(loop), 8), strict=True):
        got = np.concatenate(list(recording.between(start, start + length)))
        np.testing.assert_array_equal(got, np.take(loop, range(start, start + length), mode="wrap"))
    assert list(recording.between(5, 5)) == []


def test_a_reel_knows_which_file_is_heard(files: dict[str, Path]) -> None:
    recording = looped(files["a"], files["b"])
    assert recording.place(0) == LoopPosition(files["a"], 0.0)
    assert recording.place(9 * RATE_HZ) == LoopPosition(files["b"], 0.0)
    assert recording.place((15 + 15 + 10) * RATE_HZ) == LoopPosition(files["b"], 1.0)


def test_a_reel_listens_to_one_channel(tmp_path: Path) -> None:
    both = np.stack([np.full(100, 0.25), np.full(100, 0.5)], axis=1)
    soundfile.write(tmp_path / "two.wav", both, RATE_HZ, subtype="PCM_16")
    for channel, value in ((None, 0.5), (0, 0.25)):
        pieces = list(LoopedRecording([tmp_path], channel=channel, default_channel=1).between(0, 150))
        assert np.concatenate(pieces).tolist() == [value] * 150
    with pytest.raises(AudioChannelMissing):
        LoopedRecording([tmp_path], channel=2, default_channel=0)


def test_alarms_are_those_of_a_monitor_and_an_alarm_machine(model: LiveModel, files: dict[str, Path]) -> None:
    paths = files["a"], files["fault"], files["b"]
    told = rehearse(model, QUICK, looped(*paths), heard_s=60.0)
    monitor = LiveMonitor(model, source_rate_hz=RATE_HZ, time_of=lambda sample: sample / RATE_HZ)
    machine = AlarmStateMachine(QUICK, warn_level=warn_level(model))
    loop = samples_of(*paths)
    steps = monitor.push(np.take(loop, range(60 * RATE_HZ), mode="wrap")) + monitor.flush()
    heard = [step.observation for step in steps if step.observation]
    events = [event for observation in heard for event in machine.observe(observation)]
    times = {kind: [event.at_s for event in events if event.kind == kind] for kind in ("raised", "cleared")}
    assert [alarm.start_s for alarm in told.alarms] == times["raised"]
    assert [alarm.end_s for alarm in told.alarms if alarm.end_s is not None] == times["cleared"]
    assert len(told.alarms) == 3  # the loop is 22 s long
    for alarm in told.alarms:
        inside = [o.score for o in heard if o.score and alarm.start_s <= o.at_s < (alarm.end_s or 61)]
        assert alarm.peak_score == max(inside) > 1
        assert (Path(alarm.file), alarm.file_s) == (files["fault"], pytest.approx(alarm.start_s % 22 - 9, abs=1e-3))
    over = [o.audio_s for o in heard if o.score is not None and o.score >= 1]
    scored = [o.audio_s for o in heard if o.score is not None]
    assert told.clips_over.heard == pytest.approx(
        sum(over) / sum(scored) * model.bundle.manifest.clip.alarm.clips_a_day
    )


def test_normal_sound_raises_nothing_and_says_what_the_model_expects(model: LiveModel, files: dict[str, Path]) -> None:
    heard: list[float] = []
    recording = looped(files["a"], files["b"])
    told = rehearse(model, AlarmRule(), recording, heard_s=40.0, on_played=heard.append)
    assert (told.alarms, told.warnings, told.insertions) == ((), (), ())
    assert (told.heard_s, told.distinct_s, sum(heard)) == (40.0, 15.0, pytest.approx(40.0))
    assert (told.machine_id, told.version, told.rule) == ("pump-2", "1", AlarmRule())
    assert set(told.states) == {"unknown", "normal"}
    assert sum(told.states.values()) == pytest.approx(1.0)
    assert 0.05 < told.states["unknown"] <= 4 / 40  # a clip of this model is 4 s long
    alarm = model.bundle.manifest.clip.alarm
    assert told.clips_over.expected == alarm.expected_rate * alarm.clips_a_day
    assert told.clips_over.heard == 0.0
    assert told.clips_over.high == alarm.rate_high * alarm.clips_a_day
    assert told.clips_over.promised is alarm.promised
    assert told.alarm_rate.high_a_day == pytest.approx(2.9957 * 86_400 / 15, rel=1e-4)


def test_faults_of_the_sound_are_told_with_how_long_they_were_named(
    model: LiveModel, files: dict[str, Path], tmp_path: Path
) -> None:
    """Else a rehearsal of a dead channel is unknown from end to end, and nobody says why."""
    assert rehearse(model, QUICK, looped(files["a"]), heard_s=9.0).faults == {}
    sound = samples_of(files["a"], files["b"])
    sound[6 * RATE_HZ : 6 * RATE_HZ + 1_600] = 0.0
    soundfile.write(tmp_path / "hole.wav", sound, RATE_HZ)
    soundfile.write(tmp_path / "dead.wav", 0.0 * sound, RATE_HZ)
    assert list(rehearse(model, QUICK, looped(tmp_path / "hole.wav"), heard_s=15.0).faults) == ["drop_outs"]
    dead = rehearse(model, QUICK, looped(tmp_path / "dead.wav"), heard_s=15.0)
    assert dead.states == {"unknown": 1.0}
    assert dead.faults["silent"] > 0.5


def test_what_is_inserted_is_detected_or_missed(model: LiveModel, files: dict[str, Path]) -> None:
    recording = looped(files["a"], files["b"])
    inserted = [looped(files["fault"]), looped(files["other"])]
    told = rehearse(model, QUICK, recording, heard_s=15.0, inserted=inserted)
    fault, other = told.insertions
    assert (fault.file, fault.outcome) == (str(files["fault"]), "detected")
    assert fault.after_s is not None
    assert fault.peak_score is not None
    assert 2.0 <= fault.after_s < 8.0
    assert fault.peak_score > 1
    assert (other.outcome, other.after_s) == ("missed", None)
    assert other.peak_score is not None
    assert other.peak_score < 1 < fault.peak_score
    slow = rehearse(model, AlarmRule(on_delay_s=40.0), recording, heard_s=15.0, inserted=inserted).insertions[0]
    assert (slow.outcome, slow.after_s, slow.peak_score) == ("missed", None, fault.peak_score)
    assert told.alarms == ()


def test_an_alarm_before_leaves_undecided_what_is_inserted(model: LiveModel, files: dict[str, Path]) -> None:
    recording = looped(files["fault"])
    told = rehearse(model, QUICK, recording, heard_s=20.0, inserted=[looped(files["other"])])
    assert [(insertion.outcome, insertion.after_s) for insertion in told.insertions] == [("undecided", None)]
    assert told.insertions[0].peak_score is not None
    assert told.insertions[0].peak_score < 1  # what was heard around it does not count
    assert [alarm.end_s for alarm in told.alarms] == [None]
    assert told.warnings == ()


def test_alarms_that_latch_end_as_if_somebody_had_acknowledged_them(model: LiveModel, files: dict[str, Path]) -> None:
    recording = looped(files["a"], files["fault"], files["b"])
    latched = QUICK.model_copy(update={"latch": True})
    assert (
        rehearse(model, latched, recording, heard_s=60.0).alarms
        == rehearse(model, QUICK, recording, heard_s=60.0).alarms
    )


def test_warnings_that_become_an_alarm_are_listed_as_the_alarm(
    model: LiveModel, files: dict[str, Path], workshop: Any
) -> None:
    for name, level_db in (("fault", -22.0), ("other", -31.0)):
        soundfile.write(files[name], workshop.machine.clip(302, 7.0, Fault("squeal", level_db)), RATE_HZ)
    paths = files["a"], files["other"], files["a"], files["fault"], files["b"]
    rule = AlarmRule(on_delay_s=0.0, off_delay_s=1.0)
    told = rehearse(model, rule, looped(*paths), heard_s=90.0)
    monitor = LiveMonitor(model, source_rate_hz=RATE_HZ, time_of=lambda sample: sample / RATE_HZ)
    machine = AlarmStateMachine(rule, warn_level=warn_level(model))
    stretches: list[tuple[float, list[str]]] = []
    calm = True
    for step in monitor.push(np.take(samples_of(*paths), range(90 * RATE_HZ), mode="wrap")) + monitor.flush():
        assert step.observation is not None
        machine.observe(step.observation)
        if calm and machine.state in ("warning", "alarm"):
            stretches.append((step.observation.at_s, []))
        calm = machine.state not in ("warning", "alarm")
        if not calm:
            stretches[-1][1].append(machine.state)
    only_warned = [start_s for start_s, states in stretches if "alarm" not in states]
    assert 0 < len(only_warned) < len(stretches)
    assert any(states[0] == "warning" and "alarm" in states for _, states in stretches)
    assert [warning.start_s for warning in told.warnings] == only_warned
    assert told.warning_rate.count == len(only_warned)


def test_rates_have_the_intervals_of_poisson() -> None:
    ten = poisson_rate(10, heard_s=86_400.0, distinct_s=86_400.0)
    assert (ten.count, ten.a_day) == (10, 10.0)
    assert (ten.low_a_day, ten.high_a_day) == (pytest.approx(5.425, abs=1e-3), pytest.approx(16.962, abs=1e-3))
    none = poisson_rate(0, heard_s=86_400.0, distinct_s=86_400.0)
    assert (none.a_day, none.low_a_day, none.high_a_day) == (0.0, 0.0, pytest.approx(-np.log(0.05)))


def test_a_loop_that_is_heard_often_is_no_more_evidence_than_once() -> None:
    once = poisson_rate(2, heard_s=3_600.0, distinct_s=3_600.0)
    often = poisson_rate(48, heard_s=86_400.0, distinct_s=3_600.0)
    assert (often.a_day, often.low_a_day, often.high_a_day) == (once.a_day, once.low_a_day, once.high_a_day)
