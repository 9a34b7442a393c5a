"""A stream says the same whoever is worked on beside it: streams that come and go, gaps, faults and new models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from humwatch import OnnxPredictor, read_bundle
from humwatch.arrays import Float32
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch.live.step import LiveStep
from humwatch.predictor import Prediction, Predictor, SharedPredictor
from humwatch.together import Failed, Work, together
from tests.contract.test_live_chunks import Scenes, Script, drawn

ROOT = Path(__file__).parents[2]


class Caller(SharedPredictor):
    """One of those who share a predictor; counts whom it was predicted for together with."""

    def __init__(self, predictor: Predictor, company: list[int]) -> None:
        self.shared = predictor
        self._predictor = predictor
        self._company = company

    def predict(self, windows: Float32) -> Prediction:
        return self.predict_with((), [windows])[0]

    def predict_with(self, others: Sequence[SharedPredictor], windows: Sequence[Float32]) -> list[Prediction]:
        self._company.append(len(windows))
        prediction = self._predictor.predict(np.concatenate(windows))
        ends = list(accumulate(len(some) for some in windows))
        return [prediction[end - len(some) : end] for end, some in zip(ends, windows, strict=True)]


def bits(value: object) -> object:
    """Return all that a step says, arrays as bytes; models and windows' own arrays apart."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, LiveModel):
        return value.bundle.manifest.version
    if is_dataclass(value):
        return tuple(bits(getattr(value, field.name)) for field in fields(value))
    return tuple(map(bits, value)) if isinstance(value, (list, tuple)) else value


def played(
    monitor: LiveMonitor, script: Script, models: list[LiveModel], sizes: Callable[[int], int]
) -> Iterator[Work[list[LiveStep]]]:
    """Yield the work of each call of a script, piece by piece."""
    swaps = 0
    for part in script:
        if isinstance(part, np.ndarray):
            at = 0
            while at < len(part):
                piece = part[at : at + sizes(at)]
                at += len(piece)
                yield monitor.pushing(piece)
        elif part.name == "swap":
            swaps += 1
            monitor.swap(models[swaps % len(models)])
        elif part.name == "gap":
            yield monitor.skipping(*part.arguments)
        elif part.name != "nothing":
            getattr(monitor, part.name)(*part.arguments)
    yield monitor.flushing()


def in_company(streams: Sequence[Iterator[Work[list[LiveStep]]]], seed: int) -> list[list[LiveStep]]:
    """Play streams in turns of some of them, drawn by chance; they begin and end when they like."""
    chance = np.random.default_rng(seed)
    steps: list[list[LiveStep]] = [[] for _ in streams]
    going = list(range(len(streams)))
    while going:
        some = [number for number in going if chance.random() < 0.6]
        works = {number: work for number in some if (work := next(streams[number], None)) is not None}
        going = [number for number in going if number in works or number not in some]
        for number, found in zip(works, together(list(works.values())), strict=True):
            assert not isinstance(found, Failed), found.error
            steps[number] += found
    return steps


def check(models: list[LiveModel], rates_hz: Sequence[int], *, streams: int, parts: int) -> None:
    company: list[int] = []
    callers = [[LiveModel(model.bundle, Caller(model.predictor, company)) for model in models] for _ in range(streams)]
    scripts = [Scenes(seed, rates_hz[seed % len(rates_hz)]).script(parts) for seed in range(streams)]

    def monitors() -> Iterator[LiveMonitor]:
        for seed, own in enumerate(callers):
            rate_hz = rates_hz[seed % len(rates_hz)]
            yield LiveMonitor(
                own[seed % len(own)], source_rate_hz=rate_hz, time_of=lambda s: s / 16_000, in_real_time=seed % 3 == 0
            )

    def all_played(seed: int) -> list[Iterator[Work[list[LiveStep]]]]:
        given = zip(monitors(), scripts, callers, strict=True)
        return [played(*one, drawn(seed + number, 30_000)) for number, one in enumerate(given)]

    alone = [[step for work in stream for step in together([work])[0]] for stream in all_played(1)]  # type: ignore[union-attr]
    assert max(company) == 1
    for seed in (2, 3):
        together_found = in_company(all_played(seed), seed)
        assert max(company) > 2
        for number, (found, wanted) in enumerate(zip(together_found, alone, strict=True)):
            assert [bits(step) for step in found] == [bits(step) for step in wanted], (seed, number)
    assert {step.model.bundle.manifest.version for steps in alone for step in steps} == {
        model.bundle.manifest.version for model in models
    }


def test_company_changes_no_bit(models: list[LiveModel]) -> None:
    check(models, [16_000, 44_100], streams=6, parts=6)


@pytest.mark.slow
def test_company_changes_no_bit_of_the_shipped_models() -> None:
    """The score of all detectors, with a real network."""
    folders = sorted(path.parent for path in (ROOT / "models").glob("*/*/manifest.json"))
    bundles = [read_bundle(folder) for folder in folders]
    [newest] = [bundle for bundle in bundles if bundle.manifest.machine_id == "fan-id_00"][-1:]
    predictor = OnnxPredictor(newest.graph)
    again = replace(newest, manifest=newest.manifest.model_copy(update={"version": "again"}))
    check([LiveModel(newest, predictor), LiveModel(again, predictor)], [16_000, 48_000], streams=5, parts=7)


class Failing(SharedPredictor):
    def __init__(self, shared: Predictor, error: Exception | None) -> None:
        self.shared = shared
        self.error = error

    def predict(self, windows: Float32) -> Prediction:
        if self.error is not None:
            raise self.error
        assert self.shared is not None
        return self.shared.predict(windows)

    def predict_with(self, others: Sequence[SharedPredictor], windows: Sequence[Float32]) -> list[Prediction]:
        return [caller.predict(some) for caller, some in zip((self, *others), windows, strict=True)]


def test_what_fails_for_one_leaves_those_alone_that_did_not_share_it(
    models: list[LiveModel], predictor: Predictor
) -> None:
    sound = Scenes(1, 16_000).machine.clip(1, seconds=3.0)
    others = [LiveModel(models[0].bundle, Failing(shared, error)) for shared, error in _callers(predictor)]
    monitors = [LiveMonitor(model, source_rate_hz=16_000, time_of=float) for model in others]
    found = together([monitor.pushing(sound) for monitor in monitors])
    assert [isinstance(one, Failed) for one in found] == [True, False]
    fine = LiveMonitor(LiveModel(models[0].bundle, predictor), source_rate_hz=16_000, time_of=float)
    assert len(found[1]) == len(fine.push(sound)) > 2  # type: ignore[arg-type]


def _callers(predictor: Predictor) -> list[tuple[Predictor, Exception | None]]:
    class Same:
        predict = staticmethod(predictor.predict)

    return [(Same(), ValueError("no")), (predictor, None)]
