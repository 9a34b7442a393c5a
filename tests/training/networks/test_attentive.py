import math

import pytest
import torch
from pydantic import ValidationError

from humwatch_training.networks.attentive import (
    AnpConfig,
    AttentiveNeuralProcess,
    gaussian_nll,
    grid_coordinates,
    inverse_softplus,
    self_attention,
)
from humwatch_training.networks.masks import idnn_partition

SMALL = AnpConfig(n_mels=8, width=16, heads=2, feed_forward=16, mean_db=-40.0, std_db=8.0)


def small_inputs(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    partition = idnn_partition(5, 8)
    context, target = partition.context.expand(batch, -1), partition.target.expand(batch, -1)
    return context, torch.randn(batch, 32, generator=generator) * 8 - 40, target


def small_model() -> AttentiveNeuralProcess:
    torch.manual_seed(0)
    return AttentiveNeuralProcess(SMALL)


def test_the_default_network_has_the_papers_size():
    assert AttentiveNeuralProcess(AnpConfig()).parameter_count() == 382_722


def test_mean_and_std_are_one_value_a_target_in_db():
    mean_db, std_db = small_model().predict(*small_inputs())
    assert mean_db.shape == std_db.shape == (2, 8)
    assert mean_db.dtype == std_db.dtype == torch.float32
    assert mean_db.min() > -60 and mean_db.max() < -20


def test_the_std_never_falls_below_its_floor():
    model = small_model()
    with torch.no_grad():
        model.decoder[-1].bias[1] = -100.0
        _, std_db = model.predict(*small_inputs())
    assert torch.all(std_db >= 0.1)
    assert std_db.max() < 0.1001


def test_the_initial_std_is_about_the_datas():
    _, std_db = small_model().predict(*small_inputs())
    assert std_db.mean().item() == pytest.approx(8.0, abs=0.6)


def test_context_is_an_unordered_set():
    model = small_model().eval()
    context, context_y, target = small_inputs()
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    mean_db, std_db = model.predict(context, context_y, target)
    shuffled_mean, shuffled_std = model.predict(context[:, order], context_y[:, order], target)
    torch.testing.assert_close(mean_db, shuffled_mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(std_db, shuffled_std, atol=1e-4, rtol=0)


def test_self_attention_is_what_torchs_layer_computes_and_learns():
    layer, points = small_model().encoder.layers[0], torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(1))
    gradients = []
    for output in (layer(points), self_attention(layer, points)):
        gradients.append(torch.autograd.grad(output.square().sum(), list(layer.parameters())))
    torch.testing.assert_close(self_attention(layer, points), layer(points), atol=1e-5, rtol=0)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_targets_are_predicted_independently_of_each_other():
    model = small_model().eval()
    context, context_y, target = small_inputs()
    mean_db, _ = model.predict(context, context_y, target)
    alone, _ = model.predict(context, context_y, target[:, 3:4])
    torch.testing.assert_close(mean_db[:, 3:4], alone, atol=1e-4, rtol=0)


def test_shifting_data_and_normalisation_shifts_the_mean():
    model = small_model()
    context, context_y, target = small_inputs()
    mean_db, std_db = model.predict(context, context_y, target)
    model.mean_db += 30.0
    shifted_mean, shifted_std = model.predict(context, context_y + 30.0, target)
    torch.testing.assert_close(shifted_mean, mean_db + 30.0, atol=1e-3, rtol=0)
    torch.testing.assert_close(shifted_std, std_db, atol=1e-3, rtol=0)


def test_gradients_reach_every_parameter():
    model = small_model()
    context, context_y, target = small_inputs()
    mean_db, std_db = model.predict(context, context_y, target)
    gaussian_nll(torch.full_like(mean_db, -42.0), mean_db, std_db).mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_coordinates_span_minus_one_to_one_with_bands_fastest():
    coordinates = grid_coordinates(5, 128)
    assert coordinates.shape == (640, 2)
    assert coordinates[0].tolist() == [-1.0, -1.0]
    assert coordinates[127].tolist() == [-1.0, 1.0]
    assert coordinates[2 * 128].tolist() == [0.0, -1.0]
    assert coordinates[639].tolist() == [1.0, 1.0]


def test_gaussian_nll_is_equation_7():
    nll = gaussian_nll(torch.tensor([5.0, 1.0]), torch.tensor([1.0, 1.0]), torch.tensor([2.0, 1.0]))
    assert nll.tolist() == pytest.approx([math.log(2.0) + 2.0, 0.0])


@pytest.mark.parametrize("value", [1e-3, 0.5, 11.0, 300.0])
def test_inverse_softplus_inverts(value: float):
    z = torch.tensor(inverse_softplus(value), dtype=torch.float64)
    assert torch.nn.functional.softplus(z).item() == pytest.approx(value, rel=1e-6)


def test_heads_have_to_divide_the_width():
    with pytest.raises(ValidationError, match="not a multiple of heads"):
        AnpConfig(width=10, heads=4)


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError):
        AnpConfig.model_validate({"depth": 3})
