from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from humwatch.arrays import Float32, Float64
from humwatch.detectors.lines import (
    AXIS_HZ,
    FRAME_SAMPLES,
    HIGH_HZ,
    HOP_SAMPLES,
    LOW_HZ,
    STEP,
    ClipLines,
    LinePower,
    line_power,
)
from humwatch.detectors.normal_lines import NEUTRAL, SCORES, USUAL_SPREAD, LineFinding, LineScore, NormalLines
from humwatch.errors import AudioError, AudioRateUnsupported, CalibrationError

RATE_HZ = 16_000
BLOCK_SAMPLES = 5 * HOP_SAMPLES + FRAME_SAMPLES
CLIP_BLOCKS = 6
CLIPS = 12
LINES_HZ = (130.0, 205.0, 410.0, 655.0, 1_010.0, 1_490.0, 2_300.0, 3_100.0)


def sound(
    seed: int,
    *,
    lines_hz: tuple[float, ...] = LINES_HZ,
    speed: float = 1.0,
    end_speed: float | None = None,
    noise: float = 0.01,
) -> Float32:
    """A clip of a machine whose lines stand out of noise: float32 (CLIP_BLOCKS * BLOCK_SAMPLES,)."""
    rng = np.random.default_rng([7, seed])
    n = CLIP_BLOCKS * BLOCK_SAMPLES
    course = np.linspace(speed, speed if end_speed is None else end_speed, n)
    cycles = np.cumsum(course) / RATE_HZ
    samples = noise * rng.normal(size=n)
    for number, line_hz in enumerate(lines_hz):
        amplitude = 0.004 * 10 ** (rng.normal(0.0, 1.0) / 20)
        samples += amplitude * np.sin(2 * np.pi * (line_hz * cycles + number / 8))
    found: Float32 = samples.astype(np.float32)
    return found


def lines_of(samples: Float32, rate_hz: int = RATE_HZ) -> ClipLines:
    return ClipLines.of([line_power(block, rate_hz) for block in samples.reshape(CLIP_BLOCKS, -1)])


@cache
def normal_clips() -> tuple[ClipLines, ...]:
    return tuple(lines_of(sound(seed)) for seed in range(CLIPS))


@cache
def normal_lines() -> NormalLines:
    return NormalLines.fit(normal_clips())


def excess(clip: ClipLines, which: LineScore) -> float:
    """By how many usual spreads a raw score lies above that of unseen normal clips."""
    column = SCORES.index(which)
    normal = NormalLines.cross_fitted(normal_clips(), np.arange(CLIPS))[:, column]
    return float((normal_lines().raw_scores(clip)[column] - normal.max()) / USUAL_SPREAD[which])


def test_the_axis_is_of_equal_steps_of_a_quarter_per_cent() -> None:
    assert len(AXIS_HZ) == 1_727
    assert AXIS_HZ[0] == pytest.approx(LOW_HZ)
    assert HIGH_HZ / (1 + 2 * STEP) < AXIS_HZ[-1] < HIGH_HZ
    np.testing.assert_allclose(np.diff(np.log(AXIS_HZ)), STEP, atol=1e-12)


def test_line_power_is_the_sum_of_hann_power_spectra_of_whole_frames(rng: np.random.Generator) -> None:
    samples = rng.normal(size=FRAME_SAMPLES + 2 * HOP_SAMPLES + 5).astype(np.float32)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES)
    expected = np.zeros(1_538)
    for start in (0, HOP_SAMPLES, 2 * HOP_SAMPLES):
        expected += np.abs(np.fft.rfft(samples[start : start + FRAME_SAMPLES] * hann))[:1_538] ** 2
    found = line_power(samples, RATE_HZ)
    assert found.frames == 3
    assert found.power.dtype == np.float64
    np.testing.assert_allclose(found.power, expected, rtol=1e-4, atol=1e-4)
    assert (
        (len(found.power) - 2) * RATE_HZ / FRAME_SAMPLES <= HIGH_HZ < (len(found.power) - 1) * RATE_HZ / FRAME_SAMPLES
    )


