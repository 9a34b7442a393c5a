"""A stream, however it is cut, says what it says when it comes a tenth of a second at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from humwatch.arrays import Float32
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch.live.step import LiveStep
from humwatch.source.faults import SOURCE_FAULTS
from humwatch.synthetic import SyntheticMachine

Sizes = Callable[[int], int]
"""Of a rate in Hz, how many samples are pushed next."""


@dataclass(frozen=True)
class Call:
    """Something that is said to a monitor between sounds."""

    name: str
    arguments: tuple[Any, ...] = ()


Script = list[Float32 | Call]


class Scenes:
    """Draws what may happen to a stream."""

    def __init__(self, seed: int, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.rng = np.random.default_rng(seed)
        self.machine = SyntheticMachine(seed=3, rate_hz=rate_hz)
        self.sounds: list[Callable[[Float32], Float32]] = [
            lambda x: x,
            lambda x: x,
            lambda x: np.zeros_like(x),
            lambda x: 1e-5 * x,
            lambda x: 0.01 * x,
            lambda x: 0.2 * x,
            lambda x: np.full_like(x, 0.0123),
            lambda x: np.clip(30 * x, -1.0, 1.0),
            lambda x: x + np.float32(0.3),
            self._with_holes,
            self._running_down,
        ]

    def script(self, parts: int) -> Script:
        """Sounds of any length, and calls between them; the clock is read about once a second."""
        ratio = float(self.rng.choice([1.0, 1.0, 1.005, 1.05]))
        script: Script = [self._sound(self.sounds[0], 3.5)]
        for _ in range(parts):
            change = self.sounds[self.rng.integers(len(self.sounds))]
            script += [self._call(), self._sound(change, float(self.rng.uniform(0.05, 6.0)))]
        return list(self._with_clock(script, ratio))

    def _sound(self, change: Callable[[Float32], Float32], seconds: float) -> Float32:
        clip = self.machine.clip(int(self.rng.integers(100, 10_000)), seconds=seconds)
        return (np.round(change(clip) * 2**15) / 2**15).astype(np.float32)

    def _with_holes(self, x: Float32) -> Float32:
        hurt = x.copy()
        for start in self.rng.integers(0, max(1, len(x) - 1), 8):
            hurt[start : start + round(0.008 * self.rate_hz)] = 0.0
        return hurt

    def _running_down(self, x: Float32) -> Float32:
        return (x * np.geomspace(1.0, 1e-4, len(x))).astype(np.float32)

    def _call(self) -> Call:
        some = [
            Call("swap"),
            Call("gap", (int(self.rng.integers(1, 3 * self.rate_hz)),)),
            Call("gap", (int(self.rng.integers(9, 12) * self.rate_hz),)),
            Call("overflow", (1,)),
            *(Call("signal", (running,)) for running in (True, False, None, None)),
            *[Call("nothing")] * 4,
        ]
        return some[self.rng.integers(len(some))]

    def _with_clock(self, script: Script, ratio: float) -> Iterator[Float32 | Call]:
        """Readings where a sound begins and each 0.7 s of it."""
        at = 0
        for part in script:
            if isinstance(part, Call):
                at += part.arguments[0] if part.name == "gap" else 0
                yield part
                continue
            for start in range(0, len(part), max(1, round(0.7 * self.rate_hz))):
                piece = part[start : start + round(0.7 * self.rate_hz)]
                yield Call("clock", (at, at / (ratio * self.rate_hz)))
                yield piece
                at += len(piece)


def drawn(seed: int, largest: int) -> Sizes:
    """Sizes by chance."""
    rng = np.random.default_rng(seed)
    return lambda at: int(rng.integers(1, largest))


def seen(step: LiveStep) -> tuple[object, ...]:
    scores = (
        None if step.scores is None else (step.scores.step.raw_score, step.scores.clip and step.scores.clip.raw_score)
    )
    facts = step.start_sample, step.end_sample, step.observation, step.clip_start_sample, step.level_dbfs, step.faults
    return *facts, step.running, step.model.bundle.manifest.version, scores


def run(monitor: LiveMonitor, script: Script, models: list[LiveModel], sizes: Sizes) -> list[LiveStep]:
    """Play a script; on the way, hold the monitor to what it says of when its next step may come."""
    steps: list[LiveStep] = []
    swaps = 0
    for part in script:
        if isinstance(part, np.ndarray):
            at = 0
            while at < len(part):
                piece = part[at : at + sizes(at)]
                at += len(piece)
                until = monitor.samples_until_step
                found = monitor.push(piece)
                assert until >= 1
                assert len(piece) >= until or not found
                steps += found
        elif part.name == "swap":
            swaps += 1
            monitor.swap(models[swaps % len(models)])
        elif part.name != "nothing":
            steps += getattr(monitor, part.name)(*part.arguments) or []
    return steps + monitor.flush()


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 22_055, 8_000])  # of the third, a second is no ten quanta
def test_every_cut_says_what_a_tenth_of_a_second_at_a_time_says(models: list[LiveModel], rate_hz: int) -> None:
    conditions: set[str] = set()
    faults: set[str] = set()
    judged_by: set[str] = set()
    for seed in range(6):
        scenes = Scenes(seed, rate_hz)
        script = scenes.script(14)
        wanted = {
            "source_rate_hz": rate_hz,
            "time_of": lambda sample: sample / rate_hz,
            "first_sample": 1_234 * (seed % 2),
            "in_real_time": seed % 3 == 0,
            "use_level": seed % 4 != 3,
        }
        plain = run(LiveMonitor(models[0], **wanted), script, models, lambda at: rate_hz // 10)
        assert len(plain) > 20
        cuts: dict[str, Sizes] = {
            "a second": lambda at: rate_hz,
            "all": lambda at: 1 << 40,
            "by chance": drawn(seed, 2 * rate_hz),
            "short": drawn(seed, rate_hz // 8),
        }
        for name, sizes in cuts.items():
            steps = run(LiveMonitor(models[0], **wanted), script, models, sizes)
            assert [seen(step) for step in steps] == [seen(step) for step in plain], (seed, name)
        conditions |= {step.observation.condition for step in plain if step.observation is not None}
        faults |= {fault.code for step in plain for fault in step.faults}
        judged_by |= {step.model.bundle.manifest.version for step in plain}
    assert conditions == ({"unknown"} if rate_hz < 15_200 else {"scored", "unknown", "off"})
    assert faults >= set(SOURCE_FAULTS) - {"bandwidth_limited", "clock_drift", "wrong_rate"}
    assert judged_by == {"1", "2", "3"}


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_readings_of_a_clock_count_from_the_same_sample_on(models: list[LiveModel], rate_hz: int) -> None:
    """Long enough for a clock to tell the rate, with starts and stops behind it."""
    scenes = Scenes(1, rate_hz)
    for ratio, code in ((1.0, None), (1.005, "clock_drift"), (1.05, "wrong_rate")):
        parts = [scenes.machine.clip(50, seconds=16.0), Call("signal", (False,)), scenes.machine.clip(51, seconds=3.3)]
        script = list(scenes._with_clock([*parts, Call("signal", (None,)), *parts], ratio))
        wanted = {"source_rate_hz": rate_hz, "time_of": float, "in_real_time": True}
        plain = run(LiveMonitor(models[0], **wanted), script, models, lambda at: rate_hz // 10)
        for sizes in (lambda at: rate_hz, drawn(1, rate_hz)):
            steps = run(LiveMonitor(models[0], **wanted), script, models, sizes)
            assert [seen(step) for step in steps] == [seen(step) for step in plain]
        codes = {fault.code for step in plain for fault in step.faults}
        assert (code in codes) == (code is not None)
        conditions = {step.observation.condition for step in plain if step.observation is not None}
        assert conditions == ({"scored", "unknown"} if code == "wrong_rate" else {"scored", "unknown", "off"})


@pytest.mark.parametrize("chunk", [1, 77, 1_600, 5_000])
@pytest.mark.parametrize("hop", [1, 5])
def test_who_waits_for_the_samples_that_are_missing_gets_a_step(
    models: list[LiveModel], chunk: int, hop: int, rng: np.random.Generator
) -> None:
    live = LiveMonitor(models[2 if hop == 5 else 0], source_rate_hz=16_000, time_of=float)
    sound = SyntheticMachine(seed=3).clip(1, seconds=12.0)
    at = chunk
    assert not live.push(sound[:chunk])
    for _ in range(12):
        part = int(rng.integers(0, live.samples_until_step))
        assert not live.push(sound[at : at + part])
        missing = live.samples_until_step
        at += part
        assert len(live.push(sound[at : at + missing])) == 1
        at += missing


def test_resampled_sound_is_waited_for_a_quantum_too_short_at_most(models: list[LiveModel]) -> None:
    live = LiveMonitor(models[0], source_rate_hz=44_100, time_of=float)
    sound = SyntheticMachine(seed=3, rate_hz=44_100).clip(1, seconds=20.0)
    at = in_vain = steps = 0
    while at < len(sound):
        missing = live.samples_until_step
        found = live.push(sound[at : at + missing])
        at += missing
        steps += len(found)
        in_vain += not found
    assert steps == 38
    assert in_vain <= 38


def test_a_second_of_standing_still_is_waited_for_as_long_as_it_takes(models: list[LiveModel]) -> None:
    live = LiveMonitor(models[0], source_rate_hz=16_000, time_of=float, running=False)
    live.push(np.zeros(700, np.float32))
    assert live.samples_until_step == 15_300
    assert [step.end_sample for step in live.push(np.zeros(15_300, np.float32))] == [16_000]
    live.push(np.zeros(4_000, np.float32))
    assert live.samples_until_step == 12_000
    live.signal(True)
    assert live.samples_until_step == 800  # half a quantum: then it listens anew
    live.push(np.zeros(800, np.float32))
    assert live.samples_until_step == 11_200


def test_two_quiet_seconds_are_waited_for_one_by_one(models: list[LiveModel]) -> None:
    live = LiveMonitor(models[0], source_rate_hz=16_000, time_of=float)
    found = []
    quiet = np.random.default_rng(1).normal(0.0, 1e-4, 64_000).astype(np.float32)
    at = 0
    while at < len(quiet):
        missing = live.samples_until_step
        found += [step.running for step in live.push(quiet[at : at + missing])]
        at += missing
    assert found[-2:] == [False, False]
