from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile

from humwatch.source.faults import HARD_FAULTS, SOURCE_FAULTS, SourceFault
from humwatch.source.health import SourceHealth
from humwatch.source.sound_window import MOST_BLOCKS
from humwatch.synthetic import SyntheticMachine

RATE_HZ = 16_000
LEVEL_DBFS = -26.0
NORMAL = Path(__file__).parents[3] / "models" / "fan-id_00" / "examples" / "normal.wav"

Timeline = list[set[SourceFault]]
Change = Callable[[np.ndarray], np.ndarray]


def to_16_bits(sound: np.ndarray) -> np.ndarray:
    return np.round(np.clip(sound, -1.0, 1.0 - 2**-15) * 2**15) / 2**15


def health(rate_hz: int = RATE_HZ, level_dbfs: float = LEVEL_DBFS) -> SourceHealth:
    return SourceHealth(
        rate_hz=rate_hz, needed_hz=rate_hz / 2, level_dbfs_low=level_dbfs - 0.5, level_dbfs_high=level_dbfs + 0.5
    )


def follow(sound: np.ndarray, watched: SourceHealth, chunk: int = RATE_HZ // 10) -> Timeline:
    """Codes after each chunk."""
    codes = []
    for start in range(0, len(sound), chunk):
        watched.push(sound[start : start + chunk].astype(np.float32))
        codes.append({fault.code for fault in watched.faults()})
    return codes


def ever(sound: np.ndarray, rate_hz: int = RATE_HZ, level_dbfs: float = LEVEL_DBFS) -> set[SourceFault]:
    """All codes that were ever named."""
    return set().union(*follow(sound, health(rate_hz, level_dbfs), rate_hz // 10))


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """A minute of a normal machine, rounded to 16 bits."""
    return to_16_bits(SyntheticMachine(seed=3, level_dbfs=LEVEL_DBFS).clip(1, 60.0))


def injected(sound: np.ndarray, change: Change) -> np.ndarray:
    """With a fault from second 20 to second 30."""
    hurt = sound.copy()
    hurt[20 * RATE_HZ : 30 * RATE_HZ] = change(hurt[20 * RATE_HZ : 30 * RATE_HZ])
    return hurt


def holes(sound: np.ndarray, *, every_s: float, hole_s: float, held: bool = False) -> np.ndarray:
    """Filled with zeros, or with the sample before."""
    hurt = sound.copy()
    for start in range(777, len(sound) - RATE_HZ, round(every_s * RATE_HZ)):
        hurt[start : start + round(hole_s * RATE_HZ)] = hurt[start - 1] if held else 0.0
    return hurt


INJECTED: dict[str, tuple[Change, SourceFault, float]] = {
    "digital zero": (np.zeros_like, "silent", 3.0),
    "hiss of -90 dBFS": (lambda x: np.random.default_rng(1).normal(0.0, 10 ** (-90 / 20), len(x)), "silent", 3.0),
    "one value": (lambda x: np.full_like(x, 0.0123), "stuck", 0.5),
    "gain of 20 dB": (lambda x: to_16_bits(10 * x), "clipped", 0.1),
    "offset of 0.11": (lambda x: x + 0.11, "dc_offset", 9.3),
    "offset of -0.3": (lambda x: x - 0.3, "dc_offset", 3.5),
    "level 20 dB lower": (lambda x: 0.1 * x, "level_unusual", 7.9),
    "level 12 dB higher": (lambda x: np.clip(4 * x, -0.99, 0.99), "level_unusual", 2.4),
    "holes of 8 ms": (lambda x: holes(x, every_s=0.4, hole_s=0.008), "drop_outs", 0.9),
    "samples held for 8 ms": (lambda x: holes(x, every_s=0.4, hole_s=0.008, held=True), "drop_outs", 0.9),
    "rare holes of 0.3 s": (lambda x: holes(x, every_s=3.0, hole_s=0.3), "drop_outs", 6.2),
}


@pytest.mark.parametrize("name", INJECTED)
def test_a_fault_is_named_soon_and_goes_away_by_itself(sound: np.ndarray, name: str) -> None:
    change, code, within_s = INJECTED[name]
    named = [code in codes for codes in follow(injected(sound, change), health())]
    assert not any(named[:200])
    assert any(named[200 : 201 + round(10 * within_s)])
    assert named[299]
    assert not any(named[401:])


def test_normal_sound_of_a_synthetic_machine_has_no_fault(sound: np.ndarray) -> None:
    assert ever(sound) == set()


def test_normal_sound_of_a_real_machine_has_no_fault() -> None:
    samples, rate_hz = soundfile.read(NORMAL)
    watched = SourceHealth(rate_hz=rate_hz, needed_hz=7_600.0, level_dbfs_low=-44.5, level_dbfs_high=-42.5)
    assert set().union(*follow(samples, watched)) == set()


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000])
@pytest.mark.parametrize("level_dbfs", [-20.0, -40.0, -60.0, -65.0])
def test_quiet_sound_rounded_to_16_bits_is_not_full_of_holes(level_dbfs: float, rate_hz: int) -> None:
    machine = SyntheticMachine(seed=4, rate_hz=rate_hz, level_dbfs=level_dbfs)
    assert ever(to_16_bits(machine.clip(2, 4.0)), rate_hz, level_dbfs) == set()


@pytest.mark.parametrize("level_dbfs", [-20.0, -60.0, -80.0])
def test_white_noise_is_not_full_of_holes(rng: np.random.Generator, level_dbfs: float) -> None:
    noise = rng.normal(0.0, 10 ** (level_dbfs / 20), 4 * RATE_HZ)
    assert ever(to_16_bits(noise), RATE_HZ, level_dbfs) == set()


@pytest.mark.parametrize("level_dbfs", [-10.0, -40.0, -60.0, -75.0])
def test_a_low_tone_without_any_hiss_is_not_full_of_holes(level_dbfs: float) -> None:
    tone = np.sqrt(2) * 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * 25.0 * np.arange(4 * 48_000) / 48_000)
    assert ever(to_16_bits(tone), 48_000, level_dbfs) == set()


