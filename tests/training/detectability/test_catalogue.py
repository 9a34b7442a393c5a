import dataclasses
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal

from humwatch.arrays import Float64
from humwatch.synthetic import SyntheticMachine
from humwatch_training.detectability.catalogue import CATALOGUE
from humwatch_training.detectability.changed_faults import MissingStrokes
from humwatch_training.detectability.fault import SimulatedFault

DOCS = Path(__file__).parents[3] / "docs" / "detectability.md"
RATE_HZ = 16_000
BY_NAME = {fault.name: fault for fault in CATALOGUE}
LEVELLED = [fault for fault in CATALOGUE if fault.unit == "dB"]
CLEAN = SyntheticMachine(seed=5).clip(0, seconds=6.0)


def change(fault: SimulatedFault, level: float, clean: npt.NDArray[np.float32] = CLEAN, **seeds: int) -> Float64:
    return fault.mix(clean, RATE_HZ, level, **seeds).astype(np.float64) - clean


def level_db(changed: Float64, clean: npt.NDArray[np.float32] = CLEAN) -> float:
    return float(10 * np.log10(np.var(changed) / np.var(clean.astype(np.float64))))


def share_within(changed: Float64, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(changed)) ** 2
    hz = np.fft.rfftfreq(len(changed), 1 / RATE_HZ)
    return float(power[(hz >= low_hz) & (hz <= high_hz)].sum() / power.sum())


def noise(seed: int = 0, seconds: float = 4.0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.05, round(seconds * RATE_HZ)).astype(np.float32)


def by_name(fault: SimulatedFault) -> str:
    return fault.name


def test_names_are_unique_and_every_entry_explains_itself():
    assert len(BY_NAME) == len(CATALOGUE) == 9
    assert all(fault.imitates and list(fault.severities) == sorted(set(fault.severities)) for fault in CATALOGUE)
    assert {fault.unit for fault in CATALOGUE} == {"dB", "dB of gain", "% of speed"}
    assert BY_NAME["squeal"].parameters["tone_hz"] == 3_100.0


@pytest.mark.parametrize("fault", LEVELLED, ids=by_name)
@pytest.mark.parametrize("level", [-30.0, -13.7, 10.0])
def test_the_level_is_exact(fault: SimulatedFault, level: float):
    level = min(level, fault.limit(CLEAN, RATE_HZ))
    assert level_db(change(fault, level)) == pytest.approx(level, abs=0.1)


@pytest.mark.parametrize("fault", CATALOGUE, ids=by_name)
def test_seed_and_clip_number_make_the_sound_and_nothing_else_does(fault: SimulatedFault):
    severity = fault.severities[2]
    before = CLEAN.copy()
    mixed = fault.mix(CLEAN, RATE_HZ, severity, seed=3, clip=7)
    np.testing.assert_array_equal(CLEAN, before)
    np.testing.assert_array_equal(mixed, fault.mix(CLEAN, RATE_HZ, severity, seed=3, clip=7))
    assert (mixed.dtype, mixed.shape) == (np.float32, CLEAN.shape)
    assert np.isfinite(mixed).all()
    assert not np.array_equal(mixed, CLEAN)


@pytest.mark.parametrize("fault", LEVELLED, ids=by_name)
def test_another_seed_or_clip_is_another_event(fault: SimulatedFault):
    one, *others = (change(fault, -25.0, seed=seed, clip=clip) for seed, clip in ((0, 0), (1, 0), (0, 1)))
    assert all(np.var(one - other) > 1e-4 * np.var(one) for other in others)


@pytest.mark.parametrize("name", ["impacts", "random_impacts", "squeal", "modulated_tone", "shifted_harmonic", "rub"])
def test_a_fault_is_the_same_event_at_every_level(name: str):
    faint, loud = (change(BY_NAME[name], level) for level in (-30.0, -20.0))
    np.testing.assert_allclose(loud / np.sqrt(10), faint, atol=2e-3 * np.abs(faint).max() + 1e-8)


@pytest.mark.parametrize(
    ("name", "low_hz", "high_hz", "share"),
    [
        ("squeal", 3_100 * 0.88, 3_100 * 1.12, 0.99),
        ("modulated_tone", 1_150 * 0.89 - 30, 1_150 * 1.11 + 30, 0.99),
        ("rub", 1_500 * 0.85, 2_500 * 1.15, 0.95),
        ("impacts", 3_700, 4_900, 0.8),
        ("random_impacts", 1_500, 2_100, 0.9),
    ],
)
@pytest.mark.parametrize("clip", range(4))
def test_added_sound_lies_where_the_catalogue_says(name: str, low_hz: float, high_hz: float, share: float, clip: int):
    assert share_within(change(BY_NAME[name], 0.0, clip=clip), low_hz, high_hz) > share


