from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from humwatch.audio.features import FeatureSpec
from humwatch_training.datasets.recordings import RecordingEntry
from humwatch_training.datasets.windows import Clip
from humwatch_training.errors import CheckpointError, ResumeMismatch, TrainingInterrupted
from humwatch_training.evaluation.training import NetworkJob, train_network
from humwatch_training.fit.progress import StopSignal
from humwatch_training.fit.systems import RECIPES
from humwatch_training.networks.autoencoder import AutoencoderConfig

ENTRIES = tuple(RecordingEntry(path=f"hum-{i}", sha256=f"{i:064}") for i in range(3))


class StopAfter(StopSignal):
    """A signal that comes when it was looked for so many times."""

    def __init__(self, looks: int) -> None:
        self._left = looks

    @property
    def name(self) -> str | None:  # type: ignore[override]
        self._left -= 1
        return "SIGINT" if self._left < 0 else None


@pytest.fixture
def clips(humming_clip: Callable[..., Clip]) -> list[Clip]:
    return [humming_clip(i, 40) for i in range(3)]


def job(folder: Path, **overrides: object) -> NetworkJob:
    settings: dict[str, object] = {"steps": 6, "features": FeatureSpec(n_mels=8), "device": "cpu", **overrides}
    return NetworkJob(folder, RECIPES["ae"].spec(network=AutoencoderConfig(n_mels=8), **settings), ENTRIES)


def never() -> list[Clip]:
    pytest.fail("there was nothing to read")


def test_a_trained_network_is_taken_as_it_is(tmp_path: Path, clips: list[Clip]) -> None:
    first = train_network(job(tmp_path), lambda: clips, StopSignal())
    again = train_network(job(tmp_path), never, StopSignal())
    assert (first.reused, again.reused, again.checkpoint.step) == (False, True, 6)
    for name, values in first.network().state_dict().items():
        torch.testing.assert_close(again.network().state_dict()[name], values, rtol=0, atol=0)


def test_an_interrupted_training_goes_on_to_the_same_network(tmp_path: Path, clips: list[Clip]) -> None:
    whole = train_network(job(tmp_path / "whole"), lambda: clips, StopSignal())
    parts = job(tmp_path / "parts")
    with pytest.raises(TrainingInterrupted, match="SIGINT after step 2 of 6"):
        train_network(parts, lambda: clips, StopAfter(2))
    resumed = train_network(parts, lambda: clips, StopSignal())
    assert not resumed.reused
    for name, values in whole.network().state_dict().items():
        torch.testing.assert_close(resumed.network().state_dict()[name], values, rtol=0, atol=0)


def test_a_network_of_other_settings_is_refused_or_replaced(tmp_path: Path, clips: list[Clip]) -> None:
    train_network(job(tmp_path), lambda: clips, StopSignal())
    with pytest.raises(ResumeMismatch, match=r"other settings \(seed, steps\).*--retrain"):
        train_network(job(tmp_path, steps=2, seed=1), never, StopSignal())
    replaced = train_network(job(tmp_path, steps=2, seed=1), lambda: clips, StopSignal(), retrain=True)
    assert replaced.checkpoint.step == 2


def test_a_network_of_other_clips_is_refused(tmp_path: Path, clips: list[Clip]) -> None:
    train_network(job(tmp_path), lambda: clips, StopSignal())
    others = NetworkJob(tmp_path, job(tmp_path).spec, ENTRIES[:2])
    with pytest.raises(ResumeMismatch, match="other train clips"):
        train_network(others, never, StopSignal())


def test_retrain_keeps_what_fits(tmp_path: Path, clips: list[Clip]) -> None:
    train_network(job(tmp_path), lambda: clips, StopSignal())
    assert train_network(job(tmp_path), never, StopSignal(), retrain=True).reused


def test_a_damaged_checkpoint_is_named(tmp_path: Path, clips: list[Clip]) -> None:
    wanted = job(tmp_path)
    wanted.checkpoint_path.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        train_network(wanted, never, StopSignal())
    assert train_network(wanted, lambda: clips, StopSignal(), retrain=True).checkpoint.step == 6
