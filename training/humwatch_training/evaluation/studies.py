"""Subjects of the tables' rows: machines of one type under one protocol, and the networks that test them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from humwatch_training.datasets import DataSet
from humwatch_training.datasets.clip import Group
from humwatch_training.errors import TrainingDataError
from humwatch_training.evaluation.protocols import (
    Experiment,
    MachineTask,
    leave_one_id_out,
    matched,
    zero_shot,
    zero_shot_groups,
)

ProtocolName = Literal["matched", "per-machine", "zero-shot"]
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)
GROUPS: tuple[Group, ...] = get_args(Group)

_K_PART = re.compile(r"k-(\d+|all)")

StatisticsClips = int | Literal["all"]
"""Normal clips of a new machine that its statistics may use."""


@dataclass(frozen=True)
class Study:
    """One row of Table 1 for each system and score: the mean over these machines.

    ``k`` is for zero-shot alone: the normal clips that a new machine's statistics come from.
    """

    protocol: ProtocolName
    machine_type: str
    group: Group
    k: StatisticsClips | None
    experiments: tuple[Experiment, ...]

    @property
    def name(self) -> str:
        """Name as a folder: "matched/dev/ToyCar", "zero-shot/dev/ToyCar/k-5"."""
        return self.subject if self.k is None else f"{self.subject}/k-{self.k}"

    @property
    def subject(self) -> str:
        """Name that studies of several k share, like their networks, machines and test clips."""
        return f"{self.protocol}/{self.group}/{self.machine_type}"

    @property
    def machines(self) -> list[tuple[Experiment, MachineTask]]:
        """Machines that are tested, each with its experiment, sorted by id."""
        found = [(experiment, task) for experiment in self.experiments for task in experiment.machines]
        return sorted(found, key=lambda pair: pair[1].machine_id)


def plan_studies(
    dataset: DataSet,
    protocol: ProtocolName,
    *,
    group: Group | None = None,
    train_ids: Collection[str] = (),
    ks: Sequence[StatisticsClips] = ("all",),
    seed: int = 0,
) -> list[Study]:
    """Divide a data set by a protocol.

    "matched" trains one network on all machines of a type, "per-machine" one on each, "zero-shot" on other machines
    than are tested: on ``train_ids`` to test the others, on the machines of a group where that is its name ("dev",
    "eval"), or, without any, on all but one in turn. ``group`` keeps its machines alone.

    Raises TrainingDataError where nothing is left, or a machine cannot be tested: without clips of both labels.
    """
    kept = dataset if group is None else _of_group(dataset, group)
    if protocol == "zero-shot":
        studies = [s for k in ks for s in _studies(protocol, k, _new_machines(kept, train_ids, k, seed))]
    else:
        studies = _studies(protocol, None, matched(kept, pool="type" if protocol == "matched" else "machine"))
    for _, task in (pair for study in studies for pair in study.machines):
        if len({clip.label for clip in task.test}) < 2:
            raise TrainingDataError(
                f"{task.machine_type} {task.machine_id}: test clips of both labels are needed for an AUC"
            )
    return studies


def network_folder(experiment: Experiment) -> str:
    """Return the relative folder of an experiment's networks, the same for every k, which trains nothing."""
    return "/".join(part for part in experiment.name.split("/") if not _K_PART.fullmatch(part))


def _of_group(dataset: DataSet, group: Group) -> DataSet:
    clips = tuple(clip for clip in dataset.clips if clip.group == group)
    if not clips:
        raise TrainingDataError(f"{dataset.root}: no machine is of the {group} group")
    return replace(dataset, clips=clips)


def _new_machines(dataset: DataSet, train_ids: Collection[str], k: StatisticsClips, seed: int) -> list[Experiment]:
    count = None if k == "all" else k
    if not train_ids:
        return leave_one_id_out(dataset, k=count, seed=seed)
    for train, test in (GROUPS, GROUPS[::-1]):
        if set(train_ids) == {train}:
            return zero_shot_groups(dataset, train=train, test=test, k=count, seed=seed)
    others = {machine_id for _, machine_id in dataset.machines} - set(train_ids)
    return zero_shot(dataset, train_ids=train_ids, test_ids=others, k=count, seed=seed)


def _studies(protocol: ProtocolName, k: StatisticsClips | None, experiments: Sequence[Experiment]) -> list[Study]:
    """Group the experiments by type and group."""
    by_row: dict[tuple[str, Group], list[Experiment]] = {}
    for experiment in experiments:
        task = experiment.machines[0]
        by_row.setdefault((task.machine_type, task.test[0].group), []).append(experiment)
    return [Study(protocol, *row, k, tuple(found)) for row, found in by_row.items()]