def test_impacts_come_at_their_period_and_leave_the_rest_alone():
    knocks = change(BY_NAME["impacts"], 0.0, np.float32(0.05) * np.sign(noise()))
    loud = np.abs(knocks) > 0.02 * np.abs(knocks).max()
    starts = np.flatnonzero(np.diff(np.flatnonzero(loud), prepend=-RATE_HZ) > RATE_HZ // 50)
    intervals_s = np.diff(np.flatnonzero(loud)[starts]) / RATE_HZ
    assert 1 / np.median(intervals_s) == pytest.approx(7.3, rel=0.11)
    assert np.std(intervals_s) < 0.03 * np.mean(intervals_s)
    assert np.mean(np.abs(knocks) < 1e-6) > 0.8


def test_random_impacts_have_no_period():
    clean = noise(seconds=20.0)
    knocks = np.abs(change(BY_NAME["random_impacts"], 10.0, clean))
    peaks, _ = scipy.signal.find_peaks(knocks, height=0.1 * knocks.max(), distance=RATE_HZ // 20)
    assert 10 <= len(peaks) <= 60
    assert np.std(np.diff(peaks)) > 0.5 * np.mean(np.diff(peaks))


def test_a_squeal_comes_and_goes():
    tone = change(BY_NAME["squeal"], 0.0)
    envelope = np.sqrt(np.mean(tone[: len(tone) // 160 * 160].reshape(-1, 160) ** 2, axis=1))
    assert 0.2 < np.mean(envelope < 0.01 * envelope.max()) < 0.8


def strokes(level: float = 0.2) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Noise with a burst of 0.1 s every half second, and where the bursts are."""
    clean = noise(1)
    inside = (np.arange(len(clean)) % (RATE_HZ // 2)) < RATE_HZ // 10
    return (clean * np.where(inside, level / 0.05, 1.0)).astype(np.float32), inside


def test_missing_strokes_take_the_strokes_and_leave_the_pauses():
    clean, inside = strokes()
    fault = BY_NAME["missing_strokes"]
    mixed = fault.mix(clean, RATE_HZ, fault.limit(clean, RATE_HZ))
    outside = ~np.convolve(inside, np.ones(2 * 160 + 1), "same").astype(bool)
    np.testing.assert_allclose(mixed[outside], clean[outside], atol=1e-7)
    # bursts of 0.2 down to the 0.05 between them, but for their soft edges
    assert np.std(mixed[inside]) / np.std(clean[inside]) == pytest.approx(0.25, abs=0.2)


def test_at_low_levels_few_strokes_are_missing():
    clean, _ = strokes()
    changed = change(BY_NAME["missing_strokes"], -15.0, clean).reshape(8, -1)
    assert sorted(np.std(changed, axis=1) > 1e-4).count(True) in (1, 2)


def test_sound_without_strokes_falters_at_a_period():
    fault = BY_NAME["missing_strokes"]
    assert isinstance(fault, MissingStrokes)
    clean = noise()
    gone = np.abs(change(fault, fault.limit(clean, RATE_HZ), clean)) > 1e-9
    starts = np.flatnonzero(np.diff(np.convolve(gone, np.ones(400), "same") > 0) & ~gone[1:])[:2]
    assert len(starts) == 2
    assert 0.1 < gone.mean() < 0.3
    assert fault.limit(clean, RATE_HZ) == pytest.approx(10 * np.log10(0.2 * 0.81 * 0.8), abs=1.5)


@pytest.mark.parametrize("name", ["missing_strokes", "shifted_harmonic"])
def test_more_cannot_be_lost_than_there_is(name: str):
    fault = BY_NAME[name]
    limit = fault.limit(CLEAN, RATE_HZ, clip=2)
    assert limit < 10.0
    with pytest.raises(ValueError, match=f"cannot hold {name}"):
        fault.mix(CLEAN, RATE_HZ, limit + 0.1, clip=2)
    assert BY_NAME["rub"].limit(CLEAN, RATE_HZ) == np.inf


def test_the_strongest_line_moves_up():
    time_s = np.arange(4 * RATE_HZ) / RATE_HZ
    line = 0.1 * np.sin(2 * np.pi * 1_000 * time_s) + 0.05 * np.sin(2 * np.pi * 2_000 * time_s)
    clean = (line + 0.1 * noise()).astype(np.float32)
    fault = BY_NAME["shifted_harmonic"]
    mixed = fault.mix(clean, RATE_HZ, fault.limit(clean, RATE_HZ))
    before, after = (np.abs(np.fft.rfft(sound)) / len(sound) for sound in (clean, mixed))
    hz = np.fft.rfftfreq(len(clean), 1 / RATE_HZ)
    near_old, near_new = np.abs(hz - 1_000) < 10, (hz > 1_050) & (hz < 1_070)
    assert after[near_old].max() < 0.01 * before[near_old].max()
    assert after[near_new].max() > 0.4 * before[near_old].max()
    second = np.abs(hz - 2_000) < 10
    np.testing.assert_allclose(after[second], before[second], atol=1e-5)


def test_level_drift_is_a_ramp_in_db():
    drifted = BY_NAME["level_drift"].mix(CLEAN - CLEAN.mean(), RATE_HZ, 12.0) / (CLEAN - CLEAN.mean())
    gain_db = 20 * np.log10(drifted[[0, len(drifted) // 2, -1]])
    np.testing.assert_allclose(gain_db, [0.0, 6.0, 12.0], atol=0.01)


@pytest.mark.parametrize("percent", [0.5, 8.0, 16.0])
def test_pitch_drift_ends_at_its_speed(percent: float):
    time_s = np.arange(4 * RATE_HZ) / RATE_HZ
    clean = (0.1 * np.sin(2 * np.pi * 1_000 * time_s)).astype(np.float32)
    mixed = BY_NAME["pitch_drift"].mix(clean, RATE_HZ, percent)
    phase = np.unwrap(np.angle(scipy.signal.hilbert(mixed)))
    speed = np.diff(phase) * RATE_HZ / (2 * np.pi * 1_000)
    assert np.median(speed[400:1_200]) == pytest.approx(1 + percent / 100 * 800 / len(clean), abs=1e-3)
    assert np.median(speed[-1_200:-400]) == pytest.approx(1 + percent / 100 * (1 - 800 / len(clean)), abs=1e-3)


def test_pitch_drift_neither_empties_nor_doubles_the_highest_bands():
    clean = noise()
    mixed = BY_NAME["pitch_drift"].mix(clean, RATE_HZ, 16.0)
    hz, before = scipy.signal.welch(clean, RATE_HZ, nperseg=256)
    _, after = scipy.signal.welch(mixed, RATE_HZ, nperseg=256)
    in_band = (hz > 200) & (hz < 7_800)
    assert np.abs(10 * np.log10(after[in_band] / before[in_band])).max() < 1.5


def test_no_drift_is_no_change():
    inner = slice(200, -520)  # at the ends, resampling by Fourier rings, and the last 20 ms are cross-faded
    np.testing.assert_allclose(BY_NAME["pitch_drift"].mix(CLEAN, RATE_HZ, 0.0)[inner], CLEAN[inner], atol=1e-4)
    np.testing.assert_allclose(BY_NAME["level_drift"].mix(CLEAN, RATE_HZ, 0.0), CLEAN, atol=1e-7)


@pytest.mark.parametrize("fault", CATALOGUE, ids=by_name)
def test_an_offset_is_no_part_of_the_machine(fault: SimulatedFault):
    severity = min(fault.severities[1], fault.limit(CLEAN, RATE_HZ) - 1e-3)
    shifted = fault.mix(CLEAN + np.float32(0.25), RATE_HZ, severity)
    np.testing.assert_allclose(shifted - 0.25, fault.mix(CLEAN, RATE_HZ, severity), atol=2e-4)


@pytest.mark.parametrize("rate_hz", [15_200, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("fault", CATALOGUE, ids=by_name)
def test_other_rates_are_taken(fault: SimulatedFault, rate_hz: int):
    clean = SyntheticMachine(seed=5, rate_hz=rate_hz).clip(0, seconds=2.0)
    severity = min(fault.severities[1], fault.limit(clean, rate_hz))
    mixed = fault.mix(clean, rate_hz, severity)
    assert np.isfinite(mixed).all()
    if fault.unit == "dB":
        assert level_db(mixed.astype(np.float64) - clean, clean) == pytest.approx(severity, abs=0.1)


def test_a_rate_too_low_is_refused():
    with pytest.raises(ValueError, match="8000 Hz"):
        BY_NAME["squeal"].mix(CLEAN, 8_000, 0.0)


def test_loud_faults_are_not_clipped():
    assert np.abs(BY_NAME["impacts"].mix(CLEAN / np.abs(CLEAN).max(), RATE_HZ, 10.0)).max() > 1.0


def test_entries_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BY_NAME["rub"].low_hz = 0.0  # type: ignore[attr-defined]


def test_every_fault_is_documented_with_its_figures():
    rows = {row.split("`")[1]: row for row in DOCS.read_text("utf-8").splitlines() if row.startswith("| `")}
    assert set(rows) == set(BY_NAME)
    for name, fault in BY_NAME.items():
        figures = [value for value in fault.parameters.values() if isinstance(value, float)]
        documented = {float(figure) for figure in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", rows[name].replace(",", ""))}
        assert set(figures) <= documented, name
        assert f"{fault.severities[0]:g} to {fault.severities[-1]:g} {fault.unit}" in rows[name]