@pytest.mark.parametrize(
    ("bits", "level_dbfs"), [(16, -55.0), (16, -60.0), (16, -68.0), (16, -75.0), (12, -45.0), (12, -55.0), (8, -25.0)]
)
def test_a_low_tone_that_swells_is_not_full_of_holes(bits: int, level_dbfs: float) -> None:
    """Its crests stand still at every height, as far as the rounding can tell."""
    time_s = np.arange(4 * 48_000) / 48_000
    swell = (1.0 + 0.5 * np.sin(2 * np.pi * 0.7 * time_s)) * np.sin(2 * np.pi * 25.0 * time_s)
    tone = 10 ** (level_dbfs / 20) * swell / swell.std()
    assert ever(np.round(tone * 2 ** (bits - 1)) / 2 ** (bits - 1), 48_000, level_dbfs) == set()


@pytest.mark.parametrize("gain", [10.0, 100.0, 1_000.0])
def test_flat_peaks_at_full_scale_are_clipped_and_nothing_else(sound: np.ndarray, gain: float) -> None:
    clipped = to_16_bits(gain * sound[: 4 * RATE_HZ])
    assert ever(clipped, level_dbfs=20 * np.log10(clipped.std())) == {"clipped"}
    tone = to_16_bits(gain * np.sin(2 * np.pi * 25.0 * np.arange(4 * 48_000) / 48_000))
    assert ever(tone, 48_000, 20 * np.log10(tone.std())) == {"clipped"}


def test_flat_peaks_of_an_amplifier_before_the_converter_are_no_holes() -> None:
    tone = np.clip(np.sin(2 * np.pi * 25.0 * np.arange(4 * RATE_HZ) / RATE_HZ), -0.3, 0.3)
    assert ever(to_16_bits(tone), level_dbfs=20 * np.log10(tone.std())) == set()


def test_holes_are_found_beside_an_offset(sound: np.ndarray) -> None:
    """Zeros are then the lowest samples of all, as flat peaks would be."""
    offset = 0.1 * sound[: 4 * RATE_HZ] + 0.05
    assert "drop_outs" not in ever(offset)
    assert "drop_outs" in ever(holes(offset, every_s=0.4, hole_s=0.008))


def test_coarse_rounding_is_no_hole() -> None:
    """A machine that was calibrated on 8 bits is heard on 8 bits, though its sound stands still now and then."""
    sound = np.round(SyntheticMachine(seed=4, level_dbfs=-42.0).clip(1, 4.0) * 2**7) / 2**7
    level_dbfs = 20 * np.log10(sound.std())
    assert ever(sound, level_dbfs=level_dbfs) == set()


