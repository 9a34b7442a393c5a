"""Few recordings on machines that never were: a loud band is the fault, and clips differ in one band's level."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from humwatch.detectors.thresholds import Threshold
from humwatch.scoring.evidence import Evidence
from humwatch_training.datasets import DataClip
from humwatch_training.datasets.clip import ArraySource, Label, PartName
from humwatch_training.evaluation.evidence import ClipEvidence
from humwatch_training.evaluation.few_recordings import KS, DrawFigures, DrawSpec, FewRecordings, recall_at
from humwatch_training.evaluation.protocols import Experiment, MachineTask
from humwatch_training.evaluation.scores import score_machine

BANDS = 6
ALARM = Threshold(
    method="student_t",
    level=2.0,
    target_rate=0.01,
    expected_rate=0.02,
    rate_low=0.0,
    rate_high=0.15,
    clips_a_day=8640.0,
    promised=True,
)


def clips(machine_id: str, split: PartName, label: Label, count: int) -> tuple[DataClip, ...]:
    return tuple(
        DataClip(
            name=f"{machine_id}/{split}_{label}_{number:03}",
            machine_type="toy",
            machine_id=machine_id,
            split=split,
            label=label,
            source=ArraySource(path=Path(f"{machine_id}_{split}_{label}"), index=number),
        )
        for number in range(count)
    )


def lookup(clip: DataClip) -> ClipEvidence:
    rng = np.random.default_rng(list(clip.name.encode()))
    level = rng.normal(-50, 1, (1, BANDS)) + (8.0 * (np.arange(BANDS) == 2) if clip.label == "anomalous" else 0.0)
    error = (level - level.mean()) ** 2 + 0.1
    counts = np.ones((1, BANDS))
    evidence = {"spectrum_profile": Evidence(level, counts, level), "mse": Evidence(error, counts, level)}
    return ClipEvidence(evidence, squared_error_db2=1.0, duration_s=10.0, scoring_s=0.01)


def task_of(machine_id: str, train: int = 30) -> MachineTask:
    test = (*clips(machine_id, "test", "normal", 20), *clips(machine_id, "test", "anomalous", 10))
    return MachineTask("toy", machine_id, clips(machine_id, "train", "normal", train), test)


def matched(train: int = 30) -> Experiment:
    tasks = (task_of("id_01", train), task_of("id_02", train))
    return Experiment("matched", tasks[0].statistics + tasks[1].statistics, tasks)


def zero_shot(train: int = 30) -> Experiment:
    return Experiment("zero-shot", clips("id_02", "train", "normal", train), (task_of("id_01", train),))


def measured(
    experiment: Experiment, draw_spec: DrawSpec, on_progress: Callable[[int, int], None] = lambda done, total: None
):
    few = FewRecordings(draw_spec, lookup)
    return few.measure("networks", [experiment], "network-free", ("spectrum_profile", "mse"), on_progress)


# ---- figures of a draw


def test_recall_at_a_rate_interpolates_nothing() -> None:
    normal, anomalous = np.arange(200.0), np.array([190.0, 196.5, 197.0, 198.5, 300.0])
    assert recall_at(0.01, normal, anomalous) == 2 / 5  # two of 200 may exceed the level, which is 197
    assert recall_at(0.015, normal, anomalous) == 4 / 5
    assert np.sum(normal > 196.0) == 3
    assert recall_at(0.01, normal[:99], np.array([98.0, 98.5])) == 0.5  # of 99 none may


def test_a_draw_is_measured_at_its_own_level() -> None:
    normal = np.array([1.0, 1.5, 2.0, *([0.0] * 17)])
    draw = DrawFigures.of(normal, np.array([1.9, 2.0, 5.0, 6.0]), ALARM)
    assert (draw.recall, draw.far, draw.recall_at_far_1) == (0.75, 0.05, 0.5)
    assert (draw.expected_rate, draw.covered) == (0.02, True)
    assert draw.auc == pytest.approx(1 - (1 + 0.5) / 80)
    beyond = ALARM.model_copy(update={"rate_high": 0.04})
    assert not DrawFigures.of(normal, normal, beyond).covered


# ---- draws


def test_numbers_of_clips_that_a_machine_does_not_have_are_left_out() -> None:
    draw_spec = DrawSpec(draws=20)
    assert draw_spec.ks(task_of("id_01", 200)) == list(KS)
    assert draw_spec.ks(task_of("id_01", 21)) == [5, 8, 10, 20, "all"]
    assert draw_spec.ks(task_of("id_01", 20)) == [5, 8, 10, "all"]  # every draw of 20 would be the same
    assert draw_spec.ks(task_of("id_01", 3)) == ["all"]
    assert draw_spec.ks(task_of("id_01", 2)) == []
    assert DrawSpec(draws=0).ks(task_of("id_01")) == []


def test_there_are_fewer_draws_of_many_clips() -> None:
    assert [DrawSpec(draws=20).count(k) for k in (5, 40, 100, "all")] == [20, 20, 5, 1]
    assert [DrawSpec(draws=8).count(k) for k in (5, 100)] == [8, 3]


def test_draws_depend_on_seed_machine_number_and_draw_alone() -> None:
    task = task_of("id_01")
    first = list(DrawSpec(draws=4).pools(task))
    backwards = MachineTask(task.machine_type, task.machine_id, task.statistics[::-1], task.test)
    assert list(DrawSpec(draws=4).pools(backwards)) == first
    assert list(DrawSpec(draws=2).pools(task))[:2] == first[:2]
    drawn = {k: [clips for number, clips in first if number == k] for k, _ in first}
    assert [len(set(clips)) for clips in drawn[8]] == [8] * 4
    assert set(drawn["all"][0]) == set(task.statistics)
    assert len({tuple(clips) for clips in drawn[5]}) == 4
    numbers = [[int(clip.name[-3:]) for clip in clips] for clips in drawn[5]]
    others = [
        pool for pools in (DrawSpec(4, seed=1).pools(task), DrawSpec(4).pools(task_of("id_02"))) for pool in pools
    ]
    assert all([int(clip.name[-3:]) for clip in clips] not in numbers for k, clips in others if k == 5)


# ---- measuring


@pytest.mark.slow
def test_every_machine_and_score_is_measured_on_each_draw() -> None:
    reported: list[tuple[int, int]] = []
    found = measured(matched(), DrawSpec(draws=3), lambda done, total: reported.append((done, total)))
    assert list(found) == [
        ("networks", machine_id, "network-free", kind)
        for machine_id in ("id_01", "id_02")
        for kind in ("spectrum_profile", "mse")
    ]
    for draws in found.values():
        assert {k: len(of_k) for k, of_k in draws.items()} == {5: 3, 8: 3, 10: 3, 20: 3, "all": 1}
    assert reported == [(done, 4 * 13) for done in range(4 * 13 + 1)]
    assert measured(matched(), DrawSpec(draws=3)) == found


def test_all_clips_give_what_the_machine_scores_say() -> None:
    experiment = matched()
    scores = score_machine("spectrum_profile", experiment, experiment.machines[0], lookup)
    [draw] = measured(experiment, DrawSpec(draws=3))["networks", "id_01", "network-free", "spectrum_profile"]["all"]
    assert draw.recall == scores.anomalous.count_at(scores.alarm) / 10
    assert draw.far == scores.normal.count_at(scores.alarm) / 20
    assert draw.recall == draw.auc == draw.recall_at_far_1 == 1.0


def test_no_clip_that_trained_the_network_counts_as_a_false_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    normal: list[int] = []
    of = DrawFigures.of
    monkeypatch.setattr(DrawFigures, "of", lambda *scores: normal.append(len(scores[0])) or of(*scores))
    measured(matched(12), DrawSpec(draws=1))
    assert normal == [20] * 2 * 2 * 4
    normal.clear()
    measured(zero_shot(12), DrawSpec(draws=1))
    assert normal == [20 + 12 - 5, 20 + 12 - 8, 20 + 12 - 10, 20] * 2


def test_of_experiments_that_share_networks_the_one_with_the_most_clips_counts() -> None:
    few = FewRecordings(DrawSpec(draws=1), lookup)
    experiments = [zero_shot(9), zero_shot(12), zero_shot(6)]
    found = few.measure("networks", experiments, "network-free", ("mse",), lambda done, total: None)
    assert list(found["networks", "id_01", "network-free", "mse"]) == [5, 8, 10, "all"]


def test_a_draw_that_cannot_be_calibrated_is_left_out() -> None:
    def mostly_stuck(clip: DataClip) -> ClipEvidence:
        stuck = clip.split == "train" and not clip.name.endswith("_000")
        return lookup(clips("id_01", "train", "normal", 1)[0] if stuck else clip)

    few = FewRecordings(DrawSpec(draws=3), mostly_stuck)
    found = few.measure("networks", [zero_shot()], "network-free", ("mse",), lambda done, total: None)
    [draws] = found.values()
    assert draws[5] == ()


def test_measuring_may_be_stopped_at_any_draw() -> None:
    def stop(done: int, total: int) -> None:
        if done == 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        measured(matched(), DrawSpec(draws=3), stop)


def test_nothing_is_measured_without_draws() -> None:
    reported: list[int] = []
    found = measured(matched(), DrawSpec(draws=0), lambda done, total: reported.append(done))
    assert all(draws == {} for draws in found.values())
    assert reported == []
