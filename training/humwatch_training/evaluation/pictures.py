"""Example clips of a score, and a system's residuals of them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.windows import WindowSpec
from humwatch.durable import replace_durably
from humwatch.predictor import Predictor
from humwatch_training.datasets import DataClip
from humwatch_training.evaluation.clips import ClipReader
from humwatch_training.evaluation.evidence import all_windows, residual_db
from humwatch_training.evaluation.figures import ClipPicture
from humwatch_training.evaluation.runner import EvaluatedSystem
from humwatch_training.evaluation.tables import ScoreRow

Chosen = tuple[str, int, DataClip, float]
"""Title of the example, the machine's place in the row, the clip, and its normalised score."""

_EXAMPLES: Final[tuple[tuple[str, str, Callable[[Sequence[float]], int]], ...]] = (
    ("normal", "clearly normal", lambda scores: int(np.argmin(scores))),
    ("normal", "worst normal", lambda scores: int(np.argmax(scores))),
    ("anomalous", "worst anomalous", lambda scores: int(np.argmin(scores))),
    ("anomalous", "clearly anomalous", lambda scores: int(np.argmax(scores))),
)


def example_clips(row: ScoreRow) -> list[Chosen]:
    """Return the clips that a score gets most right and most wrong, of all machines, on the service's scale."""
    chosen = []
    for label, title, choose in _EXAMPLES:
        candidates = list(_normalised(row, label))
        place, clip, score = candidates[choose([score for _, _, score in candidates])]
        chosen.append((title, place, clip, score))
    return chosen


def _normalised(row: ScoreRow, label: str) -> Iterator[tuple[int, DataClip, float]]:
    for place, machine in enumerate(row.machines):
        part = machine.scores.normal if label == "normal" else machine.scores.anomalous
        for clip, score in zip(part.clips, machine.scores.normalised(part.scores), strict=True):
            yield place, clip, float(score)


def clip_picture(chosen: Chosen, evaluated: EvaluatedSystem, reader: ClipReader) -> ClipPicture:
    """Return a clip with its residual, computed at every frame once and kept beside the evidence."""
    title, _, clip, score = chosen
    frames_db = reader.frames_db(clip)
    place = evaluated.folder / "residuals" / f"{evaluated.graph.card.sha256[:16]}-{reader.digest(clip)[:16]}.npz"
    residual = _kept(place)
    if residual is None:
        spec = WindowSpec(length_frames=evaluated.evidence_spec.windows.length_frames, hop_frames=1)
        windows = all_windows(frames_db, spec, reader.features)
        residual = residual_map(windows, evaluated.graph.predictor(threads=evaluated.cost.threads))
        place.parent.mkdir(parents=True, exist_ok=True)
        kept = residual.astype(np.float16)  # 0.01 dB of 12: more than a picture shows
        replace_durably(place, lambda file: np.savez_compressed(file, residual_db=kept))
    text = f"{title}: {score:.2f}\n{clip.name}"
    return ClipPicture(text, frames_db, residual)


def residual_map(windows: Float32, predictor: Predictor) -> Float32:
    """Return the mean residual of each bin over windows (n, L, F) at hop 1: float32 (n + L - 1, F) in dB, or NaN."""
    n, length, bands = windows.shape
    prediction = predictor.predict(windows)
    index = np.broadcast_to(prediction.target_index, prediction.mean.shape)
    bins = (np.arange(n)[:, np.newaxis] * bands + index).ravel()  # a window later is a frame later
    size = (n + length - 1) * bands
    counts = np.bincount(bins, minlength=size)
    sums = np.bincount(bins, residual_db(windows, prediction).ravel(), size)
    means = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)
    return means.reshape(-1, bands).astype(np.float32)


def _kept(place: Path) -> Float32 | None:
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            residual: Float32 = stored["residual_db"].astype(np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return residual
