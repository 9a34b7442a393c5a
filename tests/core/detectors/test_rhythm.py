from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from humwatch.arrays import Float32, Float64
from humwatch.audio.features import FeatureSpec, log_mel
from humwatch.audio.windows import Windower, WindowSpec
from humwatch.detectors.rhythm import (
    GAUSSIAN_KURTOSIS,
    GROUPS,
    MAX_TIMES,
    MIN_STD_DB,
    POWERS,
    REFERENCE_DB,
    USUAL_SPREAD,
    IrregularTime,
    irregular_times,
    irregularity,
    rhythm_sums,
)
from humwatch.scoring.spec import ScoringSpec
from humwatch.synthetic import SyntheticMachine

BANDS = np.arange(8)
HOP_S = 0.032


def windows_of(frames: Float64, length: int = 5, hop: int = 1) -> Float32:
    """Windows of log-mel frames (k, F): float32 (n, length, F)."""
    view = np.lib.stride_tricks.sliding_window_view(frames.astype(np.float32), length, axis=0)[::hop]
    return np.ascontiguousarray(view.transpose(0, 2, 1))


def sums_of(level_db: Float64) -> Float64:
    """Power sums of a sound that has this level in all of its bands: float64 (n, GROUPS, POWERS)."""
    return rhythm_sums(windows_of(np.repeat(level_db[:, None], 8, axis=1), length=1), BANDS, 1)


@pytest.fixture
def steady(rng: np.random.Generator) -> Float64:
    """Ten seconds of normally distributed levels: float64 (313,), dB."""
    return -45.0 + rng.normal(size=313)


def test_sums_are_powers_of_the_mean_level_of_groups_of_equally_many_bands() -> None:
    window = np.full((1, 5, 9), np.nan, np.float32)
    window[0, 0] = [-58, -60, -62, -64, -60, 999, -59, -61, -54]
    bands = np.array([0, 1, 2, 3, 4, 6, 7, 8])  # groups of two: 1, -3, -0.5 + 0.5, 2.5 dB above the reference
    sums = rhythm_sums(window, bands, 1)
    assert sums.shape == (1, GROUPS, POWERS)
    assert sums.dtype == np.float64
    assert REFERENCE_DB == -60.0
    np.testing.assert_array_equal(
        sums[0], [[1, 1, 1, 1, 1], [1, -3, 9, -27, 81], [1, 0.5, 0.25, 0.125, 0.0625], [1, 2.5, 6.25, 15.625, 39.0625]]
    )


def test_bands_that_do_not_divide_evenly_go_to_the_lower_groups() -> None:
    window = (REFERENCE_DB + np.arange(10, dtype=np.float32)).reshape(1, 1, 10)
    first_powers = rhythm_sums(window, np.arange(10), 1)[0, :, 1]
    np.testing.assert_array_equal(first_powers, [1.0, 4.0, 6.5, 8.5])  # means of 3, 3, 2 and 2 bands


@pytest.mark.parametrize(("hop", "counted"), [(1, 1), (3, 3), (5, 5), (7, 5)])
def test_a_window_counts_only_the_frames_that_the_next_one_does_not_hold(
    rng: np.random.Generator, hop: int, counted: int
) -> None:
    frames = rng.normal(-50.0, 5.0, size=(60, 8))
    sums = rhythm_sums(windows_of(frames, hop=hop), BANDS, hop)
    assert (sums[:, :, 0] == counted).all()
    level = frames.astype(np.float32).astype(np.float64).reshape(60, GROUPS, 2).mean(axis=2) - REFERENCE_DB
    for power in range(POWERS):
        expected = [(level[i * hop : i * hop + counted] ** power).sum(axis=0) for i in range(len(sums))]
        np.testing.assert_allclose(sums[:, :, power], expected, rtol=1e-12)