@pytest.mark.parametrize("before", [10, 40, 100])
def test_two_holes_may_be_chance_and_three_are_drop_outs(sound: np.ndarray, before: int) -> None:
    """Wherever the end of a tenth of a second cuts them."""
    hurt = sound[: 5 * RATE_HZ].copy()
    for second in (1, 2, 3):
        assert ever(hurt) == set()
        hurt[second * RATE_HZ - before : second * RATE_HZ + 100] = 0.0
    assert ever(hurt) == {"drop_outs"}


def test_a_hole_is_5_ms_long(sound: np.ndarray) -> None:
    short, long = (holes(sound[: 4 * RATE_HZ], every_s=0.4, hole_s=hole_s) for hole_s in (0.004, 0.0055))
    assert ever(short) == set()
    assert ever(long) == {"drop_outs"}


@pytest.mark.parametrize(("level_dbfs", "expected"), [(-65.0, {"drop_outs"}), (-75.0, set())])
def test_holes_are_looked_for_in_sound_far_above_silence(
    rng: np.random.Generator, level_dbfs: float, expected: set[SourceFault]
) -> None:
    noise = rng.normal(0.0, 10 ** (level_dbfs / 20), 4 * RATE_HZ)
    assert ever(holes(noise, every_s=0.4, hole_s=0.008), level_dbfs=level_dbfs) == expected


def test_silence_is_said_once(rng: np.random.Generator) -> None:
    assert follow(rng.normal(0.0, 10 ** (-90 / 20), 5 * RATE_HZ), health())[-1] == {"silent"}


