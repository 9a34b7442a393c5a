"""Division of clips into those that train a network, give a machine its statistics, and test it.

Two protocols. *Matched*: the network was trained on normal sound of the machine that it is tested on (development
machines among themselves, evaluation machines among themselves). *Zero-shot*: it was trained on other machines of the
type only, with k normal clips of the new machine for its statistics (Wichern et al., WASPAA 2021, section 4).

An ``Experiment`` cannot be made in which a test clip trains or calibrates anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from humwatch_training.datasets.clip import DataClip, Group
from humwatch_training.datasets.dataset import DataSet
from humwatch_training.errors import TrainingDataError

Pool = Literal["type", "machine"]

GROUPS: tuple[Group, ...] = ("dev", "eval")
STATISTICS_CLIPS: tuple[int | None, ...] = (0, 5, 10, 20, 40, None)
"""Customary numbers of clips for a new machine's statistics; None for all clips."""


@dataclass(frozen=True)
class MachineTask:
    """One machine that is tested.

    ``statistics`` are normal train clips of that machine (none for k = 0), ``test`` its test clips with a label, and
    ``unlabelled`` the number of its test clips without one, which are left out.
    """

    machine_type: str
    machine_id: str
    statistics: tuple[DataClip, ...]
    test: tuple[DataClip, ...]
    unlabelled: int = 0

    def __post_init__(self) -> None:
        machine = (self.machine_type, self.machine_id)
        _refuse_all_but_normal_train(self.statistics)
        for clip in (*self.statistics, *self.test):
            if clip.machine != machine:
                raise TrainingDataError(f"{clip.name}: is not of machine {' '.join(machine)}")
        for clip in self.test:
            if clip.split != "test" or clip.label is None:
                raise TrainingDataError(f"{clip.name}: is no test clip with a label")
        if not self.test:
            raise TrainingDataError(f"{' '.join(machine)}: no test clips with a label")


@dataclass(frozen=True)
class Experiment:
    """Clips that train one network, and the machines that it is tested on."""

    name: str
    train: tuple[DataClip, ...]
    machines: tuple[MachineTask, ...]

    def __post_init__(self) -> None:
        _refuse_all_but_normal_train(self.train)
        if not self.train or not self.machines:
            raise TrainingDataError(f"{self.name}: needs normal train clips and a machine to test")
        learnt = {clip.source for clip in (*self.train, *(c for task in self.machines for c in task.statistics))}
        for clip in (clip for task in self.machines for clip in task.test):
            if clip.source in learnt:
                raise TrainingDataError(f"{clip.name}: would be train and test sound at once")

    @property
    def unlabelled(self) -> int:
        """Number of test clips left out for want of a label."""
        return sum(task.unlabelled for task in self.machines)


def matched(dataset: DataSet, *, pool: Pool, group: Group | None = None) -> list[Experiment]:
    """Train and test on the same machines: one experiment a type and group, or one a machine.

    ``pool`` "type" trains one network on all machines of a type and group (the paper's way), "machine" one on each. All
    normal train clips of a machine give its statistics. ``group`` None takes development and evaluation machines, never
    mixed. Machines without labelled test clips are trained on, and not tested. TrainingDataError where that leaves
    nothing, or where a machine that is tested has no train clips.
    """
    experiments: list[Experiment] = []
    for clips in _pools(dataset, pool, GROUPS if group is None else (group,)):
        tasks = tuple(_task(machine, None, 0) for machine in _tested(clips))
        if tasks:
            experiments.append(Experiment(_matched_name(clips[0], pool), _normal_train(clips), tasks))
    return _some(experiments, dataset)


def zero_shot(
    dataset: DataSet, *, train_ids: Collection[str], test_ids: Collection[str], k: int | None, seed: int
) -> list[Experiment]:
    """Train on some machines and test on others of the same type: one experiment for every type that has both.

    Statistics of a test machine come from ``k`` of its own normal train clips, drawn by ``seed``, or from all of them
    (None). The draw of fewer is part of the draw of more. TrainingDataError where ids are on both sides or unknown, or
    where a machine has fewer clips than ``k``.
    """
    both = sorted(set(train_ids) & set(test_ids))
    known = {machine_id for _, machine_id in dataset.machines}
    unknown = sorted({*train_ids, *test_ids} - known)
    if both or unknown:
        raise TrainingDataError(
            f"{', '.join(both)}: cannot be trained on and be new" if both else f"no machine is {', '.join(unknown)}"
        )
    name = f"zero-shot/{'+'.join(sorted(train_ids))}-to-{'+'.join(sorted(test_ids))}/{_k_name(k)}"
    trained = [clip for clip in dataset.clips if clip.machine_id in train_ids]
    tested = [clip for clip in dataset.clips if clip.machine_id in test_ids]
    return _some(_zero_shot(name, trained, tested, k, seed), dataset)


def zero_shot_groups(dataset: DataSet, *, train: Group, test: Group, k: int | None, seed: int) -> list[Experiment]:
    """Train on the machines of one group and test on those of the other, as ``zero_shot`` does: DEV to EVAL or back."""
    if train == test:
        raise TrainingDataError(f"{train} machines cannot be trained on and be new")
    name = f"zero-shot/{train}-to-{test}/{_k_name(k)}"
    trained = [clip for clip in dataset.clips if clip.group == train]
    tested = [clip for clip in dataset.clips if clip.group == test]
    return _some(_zero_shot(name, trained, tested, k, seed), dataset)