@pytest.mark.parametrize("hop", [1, 2, 5])
def test_a_row_is_the_same_in_any_batch_to_the_bit(rng: np.random.Generator, hop: int) -> None:
    windows = rng.normal(-50.0, 9.0, size=(31, 5, 128)).astype(np.float32)
    bands = np.arange(125)
    together = rhythm_sums(windows, bands, hop)
    for size in (1, 2, 7, 30):
        parts = [rhythm_sums(windows[i : i + size], bands, hop) for i in range(0, 31, size)]
        assert np.concatenate(parts).tobytes() == together.tobytes()
    assert rhythm_sums(np.asfortranarray(windows), bands, hop).tobytes() == together.tobytes()


def test_no_windows_leave_no_rows() -> None:
    assert rhythm_sums(np.zeros((0, 5, 8), np.float32), BANDS, 1).shape == (0, GROUPS, POWERS)


def test_fewer_bands_than_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 band\(s\) cannot be split into 4 groups"):
        rhythm_sums(np.zeros((1, 5, 8), np.float32), np.arange(3), 1)


def test_irregularity_is_the_mean_log_kurtosis_over_time(rng: np.random.Generator) -> None:
    levels = rng.normal(-20.0, [1.0, 0.2, 3.0, 9.0], size=(400, 4)) + rng.exponential(2.0, size=(400, 4))
    sums = rhythm_sums(windows_of(levels, length=1), np.arange(4), 1).sum(axis=0)
    deviations = levels.astype(np.float32).astype(np.float64)
    deviations -= deviations.mean(axis=0)
    kurtosis = (deviations**4).mean(axis=0) / (deviations**2).mean(axis=0) ** 2
    assert irregularity(sums) == pytest.approx(np.log(kurtosis).mean(), abs=1e-8)


def test_two_levels_that_alternate_have_the_least_kurtosis_there_is() -> None:
    assert irregularity(sums_of(np.tile([-70.0, -30.0], 50)).sum(axis=0)) == pytest.approx(0.0, abs=1e-12)


def test_rounding_is_small_beside_the_usual_spread_at_any_level() -> None:
    for level_db in np.linspace(-100.0, 20.0, 50):
        found = irregularity(sums_of(np.tile([level_db, level_db + 2.4 * MIN_STD_DB], 50)).sum(axis=0))
        assert 0.0 <= found < 0.1 * USUAL_SPREAD


def test_one_knock_in_a_constant_sound_has_the_kurtosis_of_one_in_n() -> None:
    level = np.full(100, -50.0)
    level[40] = -30.0
    p = 1 / 100
    expected = (1 - 3 * p * (1 - p)) / (p * (1 - p))  # of a Bernoulli variable
    assert irregularity(sums_of(level).sum(axis=0)) == pytest.approx(math.log(expected), abs=1e-9)


def test_steady_noise_lies_near_log_3(rng: np.random.Generator) -> None:
    found = [irregularity(sums_of(rng.normal(-45.0, 1.0, 313)).sum(axis=0)) for _ in range(50)]
    assert np.mean(found) == pytest.approx(math.log(3.0), abs=0.05)
    assert np.std(found) < USUAL_SPREAD


@pytest.mark.parametrize("change_db", [12.0, -12.0])
def test_a_knock_and_a_pause_raise_it(steady: Float64, change_db: float) -> None:
    before = irregularity(sums_of(steady).sum(axis=0))
    steady[100:103] += change_db
    assert irregularity(sums_of(steady).sum(axis=0)) > before + 4 * USUAL_SPREAD


@pytest.mark.parametrize("level_db", [-100.0, -60.0, -33.3, 10.0])
def test_a_constant_sound_counts_as_log_3(rng: np.random.Generator, level_db: float) -> None:
    constant = np.full(313, level_db)
    assert irregularity(sums_of(constant).sum(axis=0)) == math.log(GAUSSIAN_KURTOSIS)
    rounding = constant + 1e-4 * rng.normal(size=313)
    assert irregularity(sums_of(rounding).sum(axis=0)) == math.log(GAUSSIAN_KURTOSIS)


