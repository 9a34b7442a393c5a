"""Models of two systems, held-out clips and curves for the tests of detectability."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from humwatch.bundle.repository import ModelRepository
from humwatch.synthetic import SyntheticMachine
from humwatch_training.datasets.recordings import find_recordings
from humwatch_training.detectability.catalogue import CATALOGUE
from humwatch_training.detectability.curves import DetectionCurve
from humwatch_training.detectability.held_out import HeldOutClip, held_out_clips
from humwatch_training.detectability.measure import SystemUnderTest
from tests.service_fixtures import constant_graph, make_bundle, neighbour_graph

NONE, ALL = -np.inf, np.inf
MACHINE = SyntheticMachine(seed=3)
CLIP_S = 4.0
BY_NAME = {fault.name: fault for fault in CATALOGUE}
SQUEAL = replace(BY_NAME["squeal"], severities=(-100.0, -90.0, -80.0, 0.0, 10.0, 20.0))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems of one machine: a profile of levels, and the error of a prediction from neighbouring frames."""
    root = tmp_path_factory.mktemp("detectability")
    for number in range(12):
        soundfile.write(root / f"{number}.wav", MACHINE.clip(number, CLIP_S), MACHINE.rate_hz)
    recordings = sorted(root.glob("*.wav"))
    make_bundle(root / "models", "pump-levels", "1", constant_graph(), recordings, kind="spectrum_profile")
    make_bundle(root / "models", "pump-error", "1", neighbour_graph(), recordings, kind="mse")
    return root / "models"


@pytest.fixture(scope="session")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings that calibrated nothing; the second holds two clips."""
    folder = tmp_path_factory.mktemp("held-out")
    for number, seconds in ((100, CLIP_S), (101, 2.2 * CLIP_S), (102, CLIP_S)):
        soundfile.write(folder / f"{number}.wav", MACHINE.clip(number, seconds), MACHINE.rate_hz)
    return folder


@pytest.fixture
def levels_system(models: Path) -> SystemUnderTest:
    return SystemUnderTest.read(ModelRepository(models), "pump-levels")


@pytest.fixture
def clips(normal: Path) -> list[HeldOutClip]:
    return held_out_clips(find_recordings([normal]), clip_s=CLIP_S, count=3)


def curve(scores: list[list[float]], severities: tuple[float, ...] = (-10.0, 0.0, 10.0)) -> DetectionCurve:
    return DetectionCurve(np.array(severities), np.array(scores), np.arange(len(scores)))