@pytest.mark.parametrize(("n", "frames"), [(0, 0), (4_095, 0), (4_096, 1), (6_143, 1), (6_144, 2), (16_000, 6)])
def test_only_whole_frames_count(n: int, frames: int) -> None:
    found = line_power(np.ones(n, np.float32), RATE_HZ)
    assert found.frames == frames
    assert (found.power.sum() > 0) == (frames > 0)


def test_a_tone_is_a_line_at_its_frequency() -> None:
    power = line_power(np.sin(2 * np.pi * 1_000 * np.arange(16_000) / RATE_HZ).astype(np.float32), RATE_HZ).power
    assert power.argmax() * RATE_HZ / FRAME_SAMPLES == 1_000.0
    assert power.max() == pytest.approx(6 * (FRAME_SAMPLES / 4) ** 2, rel=1e-5)


def test_powers_add_up_and_the_same_samples_give_the_same_bits(rng: np.random.Generator) -> None:
    samples = rng.normal(size=(2, 16_000)).astype(np.float32)
    one, other = (line_power(part, RATE_HZ) for part in samples)
    both = one + other
    assert both.frames == 12
    np.testing.assert_array_equal(both.power, one.power + other.power)
    assert line_power(samples[0].copy(), RATE_HZ).power.tobytes() == one.power.tobytes()
    frames = [line_power(samples[0][i * HOP_SAMPLES :][:FRAME_SAMPLES], RATE_HZ) for i in range(6)]
    assert sum(frames, LinePower.nothing()).power.tobytes() == one.power.tobytes()
    with pytest.raises(ValueError, match="16000 Hz and at 48000 Hz"):
        _ = one + LinePower.nothing(48_000)


def test_samples_and_rates_that_do_not_fit_are_refused() -> None:
    for samples in (np.zeros(5_000), np.zeros((5_000, 1), np.float32)):
        with pytest.raises(AudioError, match="mono float32"):
            line_power(samples, RATE_HZ)  # type: ignore[arg-type]
    with pytest.raises(AudioRateUnsupported, match="8000 Hz does not hold"):
        line_power(np.zeros(5_000, np.float32), 8_000)


def test_a_clip_is_two_halves_of_its_blocks_the_middle_one_with_the_earlier() -> None:
    blocks = [LinePower(np.full(1_538, 10.0**i), 1) for i in range(5)]
    odd, even = ClipLines.of(blocks), ClipLines.of(blocks[:4])
    assert (odd.early.power[0], odd.early.frames, odd.late.power[0], odd.late.frames) == (111.0, 3, 11_000.0, 2)
    assert (even.early.power[0], even.late.power[0]) == (11.0, 1_100.0)
    assert (odd.whole.power[0], odd.whole.frames) == (11_111.0, 5)


def test_features_do_not_depend_on_how_many_frames_there_are_or_on_the_rate() -> None:
    block = line_power(sound(0)[:BLOCK_SAMPLES], RATE_HZ)
    once, thrice = ClipLines(block, block), ClipLines(block + block, block)
    np.testing.assert_allclose(thrice.features, once.features, atol=1e-9)
    assert once.features.shape == (4, len(AXIS_HZ))
    assert lines_of(sound(0), 48_000).features.shape == (4, len(AXIS_HZ))


def level_db(power: LinePower) -> Float64:
    """Level of a mean frame on the axis, as linear interpolation has it."""
    bins_hz = np.arange(len(power.power)) * RATE_HZ / FRAME_SAMPLES
    level: Float64 = np.interp(AXIS_HZ, bins_hz, 10 * np.log10(power.power / power.frames))
    return level


