from __future__ import annotations

import numpy as np
import pytest

from humwatch.audio.features import FeatureSpec
from humwatch.audio.windows import WindowSpec
from humwatch.calibration.calibration_buffer import CollectedMinute
from humwatch.calibration.collector import NormalCollector
from humwatch.calibration.fit import calibrate
from humwatch.calibration.minute_file import pack_minute, shared, unpack_minute
from humwatch.calibration.plan import CollectionPlan
from humwatch.errors import CalibrationError
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import Calibration, CalibrationSpec
from humwatch.scoring.spec import ScoreKind, ScoringSpec
from humwatch.synthetic import SyntheticMachine

KINDS: tuple[ScoreKind, ...] = ("consensus", "likelihood_profile", "mse")


def spec_of(kind: ScoreKind) -> PipelineSpec:
    return PipelineSpec(FeatureSpec(), WindowSpec(hop_frames=5, clip_seconds=10.0), ScoringSpec(kind=kind))


def collected(kind: ScoreKind, predictor: Predictor) -> list[CollectedMinute]:
    collector = NormalCollector(
        spec_of(kind), predictor, plan=CollectionPlan.in_a_row(3, 1_000.0), last_number=4, keep_sound=True
    )
    collector.begin(16_000, 16)
    for number in range(3):
        collector.push(SyntheticMachine(3).clip(1_000 + number, 60.0))
    collector.push(SyntheticMachine(3).clip(9, 0.1))
    return collector.whole()


def fitted(minutes: list[CollectedMinute], kind: ScoreKind) -> Calibration:
    spec = spec_of(kind)
    return calibrate(
        [clip for minute in minutes for clip in minute.clips],
        scoring=spec.scoring,
        spec=CalibrationSpec(),
        step_windows=spec.step_windows,
        clip_seconds=spec.windows.clip_seconds,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_back_gives_the_same_thresholds_to_the_bit(kind: ScoreKind, predictor: Predictor) -> None:
    minutes = collected(kind, predictor)
    read = shared(unpack_minute(pack_minute(minute, source="here"), source="here") for minute in minutes)
    assert [(minute.number, minute.at_s) for minute in read] == [(5, 1_000.0), (6, 1_060.0), (7, 1_120.0)]
    assert [minute.digests for minute in read] == [minute.digests for minute in minutes]
    assert len({id(clip.evidence.counts) for minute in read for clip in minute.clips}) == 1
    before, after = fitted(minutes, kind), fitted(read, kind)
    for name in ("clip", "step"):
        mine, theirs = getattr(after, name), getattr(before, name)
        assert mine.thresholds == theirs.thresholds
        assert mine.normal_scores.tobytes() == theirs.normal_scores.tobytes()
        assert mine.normal.covariance.tobytes() == theirs.normal.covariance.tobytes()
    assert (after.quietest_dbfs, after.level_dbfs_low) == (before.quietest_dbfs, before.level_dbfs_low)


def test_the_sound_of_a_minute_is_what_was_sent(predictor: Predictor) -> None:
    for number, minute in enumerate(collected("consensus", predictor)):
        assert minute.rate_hz == 16_000
        assert minute.samples is not None
        assert np.array_equal(minute.samples, SyntheticMachine(3).clip(1_000 + number, 60.0))


@pytest.mark.parametrize("spoilt", ["cut", "flipped", "empty", "no archive"])
def test_a_damaged_minute_is_refused(predictor: Predictor, spoilt: str) -> None:
    data = pack_minute(collected("consensus", predictor)[0], source="here")
    middle = len(data) // 2
    damaged = {
        "cut": data[:middle],
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "empty": b"",
        "no archive": b"a minute",
    }[spoilt]
    with pytest.raises(CalibrationError, match="cannot be read"):
        unpack_minute(damaged, source="here")


def test_a_minute_of_another_network_is_refused(predictor: Predictor) -> None:
    data = pack_minute(collected("mse", predictor)[0], source="here")
    with pytest.raises(CalibrationError, match="another network"):
        unpack_minute(data, source="elsewhere")
