"""Evidence of each clip for every score, from one pass of the predictor, kept on disk.

A clip's windows are pooled as soon as they are scored: a data set's windows, bands and scores together would not fit
in memory, and no score here needs more than a clip's value of each band, or its mean error.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict

from humwatch.arrays import Float32, Float64
from humwatch.audio.features import FeatureSpec
from humwatch.audio.windows import Windower, WindowSpec
from humwatch.durable import replace_durably
from humwatch.predictor import Prediction, Predictor
from humwatch.scoring.evidence import Evidence, ProfileEvidence, evidence_of
from humwatch.scoring.spec import ScoreKind, ScoringSpec
from humwatch_training.networks.kinds import NetworkConfig

EVIDENCE_FORMAT: Final = 2
"""Version of the evidence, raised whenever ``evidence_of``, or the part of it kept, gives other numbers than before."""

KINDS: tuple[ScoreKind, ...] = get_args(ScoreKind)

_PARTS: Final = ("sums", "counts", "signed")
_PROFILE_PARTS: Final = tuple(field.name for field in fields(ProfileEvidence))
_WITHOUT_STD: Final = frozenset({"autoencoder", "idnn"})
_LIKELIHOODS: Final = frozenset({"nll", "likelihood"})


def kinds_of(network: NetworkConfig) -> tuple[ScoreKind, ...]:
    """Return the scores that are defined for a network and differ from each other.

    Likelihoods need a standard deviation of the network's own. Scores of the level itself, "spectrum_...", need no
    network; they stand in the rows of the constant one, for which all other profiles would be equal.
    """
    without_network = network.kind == "constant"

    def has_meaning(kind: ScoreKind) -> bool:
        if kind == "consensus":  # without a network both of its profiles are the spectrum's
            return not without_network
        family, _, form = kind.partition("_")
        if without_network:
            return family == "spectrum" or f"spectrum_{form}" not in KINDS
        return family != "spectrum" and (family not in _LIKELIHOODS or network.kind not in _WITHOUT_STD)

    return tuple(kind for kind in KINDS if has_meaning(kind))


@dataclass(frozen=True)
class ClipEvidence:
    """Evidence of one clip.

    Attributes:
        evidence: evidence of each score, pooled over the clip's windows into one.
        squared_error_db2: mean squared error over all targets of all windows, dB^2 (Table 2 of the paper).
        duration_s: length of the sound, s.
        scoring_s: time of prediction and evidence, s.
    """

    evidence: dict[ScoreKind, Evidence]
    squared_error_db2: float
    duration_s: float
    scoring_s: float


class EvidenceSpec(BaseModel):
    """All that evidence depends on, except for the clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    graph_sha256: str
    features: FeatureSpec
    windows: WindowSpec
    kinds: tuple[ScoreKind, ...]
    evidence_format: int = EVIDENCE_FORMAT

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the JSON, with the bands that count."""
        bands = {k: ScoringSpec.model_validate({"kind": k}).bands(self.features).tolist() for k in self.kinds}
        return hashlib.sha256(f"{self.model_dump_json()} {bands}".encode()).hexdigest()

    def clip_evidence(self, frames_db: Float32, predictor: Predictor) -> ClipEvidence:
        """Return the evidence of one clip, float32 (frames, n_mels) in dB."""
        begun = time.perf_counter()
        windows = all_windows(frames_db, self.windows, self.features)
        prediction = predictor.predict(windows)
        evidence = {}
        for kind in self.kinds:
            scoring = ScoringSpec.model_validate({"kind": kind})
            hop = self.windows.hop_frames if kind == "consensus" else None
            whole = evidence_of(windows, prediction, kind, scoring.bands(self.features), profiles_hop=hop)
            evidence[kind] = pooled_over_time(whole, scoring)
        error_db2 = float(np.mean(residual_db(windows, prediction) ** 2))
        duration_s = self.features.samples_in(len(frames_db)) / self.features.rate_hz
        return ClipEvidence(evidence, error_db2, duration_s, time.perf_counter() - begun)


def all_windows(frames_db: Float32, spec: WindowSpec, features: FeatureSpec) -> Float32:
    """Return a clip's windows, float32 (n, L, F) in dB, as a stream of it would give them."""
    windower = Windower(spec, features)
    return np.concatenate([*windower.push(frames_db), *windower.flush()])


