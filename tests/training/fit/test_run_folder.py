import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from humwatch_training.datasets.recordings import RecordingEntry, Split
from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet
from humwatch_training.errors import RunFolderError
from humwatch_training.fit.config import FitConfig
from humwatch_training.fit.run_folder import RunFolder, stored_config
from humwatch_training.fit.trainer import Trainer

SPLIT = Split(train=(RecordingEntry(path="a.wav", sha256="00"),), calibration=(), test=())


@pytest.fixture
def trainer(small_config: Callable[..., FitConfig], humming_clip: Callable[..., Clip]) -> Trainer:
    clips = [humming_clip()]
    return Trainer.start(small_config(), WindowSet(clips, 5), Normalisation.of(clips))


def test_a_new_run_has_its_settings_and_its_split(tmp_path: Path, small_config: Callable[..., FitConfig]):
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.create(small_config(), SPLIT)
    assert FitConfig.model_validate_json((folder.path / "config.json").read_text()) == small_config()
    assert Split.from_json((folder.path / "split.json").read_text()) == SPLIT
    assert (folder.path / "log.jsonl").read_text() == ""


def test_a_saved_run_has_checkpoint_log_and_curve(tmp_path: Path, trainer: Trainer):
    row = {"step": 3, "loss": 1.5, "clip_norm": math.nan}
    trainer.log.append(row)
    folder = RunFolder(tmp_path)
    folder.save(trainer.state())
    assert stored_config(folder.load()) == trainer.config
    [line] = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line) == {"step": 3, "loss": 1.5, "clip_norm": None}
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_run_in_the_folder_is_refused(tmp_path: Path, trainer: Trainer):
    folder = RunFolder(tmp_path)
    folder.save(trainer.state())
    with pytest.raises(RunFolderError, match="--resume"):
        folder.create(trainer.config, SPLIT)


def test_there_is_nothing_to_resume_in_an_empty_folder(tmp_path: Path):
    with pytest.raises(RunFolderError, match="no checkpoint there"):
        RunFolder(tmp_path).load()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, trainer: Trainer):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="cannot be written"):
        RunFolder(tmp_path / "file" / "run").create(trainer.config, SPLIT)
