from pathlib import Path

import numpy as np
import pytest

from humwatch.audio.features import FeatureSpec
from humwatch.audio.windows import WindowSpec
from humwatch.detectors.profile import NormalProfile
from humwatch.predictor import Prediction
from humwatch.scoring.calibration import raw_score
from humwatch.scoring.evidence import Evidence, evidence_of
from humwatch.scoring.spec import ScoreKind, ScoringSpec
from humwatch_training.evaluation.evidence import (
    KINDS,
    ClipEvidence,
    EvidenceSpec,
    EvidenceStore,
    all_windows,
    evidence_path,
    kinds_of,
    pooled_over_time,
)
from humwatch_training.evaluation.pictures import residual_map
from humwatch_training.fit.systems import RECIPES

FEATURES = FeatureSpec(n_mels=8)
EVIDENCE_SPEC = EvidenceSpec(
    graph_sha256="ab" * 32,
    features=FEATURES,
    windows=WindowSpec(hop_frames=2),
    kinds=("residual_profile", "mse", "nll"),
)


class Uneven:
    """Predicts other bins of each window, and more of some bands than of others."""

    def predict(self, windows: np.ndarray) -> Prediction:
        rng = np.random.default_rng(len(windows))
        index = np.stack([rng.permutation(40)[:13] for _ in windows])
        shape = index.shape
        mean = rng.normal(-50, 3, shape).astype(np.float32)
        return Prediction(index, mean, rng.uniform(0.5, 4, shape).astype(np.float32))


class Centre:
    """Expects -50 dB of the middle frame."""

    def predict(self, windows: np.ndarray) -> Prediction:
        shape = (len(windows), 8)
        return Prediction(np.arange(16, 24), np.full(shape, -50, np.float32), np.ones(shape, np.float32))


def frames(seed: int, count: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).normal(-50, 6, (count, 8)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_pooled_into_one_window_has_the_raw_score_of_all_its_windows(kind: ScoreKind) -> None:
    windows = all_windows(frames(0), EVIDENCE_SPEC.windows, FEATURES)
    scoring = ScoringSpec.model_validate({"kind": kind})
    whole = evidence_of(windows, Uneven().predict(windows), kind, scoring.bands(FEATURES))
    assert len(set(whole.counts.sum(axis=1))) > 1
    normal = NormalProfile.fit(np.random.default_rng(1).normal(-50, 6, (30, whole.sums.shape[1])))
    pooled = pooled_over_time(whole, scoring)
    assert len(pooled) == 1
    if kind == "consensus":
        for part in ("pooled", "pooled_signed"):
            values = [getattr(evidence, part)(scoring.pooling) for evidence in (pooled, whole)]
            np.testing.assert_allclose(*values, rtol=1e-12)
        return
    assert raw_score(pooled, scoring, normal) == pytest.approx(raw_score(whole, scoring, normal), rel=1e-12)


def test_windows_of_a_clip_are_those_of_the_hop() -> None:
    clip = frames(1)
    windows = all_windows(clip, WindowSpec(hop_frames=7), FEATURES)
    assert windows.shape == (8, 5, 8)
    np.testing.assert_array_equal(windows[3], clip[21:26])


def test_the_squared_error_counts_every_band() -> None:
    clip = np.full((20, 8), -47, np.float32)
    assert EVIDENCE_SPEC.clip_evidence(clip, Centre()).squared_error_db2 == pytest.approx(9.0)
    assert len(ScoringSpec().bands(FEATURES)) < 8


def test_evidence_comes_back_from_the_disk_as_it_was(tmp_path: Path) -> None:
    path = evidence_path(tmp_path, "ae", EVIDENCE_SPEC)
    store = EvidenceStore(path, EVIDENCE_SPEC)
    collected = {
        name: EVIDENCE_SPEC.clip_evidence(frames(i, 40 + i), Uneven()) for i, name in enumerate(("one", "two", "three"))
    }
    for name, clip in collected.items():
        store.add(name, clip)
    store.save()
    again = EvidenceStore(path, EVIDENCE_SPEC)
    assert "four" not in again
    for name, clip in collected.items():
        assert_same(again[name], clip)


def assert_same(a: ClipEvidence, b: ClipEvidence) -> None:
    figures = [(c.squared_error_db2, c.duration_s, c.scoring_s) for c in (a, b)]
    assert figures[0] == figures[1]
    assert a.evidence.keys() == b.evidence.keys()
    for kind in a.evidence:
        for part in Evidence.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(a.evidence[kind], part), getattr(b.evidence[kind], part))


def test_damaged_evidence_is_heard_again(tmp_path: Path) -> None:
    path = evidence_path(tmp_path, "ae", EVIDENCE_SPEC)
    store = EvidenceStore(path, EVIDENCE_SPEC)
    store.add("one", EVIDENCE_SPEC.clip_evidence(frames(0), Uneven()))
    store.save()
    path.write_bytes(path.read_bytes()[:300])
    assert "one" not in EvidenceStore(path, EVIDENCE_SPEC)


@pytest.mark.parametrize(
    "other",
    [{"graph_sha256": "cd" * 32}, {"windows": WindowSpec(hop_frames=3)}, {"kinds": ("mse",)}, {"evidence_format": 0}],
    ids=lambda change: next(iter(change)),
)
def test_what_is_heard_otherwise_is_kept_elsewhere(other: dict[str, object]) -> None:
    changed = EVIDENCE_SPEC.model_copy(update=other)
    assert evidence_path(Path(), "ae", changed) != evidence_path(Path(), "ae", EVIDENCE_SPEC)


def test_a_system_has_only_the_scores_that_mean_something_for_it() -> None:
    kinds = {name: set(kinds_of(recipe.network)) for name, recipe in RECIPES.items()}
    assert "nll" in kinds["anp"] & kinds["latent-anp"] & kinds["network-free"]
    assert not {"nll", "likelihood_profile", "spectrum_profile"} & (kinds["ae"] | kinds["idnn"])
    assert "spectrum_profile" not in kinds["anp"]
    assert {kind for kind in kinds["network-free"] if kind.endswith("profile")} == {"spectrum_profile"}
    assert all({"residual_profile", "mse"} <= kinds[name] for name in ("ae", "idnn", "anp", "latent-anp"))


def test_a_residual_lies_where_it_was_predicted() -> None:
    clip = np.full((9, 8), -50, np.float32)
    clip[4, 2] = -40
    residual = residual_map(all_windows(clip, WindowSpec(), FEATURES), Centre())
    assert residual.shape == (9, 8)
    assert np.isnan(residual[:2]).all()
    assert np.isnan(residual[-2:]).all()
    assert residual[4, 2] == 10.0
    assert np.nansum(np.abs(residual)) == 10.0
