from __future__ import annotations

from dataclasses import replace

import pytest

from humwatch.arrays import Float32
from humwatch.audio.features import FeatureSpec
from humwatch.audio.windows import WindowSpec
from humwatch.calibration.calibration_buffer import CollectedMinute
from humwatch.calibration.collector import NormalCollector
from humwatch.calibration.odd_minutes import ODD_SCORE, find_odd_minutes
from humwatch.calibration.plan import CollectionPlan
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoringSpec
from humwatch.synthetic import Fault, SyntheticMachine

SPEC = PipelineSpec(FeatureSpec(), WindowSpec(hop_frames=5, clip_seconds=10.0), ScoringSpec())
MACHINE = SyntheticMachine(3)


def minutes_of(predictor: Predictor, sounds: list[Float32]) -> list[CollectedMinute]:
    collector = NormalCollector(SPEC, predictor, plan=CollectionPlan.in_a_row(len(sounds)))
    collector.begin(16_000, 16)
    for sound in sounds:
        collector.push(sound)
    collector.push(MACHINE.clip(9, 0.1))
    found = collector.whole()
    assert len(found) == len(sounds)
    return found


def normal(number: int) -> Float32:
    return MACHINE.clip(1_000 + number, 60.0)


def odd(number: int) -> Float32:
    return MACHINE.clip(2_000 + number, 60.0, Fault("squeal", 12.0))


@pytest.fixture(scope="module")
def usual(predictor: Predictor) -> list[CollectedMinute]:
    return minutes_of(predictor, [normal(number) for number in range(12)])


@pytest.fixture(scope="module")
def strange(predictor: Predictor) -> list[CollectedMinute]:
    return [
        replace(minute, number=100 + minute.number, clips=[_renamed(clip, minute) for clip in minute.clips])
        for minute in minutes_of(predictor, [odd(number) for number in range(6)])
    ]


def _renamed(clip: object, minute: CollectedMinute) -> object:
    return replace(clip, recording=f"minute {100 + minute.number}")  # type: ignore[type-var]


def numbers(minutes: list[CollectedMinute], **given: object) -> list[int]:
    found = find_odd_minutes(minutes, pipeline=SPEC, spec=CalibrationSpec(), **given)  # type: ignore[arg-type]
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    return [one.number for one in found]


@pytest.mark.parametrize("count", [5, 8, 12])
def test_usual_minutes_are_not_odd(usual: list[CollectedMinute], count: int) -> None:
    assert numbers(usual[:count]) == []


@pytest.mark.parametrize("count", [4, 7, 11])
def test_a_minute_far_over_the_others_is_odd_and_says_why(
    usual: list[CollectedMinute], strange: list[CollectedMinute], count: int
) -> None:
    (found,) = find_odd_minutes([*usual[:count], strange[0]], pipeline=SPEC, spec=CalibrationSpec())
    assert (found.number, found.score > ODD_SCORE) == (101, True)
    assert found.detector in ("profile", "rhythm", "lines")
    assert len(found.bands) == 3
    assert all(band.low_hz < band.high_hz and 0.0 <= band.share <= 1.0 for band in found.bands)
    assert [band.share for band in found.bands] == sorted((band.share for band in found.bands), reverse=True)


def test_one_that_somebody_judged_normal_is_not_odd(
    usual: list[CollectedMinute], strange: list[CollectedMinute]
) -> None:
    assert numbers([*usual, strange[0]], known=[101]) == []


def test_what_comes_again_is_not_odd_for_ever(usual: list[CollectedMinute], strange: list[CollectedMinute]) -> None:
    held = [len(numbers([*usual, *strange[:count]])) for count in range(1, 7)]
    assert held[0] == 1
    assert held[-1] == 0


@pytest.mark.parametrize("count", [0, 3, 4])
def test_a_few_minutes_tell_too_little_of_each_other(
    usual: list[CollectedMinute], strange: list[CollectedMinute], count: int
) -> None:
    assert numbers([*usual[: max(0, count - 1)], *strange[: min(1, count)]]) == []
