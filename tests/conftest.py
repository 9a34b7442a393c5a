"""Sounds, predictors and a calibrated machine that tests of every part share."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import settings

from humwatch.arrays import Float32
from humwatch.audio.decoding import read_mono
from humwatch.audio.features import FeatureSpec, log_mel
from humwatch.audio.windows import WindowSpec
from humwatch.calibration.fit import calibrate
from humwatch.normal_recording import RecordingInput, normal_clips
from humwatch.pipeline import PipelineSpec, network_response
from humwatch.predictor import Prediction
from humwatch.scoring.calibration import Calibration, CalibrationSpec
from humwatch.scoring.spec import ScoringSpec
from humwatch.synthetic import SyntheticMachine


def pytest_configure() -> None:
    """Take SIGINT back, for the tests and what they start: in the background of a script it is ignored.

    No example has a time limit: it would say how busy the machine is.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


class NeighbourPredictor:
    """Expects the middle frame to be the mean of the frames beside it; the simplest IDNN there is."""

    def predict(self, windows: Float32) -> Prediction:
        _, length, n_mels = windows.shape
        middle = length // 2
        mean = (windows[:, middle - 1] + windows[:, middle + 1]) / 2
        index = np.arange(middle * n_mels, (middle + 1) * n_mels)
        return Prediction(index, mean, np.full_like(mean, 3.0))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20210)


@pytest.fixture(scope="session")
def predictor() -> NeighbourPredictor:
    return NeighbourPredictor()


@pytest.fixture(scope="session")
def machine() -> SyntheticMachine:
    return SyntheticMachine(seed=3)


@pytest.fixture(scope="session")
def pipeline() -> PipelineSpec:
    """A short clip, so that tests are quick: steps of half a second, clips of two."""
    windows = WindowSpec(step_seconds=0.5, clip_seconds=2.0)
    return PipelineSpec(FeatureSpec(), windows, ScoringSpec(kind="spectrum_profile"))


@pytest.fixture(scope="session")
def normal_files(tmp_path_factory: pytest.TempPathFactory, machine: SyntheticMachine) -> list[Path]:
    """Twelve normal recordings of two seconds."""
    folder = tmp_path_factory.mktemp("normal")
    paths = [folder / f"normal_{number:02}.wav" for number in range(12)]
    for number, path in enumerate(paths):
        soundfile.write(path, machine.clip(number, seconds=2.0), machine.rate_hz, subtype="PCM_16")
    return paths


@pytest.fixture(scope="session")
def calibrate_for(normal_files: list[Path], predictor: NeighbourPredictor) -> Callable[[PipelineSpec], Calibration]:
    def fit(pipeline: PipelineSpec) -> Calibration:
        clips = [
            clip
            for path in normal_files
            for clip in normal_clips(path, path.name, pipeline, predictor, RecordingInput(channel=0))
        ]
        frames = log_mel(read_mono(normal_files[0], rate_hz=pipeline.features.rate_hz), pipeline.features)
        windows = np.stack([frames[start : start + pipeline.windows.length_frames] for start in (0, 20, 40)])
        return calibrate(
            clips,
            scoring=pipeline.scoring,
            spec=CalibrationSpec(),
            step_windows=pipeline.step_windows,
            clip_seconds=pipeline.windows.clip_seconds,
            response=network_response(pipeline, predictor, windows),
        )

    return fit


@pytest.fixture(scope="session")
def calibration(calibrate_for: Callable[[PipelineSpec], Calibration], pipeline: PipelineSpec) -> Calibration:
    return calibrate_for(pipeline)
