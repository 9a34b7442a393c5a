"""Table 1 (AUC and pAUC) and Table 2 (squared error of normal clips) of the paper, as rows, JSON and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from humwatch.arrays import Float64
from humwatch.scoring.spec import DEFAULT_SCORE, ScoreKind, ScoringSpec
from humwatch_training.evaluation.intervals import Areas, Estimate, areas, estimate
from humwatch_training.evaluation.scores import MachineScores
from humwatch_training.evaluation.studies import Study
from humwatch_training.fit.systems import DEFAULT_SYSTEM, System


@dataclass(frozen=True)
class Cost:
    """Cost of a system: training of its networks, and scoring of a clip; ``threads`` CPU threads each."""

    steps: int
    training_s: float
    scoring_s_per_clip: float
    clip_s: float
    parameters: int
    threads: int
    hop_frames: int

    @classmethod
    def together(cls, costs: Sequence[Cost]) -> Cost:
        """Return the cost of several networks: the sum of training, the mean of a clip."""
        return replace(
            costs[0],
            training_s=sum(cost.training_s for cost in costs),
            scoring_s_per_clip=float(np.mean([cost.scoring_s_per_clip for cost in costs])),
            clip_s=float(np.mean([cost.clip_s for cost in costs])),
        )


@dataclass(frozen=True)
class MachineRow:
    """One machine's part of a row: its scores, and the areas under their ROC curve."""

    machine_id: str
    train_ids: tuple[str, ...]
    scores: MachineScores
    areas: Areas

    @property
    def auc(self) -> Estimate:
        """Area under the ROC curve."""
        return estimate([self.areas.auc], [self.areas.auc_draws])

    @property
    def pauc(self) -> Estimate:
        """Area up to a false alarm rate of 0.1, after McClish."""
        return estimate([self.areas.pauc], [self.areas.pauc_draws])


@dataclass(frozen=True)
class ScoreRow:
    """A row of Table 1: one system under one score, on the machines of a study."""

    study: Study
    system: System
    score: ScoreKind
    machines: tuple[MachineRow, ...]
    cost: Cost

    @property
    def auc(self) -> Estimate:
        """Mean AUC of the machines."""
        return estimate([m.areas.auc for m in self.machines], [m.areas.auc_draws for m in self.machines])

    @property
    def pauc(self) -> Estimate:
        """Mean pAUC of the machines."""
        return estimate([m.areas.pauc for m in self.machines], [m.areas.pauc_draws for m in self.machines])

    def as_json(self) -> dict[str, object]:
        """Return the row as JSON's types."""
        return {
            **study_json(self.study),
            "system": self.system.name,
            "title": self.system.title,
            "score": self.score,
            "calibrated": self.score == "consensus" or ScoringSpec.model_validate({"kind": self.score}).is_profile,
            "default": is_default(self.system, self.score),
            **_named("auc", self.auc, "_mean"),
            **_named("pauc", self.pauc, "_mean"),
            "per_id": {machine.machine_id: self._machine_json(machine) for machine in self.machines},
            **_cost_json(self.cost),
            **(
                {}
                if self.study.k is None
                else {"k": self.study.k, "train_ids": {m.machine_id: list(m.train_ids) for m in self.machines}}
            ),
        }

    @staticmethod
    def _machine_json(machine: MachineRow) -> dict[str, object]:
        scores = machine.scores
        return {
            **_named("auc", machine.auc),
            **_named("pauc", machine.pauc),
            "normal_clips": len(scores.normal.scores),
            "anomalous_clips": len(scores.anomalous.scores),
            "statistics_clips": scores.statistics_clips,
            "type_clips": scores.type_clips,
            "warn_level": scores.warn,
            "alarm_level": scores.alarm,
            "false_alarms": scores.normal.count_at(scores.alarm),
            "detections": scores.anomalous.count_at(scores.alarm),
        }


def machine_row(
    machine_id: str, train_ids: Iterable[str], scores: MachineScores, *, draws: int, rng: np.random.Generator
) -> MachineRow:
    """Measure one machine's scores."""
    measured = areas(scores.normal.scores, scores.anomalous.scores, draws=draws, rng=rng)
    return MachineRow(machine_id, tuple(sorted(set(train_ids))), scores, measured)


