from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from humwatch_training.datasets import DataClip, DataSet, FileSource
from humwatch_training.datasets.clip import Group, Label, PartName
from humwatch_training.errors import TrainingDataError
from humwatch_training.evaluation.protocols import (
    STATISTICS_CLIPS,
    Experiment,
    MachineTask,
    drawn,
    leave_one_id_out,
    matched,
    zero_shot,
    zero_shot_groups,
)

DEV_IDS = ("id_00", "id_02")
EVAL_IDS = ("id_01", "id_03")


def clip(machine: tuple[str, str], split: PartName, label: Label | None, number: int, group: Group = "dev") -> DataClip:
    name = "/".join((*machine, split, f"{label}_{number:02d}.wav"))
    return DataClip(
        name=name,
        machine_type=machine[0],
        machine_id=machine[1],
        split=split,
        label=label,
        group=group,
        source=FileSource(path=Path("/data") / name),
    )


def machine_clips(machine: tuple[str, str], group: Group, train: int = 50, labelled: bool = True) -> list[DataClip]:
    test = [clip(machine, "test", "normal" if labelled else None, number, group) for number in range(4)]
    anomalies = [clip(machine, "test", "anomalous", number, group) for number in range(3 if labelled else 0)]
    return [*(clip(machine, "train", "normal", number, group) for number in range(train)), *test, *anomalies]


def dataset_of(clips: Iterable[DataClip]) -> DataSet:
    return DataSet.of("dcase2020", Path("/data"), clips)


@pytest.fixture
def dataset() -> DataSet:
    clips: list[DataClip] = []
    for machine_type in ("fan", "valve"):
        for ids, group in ((DEV_IDS, "dev"), (EVAL_IDS, "eval")):
            for machine_id in ids:
                clips += machine_clips((machine_type, machine_id), group)  # type: ignore[arg-type]
    return dataset_of(clips)


def every_experiment(dataset: DataSet) -> list[Experiment]:
    experiments = [*matched(dataset, pool="type"), *matched(dataset, pool="machine")]
    for k in STATISTICS_CLIPS:
        experiments += zero_shot(dataset, train_ids=DEV_IDS, test_ids=EVAL_IDS, k=k, seed=1)
        experiments += zero_shot_groups(dataset, train="eval", test="dev", k=k, seed=1)
        experiments += leave_one_id_out(dataset, k=k, seed=1)
    return experiments


def test_no_test_clip_is_ever_learnt_from(dataset: DataSet):
    experiments = every_experiment(dataset)
    assert len(experiments) == 4 + 8 + len(STATISTICS_CLIPS) * (2 + 2 + 8)
    test_names = {clip.name for clip in dataset.clips if clip.split == "test"}
    for experiment in experiments:
        learnt = {clip.name for clip in experiment.train}
        learnt |= {clip.name for task in experiment.machines for clip in task.statistics}
        tested = {clip.name for task in experiment.machines for clip in task.test}
        assert learnt.isdisjoint(test_names)
        assert tested <= test_names
        assert all("train/normal" in name for name in learnt)


@pytest.mark.parametrize(("split", "label"), [("test", "normal"), ("test", "anomalous"), ("test", None)])
def test_a_test_clip_cannot_be_put_among_what_is_learnt(split: PartName, label: Label | None):
    machine = ("fan", "id_00")
    smuggled = clip(machine, split, label, 7)
    train, test = clip(machine, "train", "normal", 0), clip(machine, "test", "normal", 0)
    task = MachineTask(*machine, (train,), (test,))
    with pytest.raises(TrainingDataError, match="only normal clips of the train split"):
        Experiment("smuggled", (train, smuggled), (task,))
    with pytest.raises(TrainingDataError, match="only normal clips of the train split"):
        MachineTask(*machine, (smuggled,), (test,))


def test_a_train_clip_that_is_not_normal_cannot_be_learnt_from():
    machine = ("fan", "id_00")
    for label in ("anomalous", None):
        with pytest.raises(TrainingDataError, match="only normal clips of the train split"):
            MachineTask(*machine, (clip(machine, "train", label, 0),), (clip(machine, "test", "normal", 0),))


def test_one_recording_cannot_be_both_under_two_names():
    machine = ("fan", "id_00")
    train = clip(machine, "train", "normal", 0)
    test = clip(machine, "test", "normal", 0).model_copy(update={"source": train.source})
    with pytest.raises(TrainingDataError, match="train and test sound at once"):
        Experiment("twice", (train,), (MachineTask(*machine, (), (test,)),))