def test_a_gap_is_a_drop_out_for_ten_seconds(sound: np.ndarray) -> None:
    watched = health()
    follow(sound[: 5 * RATE_HZ], watched)
    watched.gap(RATE_HZ // 2)
    assert [(fault.code, fault.hard) for fault in watched.faults()] == [("drop_outs", True)]
    assert "1 gap(s) of 0.50 s" in watched.faults()[0].message
    named = [codes == {"drop_outs"} for codes in follow(sound[5 * RATE_HZ : 20 * RATE_HZ], watched)]
    assert named == [True] * 99 + [False] * 51


def test_an_overflow_is_a_drop_out_for_ten_seconds(sound: np.ndarray) -> None:
    watched = health()
    watched.overflow(3)
    assert "3 overflow(s)" in watched.faults()[0].message
    assert [len(codes) for codes in follow(sound[: 12 * RATE_HZ], watched)] == [1] * 99 + [0] * 21


def test_one_value_on_both_sides_of_a_gap_is_not_stuck(sound: np.ndarray) -> None:
    watched = health()
    for _ in range(2):
        watched.push(np.full(RATE_HZ * 45 // 100, 0.1, np.float32))
        watched.gap(RATE_HZ)
    assert {fault.code for fault in watched.faults()} == {"drop_outs"}


def test_what_lies_before_a_long_gap_says_nothing_of_what_comes_behind(sound: np.ndarray) -> None:
    watched = health()
    follow(np.zeros(5 * RATE_HZ), watched)
    watched.gap(60 * RATE_HZ)
    assert {fault.code for fault in watched.faults()} == {"drop_outs"}
    assert follow(sound[: 4 * RATE_HZ], watched)[-1] == {"drop_outs"}


def test_a_rate_too_low_for_the_model_is_told_at_once_and_for_good() -> None:
    watched = SourceHealth(rate_hz=8_000, needed_hz=7_600.0, level_dbfs_low=-30.0, level_dbfs_high=-20.0)
    for _ in range(2):
        assert [(fault.code, fault.hard) for fault in watched.faults()] == [("bandwidth_limited", True)]
        assert "nothing above 4000 Hz" in watched.faults()[0].message
        watched.reset()


@pytest.mark.parametrize(
    ("ratio", "code", "hard"),
    [(44_100 / 48_000, "wrong_rate", True), (1.03, "wrong_rate", True), (1.005, "clock_drift", False)],
)
def test_a_false_rate_is_named_within_20_s_of_the_start(
    rng: np.random.Generator, ratio: float, code: str, hard: bool
) -> None:
    watched = health()
    for second in range(21):
        watched.clock(round(RATE_HZ * ratio * second), second + rng.uniform(0.0, 0.05))
    assert [(fault.code, fault.hard) for fault in watched.faults()] == [(code, hard)]
    assert "16000 Hz were declared" in watched.faults()[0].message


@pytest.mark.parametrize(("ratio", "code"), [(44_100 / 48_000, "wrong_rate"), (0.995, "clock_drift")])
def test_a_rate_that_becomes_false_is_named_within_30_s_and_forgotten_within_25(
    rng: np.random.Generator, ratio: float, code: str
) -> None:
    watched, sample, named = health(), 0.0, []
    for second in range(120):
        watched.clock(round(sample), second + rng.uniform(0.0, 0.05))
        sample += RATE_HZ * (ratio if 40 <= second < 80 else 1.0)
        named.append(code in {fault.code for fault in watched.faults()})
    assert not any(named[:41])
    assert all(named[70:81])
    assert not any(named[106:])


def test_a_gap_in_the_count_is_no_drift(rng: np.random.Generator) -> None:
    """The client's count may come back a little off the clock."""
    watched, offset = health(), 0.0
    for second in range(300):
        if second % 20 == 19:
            watched.gap(RATE_HZ)
            offset += 0.2
        watched.clock(round(RATE_HZ * (second + offset)), second + rng.uniform(0.0, 0.05))
        assert not {"clock_drift", "wrong_rate"} & {fault.code for fault in watched.faults()}


@pytest.mark.parametrize("chunk", [160, 1_601, 100_000])
def test_every_chunking_ends_with_the_same_faults(sound: np.ndarray, chunk: int) -> None:
    hurt = injected(sound, lambda x: to_16_bits(holes(12 * x, every_s=1.0, hole_s=0.01) + 0.3))[: 31 * RATE_HZ]
    whole, cut = health(), health()
    follow(hurt, whole)
    follow(hurt, cut, chunk)
    assert {fault.code for fault in whole.faults()} == {"drop_outs", "clipped", "dc_offset", "level_unusual"}
    assert cut.faults() == whole.faults()


def test_shares_and_levels_wait_for_three_seconds(sound: np.ndarray) -> None:
    loud = follow(to_16_bits(20 * sound[: 4 * RATE_HZ] + 0.3), health())
    assert loud[28] == set()
    assert loud[30] == {"clipped", "dc_offset", "level_unusual"}


def test_another_calibration_has_other_levels(sound: np.ndarray) -> None:
    watched = health()
    follow(sound[: 5 * RATE_HZ], watched)
    assert watched.faults() == ()
    watched.calibrated(-60.0, -40.0)
    assert [fault.code for fault in watched.faults()] == ["level_unusual"]


def test_reset_forgets_everything(sound: np.ndarray) -> None:
    watched = health()
    follow(np.full(5 * RATE_HZ, 1.0), watched)
    watched.overflow(1)
    for second in range(30):
        watched.clock(second * 1_000, float(second))
    assert len(watched.faults()) >= 5
    watched.reset()
    assert watched.faults() == ()
    assert follow(sound[: 4 * RATE_HZ], watched)[-1] == set()


def test_faults_come_in_order_with_those_that_leave_nothing_to_say_first(sound: np.ndarray) -> None:
    assert get_args(SourceFault) == SOURCE_FAULTS
    assert set(SOURCE_FAULTS[: len(HARD_FAULTS)]) == HARD_FAULTS
    watched = health()
    watched.gap(10)
    follow(np.concatenate([np.full(RATE_HZ, 1.0), to_16_bits(20 * sound[: 3 * RATE_HZ])]), watched)
    codes = [fault.code for fault in watched.faults()]
    assert codes == sorted(codes, key=SOURCE_FAULTS.index)
    assert [fault.hard for fault in watched.faults()] == sorted(
        [fault.hard for fault in watched.faults()], reverse=True
    )
    assert {"stuck", "drop_outs", "clipped"} <= set(codes)


def test_a_client_that_counts_gaps_without_end_fills_no_memory(sound: np.ndarray) -> None:
    watched = health()
    for start in range(1_000):
        watched.push(sound[start : start + 1].astype(np.float32))
        watched.gap(1)
        watched.overflow(1)
    assert [fault.code for fault in watched.faults()] == ["drop_outs"]
    assert f"{MOST_BLOCKS // 2} gap(s)" in watched.faults()[0].message
