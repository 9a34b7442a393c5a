import math

import numpy as np
import pytest
import torch

from humwatch_training.fit.autoclip import AutoClip


def test_the_threshold_is_the_tenth_percentile_of_the_history():
    clip = AutoClip()
    norms = np.random.default_rng(0).gamma(2.0, 3.0, 237)
    for count, norm in enumerate(norms, start=1):
        assert clip.push(float(norm)) == pytest.approx(np.percentile(norms[:count], 10), rel=1e-12)


def test_a_gradient_is_its_own_history_at_first():
    assert AutoClip().push(7.0) == 7.0


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_leaves_no_trace(norm: float):
    clip = AutoClip()
    clip.push(2.0)
    assert clip.push(norm) is None
    assert len(clip) == 1
    assert clip.threshold() == 2.0


def test_gradients_are_scaled_to_the_threshold():
    clip = AutoClip()
    clip.load_state_dict({"norms": torch.full((1000,), 1.0, dtype=torch.float64)})
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert clip.clip([parameter]) == (5.0, 1.0)
    assert parameter.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-5)


def test_gradients_that_are_not_finite_are_reported_for_skipping():
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor([math.nan])
    norm, threshold = AutoClip().clip([parameter])
    assert math.isnan(norm)
    assert threshold is None


def test_the_history_survives_saving():
    clip, other = AutoClip(), AutoClip()
    for norm in (5.0, 1.0, 0.1, 3.0):
        clip.push(norm)
    other.load_state_dict(clip.state_dict())
    assert other.push(2.0) == clip.push(2.0)


def test_without_a_percentile_nothing_is_clipped_and_what_is_not_finite_is_still_told():
    clip = AutoClip(None)
    parameter = torch.nn.Parameter(torch.zeros(2))
    for gradient in ([0.1, 0.0], [300.0, 400.0]):
        parameter.grad = torch.tensor(gradient)
        clip.clip([parameter])
        assert torch.equal(parameter.grad, torch.tensor(gradient))
    assert clip.push(math.nan) is None
    assert len(clip) == 0