@dataclass(frozen=True)
class ErrorRow:
    """A row of Table 2: squared errors of test clips, dB^2, float64 (clips,) a machine, of normal and anomalous."""

    study: Study
    system: System
    normal: Mapping[str, Float64]
    anomalous: Mapping[str, Float64]

    @classmethod
    def of(cls, row: ScoreRow) -> ErrorRow:
        """Return the errors of any of a system's rows."""
        return cls(
            row.study,
            row.system,
            {m.machine_id: m.scores.normal.squared_errors_db2 for m in row.machines},
            {m.machine_id: m.scores.anomalous.squared_errors_db2 for m in row.machines},
        )

    def as_json(self) -> dict[str, object]:
        """Return the row as JSON's types: mean and standard deviation over all clips, and over each machine's."""
        return {
            **study_json(self.study),
            "system": self.system.name,
            "title": self.system.title,
            **_errors_json("normal", np.concatenate(list(self.normal.values()))),
            **_errors_json("anomalous", np.concatenate(list(self.anomalous.values()))),
            "per_id": {
                machine_id: {
                    **_errors_json("normal", normal),
                    **_errors_json("anomalous", self.anomalous[machine_id]),
                }
                for machine_id, normal in self.normal.items()
            },
        }


def _errors_json(label: str, errors_db2: Float64) -> dict[str, object]:
    return {
        f"{label}_mean_db2": float(errors_db2.mean()),
        f"{label}_std_db2": float(errors_db2.std()),
        f"{label}_clips": len(errors_db2),
    }


def is_default(system: System, score: ScoreKind) -> bool:
    """Return whether new bundles have this score of this system."""
    return system.name == DEFAULT_SYSTEM and score == DEFAULT_SCORE


def study_json(study: Study) -> dict[str, object]:
    """Return the subject of a row as JSON's types."""
    return {"protocol": study.protocol, "type": study.machine_type, "group": study.group}


def _named(name: str, figure: Estimate, suffix: str = "") -> dict[str, float]:
    return {f"{name}{suffix}": figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}


def _cost_json(cost: Cost) -> dict[str, object]:
    return {
        "steps": cost.steps,
        "parameters": cost.parameters,
        "training_s": cost.training_s,
        "scoring_s_per_clip": cost.scoring_s_per_clip,
        "clip_s": cost.clip_s,
        "threads": cost.threads,
        "hop_frames": cost.hop_frames,
    }


Grid = tuple[list[str], list[list[str]]]
"""Head and cells of a table, as text."""


def table1_grid(rows: Sequence[ScoreRow]) -> Grid:
    """Return Table 1 of studies with one subject, with a column for k where there is one."""
    with_k = rows[0].study.k is not None
    ids = [machine.machine_id for machine in rows[0].machines]
    head = ["system", "score", "AUC (95 %)", "pAUC (95 %)", *ids, "false alarms", "detections"]
    if not with_k:
        return head, [_table1_cells(row) for row in rows]
    return ["k", *head], [[str(row.study.k), *_table1_cells(row)] for row in rows]


def _table1_cells(row: ScoreRow) -> list[str]:
    parts = [machine.scores for machine in row.machines]
    normal, anomalous = sum(len(p.normal.scores) for p in parts), sum(len(p.anomalous.scores) for p in parts)
    return [
        row.system.title,
        row.score,
        _figure(row.auc),
        _figure(row.pauc),
        *(f"{machine.areas.auc:.3f} / {machine.areas.pauc:.3f}" for machine in row.machines),
        f"{sum(p.normal.count_at(p.alarm) for p in parts)} of {normal}",
        f"{sum(p.anomalous.count_at(p.alarm) for p in parts)} of {anomalous}",
    ]


def cost_grid(rows: Sequence[ScoreRow]) -> Grid:
    """Return the cost of each system."""
    head = ["system", "parameters", "steps", "training", "hop", "scoring a clip", "times real time", "threads"]
    costs = {row.system.title: row.cost for row in rows}
    return head, [
        [
            title,
            f"{cost.parameters:,}",
            f"{cost.steps:,}",
            f"{cost.training_s:.1f} s",
            f"{cost.hop_frames}",
            f"{cost.scoring_s_per_clip * 1000:.0f} ms of {cost.clip_s:.1f} s",
            f"{cost.clip_s / cost.scoring_s_per_clip:.0f}",
            f"{cost.threads}",
        ]
        for title, cost in costs.items()
    ]


def table2_grid(rows: Sequence[ErrorRow]) -> Grid:
    """Return Table 2 of one subject."""
    ids = list(rows[0].normal)
    head = ["system", "normal, dB²", "anomalous, dB²", *(f"{machine_id}, normal" for machine_id in ids)]
    return head, [
        [
            row.system.title,
            _spread(np.concatenate(list(row.normal.values()))),
            _spread(np.concatenate(list(row.anomalous.values()))),
            *(_spread(errors) for errors in row.normal.values()),
        ]
        for row in rows
    ]


def _figure(figure: Estimate) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _spread(errors_db2: Float64) -> str:
    return f"{errors_db2.mean():.2f} ± {errors_db2.std():.2f}"


def markdown(grid: Grid) -> str:
    """Return a table as Markdown, its columns aligned for reading as text."""
    head, cells = grid
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (head, *cells)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]]) + "\n"
