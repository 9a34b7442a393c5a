from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from humwatch.bundle.repository import ModelRepository
from humwatch_service.models.registry import load_model
from humwatch_service.scoring.scorer import ScoreJob, Scorer
from humwatch_service.scoring.sound_trace import MAX_COLUMNS, Columns


def test_columns_are_kept_as_they_are_while_they_are_few() -> None:
    columns = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    held = Columns(4)
    for start in range(0, 1000, 31):
        held.push(columns[start : start + 31])
    assert held.every == 1
    assert np.array_equal(held.flush(), columns)


@pytest.mark.parametrize("size", [1, 31, 4096])
def test_many_columns_are_averaged_and_none_is_lost(size: int) -> None:
    columns = np.random.default_rng(0).normal(size=(20_000, 4)).astype(np.float32)
    held = Columns(4)
    for start in range(0, len(columns), size):
        held.push(columns[start : start + size])
    every = held.every
    kept = held.flush()
    assert every == 8
    assert len(kept) == 20_000 / every <= 2 * MAX_COLUMNS
    assert np.allclose(kept, columns.reshape(-1, every, 4).mean(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("machine_id", "sound"), [("pump-2", "faulty"), ("fan-1", "short"), ("pump-2", "silent"), ("fan-1", "8 kHz")]
)
def test_a_picture_can_be_drawn_of_any_sound(shared_models: Path, workshop: Any, machine_id: str, sound: str) -> None:
    recording = {
        "faulty": workshop.encoded(workshop.faulty(seconds=6.0)),
        "short": workshop.encoded(workshop.normal(seconds=1.3)),
        "silent": workshop.encoded(np.zeros(80_000, np.float32)),
        "8 kHz": workshop.encoded(workshop.normal(seconds=5.0)[::2], 8_000),
    }[sound]
    machine = load_model(ModelRepository(shared_models), machine_id)
    scored = Scorer().score(ScoreJob(io.BytesIO(recording), machine, picture=True))
    assert scored.png is not None
    image = matplotlib.image.imread(io.BytesIO(scored.png))
    assert image.shape[:2] == (880, 1265)
    assert len(np.unique(image[::7, ::7].reshape(-1, image.shape[2]), axis=0)) > 30
    assert set(scored.stage_seconds) == {"predict", "score", "picture"}
