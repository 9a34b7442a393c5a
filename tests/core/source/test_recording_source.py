from __future__ import annotations

import numpy as np
import pytest

from humwatch.audio.quality import dbfs
from humwatch.run_state import RunGate
from humwatch.source.health import SourceHealth
from humwatch.source.recording_source import RecordingSource

RATE_HZ = 16_000


def check(
    samples: np.ndarray,
    chunk: int = 1000,
    *,
    gate: RunGate | None = None,
    full_scale: bool = True,
    low: float = -np.inf,
) -> RecordingSource:
    health = SourceHealth(
        rate_hz=RATE_HZ, needed_hz=7_600.0, level_dbfs_low=low, level_dbfs_high=np.inf, full_scale=full_scale
    )
    found = RecordingSource(health, rate_hz=RATE_HZ, full_scale=full_scale, run_gate=gate)
    for start in range(0, len(samples), chunk):
        found.push(samples[start : start + chunk].astype(np.float32))
    found.finish()
    return found


def codes(samples: np.ndarray) -> list[str]:
    return [warning.code for warning in check(samples).warnings()]


@pytest.fixture
def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0.0, 0.05, 3 * RATE_HZ)


def test_ordinary_sound_has_no_warnings(noise: np.ndarray) -> None:
    assert codes(noise) == []


def test_level_is_that_of_the_sound_without_its_mean(noise: np.ndarray) -> None:
    assert check(noise + 0.05).level_dbfs == pytest.approx(20 * np.log10(0.05), abs=0.1)
    assert dbfs(0.0) == -200.0
    assert check(noise[:0]).level_dbfs == -200.0


def test_digital_silence_and_rounding_noise_are_silent(rng: np.random.Generator) -> None:
    assert codes(np.zeros(RATE_HZ)) == ["silent"]
    assert codes(np.round(rng.normal(0, 0.4, RATE_HZ)) / 32_768) == ["silent"]


def test_a_value_that_stays_is_stuck_even_across_chunks(noise: np.ndarray) -> None:
    noise[10_000 : 10_000 + RATE_HZ // 2] = 0.0123
    for chunk in (1, 7, 777, 16_000, 100_000):
        found = check(noise, chunk) if chunk > 1 else check(noise[8_000:20_000], chunk)
        assert [warning.code for warning in found.warnings()] == ["stuck"]
    assert codes(np.concatenate([noise[:9000], np.full(7_000, 0.2)])) == []


def test_clipping_is_counted(noise: np.ndarray) -> None:
    noise[::1000] = 1.0
    assert codes(noise) == ["clipped"]
    noise[::1000] = -1.0
    assert codes(noise) == ["clipped"]


def test_an_offset_is_told(noise: np.ndarray) -> None:
    assert codes(noise + 0.2) == ["dc_offset"]


def spoiled(noise: np.ndarray, start: int, samples: int, value: float = 0.0) -> np.ndarray:
    noise = noise.copy()
    noise[start : start + samples] = value
    return noise


@pytest.mark.parametrize("start", [0, 1, 700, 15_999, 20_000, 3 * RATE_HZ - 1_000])
@pytest.mark.parametrize("samples", [320, 1_000])
def test_one_hole_is_found_wherever_it_is(noise: np.ndarray, start: int, samples: int) -> None:
    if start == 1:
        noise[0] = 0.0  # the first sample may be one of the hole's
    hurt = spoiled(noise, start, samples)
    whole = check(hurt)
    assert [one.code for one in whole.warnings()] == ["drop_outs"]
    assert whole.reasons(start, start + samples) == ("drop_outs",)
    first, last = max(0, start - 1) if start == 1 else start, start + samples
    assert whole.reasons(0, first) == whole.reasons(last, len(hurt)) == ()
    for chunk in (1_601, 5_000):
        assert check(hurt, chunk).warnings() == whole.warnings()


def test_a_hole_may_hold_any_value_within_the_sound(noise: np.ndarray) -> None:
    assert codes(spoiled(noise, 9_000, 400, float(noise[8_999]))) == ["drop_outs"]
    assert codes(spoiled(noise, 9_000, 400, 0.3)) == []


def test_short_holes_are_none(noise: np.ndarray) -> None:
    assert codes(spoiled(noise, 9_000, 319)) == []


def test_sound_that_decays_into_digital_silence_is_no_hole(rng: np.random.Generator) -> None:
    """Strokes behind a noise gate that fades, rounded to 16 bits."""
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    strokes = rng.normal(0.0, 0.1, len(time_s)) * np.exp(-(time_s % 0.4) / 0.02)
    rounded = np.round(strokes * 2**15) / 2**15
    assert (rounded == 0.0).mean() > 0.3
    assert "drop_outs" not in codes(rounded)


def test_quiet_sound_that_its_rounding_holds_is_no_hole(rng: np.random.Generator) -> None:
    quiet = np.round(rng.normal(0.0, 1.0, 3 * RATE_HZ)) * 2.0**-15
    quiet[9_000:9_600] = 0.0
    assert "drop_outs" not in codes(quiet)


def test_a_machine_that_stands_is_left_out_with_what_led_to_it(noise: np.ndarray) -> None:
    gate = RunGate.from_quietest(-27.0)
    sound = np.concatenate([noise, 0.02 * noise, noise])
    found = check(sound, gate=gate)
    assert [one.code for one in found.warnings()] == ["not_running"]
    assert not found.is_off or found.reasons(0, len(sound))
    assert found.reasons(0, 3 * RATE_HZ) == ()
    assert found.reasons(3 * RATE_HZ, 6 * RATE_HZ) == ("not_running",)
    assert found.reasons(7 * RATE_HZ, 9 * RATE_HZ) == ()
    assert found.level_dbfs == pytest.approx(20 * np.log10(0.05), abs=0.2)
    assert check(0.02 * noise, gate=gate).is_off
    assert not check(0.02 * spoiled(noise, 9_000, 400), gate=gate).is_off


@pytest.mark.parametrize(("unit", "low"), [(50.0, 8.0), (1e-5, -126.0)])
def test_floats_are_silent_by_the_calibration_alone(noise: np.ndarray, unit: float, low: float) -> None:
    def codes_of(sound: np.ndarray) -> list[str]:
        return [one.code for one in check(sound, full_scale=False, low=low).warnings()]

    assert codes_of(noise * unit) == []
    assert codes_of((noise + 0.2) * unit) == []
    assert codes_of(noise * unit * 1e-3) == ["silent"]
    top = float(np.quantile(np.abs(noise), 0.998))
    assert codes_of(np.clip(noise, -top, top) * unit) == ["clipped"]


def test_many_short_holes_are_drop_outs_as_on_a_stream(noise: np.ndarray) -> None:
    for start in (9_000, 17_000):
        noise[start : start + 100] = 0.0
    assert codes(noise) == []
    noise[30_000:30_100] = 0.0
    found = check(noise)
    assert [one.code for one in found.warnings()] == ["drop_outs"]
    assert found.reasons(8_800, 9_200) == ("drop_outs",)
    assert found.reasons(0, 8_000) == ()


def test_a_gate_that_closes_at_once_where_it_is_quiet_is_no_hole(rng: np.random.Generator) -> None:
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    strokes = rng.normal(0.0, 0.1, len(time_s)) * (np.exp(-(time_s % 0.4) / 0.02) + 0.005)
    gated = np.where(time_s % 0.4 < 0.2, strokes, 0.0)
    assert "drop_outs" not in codes(np.round(gated * 2**15) / 2**15)
