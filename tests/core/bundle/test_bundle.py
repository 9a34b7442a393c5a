from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from humwatch.bundle.bundle import Golden, compose_bundle, digest_of, read_bundle, write_bundle
from humwatch.bundle.manifest import CALIBRATION, MANIFEST, PREDICTOR, Manifest, PredictorCard
from humwatch.errors import BundleDigestMismatch, BundleInvalid, BundleParityFailed
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Prediction, Predictor
from humwatch.run_state import RunGate
from humwatch.scoring.calibration import Calibration

GRAPH = b"not a graph, but what the manifest names"
CARD = PredictorCard(
    strategy="neighbours", parameters=0, steps=0, train_recordings=0, train_digest="0" * 64, config={}, parity={}
)


@pytest.fixture
def composed(
    pipeline: PipelineSpec, predictor: Predictor, calibration: Calibration, rng: np.random.Generator
) -> tuple[Manifest, bytes]:
    windows = rng.normal(-40.0, 5.0, (3, 5, 128)).astype(np.float32)
    return compose_bundle(
        pipeline,
        calibration,
        GRAPH,
        Golden.of(predictor, windows),
        calibration_digest=digest_of(["a", "b"]),
        machine_id="fan-1",
        machine_type="fan",
        version="1",
        created_at="2026-01-01T00:00:00+00:00",
        created_by="test",
        licence="none",
        attribution="nobody",
        channel=0,
        predictor=CARD,
    )


@pytest.fixture
def folder(tmp_path: Path, composed: tuple[Manifest, bytes]) -> Path:
    place = tmp_path / "fan-1" / "1"
    write_bundle(place, composed[0], GRAPH, composed[1])
    return place


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_was_written_is_what_is_read(
    folder: Path, composed: tuple[Manifest, bytes], calibration: Calibration
) -> None:
    bundle = read_bundle(folder)
    assert bundle.manifest == composed[0]
    assert bundle.graph == GRAPH
    for scale in ("clip", "step"):
        expected, got = getattr(calibration, scale), getattr(bundle.calibration, scale)
        assert got.thresholds == expected.thresholds
        np.testing.assert_array_equal(got.normal.whitening, expected.normal.whitening)
        np.testing.assert_array_equal(got.normal_scores, expected.normal_scores)
    assert bundle.calibration.warnings == calibration.warnings
    assert sorted(path.name for path in folder.iterdir()) == sorted([MANIFEST, PREDICTOR, CALIBRATION])


def test_the_quietest_second_comes_back_with_its_gate(folder: Path, calibration: Calibration) -> None:
    assert calibration.quietest_dbfs is not None
    assert read_bundle(folder).calibration.quietest_dbfs == calibration.quietest_dbfs
    assert read_bundle(folder).calibration.run_gate == calibration.run_gate


def test_a_bundle_without_a_quietest_second_stays_as_it_was_written(folder: Path) -> None:
    """Older bundles have none; their digests are on record."""
    card = json.loads((folder / MANIFEST).read_text())["calibration"]
    del card["quietest_dbfs"]
    edit_manifest(folder, calibration=card)
    bundle = read_bundle(folder)
    assert bundle.calibration.quietest_dbfs is None
    assert bundle.calibration.run_gate == RunGate.from_quietest(card["level_dbfs_low"])
    assert json.loads(bundle.manifest.model_dump_json())["calibration"] == card


def test_nothing_is_left_beside_a_bundle(folder: Path) -> None:
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_a_version_is_never_changed(folder: Path, composed: tuple[Manifest, bytes]) -> None:
    with pytest.raises(BundleInvalid, match="there already"):
        write_bundle(folder, composed[0], GRAPH, composed[1])


def test_a_manifest_that_names_other_files_is_not_written(tmp_path: Path, composed: tuple[Manifest, bytes]) -> None:
    with pytest.raises(BundleInvalid, match="names other files"):
        write_bundle(tmp_path / "x" / "1", composed[0], GRAPH + b"!", composed[1])
    assert not (tmp_path / "x").exists()


def test_a_failed_write_leaves_nothing(
    tmp_path: Path, composed: tuple[Manifest, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("humwatch.durable.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bundle(tmp_path / "fan-1" / "1", composed[0], GRAPH, composed[1])
    assert list((tmp_path / "fan-1").iterdir()) == []


@pytest.mark.parametrize("name", [PREDICTOR, CALIBRATION])
def test_a_file_that_is_not_the_named_one_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleDigestMismatch, match=name):
        read_bundle(folder)


@pytest.mark.parametrize("name", [MANIFEST, PREDICTOR, CALIBRATION])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleInvalid, match=name):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 1}, "schema_version"),
        ({"machine_id": "../fan"}, "machine_id"),
        ({"machine_id": "Fan"}, "machine_id"),
        ({"version": "01"}, "version"),
        ({"colour": "green"}, "colour"),
        ({"files": {"predictor.onnx": "0" * 64}}, "files"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused_with_the_field(
    folder: Path, changes: dict[str, object], message: str
) -> None:
    edit_manifest(folder, **changes)
    with pytest.raises(BundleInvalid, match=message):
        read_bundle(folder)


def test_text_that_is_no_manifest_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")
    with pytest.raises(BundleInvalid, match=MANIFEST):
        read_bundle(folder)


def test_statistics_of_other_bands_are_refused(folder: Path) -> None:
    scoring = json.loads((folder / MANIFEST).read_text())["scoring"]
    edit_manifest(folder, scoring={**scoring, "high_hz": 4000.0})
    with pytest.raises(BundleInvalid, match="statistics are of"):
        read_bundle(folder)


def test_golden_outputs_catch_a_predictor_that_says_something_else(folder: Path, predictor: Predictor) -> None:
    golden = read_bundle(folder).golden
    golden.check(predictor)

    class Other:
        def __init__(self, shift: float) -> None:
            self.shift = np.float32(shift)

        def predict(self, windows: np.ndarray) -> Prediction:
            prediction = predictor.predict(windows)
            return Prediction(prediction.target_index, prediction.mean + self.shift, prediction.std)

    golden.check(Other(1e-4))
    for shift in (0.01, float("nan")):
        with pytest.raises(BundleParityFailed, match="golden mean is off"):
            golden.check(Other(shift))


def test_the_digest_changes_with_the_manifest(folder: Path) -> None:
    before = read_bundle(folder).digest
    edit_manifest(folder, attribution="somebody")
    assert read_bundle(folder).digest != before
