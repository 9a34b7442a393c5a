from dataclasses import replace
from pathlib import Path

import pytest

from humwatch_training.datasets.clip import ArraySource, DataClip, Group, Label, PartName
from humwatch_training.datasets.dataset import DataSet
from humwatch_training.errors import TrainingDataError
from humwatch_training.evaluation.studies import network_folder, plan_studies


def clip(machine_type: str, machine_id: str, number: int, split: PartName, label: Label, group: Group) -> DataClip:
    file = Path(machine_type, f"{machine_id}.npz")
    return DataClip(
        name=f"{machine_type}/{machine_id}/{label}_{number:02}",
        machine_type=machine_type,
        machine_id=machine_id,
        split=split,
        label=label,
        source=ArraySource(path=file, index=number),
        group=group,
    )


def machine(machine_type: str, machine_id: str, group: Group = "dev") -> list[DataClip]:
    clips = [clip(machine_type, machine_id, number, "train", "normal", group) for number in range(6)]
    clips += [clip(machine_type, machine_id, number, "test", "normal", group) for number in range(6, 8)]
    return clips + [clip(machine_type, machine_id, number, "test", "anomalous", group) for number in range(8, 10)]


TOYS = DataSet.of("dcase2020", Path("toys"), [*machine("fan", "id_01"), *machine("fan", "id_02")])
BOTH_GROUPS = DataSet.of("dcase2020", Path("toys"), [*machine("fan", "id_01"), *machine("fan", "id_02", "eval")])


def test_matched_is_a_row_over_all_machines_of_a_type() -> None:
    [study] = plan_studies(TOYS, "matched")
    assert study.name == "matched/dev/fan"
    assert [task.machine_id for _, task in study.machines] == ["id_01", "id_02"]
    assert len(study.experiments) == 1


def test_per_machine_is_one_row_of_several_networks() -> None:
    [study] = plan_studies(TOYS, "per-machine")
    assert [task.machine_id for _, task in study.machines] == ["id_01", "id_02"]
    assert {network_folder(experiment) for experiment in study.experiments} == {
        "matched/dev/fan/id_01",
        "matched/dev/fan/id_02",
    }


def test_zero_shot_leaves_out_each_machine_in_turn_and_trains_once_for_all_k() -> None:
    studies = plan_studies(TOYS, "zero-shot", ks=(0, 5, "all"))
    assert [study.k for study in studies] == [0, 5, "all"]
    assert [study.name for study in studies][1] == "zero-shot/dev/fan/k-5"
    for study, count in zip(studies, (0, 5, 6), strict=True):
        trained = {task.machine_id: {c.machine_id for c in experiment.train} for experiment, task in study.machines}
        assert trained == {"id_01": {"id_02"}, "id_02": {"id_01"}}
        assert [len(task.statistics) for _, task in study.machines] == [count, count]
    assert len({network_folder(e) for study in studies for e in study.experiments}) == 2


def test_zero_shot_on_given_ids_tests_the_others() -> None:
    [study] = plan_studies(TOYS, "zero-shot", train_ids=["id_02"])
    assert [task.machine_id for _, task in study.machines] == ["id_01"]


def test_zero_shot_from_one_group_to_the_other() -> None:
    [study] = plan_studies(BOTH_GROUPS, "zero-shot", train_ids=["dev"])
    assert (study.group, [task.machine_id for _, task in study.machines]) == ("eval", ["id_02"])
    [back] = plan_studies(BOTH_GROUPS, "zero-shot", train_ids=["eval"])
    assert [task.machine_id for _, task in back.machines] == ["id_01"]


def test_groups_are_rows_of_their_own_and_can_be_chosen() -> None:
    assert [study.name for study in plan_studies(BOTH_GROUPS, "matched")] == ["matched/dev/fan", "matched/eval/fan"]
    assert [study.name for study in plan_studies(BOTH_GROUPS, "matched", group="eval")] == ["matched/eval/fan"]
    with pytest.raises(TrainingDataError, match="no machine is of the eval group"):
        plan_studies(TOYS, "matched", group="eval")


def test_types_are_rows_of_their_own() -> None:
    more = replace(TOYS, clips=(*TOYS.clips, *machine("pump", "id_01")))
    assert [study.machine_type for study in plan_studies(more, "matched")] == ["fan", "pump"]


def test_a_machine_without_test_clips_of_both_labels_is_refused_by_name() -> None:
    normal = tuple(c for c in TOYS.clips if c.label == "normal")
    with pytest.raises(TrainingDataError, match="fan id_01: test clips of both labels"):
        plan_studies(replace(TOYS, clips=normal), "matched")
