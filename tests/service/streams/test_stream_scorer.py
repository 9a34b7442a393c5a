from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch.bundle.repository import ModelRepository
from humwatch.calibration.collector import NormalCollector
from humwatch.calibration.plan import CollectionPlan
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch.together import alone
from humwatch_service.models.registry import LoadedModel, load_model
from humwatch_service.storage.sounds.flac import flac_of
from humwatch_service.streams.monitor_feed import feed
from humwatch_service.streams.stream_items import Elsewhere, Gap, StreamFormat
from humwatch_service.streams.stream_scorer import MonitoredChannel, StreamScorer, merged

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def pump(shared_models: Path) -> LoadedModel:
    return load_model(ModelRepository(shared_models), "pump-2")


def form(channels: int = 2, channel: int = 0, *, full_scale: bool = True) -> StreamFormat:
    return StreamFormat("s", RATE_HZ, channels, channel, 16 if full_scale else 24, full_scale, realtime=False)


def test_the_live_channel_is_named_once_while_the_chosen_one_is_silent(rng: np.random.Generator) -> None:
    alive = rng.normal(0.0, 0.0315, RATE_HZ).astype(np.float32)
    dead, both = np.stack([np.zeros_like(alive), alive], axis=1), np.stack([alive, alive], axis=1)
    monitored = MonitoredChannel(form())
    items = [monitored.of(one) for one in (both, dead, dead, both)]
    assert [len(found) for found in items] == [1, 2, 1, 2]
    assert items[1][0] == Elsewhere("channel 1 is alive at -30 dBFS: ask for it with `channel`")
    assert items[3][0] == Elsewhere(None)
    assert monitored.of(Gap(5)) == [Gap(5)]
    assert len(MonitoredChannel(form()).of(np.zeros((RATE_HZ, 2), np.float32))) == 1  # none is alive
    assert len(MonitoredChannel(form(1)).of(np.zeros((RATE_HZ, 1), np.float32))) == 1


def test_monitor_and_commissioning_say_which_channel_is_alive(pump: LoadedModel) -> None:
    live = LiveMonitor(LiveModel(pump.bundle, pump.predictor), source_rate_hz=RATE_HZ, time_of=float)
    collector = NormalCollector(pump.manifest.pipeline, pump.predictor, plan=CollectionPlan.in_a_row(3))
    collector.begin(RATE_HZ, 16)
    silence = np.zeros(5 * RATE_HZ, np.float32)
    feed(live, Elsewhere("channel 1 is alive"))
    feed(live, silence)
    collector.push(silence[:RATE_HZ])
    collector.elsewhere("channel 1 is alive")
    collector.push(silence)
    for faults in (live.faults, collector.progress.faults):
        (said,) = [fault.message for fault in faults if fault.code == "silent"]
        assert said.endswith("no machine can be heard; channel 1 is alive")


def test_floats_are_kept_as_the_model_scales_them(pump: LoadedModel, rng: np.random.Generator) -> None:
    bundle = replace(pump.bundle, calibration=replace(pump.bundle.calibration, float_scale=2.0**-6))
    model = LiveModel(bundle, pump.predictor)

    def made(model: LiveModel, first: int) -> Any:
        return LiveMonitor(model, source_rate_hz=RATE_HZ, time_of=float, full_scale=False)

    scorer = StreamScorer(form(1, full_scale=False), 0, make_monitor=made)
    scorer.monitor = made(model, 0)
    pressure = rng.normal(0.0, 2.0, RATE_HZ).astype(np.float32)
    alone(scorer.scoring(pressure))
    assert np.array_equal(scorer.ring.between(0, RATE_HZ), pressure / 64)


def test_floats_beyond_full_scale_are_kept_smaller_where_they_are_to_fit(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    pressure = rng.normal(0.0, 2.0, RATE_HZ).astype(np.float32)
    path = tmp_path / "clip.flac"
    path.write_bytes(flac_of(pressure, RATE_HZ, fit=True))
    with soundfile.SoundFile(path) as file:
        sound, comment = file.read(dtype="float64"), file.comment
    factor = 2.0 ** -np.ceil(np.log2(np.abs(pressure).max()))
    assert comment == f"samples are multiplied by {factor:g}"
    np.testing.assert_allclose(sound, pressure * factor, atol=2.0**-23)


def test_a_commissioning_of_floats_finds_their_scale_and_keeps_it(pump: LoadedModel, workshop: Any) -> None:
    def minutes(scale: float | None, unit: float) -> NormalCollector:
        collector = NormalCollector(
            pump.manifest.pipeline, pump.predictor, plan=CollectionPlan.in_a_row(3), float_scale=scale
        )
        collector.begin(RATE_HZ, 24, full_scale=False)
        for number in range(5):
            collector.push(workshop.machine.clip(900 + number, 20.0) * np.float32(unit))
        return collector

    found = minutes(None, 128.0)
    assert found.float_scale is not None
    again = minutes(found.float_scale, 128.0)
    assert found.whole()
    assert len(again.whole()) >= len(found.whole())
    assert -34.0 < found.clips()[0].level_dbfs < -26.0
    assert found.progress.rejected.keys() <= {"silent", "stuck", "drop_outs"}


def test_pieces_become_one_piece_whatever_they_are(rng: np.random.Generator) -> None:
    integers = rng.integers(-32_768, 32_767, (50, 2)).astype(np.int16)
    single = integers.astype(np.float32) / 32_768
    for sent in ([integers[:20], integers[20:]], [single[:20], single[20:]], [integers]):
        (whole,) = merged(sent)
        assert isinstance(whole, np.ndarray)
        assert whole.dtype == np.float32
        assert np.array_equal(whole, single)
    items = list(merged([integers[:20], Gap(5), integers[20:], single]))
    assert [isinstance(item, Gap) for item in items] == [False, True, False, False]
    assert np.array_equal(np.concatenate([item for item in items if isinstance(item, np.ndarray)]), [*single, *single])
