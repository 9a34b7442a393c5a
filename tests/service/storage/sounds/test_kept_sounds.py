from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from humwatch_service.errors import StateUnusable
from humwatch_service.storage.sounds.kept_sounds import INDEX, KeptSounds

RATE_HZ = 8_000


def sound(seed: int, gain: float = 1.0) -> np.ndarray:
    return (gain * np.random.default_rng(seed).normal(0, 1_000, 2 * RATE_HZ)).astype(np.int16)


def add(kept: KeptSounds, at_s: float, *, gain: float = 1.0) -> None:
    kept.add("fan-1", sound(int(at_s), gain), RATE_HZ, at_s=at_s, score=0.1, model_version="1")


def times(kept: KeptSounds) -> list[float]:
    return [each.at_s for each in kept.sounds("fan-1")]


def test_the_quota_holds_and_a_rare_condition_stays(tmp_path: Path) -> None:
    kept = KeptSounds(tmp_path, quota=5, retention_s=1e9)
    for number in range(40):
        add(kept, 600.0 * number, gain=4.0 if number == 7 else 1.0)
    assert len(times(kept)) == 5 and 600.0 * 7 in times(kept)
    assert sorted(path.name for path in (tmp_path / "fan-1").glob("*.flac")) == sorted(
        each.file for each in kept.sounds("fan-1")
    )
    assert times(KeptSounds(tmp_path, quota=5, retention_s=1e9)) == times(kept)


def test_what_is_old_or_over_a_smaller_quota_goes(tmp_path: Path) -> None:
    kept = KeptSounds(tmp_path, quota=9, retention_s=1_000.0)
    for at_s in (0.0, 300.0, 600.0, 900.0):
        add(kept, at_s)
    kept.enforce(1_200.0)
    assert times(kept) == [300.0, 600.0, 900.0]
    smaller = KeptSounds(tmp_path, quota=2, retention_s=1_000.0)
    smaller.enforce(1_200.0)
    assert len(times(smaller)) == 2
    KeptSounds(tmp_path, quota=0, retention_s=1_000.0).enforce(1_200.0)
    assert times(kept) == [] and not list((tmp_path / "fan-1").glob("*.flac"))


def test_none_are_kept_without_a_quota(tmp_path: Path) -> None:
    kept = KeptSounds(tmp_path / "kept", quota=0, retention_s=1e9)
    add(kept, 1.0)
    assert kept.machine_ids() == [] and not (tmp_path / "kept").exists()


def test_what_a_crash_left_goes_and_what_is_missing_is_not_listed(tmp_path: Path) -> None:
    kept = KeptSounds(tmp_path, quota=9, retention_s=1e9)
    add(kept, 1.0)
    add(kept, 2.0)
    (tmp_path / "fan-1" / "77.flac").write_bytes(b"left")
    (tmp_path / "fan-1" / "1000.flac").unlink()
    assert times(kept) == [2.0]
    add(kept, 3.0)
    assert sorted(path.name for path in (tmp_path / "fan-1").glob("*.flac")) == ["2000.flac", "3000.flac"]
    (tmp_path / "fan-1" / INDEX).write_text("damaged")
    assert times(kept) == []


def test_a_disk_that_takes_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable, match="file"):
        add(KeptSounds(tmp_path / "file", quota=9, retention_s=1e9), 1.0)


def test_the_newest_are_forgotten_and_no_more_than_are_meant(tmp_path: Path) -> None:
    kept = KeptSounds(tmp_path, quota=9, retention_s=1e9)
    for at_s in (10.0, 20.0, 30.0, 40.0):
        add(kept, at_s)
    kept.forget("fan-1", 35.0, 3)
    assert times(kept) == [10.0, 20.0, 30.0]
    kept.forget("fan-1", 0.0, 2)
    assert times(kept) == [10.0]
    kept.forget("nobody", 0.0, 2)


def test_the_same_sound_is_kept_once(tmp_path: Path) -> None:
    kept = KeptSounds(tmp_path, quota=9, retention_s=1e9)
    for at_s in (1.0, 2.0):
        kept.add("fan-1", sound(1), RATE_HZ, at_s=at_s, score=0.1, model_version="1")
    assert times(kept) == [1.0]
