"""Table of scores with few normal recordings of a machine: as rows, JSON and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev

from humwatch.scoring.spec import ScoreKind
from humwatch_training.evaluation.evidence import kinds_of
from humwatch_training.evaluation.few_recordings import KS, DrawFigures, FewDraws, FewKey
from humwatch_training.evaluation.studies import StatisticsClips, Study, network_folder
from humwatch_training.evaluation.tables import Grid, is_default, study_json
from humwatch_training.fit.systems import System


@dataclass(frozen=True)
class FewFigures:
    """Means over draws, and the standard deviation over them (None of a single one); of a machine, or of several.

    Of several machines all of it is the mean over machines, the standard deviation too: it is the one that a single
    machine's owner meets. ``draws`` is then the number of the machine with the fewest.
    """

    draws: int
    recall: float
    recall_std: float | None
    far: float
    far_std: float | None
    recall_at_far_1: float
    recall_at_far_1_5: float
    auc: float
    pauc: float
    expected_rate: float
    coverage: float

    @classmethod
    def of(cls, draws: Sequence[DrawFigures]) -> FewFigures:
        """Average the draws of one machine."""
        recalls, fars = [draw.recall for draw in draws], [draw.far for draw in draws]
        return cls(
            draws=len(draws),
            recall=fmean(recalls),
            recall_std=stdev(recalls) if len(draws) > 1 else None,
            far=fmean(fars),
            far_std=stdev(fars) if len(draws) > 1 else None,
            recall_at_far_1=fmean(draw.recall_at_far_1 for draw in draws),
            recall_at_far_1_5=fmean(draw.recall_at_far_1_5 for draw in draws),
            auc=fmean(draw.auc for draw in draws),
            pauc=fmean(draw.pauc for draw in draws),
            expected_rate=fmean(draw.expected_rate for draw in draws),
            coverage=fmean(draw.covered for draw in draws),
        )

    @classmethod
    def together(cls, machines: Sequence[FewFigures]) -> FewFigures:
        """Average the figures of several machines."""

        def std(values: Sequence[float | None]) -> float | None:
            known = [value for value in values if value is not None]
            return fmean(known) if known else None

        return cls(
            draws=min(machine.draws for machine in machines),
            recall=fmean(machine.recall for machine in machines),
            recall_std=std([machine.recall_std for machine in machines]),
            far=fmean(machine.far for machine in machines),
            far_std=std([machine.far_std for machine in machines]),
            recall_at_far_1=fmean(machine.recall_at_far_1 for machine in machines),
            recall_at_far_1_5=fmean(machine.recall_at_far_1_5 for machine in machines),
            auc=fmean(machine.auc for machine in machines),
            pauc=fmean(machine.pauc for machine in machines),
            expected_rate=fmean(machine.expected_rate for machine in machines),
            coverage=fmean(machine.coverage for machine in machines),
        )


@dataclass(frozen=True)
class FewRow:
    """A row of the table: one system under one score, calibrated on ``k`` clips of each machine of a study.

    ``clips`` is k as a number; of "all", those of the machine with the fewest.
    """

    study: Study
    system: System
    score: ScoreKind
    k: StatisticsClips
    clips: int
    machines: Mapping[str, FewFigures]

    @property
    def figures(self) -> FewFigures:
        """Mean over the machines."""
        return FewFigures.together(list(self.machines.values()))

    @property
    def is_default(self) -> bool:
        """State of being the score and system of new bundles."""
        return is_default(self.system, self.score)

    def as_json(self) -> dict[str, object]:
        """Return the row as JSON's types."""
        return {
            **study_json(self.study),
            "system": self.system.name,
            "title": self.system.title,
            "score": self.score,
            "default": self.is_default,
            "k": self.k,
            "clips": self.clips,
            **asdict(self.figures),
            "per_id": {machine_id: asdict(figures) for machine_id, figures in self.machines.items()},
        }


def few_rows(
    studies: Sequence[Study], systems: Sequence[System], measured: Mapping[FewKey, FewDraws]
) -> tuple[FewRow, ...]:
    """Return the rows of each subject once: its networks, machines and test clips are the same for every study's k."""
    subjects = {study.subject: study for study in sorted(studies, key=_pool_clips)}
    return tuple(
        row
        for subject in dict.fromkeys(study.subject for study in studies)
        for system in systems
        for score in kinds_of(system.recipe.network)
        for row in _rows_of(subjects[subject], system, score, measured)
    )


def _pool_clips(study: Study) -> int:
    return sum(len(task.statistics) for _, task in study.machines)


def _rows_of(study: Study, system: System, score: ScoreKind, measured: Mapping[FewKey, FewDraws]) -> list[FewRow]:
    """Return a row for each k that all machines of the study have draws of, so that rows compare."""
    machines = {
        task.machine_id: measured[network_folder(experiment), task.machine_id, system.name, score]
        for experiment, task in study.machines
    }
    smallest = min(len(task.statistics) for _, task in study.machines)
    return [
        FewRow(
            study,
            system,
            score,
            k,
            smallest if k == "all" else k,
            {machine_id: FewFigures.of(draws[k]) for machine_id, draws in machines.items()},
        )
        for k in KS
        if all(draws.get(k) for draws in machines.values())
    ]


def few_recordings_grid(rows: Sequence[FewRow]) -> Grid:
    """Return the table of one subject, in order of k."""
    head = ["k", "system", "score", "draws", "recall at own level", "FAR there", "FAR expected", "interval holds FAR"]
    head += ["recall at 1 % FAR", "at 1.5 % FAR", "AUC", "pAUC"]
    return head, [_cells(row) for k in KS for row in rows if row.k == k]


def _cells(row: FewRow) -> list[str]:
    figures = row.figures
    return [
        str(row.k) if row.k != "all" else f"all ({row.clips})",
        row.system.title,
        f"{row.score} (default)" if row.is_default else row.score,
        str(figures.draws),
        _percent(figures.recall, figures.recall_std),
        _percent(figures.far, figures.far_std),
        _percent(figures.expected_rate),
        f"{figures.coverage:.0%}",
        _percent(figures.recall_at_far_1),
        _percent(figures.recall_at_far_1_5),
        f"{figures.auc:.3f}",
        f"{figures.pauc:.3f}",
    ]


def _percent(share: float, std: float | None = None) -> str:
    return f"{100 * share:.1f} %" if std is None else f"{100 * share:.1f} ± {100 * std:.1f} %"
