"""Each fault of the sound itself, by upload, live, in ``calibrate`` and in a commissioning: one table of the pages."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from scipy.signal import firwin, lfilter, resample_poly

from humwatch import AlarmRule, LiveModel, LiveMonitor, OnnxPredictor, read_bundle
from humwatch.bundle.bundle import Bundle
from humwatch.calibration.collector import NormalCollector
from humwatch.calibration.plan import CollectionPlan
from humwatch.errors import CalibrationError
from humwatch.normal_recording import NormalSurvey, RecordingInput, analyse, normal_clips
from humwatch.recording import RecordingScore
from humwatch_service.rehearsal.rehearsal import rehearse
from humwatch_service.sources.looped import LoopedRecording

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "fan-id_00"
PAGE = (ROOT / "docs" / "sources.md").read_text("utf-8")
RATE_HZ = 16_000
CLIPS = 8
"""Clips of 10 s; the fault is in the second."""
CLIP = 10 * RATE_HZ
SECOND = slice(CLIP, 2 * CLIP)
NAMED = ("bandwidth_limited", "silent", "stuck", "drop_outs", "not_running", "clipped", "dc_offset")

Sound = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A fault of the page's table.

    Attributes:
        said: what is wrong, as the page says it.
        change: fault put into the clips of a recording, of which it changes the second, or all.
        codes: what all four ways name.
        all_of_it: whether nothing of the recording can be judged.
        clips: clips of the recording that `calibrate` takes, which do not overlap.
        at: first sample of the clip with the fault.
    """

    said: str
    change: Callable[[Sound], Sound]
    codes: set[str]
    all_of_it: bool = False
    clips: int = CLIPS - 1
    at: int = CLIP


def hole(at_s: float, seconds: float, *, held: bool = False, dithered: bool = False) -> Callable[[Sound], Sound]:
    def put(sound: Sound) -> Sound:
        start, samples = round(at_s * RATE_HZ), round(seconds * RATE_HZ)
        sound[start : start + samples] = sound[max(0, start - 1)] if held else 0.0
        if dithered:
            noise = np.random.default_rng(7).uniform(-0.5, 0.5, (2, samples)).sum(axis=0)
            sound[start : start + samples] = np.round(noise) / 2**15
        return sound

    return put


def in_second(change: Callable[[Sound], Sound]) -> Callable[[Sound], Sound]:
    def put(sound: Sound) -> Sound:
        sound[SECOND] = change(sound[SECOND])
        return sound

    return put


def once_at(rate_hz: int) -> Callable[[Sound], Sound]:
    ratio = np.gcd(rate_hz, RATE_HZ)
    up, down = rate_hz // ratio, RATE_HZ // ratio
    return lambda sound: resample_poly(to_16_bits(resample_poly(sound, up, down)), down, up)[: len(sound)]


def to_16_bits(sound: Sound) -> Sound:
    return np.round(np.clip(sound, -1.0, 1.0 - 2**-15) * 2**15) / 2**15


ROWS = [
    Row("nothing", lambda sound: sound, set(), clips=CLIPS),
    Row("a hole of zeros for 60 ms", hole(14.3, 0.06), {"drop_outs"}),
    Row("a hole of zeros for 250 ms", hole(14.3, 0.25), {"drop_outs"}),
    Row("250 ms of dither in place of sound", hole(14.3, 0.25, dithered=True), {"drop_outs"}),
    Row("the last sample held for 400 ms", hole(14.3, 0.4, held=True), {"drop_outs"}),
    Row("the first 250 ms are zeros", hole(0.0, 0.25), {"drop_outs"}, at=0),
    Row("the last 100 ms are zeros", hole(10.0 * CLIPS - 0.1, 0.1), {"drop_outs"}, clips=CLIPS, at=(CLIPS - 1) * CLIP),
    Row("one value for 700 ms", hole(14.3, 0.7, held=True), {"stuck"}),
    Row("digital silence", np.zeros_like, {"silent"}, all_of_it=True),
    Row("once at 8 kHz", once_at(8_000), {"bandwidth_limited"}, all_of_it=True),
    Row("once at 12 kHz", once_at(12_000), {"bandwidth_limited"}, all_of_it=True),
    Row(
        "cut at 5.5 kHz by a codec",
        lambda sound: lfilter(firwin(255, 5_500, fs=RATE_HZ), 1, sound),
        {"bandwidth_limited"},
        all_of_it=True,
    ),
    Row("an offset of 5 %", lambda sound: sound + 0.05, set(), clips=CLIPS),
    Row("an offset of 20 %", lambda sound: sound + 0.2, {"dc_offset"}, clips=CLIPS),
    Row("the machine stands for 10 s", in_second(lambda sound: 0.03 * sound), {"not_running"}, clips=CLIPS - 2),
    Row("the machine stands", lambda sound: 0.03 * sound, {"not_running"}, all_of_it=True),
]


@cache
def bundle() -> Bundle:
    return read_bundle(MODEL / "2")


