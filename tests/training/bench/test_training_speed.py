from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

import humwatch_training.fit.trainer as trainer_module
from humwatch_training.bench.training_speed import (
    LOSS_TOLERANCE,
    MEASURED_RECIPES,
    WARMUP_STEPS,
    PlainLoop,
    WindowItems,
    compare_loops,
    measure_training_speed,
    synthetic_clips,
)
from humwatch_training.datasets.windows import Clip, WindowSet
from humwatch_training.fit.systems import RECIPES, Recipe
from tests.training.conftest import SMALL_NETWORKS

Hum = Callable[..., Clip]


def small(name: str) -> Recipe:
    """A recipe with a tiny network of its kind, and a warm-up that lets it learn in 30 steps."""
    recipe = RECIPES[name]
    return replace(recipe, network=SMALL_NETWORKS[recipe.network.kind], batch_windows=16, warmup_steps=10)


@pytest.mark.parametrize("name", MEASURED_RECIPES)
def test_both_loops_learn_the_same_step_by_step(name: str, humming_clip: Hum):
    speed = compare_loops(small(name), [humming_clip(seed) for seed in range(2)], steps=30 - WARMUP_STEPS)
    assert speed.loss_difference < LOSS_TOLERANCE


@pytest.mark.parametrize("name", ["latent-anp", "anp"])
def test_the_default_networks_learn_the_same(name: str):
    recipe = replace(RECIPES[name], batch_windows=8)
    speed = compare_loops(recipe, synthetic_clips(recordings=1, seconds=3.0), steps=1)
    assert speed.loss_difference < 1e-5


def test_recipes_are_compared_by_name_on_synthetic_sound():
    [speed] = measure_training_speed(["idnn"], steps=1)
    assert (speed.recipe, speed.batch_windows) == ("idnn", 512)


@pytest.mark.parametrize("name", MEASURED_RECIPES)
def test_what_their_losses_differ_by_is_rounding(name: str, humming_clip: Hum, monkeypatch: pytest.MonkeyPatch):
    build, item, drawn = trainer_module.build_network, WindowItems.__getitem__, WindowSet.windows
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setattr(trainer_module, "build_network", lambda config: build(config).double())
    monkeypatch.setattr(WindowItems, "__getitem__", lambda self, index: item(self, index).double())
    monkeypatch.setattr(WindowSet, "windows", lambda self, index: drawn(self, index).double())
    speed = compare_loops(small(name), [humming_clip(seed) for seed in range(2)], steps=30 - WARMUP_STEPS)
    assert speed.loss_difference < 1e-10


def test_another_seed_is_another_run(humming_clip: Hum, monkeypatch: pytest.MonkeyPatch):
    def reseeded(loop: PlainLoop) -> float:
        loop.generator.manual_seed(5)
        return step(loop)

    step = PlainLoop.step
    monkeypatch.setattr(PlainLoop, "step", reseeded)
    assert compare_loops(small("anp"), [humming_clip()], steps=2).loss_difference > LOSS_TOLERANCE


def test_speed_is_a_batch_over_the_median_step(humming_clip: Hum):
    # a step of the plain loop takes 2 s, but for one of 200; the trainer's takes 1 s
    readings = iter(np.cumsum([0.0, 2.0, 1.0] + [0.0, 2.0, 1.0] * (WARMUP_STEPS + 3) + [0.0, 200.0, 1.0]).tolist())
    next(readings), next(readings), next(readings)
    speed = compare_loops(small("ae"), [humming_clip()], steps=4, clock=lambda: next(readings))
    assert (speed.plain_windows_per_s, speed.trainer_windows_per_s) == (8.0, 16.0)
    assert speed.ratio == 2.0
    assert (speed.recipe, speed.batch_windows, speed.steps, speed.threads) == ("ae", 16, 4, 1)


def test_the_number_of_threads_is_put_back(humming_clip: Hum):
    torch.set_num_threads(2)
    compare_loops(small("ae"), [humming_clip()], steps=1, threads=1)
    assert torch.get_num_threads() == 2


def test_items_are_the_windows_in_order(humming_clip: Hum):
    clips = [humming_clip(0, frames=9), humming_clip(1, frames=7)]
    items, windows = WindowItems(clips, 5), WindowSet(clips, 5)
    assert len(items) == len(windows) == 8
    assert torch.equal(torch.stack([items[i] for i in range(8)]), windows.windows(torch.arange(8)))


def test_synthetic_clips_are_repeatable():
    one, other = (synthetic_clips(3, recordings=2, seconds=0.5) for _ in range(2))
    assert [clip.frames_db.shape for clip in one] == [(14, 128)] * 2
    assert all(np.array_equal(a.frames_db, b.frames_db) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[0].frames_db, one[1].frames_db)


def test_what_takes_no_steps_is_not_timed(humming_clip: Hum):
    with pytest.raises(ValueError, match="nothing to time"):
        compare_loops(small("network-free"), [humming_clip()])