def test_a_task_holds_labelled_clips_of_its_machine_alone():
    machine, other = ("fan", "id_00"), ("fan", "id_02")
    train, test = clip(machine, "train", "normal", 0), clip(machine, "test", "normal", 0)
    with pytest.raises(TrainingDataError, match="is not of machine fan id_02"):
        MachineTask(*other, (), (test,))
    with pytest.raises(TrainingDataError, match="is not of machine fan id_00"):
        MachineTask(*machine, (clip(other, "train", "normal", 0),), (test,))
    for wrong in (train, clip(machine, "test", None, 0)):
        with pytest.raises(TrainingDataError, match="is no test clip with a label"):
            MachineTask(*machine, (), (wrong,))
    with pytest.raises(TrainingDataError, match="fan id_00: no test clips"):
        MachineTask(*machine, (train,), ())


def test_a_type_is_pooled_within_its_group(dataset: DataSet):
    experiments = {experiment.name: experiment for experiment in matched(dataset, pool="type")}
    assert list(experiments) == ["matched/dev/fan", "matched/dev/valve", "matched/eval/fan", "matched/eval/valve"]
    fan = experiments["matched/eval/fan"]
    assert {clip.machine for clip in fan.train} == {("fan", "id_01"), ("fan", "id_03")}
    assert len(fan.train) == 100
    assert [(task.machine_id, len(task.statistics), len(task.test)) for task in fan.machines] == [
        ("id_01", 50, 7),
        ("id_03", 50, 7),
    ]


def test_a_group_may_be_chosen(dataset: DataSet):
    names = [experiment.name for experiment in matched(dataset, pool="type", group="dev")]
    assert names == ["matched/dev/fan", "matched/dev/valve"]


def test_a_machine_may_be_trained_alone(dataset: DataSet):
    experiments = matched(dataset, pool="machine", group="dev")
    assert [experiment.name for experiment in experiments] == [
        f"matched/dev/{machine_type}/{machine_id}" for machine_type in ("fan", "valve") for machine_id in DEV_IDS
    ]
    assert all(experiment.train == experiment.machines[0].statistics for experiment in experiments)
    assert all(len(experiment.machines) == 1 for experiment in experiments)


def test_zero_shot_trains_on_other_machines_of_the_type(dataset: DataSet):
    fan, valve = zero_shot(dataset, train_ids=["id_02"], test_ids=["id_03", "id_01"], k=5, seed=0)
    assert fan.name == "zero-shot/id_02-to-id_01+id_03/k-5/fan"
    assert {clip.machine for clip in fan.train} == {("fan", "id_02")}
    assert [(task.machine_id, len(task.statistics)) for task in fan.machines] == [("id_01", 5), ("id_03", 5)]
    assert {clip.machine_type for clip in valve.train} == {"valve"}


def test_groups_are_a_direction_of_zero_shot(dataset: DataSet):
    by_group = zero_shot_groups(dataset, train="dev", test="eval", k=10, seed=0)
    by_id = zero_shot(dataset, train_ids=DEV_IDS, test_ids=EVAL_IDS, k=10, seed=0)
    assert [experiment.name for experiment in by_group] == [f"zero-shot/dev-to-eval/k-10/{t}" for t in ("fan", "valve")]
    assert [(e.train, e.machines) for e in by_group] == [(e.train, e.machines) for e in by_id]


def test_every_machine_is_left_out_once(dataset: DataSet):
    experiments = leave_one_id_out(dataset, k=None, seed=0)
    left_out = [(experiment.machines[0].machine_type, experiment.machines[0].machine_id) for experiment in experiments]
    assert left_out == list(dataset.machines)
    for machine, experiment in zip(left_out, experiments, strict=True):
        assert machine not in {clip.machine for clip in experiment.train}
        assert len({clip.machine for clip in experiment.train}) == 3
        assert len(experiment.machines[0].statistics) == 50


def statistics_of(dataset: DataSet, k: int | None, seed: int) -> dict[str, tuple[DataClip, ...]]:
    [fan, _] = zero_shot(dataset, train_ids=DEV_IDS, test_ids=EVAL_IDS, k=k, seed=seed)
    return {task.machine_id: task.statistics for task in fan.machines}


