from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from humwatch_training.bench.thread_scaling import WARMUP_STEPS, measure_thread_scaling, scale_threads
from humwatch_training.datasets.windows import Clip
from humwatch_training.fit.systems import RECIPES, Recipe
from humwatch_training.fit.trainer import Trainer
from tests.training.conftest import SMALL_NETWORKS

Hum = Callable[..., Clip]


def small(name: str) -> Recipe:
    recipe = RECIPES[name]
    return replace(recipe, network=SMALL_NETWORKS[recipe.network.kind], batch_windows=64)


def test_a_step_is_timed_on_one_thread_and_on_several_in_turn(humming_clip: Hum, monkeypatch: pytest.MonkeyPatch):
    # a step of the first, alone, takes 3 s, of the other 2 s; by a clock that the steps themselves move
    now, step, asked = [0.0], Trainer.step, []

    def moved(trainer: Trainer) -> object:
        asked.append(torch.get_num_threads())
        now[0] += 3.0 if asked[-1] == 1 else 2.0
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", moved)
    scaling = scale_threads(small("latent-anp"), [humming_clip()], 2, steps=3, clock=lambda: now[0])
    assert asked == [1, 2] * (WARMUP_STEPS + 3)
    assert (scaling.recipe, scaling.batch_windows, scaling.threads) == ("latent-anp", 64, 2)
    assert scaling.steps_per_s_alone == pytest.approx(1 / 3)
    assert scaling.steps_per_s == pytest.approx(1 / 2)
    assert scaling.ratio == pytest.approx(1.5)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("name", "threads", "steps"), [("latent-anp", 1, 1), ("network-free", 2, 1), ("ae", 2, 0)])
def test_what_has_nothing_to_compare_is_refused(name: str, threads: int, steps: int, humming_clip: Hum):
    with pytest.raises(ValueError, match="nothing to compare"):
        scale_threads(small(name), [humming_clip()], threads, steps=steps)


def test_recipes_are_measured_by_name_on_synthetic_sound():
    [scaling] = measure_thread_scaling(2, ["idnn"], steps=1)
    assert (scaling.recipe, scaling.threads) == ("idnn", 2)