def residual_db(windows: Float32, prediction: Prediction) -> Float64:
    """Return level minus expectation at each target: float64 (B, T) in dB."""
    index = np.broadcast_to(prediction.target_index, prediction.mean.shape)
    level = np.take_along_axis(windows.reshape(len(windows), -1), index, axis=1).astype(np.float64)
    residual: Float64 = level - prediction.mean
    return residual


def pooled_over_time(evidence: Evidence, scoring: ScoringSpec) -> Evidence:
    """Return evidence of one window whose raw score is that of all windows, pooled as the score pools.

    A profile is the mean over targets, of a consensus over those of the windows that are not trimmed; an error is the
    mean over windows of their means over targets: there, every window is brought to one target first.
    """
    if scoring.kind == "consensus":
        shares = (scoring.pooling.weights(evidence.ranking(scoring.pooling)) > 0).astype(np.float64)
    elif scoring.is_profile:
        shares = np.ones(len(evidence))
    else:
        shares = 1.0 / np.maximum(evidence.counts.sum(axis=1), 1.0)
    sums, counts, signed = ((shares @ getattr(evidence, part))[np.newaxis] for part in _PARTS)
    return Evidence(sums, counts, signed, _pooled_profiles(evidence.profiles, shares))


def _pooled_profiles(profiles: ProfileEvidence | None, shares: Float64) -> ProfileEvidence | None:
    if profiles is None:
        return None
    return ProfileEvidence(
        slope=(shares @ profiles.slope)[np.newaxis],
        level=(shares @ profiles.level)[np.newaxis],
        surprise=profiles.surprise.mean(keepdims=True),
        rhythm=profiles.rhythm.sum(axis=0, keepdims=True),
    )


class EvidenceStore:
    """Evidence of many clips by the digest of their frames, in one file; a damaged one counts as empty."""

    def __init__(self, path: Path, evidence_spec: EvidenceSpec) -> None:
        self._path = path
        self._kinds = evidence_spec.kinds
        self._clips = self._read()
        self._saved = len(self._clips)

    def __contains__(self, digest: str) -> bool:
        return digest in self._clips

    def __getitem__(self, digest: str) -> ClipEvidence:
        return self._clips[digest]

    def add(self, digest: str, clip: ClipEvidence) -> None:
        """Add a clip's evidence; it is on disk only after ``save``."""
        self._clips[digest] = clip

    def save(self) -> None:
        """Write the file if there is new evidence."""
        if len(self._clips) == self._saved:
            return
        clips = list(self._clips.values())
        arrays: dict[str, Any] = {name: np.array([getattr(clip, name) for clip in clips]) for name in _FIGURES}
        for kind in self._kinds:
            for part in _PARTS:
                arrays[f"{kind}.{part}"] = np.concatenate([getattr(clip.evidence[kind], part) for clip in clips])
            if kind == "consensus":
                kept = [profiles for clip in clips if (profiles := clip.evidence[kind].profiles) is not None]
                arrays |= {
                    f"{kind}.profiles.{part}": np.concatenate([getattr(one, part) for one in kept])
                    for part in _PROFILE_PARTS
                }
        digests = np.array(list(self._clips))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_durably(self._path, lambda file: np.savez(file, digests=digests, **arrays))
        self._saved = len(self._clips)

    def _read(self) -> dict[str, ClipEvidence]:
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            return {}
        return {str(digest): self._clip(arrays, i) for i, digest in enumerate(arrays["digests"])}

    def _clip(self, arrays: dict[str, Float64], i: int) -> ClipEvidence:
        evidence = {kind: _stored_evidence(arrays, kind, i) for kind in self._kinds}
        return ClipEvidence(evidence, *(float(arrays[name][i]) for name in _FIGURES))


def _stored_evidence(arrays: dict[str, Float64], kind: ScoreKind, i: int) -> Evidence:
    profiles = None
    if kind == "consensus":
        profiles = ProfileEvidence(**{part: arrays[f"{kind}.profiles.{part}"][i : i + 1] for part in _PROFILE_PARTS})
    sums, counts, signed = (arrays[f"{kind}.{part}"][i : i + 1] for part in _PARTS)
    return Evidence(sums, counts, signed, profiles)


_FIGURES: Final = ("squared_error_db2", "duration_s", "scoring_s")


def evidence_path(folder: Path, system: str, evidence_spec: EvidenceSpec) -> Path:
    """Return the path of a system's evidence: one file for each specification."""
    return folder / "evidence" / f"{system}-{evidence_spec.digest()[:16]}.npz"