def test_no_sound_counts_as_log_3() -> None:
    assert irregularity(np.zeros((GROUPS, POWERS))) == math.log(GAUSSIAN_KURTOSIS)


def test_irregular_times_name_when_how_much_and_which_way(steady: Float64) -> None:
    steady[100:103] += 15.0
    steady[200:202] -= 10.0
    knock, pause = irregular_times(sums_of(steady), HOP_S, start_s=20.0)
    mean = steady.mean()
    assert (knock.start_s, knock.end_s) == (23.2, 23.296)
    assert (pause.start_s, pause.end_s) == (26.4, 26.464)
    assert knock.change_db == pytest.approx(steady[100:103].mean() - mean, abs=0.01)
    assert pause.change_db == pytest.approx(steady[200:202].mean() - mean, abs=0.01)
    fourth = (steady - mean) ** 4
    assert knock.share == pytest.approx(fourth[100:103].sum() / fourth.sum(), abs=1e-4)
    assert pause.share == pytest.approx(fourth[200:202].sum() / fourth.sum(), abs=1e-4)


def test_the_largest_shares_come_first_and_at_most_eight() -> None:
    level = np.full(1000, -50.0) + np.tile([-0.5, 0.5], 500)
    knocks = np.arange(20, 1000, 80)
    level[knocks] += np.linspace(10.0, 11.0, len(knocks))
    found = irregular_times(sums_of(level), HOP_S, 0.0)
    assert len(found) == MAX_TIMES < len(knocks)
    assert [stretch.share for stretch in found] == sorted((stretch.share for stretch in found), reverse=True)
    assert found[0].start_s == pytest.approx(knocks[-1] * HOP_S)


def test_regular_constant_and_short_sounds_have_no_irregular_times() -> None:
    assert irregular_times(sums_of(np.tile([-70.0, -30.0], 50)), HOP_S, 0.0) == []
    assert irregular_times(sums_of(np.full(100, -33.3)), HOP_S, 0.0) == []
    assert irregular_times(sums_of(np.array([-33.2] + 99 * [-33.3])), HOP_S, 0.0) == []  # std 0.01 dB: constant
    assert irregular_times(sums_of(np.array([-30.0] + 7 * [-60.0])), HOP_S, 0.0) == []  # no share is above 8 of 8
    assert irregular_times(np.zeros((0, GROUPS, POWERS)), HOP_S, 0.0) == []


def test_a_finding_is_frozen_and_closed() -> None:
    found = IrregularTime(start_s=1.0, end_s=2.0, change_db=3.0, share=0.5)
    with pytest.raises(ValidationError, match="frozen"):
        found.share = 0.1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra"):
        IrregularTime.model_validate({**found.model_dump(), "more": 1})
    assert all(field.description for field in IrregularTime.model_fields.values())


def test_knocks_in_a_machine_are_found_where_they_are(rng: np.random.Generator, machine: SyntheticMachine) -> None:
    features, spec = FeatureSpec(), WindowSpec()
    bands = ScoringSpec().bands(features)

    def sums(samples: Float32) -> Float64:
        windower = Windower(spec, features)
        blocks = windower.push(log_mel(samples, features)) + windower.flush()
        return rhythm_sums(np.concatenate(blocks), bands, spec.hop_frames)

    normal = machine.clip(1)
    knocked = normal.copy()
    for second in (2.0, 7.0):
        at = int(second * 16_000)
        knocked[at : at + 400] += (0.5 * rng.normal(size=400)).astype(np.float32)
    assert irregularity(sums(knocked).sum(axis=0)) > irregularity(sums(normal).sum(axis=0)) + 2 * USUAL_SPREAD
    first, second_time = sorted(irregular_times(sums(knocked), HOP_S, 0.0), key=lambda found: found.start_s)
    assert first.start_s == pytest.approx(2.0, abs=0.07)
    assert second_time.start_s == pytest.approx(7.0, abs=0.07)
    assert first.change_db > 3.0