def structure_db(level: Float64, points: int) -> Float64:
    """The level less a running mean, taken twice, of so many points; edges repeat."""
    background = level
    for _ in range(2):
        padded = np.pad(background, points // 2, mode="edge")
        background = np.lib.stride_tricks.sliding_window_view(padded, points).mean(axis=1)
    structure: Float64 = level - background
    return structure


def best_shift_less_none(earlier: Float64, later: Float64, norm: float, smallest: int) -> float:
    """The best correlation over shifts from ``smallest`` to 48 points either way, less that without a shift."""
    n = len(AXIS_HZ)
    found = {s: float(earlier[max(0, -s) : n - max(0, s)] @ later[max(0, s) : n - max(0, -s)]) for s in range(-48, 49)}
    return (max(value for shift, value in found.items() if abs(shift) >= smallest) - found[0]) / norm


def test_raw_scores_are_what_their_definitions_say() -> None:
    clip, clips = lines_of(sound(99, speed=1.004, end_speed=1.006)), normal_clips()
    early, late = structure_db(level_db(clip.early), 13), structure_db(level_db(clip.late), 13)
    drift = best_shift_less_none(early, late, float(np.linalg.norm(early) * np.linalg.norm(late)), 2)

    def shrunk(values: Float64) -> Float64:
        sample = values.var(axis=0, ddof=1)
        pulled: Float64 = ((CLIPS - 1) * sample + 4 * np.median(sample)) / (CLIPS - 1 + 4)
        return pulled

    levels = np.stack([level_db(each.whole) for each in (clip, *clips)])
    shapes = np.stack([np.clip(structure_db(level, 41), -8, 8) for level in levels])
    assert (np.abs(shapes) == 8).any()
    mean, variance = shapes[1:].mean(axis=0), shrunk(shapes[1:])
    norm = float(np.linalg.norm(mean / variance**0.5) * np.linalg.norm(shapes[0] / variance**0.5))
    speed = best_shift_less_none(mean / variance, shapes[0], norm, 4)

    peaks = []
    for rows in (levels, np.stack([structure_db(level, 81) for level in levels])):
        padded = np.pad(rows, ((0, 0), (4, 4)), mode="edge")
        peaks.append(np.lib.stride_tricks.sliding_window_view(padded, 9, axis=1).max(axis=2))
    deficits = [(rows[1:].mean(axis=0) - rows[0]) / np.sqrt(shrunk(rows[1:])) for rows in peaks]
    missing = np.minimum(*deficits)[peaks[1][1:].mean(axis=0) >= 3.0].max()
    assert missing > 0.0
    np.testing.assert_allclose(normal_lines().raw_scores(clip), [drift, speed, missing], atol=1e-6)


def test_normal_clips_score_alike_and_every_fault_raises_its_own_score() -> None:
    unseen = lines_of(sound(100))
    gone = tuple(line for line in LINES_HZ if line != 655.0)
    assert all(excess(unseen, which) < 1.5 for which in SCORES)
    assert excess(lines_of(sound(101, speed=1.03)), "speed") > 4.0
    assert excess(lines_of(sound(102, speed=0.97)), "speed") > 4.0
    assert excess(lines_of(sound(103, speed=0.98, end_speed=1.02)), "drift") > 2.0
    assert excess(lines_of(sound(104, lines_hz=gone)), "missing") > 4.0
    assert excess(lines_of(sound(105, lines_hz=(*gone, 745.0))), "missing") > 4.0


def test_louder_noise_hides_lines_and_does_not_make_them_missing() -> None:
    assert excess(lines_of(sound(106, noise=0.04)), "missing") < 1.0


def test_loudness_is_neither_speed_nor_drift() -> None:
    clip, louder = (lines_of(gain * sound(107)) for gain in (np.float32(1.0), np.float32(4.0)))
    scores, louder_scores = normal_lines().raw_scores(clip), normal_lines().raw_scores(louder)
    np.testing.assert_allclose(louder_scores[:2], scores[:2], atol=1e-5)
    assert louder_scores[2] <= scores[2]


@pytest.mark.parametrize("speed", [0.9, 0.97, 1.02, 1.1])
def test_a_change_of_speed_is_read_in_per_cent_and_hz(speed: float) -> None:
    found = normal_lines().explain(lines_of(sound(110, speed=speed)), "speed")
    assert found.shift_percent == pytest.approx(100 * (speed - 1), abs=0.26)
    assert found.before_hz is not None and found.after_hz is not None
    assert min(abs(found.before_hz / line - 1) for line in LINES_HZ) < 2 * STEP
    assert found.after_hz / found.before_hz == pytest.approx(speed, abs=0.003)
    assert found.change_db is None


def test_a_drift_is_read_between_the_halves() -> None:
    clip = lines_of(sound(111, speed=1.0, end_speed=1.06))
    found = normal_lines().explain(clip, "drift")
    assert found.shift_percent is not None
    assert found.shift_percent == pytest.approx(3.0, abs=0.7)
    assert found.before_hz is not None and found.after_hz is not None
    assert min(abs(found.before_hz / (1.015 * line) - 1) for line in LINES_HZ) < 0.015
    assert found.after_hz / found.before_hz == pytest.approx(1 + found.shift_percent / 100, abs=1e-3)
    # The line of the whole clip lies in the middle between those of its halves.
    whole_hz = AXIS_HZ[clip.features[1].argmax()]
    assert (found.before_hz + found.after_hz) / 2 == pytest.approx(whole_hz, rel=1e-3)


def test_a_missing_line_is_named_with_where_it_may_be_now() -> None:
    gone = tuple(line for line in LINES_HZ if line != 655.0)
    found = normal_lines().explain(lines_of(sound(112, lines_hz=gone)), "missing")
    assert found.change == "missing"
    assert found.before_hz == pytest.approx(655.0, rel=2 * STEP)
    assert found.after_hz is None
    assert found.shift_percent is None
    assert found.change_db is not None and found.change_db < -6.0
    moved = normal_lines().explain(lines_of(sound(113, lines_hz=(*gone, 745.0))), "missing")
    assert moved.before_hz == pytest.approx(655.0, rel=2 * STEP)
    assert moved.after_hz == pytest.approx(745.0, rel=2 * STEP)


def test_a_sound_without_lines_has_no_line_to_name(rng: np.random.Generator) -> None:
    clips = [lines_of((0.01 * rng.normal(size=CLIP_BLOCKS * BLOCK_SAMPLES)).astype(np.float32)) for _ in range(4)]
    normal = NormalLines.fit(clips)
    # A floor of the level that no noise leaves: nothing stands out of it.
    flat = NormalLines(normal.count, np.zeros_like(normal.sums), normal.squares)
    assert flat.raw_scores(clips[0])[2] == 0.0
    assert flat.explain(clips[0], "missing") == LineFinding(change="missing")
    assert flat.explain(clips[0], "speed").before_hz is None


def test_cross_fitting_equals_a_refit_without_the_recording() -> None:
    clips = normal_clips()
    groups = np.array([5, 5, 0, 1, 1, 1, 2, 9, 9, 7, 0, 7])
    found = NormalLines.cross_fitted(clips, groups)
    assert found.shape == (CLIPS, len(SCORES))
    for i, clip in enumerate(clips):
        others = [other for other, group in zip(clips, groups, strict=True) if group != groups[i]]
        np.testing.assert_allclose(found[i], NormalLines.fit(others).raw_scores(clip), atol=1e-9)


def test_mean_and_variance_are_those_of_the_clips_shrunk_to_the_median_point() -> None:
    features = np.stack([clip.features for clip in normal_clips()])
    np.testing.assert_allclose(normal_lines().mean, features.mean(axis=0), atol=1e-9)
    sample = features.var(axis=0, ddof=1)
    shrunk = (11 * sample + 4 * np.median(sample, axis=1, keepdims=True)) / 15
    np.testing.assert_allclose(normal_lines().variance, shrunk, rtol=1e-4, atol=1e-6)


def test_a_second_time_is_the_same_to_the_bit() -> None:
    samples = sound(120)
    scores = [NormalLines.fit(normal_clips()).raw_scores(lines_of(samples)).tobytes() for _ in range(2)]
    assert scores[0] == scores[1] == normal_lines().raw_scores(lines_of(samples)).tobytes()


def test_arrays_bring_back_the_same_scores_to_the_bit() -> None:
    normal, clip = normal_lines(), lines_of(sound(121))
    restored = NormalLines.from_arrays(normal.arrays())
    assert restored.count == CLIPS
    assert restored.sums.tobytes() == normal.sums.tobytes()
    assert restored.squares.tobytes() == normal.squares.tobytes()
    assert restored.raw_scores(clip).tobytes() == normal.raw_scores(clip).tobytes()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("sums", None, "lack sums"),
        ("count", np.array(1), "at least 2 clips"),
        ("count", np.array(2.5), "whole number"),
        ("count", np.array([3]), "whole number"),
        ("sums", np.zeros((4, 3)), r"sums of lines are float64 of shape \(4, 3\), not float64 of shape \(4, 1727\)"),
        ("squares", np.zeros((4, 1_727), np.float32), "squares of lines are float32"),
        ("squares", np.full((4, 1_727), np.nan), "squares of lines are not finite"),
    ],
)
def test_arrays_that_are_not_statistics_are_refused(name: str, value: npt.ArrayLike | None, text: str) -> None:
    arrays: dict[str, npt.ArrayLike] = dict(normal_lines().arrays())
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    with pytest.raises(ValueError, match=text):
        NormalLines.from_arrays(arrays)


