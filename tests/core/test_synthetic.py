from __future__ import annotations

import numpy as np
import pytest

from humwatch.audio.features import FeatureSpec, log_mel
from humwatch.audio.levels import SecondLevels
from humwatch.synthetic import FAULTS, Fault, SyntheticMachine


def spectrum(samples: np.ndarray) -> np.ndarray:
    return log_mel(samples, FeatureSpec()).mean(axis=0)


def test_a_clip_is_repeatable_and_every_clip_is_another() -> None:
    machine = SyntheticMachine(seed=4)
    assert np.array_equal(machine.clip(7, 1.0), SyntheticMachine(seed=4).clip(7, 1.0))
    assert not np.array_equal(machine.clip(7, 1.0), machine.clip(8, 1.0))


def test_a_machine_sounds_like_itself_and_not_like_another() -> None:
    first, again, other = (
        spectrum(SyntheticMachine(seed).clip(number, 4.0)) for seed, number in ((1, 0), (1, 1), (2, 0))
    )
    assert np.abs(first - again).mean() < 1.0
    assert np.abs(first - other).mean() > 2 * np.abs(first - again).mean()


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_clips_have_the_level_and_length_asked_for(rate_hz: int) -> None:
    clip = SyntheticMachine(rate_hz=rate_hz, level_dbfs=-20.0).clip(0, 2.0)
    assert clip.dtype == np.float32
    assert len(clip) == 2 * rate_hz
    assert SecondLevels(rate_hz).push(clip) == pytest.approx([-20.0, -20.0], abs=1.0)


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_changes_the_sound(kind: str) -> None:
    machine = SyntheticMachine(seed=5)
    normal, faulty = machine.clip(3, 4.0), machine.clip(3, 4.0, Fault(kind, 3.0))  # type: ignore[arg-type]
    assert not np.array_equal(normal, faulty)
    assert np.abs(spectrum(faulty) - spectrum(normal)).max() > 0.5


def test_a_fault_is_as_loud_as_said() -> None:
    machine = SyntheticMachine(seed=5, level_dbfs=-40.0)
    normal = machine.clip(3, 4.0).astype(np.float64)
    for level_db in (-10.0, 0.0, 10.0):
        added = machine.clip(3, 4.0, Fault("squeal", level_db)) - normal
        assert 10 * np.log10(np.mean(added**2) / np.mean(normal**2)) == pytest.approx(level_db, abs=0.1)