def leave_one_id_out(dataset: DataSet, *, k: int | None, seed: int) -> list[Experiment]:
    """Train on all machines of a type but one and test on that one, for every machine: for sets with few ids."""
    experiments: list[Experiment] = []
    for machine_type, machine_id in dataset.machines:
        of_type = [clip for clip in dataset.clips if clip.machine_type == machine_type]
        others = [clip for clip in of_type if clip.machine_id != machine_id]
        new = [clip for clip in of_type if clip.machine_id == machine_id]
        experiments += _zero_shot(f"zero-shot/all-but-{machine_id}-to-{machine_id}/{_k_name(k)}", others, new, k, seed)
    return _some(experiments, dataset)


def _zero_shot(
    name: str, trained: Iterable[DataClip], tested: Iterable[DataClip], k: int | None, seed: int
) -> list[Experiment]:
    by_type = {clips[0].machine_type: clips for clips in _divided(tested, by="machine_type")}
    experiments: list[Experiment] = []
    for clips in _divided(trained, by="machine_type"):
        machine_type = clips[0].machine_type
        train = _normal_train(clips)
        machines = {clip.machine for clip in train}
        tasks = tuple(_task(machine, k, seed) for machine in _tested(by_type.get(machine_type, [])))
        if any((task.machine_type, task.machine_id) in machines for task in tasks):
            raise TrainingDataError(f"{name}: a {machine_type} would be trained on and be new")
        if train and tasks:
            experiments.append(Experiment(f"{name}/{machine_type}", train, tasks))
    return experiments


def _task(clips: Sequence[DataClip], k: int | None, seed: int) -> MachineTask:
    """Return the task of one machine, given all of its clips."""
    machine_type, machine_id = clips[0].machine
    normal = _normal_train(clips)
    if len(normal) < (1 if k is None else k):
        raise TrainingDataError(
            f"{machine_type} {machine_id}: {len(normal)} normal train clips are there for its statistics,"
            f" {'at least 1' if k is None else k} asked for"
        )
    test = [clip for clip in clips if clip.split == "test"]
    labelled = tuple(clip for clip in test if clip.label is not None)
    statistics = normal if k is None else drawn(normal, k, seed)
    return MachineTask(machine_type, machine_id, statistics, labelled, len(test) - len(labelled))


def drawn(clips: Sequence[DataClip], k: int, seed: int) -> tuple[DataClip, ...]:
    """Return ``k`` clips of a machine (at most all) in the order of a draw by ``seed``, the first of a draw of more."""
    if k < 0:
        raise TrainingDataError(f"{k} clips for statistics are fewer than none")
    if not clips:
        return ()
    own = hashlib.sha256("/".join(clips[0].machine).encode()).digest()  # no two machines are drawn alike
    order = np.random.default_rng([seed, int.from_bytes(own[:8])]).permutation(len(clips))
    ordered = sorted(clips, key=lambda clip: clip.name)
    return tuple(ordered[i] for i in order[:k])


def _pools(dataset: DataSet, pool: Pool, groups: Iterable[Group]) -> list[list[DataClip]]:
    by: Literal["machine_type", "machine"] = "machine_type" if pool == "type" else "machine"
    return [
        clips for group in groups for clips in _divided((clip for clip in dataset.clips if clip.group == group), by=by)
    ]


def _divided(clips: Iterable[DataClip], *, by: Literal["machine_type", "machine"]) -> list[list[DataClip]]:
    """Return the clips of each machine type or machine, in order of these."""
    divided: dict[tuple[str, ...], list[DataClip]] = {}
    for clip in clips:
        divided.setdefault(clip.machine if by == "machine" else (clip.machine_type,), []).append(clip)
    return [divided[key] for key in sorted(divided)]


def _tested(clips: Iterable[DataClip]) -> list[list[DataClip]]:
    """Return the clips of each machine that has labelled test clips."""
    machines = _divided(clips, by="machine")
    return [machine for machine in machines if any(c.split == "test" and c.label is not None for c in machine)]


def _normal_train(clips: Iterable[DataClip]) -> tuple[DataClip, ...]:
    return tuple(clip for clip in clips if clip.split == "train" and clip.label == "normal")


def _refuse_all_but_normal_train(clips: Iterable[DataClip]) -> None:
    for clip in clips:
        if clip.split != "train" or clip.label != "normal":
            raise TrainingDataError(f"{clip.name}: only normal clips of the train split may be learnt from")


def _matched_name(clip: DataClip, pool: Pool) -> str:
    name = f"matched/{clip.group}/{clip.machine_type}"
    return name if pool == "type" else f"{name}/{clip.machine_id}"


def _k_name(k: int | None) -> str:
    return "k-all" if k is None else f"k-{k}"


def _some(experiments: list[Experiment], dataset: DataSet) -> list[Experiment]:
    if experiments:
        return experiments
    withheld = f"; {dataset.unlabelled} test clips have no label: give the published ones" if dataset.unlabelled else ""
    raise TrainingDataError(f"{dataset.root}: no machine is left to train and test on{withheld}")