@pytest.mark.parametrize("seed", range(5))
def test_fewer_clips_are_part_of_more(dataset: DataSet, seed: int):
    draws = [statistics_of(dataset, k, seed)["id_01"] for k in (0, 5, 10, 20, 40, 50)]
    assert [len(draw) for draw in draws] == [0, 5, 10, 20, 40, 50]
    for fewer, more in pairwise(draws):
        assert more[: len(fewer)] == fewer
    assert set(draws[-1]) == set(statistics_of(dataset, None, seed)["id_01"])


def test_draws_are_repeatable_and_differ_by_seed_and_machine(dataset: DataSet):
    first = statistics_of(dataset, 10, 0)
    assert first == statistics_of(dataset_of(reversed(dataset.clips)), 10, 0)
    assert first != statistics_of(dataset, 10, 1)
    numbers = {machine: [Path(clip.name).name for clip in clips] for machine, clips in first.items()}
    assert numbers["id_01"] != numbers["id_03"]


def test_a_draw_does_not_depend_on_the_order_of_the_clips(dataset: DataSet):
    clips = [clip for clip in dataset.clips if clip.machine == ("fan", "id_00") and clip.split == "train"]
    assert drawn(clips, 7, 3) == drawn(clips[::-1], 7, 3)
    assert drawn([], 0, 3) == ()
    with pytest.raises(TrainingDataError, match="fewer than none"):
        drawn(clips, -1, 3)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda d: zero_shot(d, train_ids=["id_00"], test_ids=["id_00"], k=5, seed=0), "trained on and be new"),
        (lambda d: zero_shot(d, train_ids=["id_00"], test_ids=["id_9"], k=5, seed=0), "no machine is id_9"),
        (lambda d: zero_shot(d, train_ids=["id_00"], test_ids=["id_01"], k=51, seed=0), "50 normal train clips .* 51"),
        (lambda d: zero_shot_groups(d, train="dev", test="dev", k=5, seed=0), "trained on and be new"),
    ],
    ids=["both-sides", "unknown", "too-few-clips", "same-group"],
)
def test_what_is_not_zero_shot_is_refused(dataset: DataSet, run: Callable[[DataSet], object], message: str):
    with pytest.raises(TrainingDataError, match=message):
        run(dataset)


def test_a_machine_in_both_groups_is_not_new(dataset: DataSet):
    strayed = clip(("fan", "id_00"), "test", "normal", 9, "eval")
    with pytest.raises(TrainingDataError, match="a fan would be trained on and be new"):
        zero_shot_groups(dataset_of([*dataset.clips, strayed]), train="dev", test="eval", k=0, seed=0)


def test_clips_without_a_label_are_left_out_and_counted():
    half = [clip(("fan", "id_01"), "test", None, number, "eval") for number in range(6)]
    withheld = machine_clips(("fan", "id_03"), "eval", labelled=False)
    dataset = dataset_of([*machine_clips(("fan", "id_01"), "eval"), *half, *withheld])
    [experiment] = matched(dataset, pool="type")
    assert dataset.unlabelled == 10
    assert experiment.unlabelled == 6
    assert [(task.machine_id, len(task.test)) for task in experiment.machines] == [("id_01", 7)]
    assert len(experiment.train) == 100  # a machine that cannot be tested is trained on


def test_without_any_label_the_count_is_told():
    dataset = dataset_of(machine_clips(("fan", "id_01"), "eval", labelled=False))
    with pytest.raises(TrainingDataError, match="no machine is left to train and test on; 4 test clips have no label"):
        matched(dataset, pool="type")


def test_a_tested_machine_without_train_clips_is_named():
    dataset = dataset_of([*machine_clips(("fan", "id_00"), "dev"), *machine_clips(("fan", "id_02"), "dev", train=0)])
    with pytest.raises(TrainingDataError, match="fan id_02: 0 normal train clips"):
        matched(dataset, pool="type")
    [experiment] = zero_shot(dataset, train_ids=["id_00"], test_ids=["id_02"], k=0, seed=0)
    assert experiment.machines[0].statistics == ()


def test_an_experiment_needs_clips_to_train_on_and_a_machine_to_test():
    machine = ("fan", "id_00")
    train, test = clip(machine, "train", "normal", 0), clip(machine, "test", "normal", 0)
    for learnt, tasks in (((), (MachineTask(*machine, (), (test,)),)), ((train,), ())):
        with pytest.raises(TrainingDataError, match="half: needs normal train clips and a machine to test"):
            Experiment("half", learnt, tasks)
