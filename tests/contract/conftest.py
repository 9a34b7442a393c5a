"""A model trained, exported and calibrated by the commands themselves, in seconds, on a machine that never was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner, Result

from humwatch.audio.windows import WindowSpec
from humwatch.live.model import LiveModel
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import Calibration
from humwatch.synthetic import Fault, SyntheticMachine
from humwatch_training.cli.main import app
from tests.core.live_models import live_model

MACHINE = SyntheticMachine(seed=11)


@dataclass(frozen=True)
class Trained:
    """Where things are: recordings, the run, the models, and the machine's id."""

    normal: Path
    anomalous: Path
    run: Path
    models: Path
    machine_id: str


def humwatch_train(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("trained")
    place = Trained(root / "normal", root / "anomalous", root / "run", root / "models", "synthetic-11")
    for folder, fault, count in ((place.normal, None, 16), (place.anomalous, Fault("squeal", 6.0), 4)):
        folder.mkdir()
        for number in range(count):
            clip = MACHINE.clip(number, seconds=2.1, fault=fault)
            soundfile.write(folder / f"{folder.name}_{number:02}.wav", clip, MACHINE.rate_hz)
    budget = ("--steps", 60, "--batch", 16, "--context-points", 64, "--threads", 1)
    humwatch_train("fit", place.normal, "--run", place.run, "--system", "anp", *budget)
    where = ("--machine", place.machine_id, "--models", place.models)
    humwatch_train("export", place.run, *where, "--type", "synthetic", "--channel", 0, "--hop", 2, "--clip-seconds", 2)
    return place


@pytest.fixture
def models(
    pipeline: PipelineSpec,
    predictor: Predictor,
    calibration: Calibration,
    calibrate_for: Callable[[PipelineSpec], Calibration],
) -> list[LiveModel]:
    """Two that step alike, one that listens at a hop of 5 and in longer steps."""
    model = live_model(pipeline, predictor, calibration)
    other = replace(model.bundle, manifest=model.bundle.manifest.model_copy(update={"version": "2"}))
    slow = replace(pipeline, windows=WindowSpec(hop_frames=5, step_seconds=0.7, clip_seconds=1.9))
    third = live_model(slow, predictor, calibrate_for(slow))
    last = replace(third.bundle, manifest=third.bundle.manifest.model_copy(update={"version": "3"}))
    return [model, LiveModel(other, predictor), LiveModel(last, predictor)]
