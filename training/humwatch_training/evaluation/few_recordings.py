"""Measurement of scores with few normal recordings of a machine: calibrations on draws of them.

Everything that a new machine's owner meets is in the figures: a level that few clips gave, the false alarms that it
then has, and the rate of these that was expected beforehand. An AUC shows none of that.

False alarms are counted among normal test clips and, where the network never trained on the machine (zero-shot), among
those of its train clips that were not drawn as well. A clip that trained the network is no honest example of normal
sound that is new: it is predicted better than any later sound of the machine, so that counting it would
understate the false alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from humwatch.arrays import Float64
from humwatch.calibration.fit import MIN_RECORDINGS
from humwatch.calibration.type_prior import TypePrior
from humwatch.detectors.thresholds import Threshold
from humwatch.errors import CalibrationError
from humwatch.scoring.calibration import ScaleCalibration, judge
from humwatch.scoring.spec import ScoreKind, ScoringSpec
from humwatch_training.datasets import DataClip
from humwatch_training.evaluation.intervals import areas
from humwatch_training.evaluation.protocols import Experiment, MachineTask
from humwatch_training.evaluation.scores import EvidenceLookup, calibrated, other_machines, type_prior
from humwatch_training.evaluation.studies import StatisticsClips

FEW_DRAWS: Final = 20
KS: Final[tuple[StatisticsClips, ...]] = (5, 8, 10, 20, 40, 100, "all")
MANY_CLIPS: Final = 100
"""Number of clips from which on there are a quarter of the draws: they scatter less, and take longer."""
FEWEST_DRAWS: Final = 3


@dataclass(frozen=True)
class DrawFigures:
    """Figures of a machine's calibration on one draw of its normal clips.

    Attributes:
        recall: share of anomalous test clips at its alarm level or above.
        far: true false alarm rate: share of the normal clips that were not drawn at its alarm level or above.
        recall_at_far_1: share of anomalous clips above the level that at most 1 % of these normal clips exceed.
        recall_at_far_1_5: share of anomalous clips above the level that at most 1.5 % of them exceed.
        auc: area under the ROC curve, over the same clips.
        pauc: area up to a false alarm rate of 0.1, after McClish.
        expected_rate: false alarm rate that the calibration expects.
        covered: membership of ``far`` in the calibration's 90 % interval.
    """

    recall: float
    far: float
    recall_at_far_1: float
    recall_at_far_1_5: float
    auc: float
    pauc: float
    expected_rate: float
    covered: bool

    @classmethod
    def of(cls, normal: Float64, anomalous: Float64, alarm: Threshold) -> DrawFigures:
        """Measure raw scores of normal and anomalous clips, float64 (n,) and (m,)."""
        measured = areas(normal, anomalous, draws=0, rng=np.random.default_rng(0))
        far = float(np.mean(normal >= alarm.level))
        return cls(
            recall=float(np.mean(anomalous >= alarm.level)),
            far=far,
            recall_at_far_1=recall_at(0.01, normal, anomalous),
            recall_at_far_1_5=recall_at(0.015, normal, anomalous),
            auc=measured.auc,
            pauc=measured.pauc,
            expected_rate=alarm.expected_rate,
            covered=alarm.rate_low <= far <= alarm.rate_high,
        )


def recall_at(rate: float, normal: Float64, anomalous: Float64) -> float:
    """Return the share of anomalous scores above the lowest normal score that at most ``rate`` of the normal exceed.

    Nothing is interpolated: of fewer than 100 normal clips none may exceed the level for a rate of 1 %.
    """
    allowed = int(rate * len(normal) + 1e-9)
    return float(np.mean(anomalous > np.sort(normal)[len(normal) - 1 - allowed]))


FewDraws = Mapping[StatisticsClips, tuple[DrawFigures, ...]]
"""Draws of one machine under one score, by the number of clips drawn."""

FewKey = tuple[str, str, str, ScoreKind]
"""Folder of the networks, machine id, system, score."""


@dataclass(frozen=True)
class DrawSpec:
    """Number of draws of a machine's normal clips, and their seed; 0 draws measure nothing."""

    draws: int = FEW_DRAWS
    seed: int = 0

    def count(self, k: StatisticsClips) -> int:
        """Return the number of draws of ``k`` clips."""
        if k == "all":
            return 1
        return self.draws if k < MANY_CLIPS else max(FEWEST_DRAWS, self.draws // 4)

    def ks(self, task: MachineTask) -> list[StatisticsClips]:
        """Return the numbers of clips that a machine has more than enough clips for, and "all" of them."""
        clips = len(task.statistics)
        if not self.draws or clips < MIN_RECORDINGS:
            return []
        return [k for k in KS if k == "all" or k < clips]

    def pools(self, task: MachineTask) -> Iterator[tuple[StatisticsClips, list[DataClip]]]:
        """Yield each draw of a machine's normal train clips, with its number of clips; every score gets the same."""
        pool = sorted(task.statistics, key=lambda clip: clip.name)
        name = f"{task.machine_type}/{task.machine_id}".encode()
        for k in self.ks(task):
            for draw in range(self.count(k)):
                if k == "all":
                    yield k, pool
                else:
                    rng = np.random.default_rng([self.seed, k, draw, *name])
                    yield k, [pool[i] for i in sorted(rng.choice(len(pool), k, replace=False))]


@dataclass(frozen=True)
class FewRecordings:
    """Measurement of one system's scores with few recordings.

    ``response`` is that of the system's network to changes of the sound, for the consensus (``scores.calibrated``).
    """

    draw_spec: DrawSpec
    lookup: EvidenceLookup
    response: Float64 | None = None

    def measure(
        self,
        networks: str,
        experiments: Sequence[Experiment],
        system: str,
        kinds: Sequence[ScoreKind],
        progress: Callable[[int, int], None],
    ) -> dict[FewKey, FewDraws]:
        """Calibrate each score on each draw of each machine, and measure it.

        Of experiments that share their networks, and differ in the clips for statistics alone, the one with the most
        of these counts. ``progress`` is called with (draws done, draws in all), and may raise to stop.
        """
        experiment = max(experiments, key=lambda one: sum(len(task.statistics) for task in one.machines))
        counts = [sum(self.draw_spec.count(k) for k in self.draw_spec.ks(task)) for task in experiment.machines]
        done, total = 0, sum(counts) * len(kinds)

        def on_draw() -> None:
            nonlocal done
            progress(done, total)
            done += 1

        found: dict[FewKey, FewDraws] = {}
        for task in experiment.machines:
            for kind in kinds:
                found[networks, task.machine_id, system, kind] = self._machine(kind, experiment, task, on_draw)
        if total:
            progress(total, total)
        return found

    def _machine(
        self, kind: ScoreKind, experiment: Experiment, task: MachineTask, on_draw: Callable[[], None]
    ) -> FewDraws:
        """Measure one machine. A draw that cannot be calibrated is left out.

        The prior is that of ``scores.score_machine``: train clips of the experiment's other machines, which in
        zero-shot are those that trained the network.
        """
        scoring = ScoringSpec.model_validate({"kind": kind})
        prior = type_prior(scoring, other_machines(experiment, task), self.lookup) if self.draw_spec.ks(task) else None
        trained = {clip.name for clip in experiment.train}
        found: dict[StatisticsClips, list[DrawFigures]] = {}
        for k, clips in self.draw_spec.pools(task):
            on_draw()
            figures = self._draw(scoring, task, clips, trained, prior)
            found.setdefault(k, []).extend([] if figures is None else [figures])
        return {k: tuple(draws) for k, draws in found.items()}

    def _draw(
        self,
        scoring: ScoringSpec,
        task: MachineTask,
        drawn: Sequence[DataClip],
        trained: set[str],
        prior: TypePrior | None,
    ) -> DrawFigures | None:
        known = trained | {clip.name for clip in drawn}
        normal = [clip for clip in task.test if clip.label == "normal"]
        normal += [clip for clip in task.statistics if clip.name not in known]
        anomalous = [clip for clip in task.test if clip.label == "anomalous"]
        try:
            scale = calibrated(scoring, drawn, self.lookup, prior, response=self.response)
        except CalibrationError:
            return None
        scores = self._scores(scale, scoring, normal), self._scores(scale, scoring, anomalous)
        return DrawFigures.of(*scores, scale.thresholds.alarm)

    def _scores(self, scale: ScaleCalibration, scoring: ScoringSpec, clips: Sequence[DataClip]) -> Float64:
        return np.array([judge(scale, self.lookup(clip).evidence[scoring.kind], scoring) for clip in clips])
