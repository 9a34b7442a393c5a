from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from humwatch.durable import replace_durably
from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet
from humwatch_training.errors import CheckpointError
from humwatch_training.fit.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from humwatch_training.fit.config import FitConfig
from humwatch_training.fit.trainer import Trainer


@pytest.fixture
def checkpoint(small_config: Callable[..., FitConfig], humming_clip: Callable[..., Clip]) -> Checkpoint:
    clips = [humming_clip()]
    trainer = Trainer.start(small_config(), WindowSet(clips, 5), Normalisation.of(clips))
    trainer.step()
    return trainer.state()


def test_a_checkpoint_comes_back_as_it_was(checkpoint: Checkpoint, tmp_path: Path):
    save_checkpoint(checkpoint, tmp_path / "checkpoint.pt")
    loaded = load_checkpoint(tmp_path / "checkpoint.pt")
    plain = [f.name for f in fields(Checkpoint) if isinstance(getattr(checkpoint, f.name), int | float | str | list)]
    assert len(plain) >= 9
    assert all(getattr(loaded, name) == getattr(checkpoint, name) for name in plain)
    assert all(torch.equal(value, loaded.network[name]) for name, value in checkpoint.network.items())
    assert torch.equal(loaded.generator, checkpoint.generator)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("kept", [0, 1, 100, 5000])
def test_a_truncated_checkpoint_is_refused_by_name(checkpoint: Checkpoint, tmp_path: Path, kept: int):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(checkpoint, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: truncated, or not a checkpoint"):
        load_checkpoint(path)


def test_a_missing_checkpoint_is_refused_by_name(tmp_path: Path):
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("content", [{"weights": torch.zeros(2)}, [1, 2], torch.zeros(3)])
def test_a_foreign_torch_file_is_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of humwatch-train"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path):
    torch.save(Path, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_another_version_is_refused(tmp_path: Path):
    torch.save({"format": "humwatch-training-checkpoint", "version": 99}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="version 99"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_missing_parts_are_named(tmp_path: Path):
    torch.save({"format": "humwatch-training-checkpoint", "version": 2, "step": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="missing or unknown: autoclip"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(_stream: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_durably(path, fail)
    assert path.read_text() == "old"


def test_a_folder_that_is_not_there_gives_a_named_error(checkpoint: Checkpoint, tmp_path: Path):
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(checkpoint, tmp_path / "missing" / "checkpoint.pt")
