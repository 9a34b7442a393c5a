"""Windows that come back: what is predicted again, what is kept, and that scores stay the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from humwatch.arrays import Float32
from humwatch.bundle.repository import ModelRepository
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch.predictor import Prediction
from humwatch_service.inference.caching import CachedPredictor
from humwatch_service.models.registry import load_model

ROOT = Path(__file__).parents[3]
RATE_HZ = 16_000


class Indexed:
    """Predicts other bins of each window; counts what it is asked."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, windows: Float32) -> Prediction:
        self.batches.append(len(windows))
        first = windows[:, 0, 0].astype(np.int64)
        index = first[:, None] + np.arange(3)
        return Prediction(index, windows[:, 0, :3] * 2, windows[:, 0, :3] + 1)


def windows_of(*numbers: int) -> Float32:
    return np.array(numbers, np.float32)[:, None, None] + np.zeros((1, 5, 4), np.float32)


def test_a_cache_asks_only_for_windows_that_are_new() -> None:
    asked = Indexed()
    cache = CachedPredictor(asked)
    cache.predict(windows_of(1, 2))
    got = cache.predict(windows_of(2, 3, 1, 3))
    plain = Indexed().predict(windows_of(2, 3, 1, 3))
    assert asked.batches == [2, 1]
    assert (cache.missed, len(cache)) == (3, 3)
    for name in ("target_index", "mean", "std"):
        np.testing.assert_array_equal(getattr(got, name), getattr(plain, name))


def test_a_cache_is_bounded_and_forgets_what_was_not_asked_for_longest() -> None:
    asked = Indexed()
    row_bytes = 5 * 4 * 4 + 3 * (4 + 4 + 8)
    cache = CachedPredictor(asked, capacity_bytes=3 * row_bytes)
    cache.predict(windows_of(1, 2, 3))
    cache.predict(windows_of(1))
    cache.predict(windows_of(4))
    assert (len(cache), cache.size_bytes) == (3, 3 * row_bytes)
    cache.predict(windows_of(1, 3, 4))
    assert asked.batches == [3, 1]
    many = cache.predict(windows_of(*range(10, 30)))
    np.testing.assert_array_equal(many.mean[:, 0], 2.0 * np.arange(10, 30))
    assert cache.size_bytes <= 3 * row_bytes


def test_scores_with_and_without_a_cache_are_equal_but_for_rounding() -> None:
    """With the shipped network, on a loop of sixty frames, twelve windows, in which every window comes back."""
    machine = load_model(ModelRepository(ROOT / "models"), "fan-id_00")
    sound = soundfile.read(ROOT / "models" / "fan-id_00" / "examples" / "normal.wav", dtype="float32")[0][: 60 * 512]
    cache = CachedPredictor(machine.predictor)
    scores = []
    for predictor in (machine.predictor, cache):
        monitor = LiveMonitor(LiveModel(machine.bundle, predictor), source_rate_hz=RATE_HZ, time_of=float)
        steps = [step for _ in range(7) for step in monitor.push(sound)]
        scores.append(
            [part.raw_score for step in steps if step.scores for part in (step.scores.step, step.scores.clip) if part]
        )
    assert len(scores[0]) > 14
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-6)
    assert cache.missed < 40
