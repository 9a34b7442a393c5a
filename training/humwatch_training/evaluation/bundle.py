"""AUC of a run's scores on normal and anomalous recordings that neither trained nor calibrated it.

Labels are for this report alone: statistics and thresholds come from the run's calibration recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from sklearn.metrics import roc_auc_score

from humwatch.audio.files import audio_files
from humwatch.bundle.bundle import Bundle
from humwatch.calibration.fit import calibrate
from humwatch.normal_recording import RecordingInput, analyse, clip_lines, whole_clips
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.pipeline import PipelineSpec, network_response
from humwatch.scoring.calibration import CalibrationSpec, judge
from humwatch.scoring.evidence import Evidence, evidence_of
from humwatch.scoring.normal_clip import NormalClip
from humwatch.scoring.spec import ScoreKind
from humwatch_training.errors import TrainingDataError
from humwatch_training.export.bundle import Progress, TrainedRun, channels_of

KINDS: tuple[ScoreKind, ...] = get_args(ScoreKind)


@dataclass(frozen=True)
class BundleScoreRow:
    """One score on the test recordings: ``auc`` and ``pauc`` (p = 0.1, McClish), and decisions at its alarm level."""

    score: ScoreKind
    auc: float
    pauc: float
    false_alarms: int
    normal_clips: int
    detected: int
    anomalous_clips: int


ClipEvidence = dict[ScoreKind, NormalClip]


class BundleEvaluator:
    """Scoring of recordings with every kind of score from one pass of the predictor."""

    def __init__(self, bundle: Bundle) -> None:
        own = bundle.manifest.pipeline
        self.pipeline = PipelineSpec(own.features, own.windows, own.scoring.of_kind("consensus"))
        self._predictor = OnnxPredictor(bundle.graph)
        self._response = network_response(self.pipeline, self._predictor, bundle.golden.windows)
        self._bands = self.pipeline.scoring.bands(self.pipeline.features)

    def clips(self, path: Path, name: str, channel: int) -> list[ClipEvidence]:
        """Return the evidence of the clips of one channel of a recording, for every score."""
        recording = analyse(path, self.pipeline, self._predictor, RecordingInput(channel=channel))
        evidence = {
            kind: Evidence.concatenate(
                [
                    evidence_of(
                        block.windows,
                        block.prediction,
                        kind,
                        self._bands,
                        profiles_hop=self.pipeline.windows.hop_frames if kind == "consensus" else None,
                    )
                    for block in recording.blocks
                ]
            )
            for kind in KINDS
        }
        size = self.pipeline.clip_windows
        cut = {kind: whole_clips(evidence[kind], self.pipeline) for kind in KINDS}
        lines = [clip_lines(recording.blocks, self.pipeline, i * size) for i in range(len(cut[KINDS[0]]))]
        return [
            {
                kind: NormalClip(name, cut[kind][i], recording.source.level_dbfs, recording.sample_bits, lines=own)
                for kind in KINDS
            }
            for i, own in enumerate(lines)
        ]

    def row(
        self,
        kind: ScoreKind,
        calibration: Sequence[ClipEvidence],
        normal: Sequence[ClipEvidence],
        anomalous: Sequence[ClipEvidence],
    ) -> BundleScoreRow:
        """Calibrate one score and measure it on the test clips."""
        scoring = self.pipeline.scoring.of_kind(kind)
        scale = calibrate(
            [clip[kind] for clip in calibration],
            scoring=scoring,
            spec=CalibrationSpec(),
            step_windows=self.pipeline.step_windows,
            clip_seconds=self.pipeline.windows.clip_seconds,
            response=self._response if kind == "consensus" else None,
        ).clip
        scores = [
            np.array([judge(scale, clip[kind].evidence, scoring, clip[kind].lines) for clip in clips])
            for clips in (normal, anomalous)
        ]
        labels = np.repeat([0, 1], [len(part) for part in scores])
        together = np.concatenate(scores)
        level = scale.thresholds.alarm.level
        return BundleScoreRow(
            score=kind,
            auc=float(roc_auc_score(labels, together)),
            pauc=float(roc_auc_score(labels, together, max_fpr=0.1)),
            false_alarms=int((scores[0] >= level).sum()),
            normal_clips=len(scores[0]),
            detected=int((scores[1] >= level).sum()),
            anomalous_clips=len(scores[1]),
        )


def evaluate_run(
    run: TrainedRun,
    bundle: Bundle,
    anomalous: Path,
    *,
    channels: Sequence[int],
    data: Sequence[Path] = (),
    progress: Progress,
) -> dict[int, list[BundleScoreRow]]:
    """Return a row for every score, by channel: test normals of the run against a folder of anomalies.

    Statistics come from all channels of the calibration recordings, as the bundle's do.
    """
    evaluator = BundleEvaluator(bundle)
    anomalies = audio_files(anomalous)
    if not anomalies or not run.split.test:
        raise TrainingDataError("anomalous recordings and normal ones set aside for testing are both needed")
    calibration = _read(evaluator, run.files(run.split.calibration, data), None, "calibration recordings", progress)
    normal = _read(evaluator, run.files(run.split.test, data), channels, "normal recordings", progress)
    abnormal = _read(evaluator, {str(path): path for path in anomalies}, channels, "anomalous recordings", progress)
    everything = [clip for clips in calibration.values() for clip in clips]
    return {
        channel: [evaluator.row(kind, everything, normal[channel], abnormal[channel]) for kind in KINDS]
        for channel in channels
    }


def _read(
    evaluator: BundleEvaluator,
    files: dict[str, Path],
    channels: Sequence[int] | None,
    stage: str,
    progress: Callable[[str, int, int], None],
) -> dict[int, list[ClipEvidence]]:
    """Return the clips of each channel; of all channels that there are when ``channels`` is None."""
    found: dict[int, list[ClipEvidence]] = {}
    for done, (name, path) in enumerate(files.items()):
        progress(stage, done, len(files))
        for channel in channels_of(path, "all") if channels is None else channels:
            found.setdefault(channel, []).extend(evaluator.clips(path, name, channel))
    progress(stage, len(files), len(files))
    return found