@cache
def predictor() -> OnnxPredictor:
    return OnnxPredictor(bundle().graph)


@cache
def normal() -> Sound:
    return np.asarray(soundfile.read(MODEL / "examples" / "normal.wav")[0])


def sound_with(row: Row) -> Sound:
    return to_16_bits(row.change(np.tile(normal(), CLIPS)))


def score(sound: Sound, subtype: str = "PCM_16", **how: object) -> RecordingScore:
    file = io.BytesIO()
    soundfile.write(file, sound, RATE_HZ, format="WAV", subtype=subtype)
    return bundle().score(file, predictor(), **how)  # type: ignore[arg-type]


def listen(sound: Sound, *, model: LiveModel | None = None, full_scale: bool = True) -> tuple[set[str], list[str]]:
    """All faults that were ever named live, and the condition of each second."""
    live = LiveMonitor(
        model or LiveModel(bundle(), predictor()), source_rate_hz=RATE_HZ, time_of=float, full_scale=full_scale
    )
    samples = sound.astype(np.float32)
    steps = [step for piece in np.array_split(samples, len(samples) // 5_000) for step in live.push(piece)]
    steps += live.flush()
    seen = [step.observation for step in steps if step.observation is not None]
    codes = {fault.code for step in steps for fault in step.faults}
    off = {"not_running"} if any(one.condition == "off" for one in seen) else set()
    return {*codes, *off}, [one.condition for one in seen]


def collect(sound: Sound) -> tuple[set[str], float]:
    """What a commissioning rejected, and how many seconds it collected."""
    collector = NormalCollector(bundle().manifest.pipeline, predictor(), plan=CollectionPlan.in_a_row(3))
    collector.follow_level(bundle().calibration.run_gate)
    collector.begin(RATE_HZ, 16)
    collector.push(sound.astype(np.float32))
    progress = collector.progress
    return {*progress.rejected, *(fault.code for fault in progress.faults)}, progress.collected_s


def learn(path: Path, sound: Sound) -> tuple[set[str], int]:
    """What ``calibrate`` names in a recording, and how many clips it takes of it."""
    soundfile.write(path, sound, RATE_HZ)
    spec, gate = bundle().manifest.pipeline, bundle().calibration.run_gate
    warnings = analyse(path, spec, predictor(), RecordingInput(run_gate=gate)).warnings
    try:
        clips = len(normal_clips(path, "one", spec, predictor(), RecordingInput(run_gate=gate)))
    except CalibrationError as refused:
        assert any(warning.code in str(refused) for warning in warnings)
        clips = 0
    return {warning.code for warning in warnings}, clips


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.said)
def test_a_fault_is_the_same_by_upload_live_in_calibrate_and_in_a_commissioning(row: Row, tmp_path: Path) -> None:
    sound = sound_with(row)
    result = score(sound)
    heard, conditions = listen(sound)
    learnt, clips = learn(tmp_path / "one.wav", sound)
    collected, seconds = collect(sound)
    wrong = [{warning.code for warning in result.warnings}, heard, learnt, collected]
    assert [worst_of(codes) for codes in wrong] == [row.codes] * 4
    if row.all_of_it:
        assert result.state == ("off" if row.codes == {"not_running"} else "unknown")
        assert "scored" not in conditions
        assert (clips, seconds) == (0, 0.0)
    else:
        assert result.state == "normal"
        assert result.worst.score == pytest.approx(0.12, abs=0.1)
        assert "scored" in conditions
        assert clips == row.clips
        assert (seconds < 70.0) == bool(row.codes)
    part = sound if row.all_of_it else sound[row.at : row.at + CLIP]
    cells = [
        row.said,
        ", ".join(f"`{code}`" for code in sorted(row.codes)) or "nothing",
        f"`{score(part).state}`",
        f"`{result.state}`",
        f"{sum(one == 'scored' for one in conditions)} s",
        f"{clips} of {CLIPS}",
        f"{seconds:.0f} s",
    ]
    line = f"| {' | '.join(cells)} |"
    assert line in PAGE, line


def worst_of(codes: set[str]) -> set[str]:
    """Leave out what one fault is on the way to another: silence stands still, and a hole that lasts is stuck."""
    found = codes & set(NAMED)
    if "silent" in found:
        found -= {"stuck", "drop_outs", "not_running"}
    return found - {"drop_outs"} if "stuck" in found else found


# floats have no full scale, and no fixed floor


@pytest.mark.parametrize("unit", [50.0, 1e-5, 32_768.0])
def test_floats_in_a_unit_of_their_own_are_neither_clipped_nor_silent(unit: float, tmp_path: Path) -> None:
    """The recordings of a calibration say the scale; then they are judged as the same sound on 16 bits is."""
    sound = normal() * unit
    path = tmp_path / "one.wav"
    soundfile.write(path, sound, RATE_HZ, subtype="FLOAT")
    survey = NormalSurvey()
    survey.add(path, channel=None)
    in_unit = replace(bundle(), calibration=replace(bundle().calibration, float_scale=survey.float_scale))
    gain_db = 20.0 * np.log10(survey.float_scale * unit)
    assert np.log2(survey.float_scale) == np.round(np.log2(survey.float_scale))
    file = io.BytesIO(path.read_bytes())
    result = in_unit.score(file, predictor())
    codes = {warning.code for warning in result.warnings}
    assert not codes & {"clipped", "silent", "dc_offset"}
    assert -36.0 < result.level_dbfs < -24.0
    assert result.level_dbfs == pytest.approx(score(normal()).level_dbfs + gain_db, abs=0.01)
    heard, conditions = listen(np.tile(sound, 2), model=LiveModel(in_unit, predictor()), full_scale=False)
    assert not heard & {"clipped", "silent", "dc_offset"}
    assert "scored" in conditions


@pytest.mark.parametrize("unit", [1.0, 8.0, 1e-5])
def test_flat_tops_of_floats_are_clipped_whatever_their_value(unit: float) -> None:
    top = np.quantile(np.abs(normal()), 0.999)
    flat = np.clip(normal(), -top, top) * unit
    assert "clipped" in {warning.code for warning in score(flat, "FLOAT").warnings}
    assert "clipped" not in {warning.code for warning in score(normal() * unit, "FLOAT").warnings}
    assert "clipped" in listen(flat, full_scale=False)[0]


def test_floats_of_full_scale_are_judged_as_integers_are() -> None:
    """As a DAW exports them."""
    whole, float_ = score(normal()), score(normal(), "FLOAT")
    assert (float_.state, float_.worst.score) == (whole.state, whole.worst.score)
    assert [one.code for one in float_.warnings] == [one.code for one in whole.warnings]


def test_floats_where_nothing_moves_are_silent() -> None:
    result = score(np.zeros(10 * RATE_HZ), "FLOAT")
    assert result.state == "unknown"
    assert "silent" in {warning.code for warning in result.warnings}


@pytest.mark.parametrize("dead", [0, 1])
def test_beside_a_dead_channel_the_live_one_is_named(dead: int) -> None:
    both = np.stack([normal(), normal()], axis=1)
    both[:, dead] = 0.0
    result = score(both, channel=dead)
    (silent,) = [one.message for one in result.warnings if one.code == "silent"]
    assert result.state == "unknown"
    assert f"channel {1 - dead} is alive at -44 dBFS: ask for it with `channel`" in silent


def test_a_hole_does_not_hide_a_fault() -> None:
    anomalous = np.asarray(soundfile.read(MODEL / "examples" / "anomalous.wav")[0])
    sound = np.concatenate([normal(), normal(), anomalous, anomalous])
    sound[5 * RATE_HZ : 5 * RATE_HZ + 2_000] = 0.0
    result = score(sound)
    assert result.state == "alarm"
    assert "drop_outs" in {one.code for one in result.warnings}
    assert result.worst.start_sample >= 15 * RATE_HZ


def test_sound_that_ends_at_a_wall_for_a_while_is_named_though_the_rest_is_whole() -> None:
    narrow = once_at(8_000)(np.tile(normal(), 2))
    result = score(np.concatenate([narrow, np.tile(normal(), 4)]))
    assert "bandwidth_limited" in {one.code for one in result.warnings}
    assert result.worst.start_sample >= len(narrow) - RATE_HZ


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 12_000])
def test_a_wall_that_begins_amid_the_sound_raises_no_alarm(rate_hz: int, tmp_path: Path) -> None:
    """As when a gateway changes its codec, or a folder holds recordings of two programs."""
    whole = np.tile(normal(), 3)
    sound = np.concatenate([whole, once_at(rate_hz)(whole)])
    result = score(sound)
    assert result.state == "normal"
    assert "bandwidth_limited" in {one.code for one in result.warnings}
    soundfile.write(tmp_path / "both.wav", sound, RATE_HZ)
    loop = LoopedRecording([tmp_path / "both.wav"], channel=None, default_channel=0)
    heard = rehearse(LiveModel(bundle(), predictor()), AlarmRule(), loop, heard_s=60.0)
    assert heard.alarms == ()
    assert heard.faults["bandwidth_limited"] > 0.4


@pytest.mark.parametrize("order", [2, 3])
def test_a_microphone_that_hears_less_the_higher_the_sound_has_no_wall(order: int) -> None:
    """12 and 18 dB an octave from 4 kHz on, as a muffled one does; it is judged by what is left."""
    frequencies_hz = np.fft.rfftfreq(len(normal()), 1 / RATE_HZ)
    response = 1.0 / np.sqrt(1.0 + (frequencies_hz / 4_000.0) ** (2 * order))
    sound = np.fft.irfft(np.fft.rfft(normal()) * response, len(normal()))
    assert "bandwidth_limited" not in {one.code for one in score(sound).warnings}