def silent() -> ClipLines:
    return lines_of(np.zeros(CLIP_BLOCKS * BLOCK_SAMPLES, np.float32))


def test_silence_and_clips_without_frames_are_neutral() -> None:
    block = line_power(sound(0)[:BLOCK_SAMPLES], RATE_HZ)
    unfit = [silent(), ClipLines.of([]), ClipLines.of([block]), ClipLines(block, LinePower(0 * block.power, 5))]
    for clip in unfit:
        assert not clip.is_judgeable
        assert normal_lines().raw_scores(clip).tolist() == [NEUTRAL[which] for which in SCORES] == [-1.0, -1.0, 0.0]
        for which in SCORES:
            assert normal_lines().explain(clip, which) == LineFinding(change=which)
    assert ClipLines(block, block).is_judgeable


def test_neutral_is_below_what_normal_clips_have() -> None:
    assert (NormalLines.cross_fitted(normal_clips(), np.arange(CLIPS)) > [NEUTRAL[which] for which in SCORES]).all()


def test_silent_clips_leave_no_statistics() -> None:
    with_silence = NormalLines.fit([silent(), *normal_clips()])
    assert with_silence.count == CLIPS
    assert with_silence.sums.tobytes() == normal_lines().sums.tobytes()
    found = NormalLines.cross_fitted([silent(), *normal_clips()], np.arange(CLIPS + 1))
    np.testing.assert_allclose(found[1:], NormalLines.cross_fitted(normal_clips(), np.arange(CLIPS)), atol=1e-12)
    assert found[0].tolist() == [-1.0, -1.0, 0.0]


def test_a_faint_hum_is_judged_with_finite_scores() -> None:
    faint = lines_of(np.float32(1e-9) * sound(122))
    assert faint.is_judgeable
    assert np.isfinite(normal_lines().raw_scores(faint)).all()


def test_too_few_clips_are_refused() -> None:
    clips = normal_clips()
    with pytest.raises(CalibrationError, match=r"1 normal clip\(s\) with sound"):
        NormalLines.fit([clips[0], silent()])
    with pytest.raises(CalibrationError, match="two at least"):
        NormalLines.cross_fitted(clips[:3], np.array([0, 0, 1]))
    with pytest.raises(ValueError, match="3 clips, but 2 groups"):
        NormalLines.cross_fitted(clips[:3], np.array([0, 1]))


def test_a_finding_is_frozen_and_closed() -> None:
    found = LineFinding(change="drift")
    with pytest.raises(ValidationError, match="frozen"):
        found.before_hz = 1.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra"):
        LineFinding.model_validate({"change": "drift", "more": 1})
    assert all(field.description for field in LineFinding.model_fields.values())
    assert set(USUAL_SPREAD) == set(SCORES) == set(NEUTRAL)
