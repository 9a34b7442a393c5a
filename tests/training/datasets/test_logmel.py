from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from humwatch.audio.features import FeatureSpec
from humwatch_training.datasets import open_dataset, read_log_mel
from humwatch_training.errors import TrainingDataError

NAMES = np.array(["normal_a", "normal_b", "anomaly_c"])


def arrays(**changes: object) -> dict[str, object]:
    quantised = np.random.default_rng(1).integers(0, 256, (3, 20, 8), dtype=np.uint8)
    made: dict[str, object] = {"logmel_db_q": quantised, "role": np.array([0, 1, 2], np.uint8), "name": NAMES}
    return {key: value for key, value in {**made, **changes}.items() if value is not None}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(file_name: str = "id_01.npz", **changes: object) -> Path:
        folder = tmp_path / "toycar_logmel"
        folder.mkdir(exist_ok=True)
        np.savez_compressed(folder / file_name, **arrays(**changes))  # type: ignore[arg-type]
        return folder

    return write


def test_roles_names_and_machines_are_read(write: Callable[..., Path]):
    write("id_01.npz")
    folder = write("id_03.npz")
    dataset = open_dataset(folder)
    assert dataset.kind == "logmel"
    assert dataset.features == FeatureSpec(n_mels=8)
    assert dataset.machines == (("toycar", "id_01"), ("toycar", "id_03"))
    assert [(clip.name, clip.split, clip.label) for clip in dataset.clips[:3]] == [
        ("id_01/anomaly_c", "test", "anomalous"),
        ("id_01/normal_a", "train", "normal"),
        ("id_01/normal_b", "test", "normal"),
    ]


def test_one_file_may_be_the_root_and_the_type_may_be_said(write: Callable[..., Path]):
    dataset = open_dataset(write() / "id_01.npz", machine_type="ToyCar")
    assert dataset.machines == (("ToyCar", "id_01"),)
    assert len(dataset.clips) == 3


def test_quantised_frames_are_decibels(write: Callable[..., Path]):
    dataset = open_dataset(write())
    expected = np.asarray(arrays()["logmel_db_q"]).astype(np.float64) * 0.4 - 90.0
    assert dataset.features is not None
    frames = {clip.name: read_log_mel(clip, dataset.features) for clip in dataset.clips}
    assert frames["id_01/normal_b"].dtype == np.float32
    np.testing.assert_allclose(frames["id_01/normal_b"], expected[1], atol=1e-5)
    np.testing.assert_allclose(frames["id_01/anomaly_c"], expected[2], atol=1e-5)


def test_float_frames_are_taken_as_they_are_but_for_the_floor(write: Callable[..., Path]):
    values = np.linspace(-160, 0, 3 * 20 * 8).reshape(3, 20, 8)
    dataset = open_dataset(write(logmel_db_q=None, logmel_db=values, name=None))
    spec = FeatureSpec(n_mels=8, floor_db=-80.0)
    assert [clip.name for clip in dataset.clips] == [f"id_01/{i:08d}" for i in range(3)]
    np.testing.assert_array_equal(
        read_log_mel(dataset.clips[1], spec), np.maximum(values[1].astype(np.float32), np.float32(-80))
    )


@pytest.mark.parametrize("spec", [FeatureSpec(), FeatureSpec(n_mels=8, hop_samples=256)], ids=["bands", "hop"])
def test_another_front_end_is_refused(write: Callable[..., Path], spec: FeatureSpec):
    clip = open_dataset(write()).clips[0]
    with pytest.raises(TrainingDataError, match=r"id_01/anomaly_c: log-mel of 8 bands .* was asked for"):
        read_log_mel(clip, spec)


def test_what_training_refuses_of_sound_is_refused_of_arrays(write: Callable[..., Path]):
    values = np.zeros((3, 20, 8), np.float32)
    values[2, 5, 5] = np.nan
    bad, good, _ = open_dataset(write(logmel_db_q=None, logmel_db=values)).clips
    spec = FeatureSpec(n_mels=8)
    with pytest.raises(TrainingDataError, match="not finite"):
        read_log_mel(bad, spec)
    with pytest.raises(TrainingDataError, match="has 1 channel, so there is no channel 1"):
        read_log_mel(good, spec, 1)
    with pytest.raises(TrainingDataError, match="20 frames, shorter than a window of 21"):
        read_log_mel(good, spec, min_frames=21)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logmel_db_q": None}, "neither logmel_db_q nor logmel_db, only role, name"),
        ({"logmel_db_q": np.zeros((3, 20, 8))}, "is float64"),
        ({"logmel_db_q": np.zeros((3, 20), np.uint8)}, "not uint8"),
        ({"role": None}, "one for each of the 3 clips"),
        ({"role": np.array([0, 1])}, "one for each of the 3 clips"),
        ({"role": np.array([0, 1, 3])}, "one for each of the 3 clips"),
        ({"name": NAMES[:2]}, "one for each of the 3 clips"),
        ({"role": np.array([0, 1, 0])}, "anomaly_c has role 0, which is for normal sound"),
        ({"name": np.array(["a", "a", "b"])}, "two clips are named id_01/a"),
        ({"name": np.array(["a", "b", None], dtype=object)}, "cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_arrays_that_are_not_of_this_form_are_refused(
    write: Callable[..., Path], changes: dict[str, object], message: str
):
    folder = write(**changes)
    with pytest.raises(TrainingDataError, match=message):
        open_dataset(folder)


def test_a_damaged_file_is_refused(write: Callable[..., Path]):
    folder = write()
    content = (folder / "id_01.npz").read_bytes()
    (folder / "id_01.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(TrainingDataError, match=r"id_01\.npz: cannot be read"):
        open_dataset(folder)


def test_files_of_different_bands_are_refused(write: Callable[..., Path]):
    write()
    folder = write("id_03.npz", logmel_db_q=np.zeros((3, 20, 4), np.uint8))
    with pytest.raises(TrainingDataError, match=r"different numbers of mel bands: \[4, 8\]"):
        open_dataset(folder)


def test_a_file_that_is_replaced_is_read_anew(write: Callable[..., Path]):
    clip = open_dataset(write()).clips[0]
    spec = FeatureSpec(n_mels=8)
    before = read_log_mel(clip, spec)
    write(logmel_db_q=np.full((3, 20, 8), 7, np.uint8))
    after = read_log_mel(clip, spec)
    assert not np.array_equal(before, after)
    np.testing.assert_allclose(after, 7 * 0.4 - 90, atol=1e-5)
