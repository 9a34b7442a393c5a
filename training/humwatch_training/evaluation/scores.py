"""Raw scores of a machine's test clips, with statistics and thresholds from normal clips alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from humwatch.arrays import Float64
from humwatch.calibration.fit import calibrate_clips
from humwatch.calibration.type_prior import ScalePrior, TypePrior
from humwatch.detectors.profile import NormalProfile
from humwatch.scoring.calibration import CalibrationSpec, ScaleCalibration, judge
from humwatch.scoring.evidence import Evidence
from humwatch.scoring.normal_clip import NormalClip
from humwatch.scoring.spec import ScoreKind, ScoringSpec
from humwatch_training.datasets import DataClip
from humwatch_training.evaluation.evidence import ClipEvidence
from humwatch_training.evaluation.protocols import Experiment, MachineTask

EvidenceLookup = Callable[[DataClip], ClipEvidence]


@dataclass(frozen=True)
class TestClips:
    """Test clips of one machine and label with their raw scores, float64 (n,), and squared errors, dB^2."""

    __test__ = False  # not a test, whatever pytest makes of the name

    clips: tuple[DataClip, ...]
    scores: Float64
    squared_errors_db2: Float64

    def count_at(self, level: float) -> int:
        """Return the number of clips that reach a level."""
        return int((self.scores >= level).sum())


@dataclass(frozen=True)
class MachineScores:
    """One machine's test clips under one score.

    ``median`` is the raw score of the median normal clip, ``warn`` and ``alarm`` are levels of it. They and the
    statistics come from ``statistics_clips`` normal clips of the machine and, for a profile's spread, from
    ``type_clips`` of other machines; from these alone where there are none of the machine's own.
    """

    normal: TestClips
    anomalous: TestClips
    median: float
    warn: float
    alarm: float
    statistics_clips: int
    type_clips: int

    def normalised(self, scores: Float64) -> Float64:
        """Normalise raw scores as the service does: 0 at the median of normal clips, 1 at the alarm level."""
        return (scores - self.median) / (self.alarm - self.median)


def statistics_of(experiment: Experiment, task: MachineTask) -> tuple[DataClip, ...]:
    """Return the normal clips that a machine is measured by: its own, or of those that the network was trained on."""
    return task.statistics or experiment.train


def clips_needed(experiment: Experiment) -> dict[str, DataClip]:
    """Return the clips that ``score_machine`` needs, by name."""
    tested = (clip for task in experiment.machines for clip in (*task.statistics, *task.test))
    return {clip.name: clip for clip in (*experiment.train, *tested)}


def score_machine(
    kind: ScoreKind,
    experiment: Experiment,
    task: MachineTask,
    lookup: EvidenceLookup,
    *,
    response: Float64 | None = None,
) -> MachineScores:
    """Calibrate on a machine's normal clips (``statistics_of``) and score its test clips.

    Where the network was trained on other machines too, their normal clips give the prior of a profile's spread.
    Raises humwatch.errors.CalibrationError where clips are too few for statistics.
    """
    scoring = ScoringSpec.model_validate({"kind": kind})
    prior = type_prior(scoring, other_machines(experiment, task), lookup) if task.statistics else None
    scale = calibrated(scoring, statistics_of(experiment, task), lookup, prior, response=response)

    def tested(label: str) -> TestClips:
        clips = tuple(clip for clip in task.test if clip.label == label)
        evidence = [lookup(clip) for clip in clips]
        scores = [judge(scale, one.evidence[kind], scoring) for one in evidence]
        return TestClips(clips, np.array(scores), np.array([one.squared_error_db2 for one in evidence]))

    levels = scale.thresholds
    return MachineScores(
        normal=tested("normal"),
        anomalous=tested("anomalous"),
        median=levels.median,
        warn=levels.warn.level,
        alarm=levels.alarm.level,
        statistics_clips=len(task.statistics),
        type_clips=(0 if prior is None else prior.recordings) if task.statistics else len(experiment.train),
    )


def other_machines(experiment: Experiment, task: MachineTask) -> list[list[DataClip]]:
    """Return the train clips of each other machine."""
    own = (task.machine_type, task.machine_id)
    by_machine: dict[tuple[str, str], list[DataClip]] = {}
    for clip in experiment.train:
        by_machine.setdefault(clip.machine, []).append(clip)
    return [clips for machine, clips in by_machine.items() if machine != own]


def type_prior(
    scoring: ScoringSpec, machines: Sequence[Sequence[DataClip]], lookup: EvidenceLookup
) -> TypePrior | None:
    """Return the spread of profiles on other machines; None where there are none with a spread, or for an error."""
    known = [clips for clips in machines if len(clips) > 1]
    if not known or not (scoring.is_profile or scoring.kind == "consensus"):
        return None

    def pooled(values: Callable[[Evidence], Float64]) -> NormalProfile:
        return NormalProfile.pooled(
            [NormalProfile.fit(np.stack([values(lookup(c).evidence[scoring.kind]) for c in clips])) for clips in known]
        )

    if scoring.kind == "consensus":
        slope = pooled(lambda evidence: evidence.pooled(scoring.pooling))
        level = pooled(lambda evidence: evidence.pooled_signed(scoring.pooling))
        scale = ScalePrior(slope, level, None)
    else:
        scale = ScalePrior(None, None, pooled(lambda evidence: evidence.pooled(scoring.pooling)))
    return TypePrior(clip=scale, step=scale, recordings=sum(len(clips) for clips in known))


def calibrated(
    scoring: ScoringSpec,
    clips: Sequence[DataClip],
    lookup: EvidenceLookup,
    prior: TypePrior | None,
    *,
    response: Float64 | None = None,
) -> ScaleCalibration:
    """Calibrate the time scale of a clip on normal clips, each a recording of its own.

    ``response`` is the slope's response to changes of the sound (``humwatch.pipeline.network_response``), for the
    consensus.
    """
    evidence = [lookup(clip) for clip in clips]
    return calibrate_clips(
        # Level and resolution say nothing about a score; log-mel arrays do not tell them.
        [
            NormalClip(clip.name, one.evidence[scoring.kind], level_dbfs=math.nan, sample_bits=0)
            for clip, one in zip(clips, evidence, strict=True)
        ],
        scoring=scoring,
        spec=CalibrationSpec(),
        clip_seconds=float(np.median([one.duration_s for one in evidence])),
        prior=prior,
        response=response if scoring.kind == "consensus" else None,
    )
