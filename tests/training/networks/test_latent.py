import pytest
import torch
from pydantic import ValidationError

from humwatch_training.networks.latent import ContextReader, LatentAnpConfig, LatentNeuralProcess, TargetReader
from humwatch_training.networks.masks import Partition, idnn_partition

SMALL = LatentAnpConfig(
    n_mels=8, width=16, heads=2, latents=3, key_width=4, readout_width=8, target_points=8, mean_db=-40.0, std_db=8.0
)


def small_network(**settings: object) -> LatentNeuralProcess:
    torch.manual_seed(0)
    return LatentNeuralProcess(SMALL.model_copy(update=settings)).eval()


def windows(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 40, generator=torch.Generator().manual_seed(3)) * 8 - 40


def test_reading_is_a_weighted_sum_of_what_the_bins_say():
    reader, context = ContextReader(SMALL), torch.tensor([3, 0, 17])
    values = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    expected = torch.zeros(2, SMALL.latents, SMALL.heads, SMALL.width // SMALL.heads)
    weights = torch.softmax(reader.scores[context], dim=0) * 3  # (C, M, H)
    for point, bin_index in enumerate(context.tolist()):
        said = reader.place[bin_index] + reader.value[bin_index] * values[:, point, None, None]  # (B, H, D)
        expected += weights[point][None, :, :, None] * said[:, None]
    torch.testing.assert_close(reader(context, values), expected.flatten(2))


def test_a_target_reads_the_latents_by_attention():
    reader, target = TargetReader(SMALL), torch.tensor([5, 39])
    latents = torch.randn(2, SMALL.latents, SMALL.width, generator=torch.Generator().manual_seed(1))
    query = reader.query[target].expand(2, -1, -1)
    read = torch.nn.functional.scaled_dot_product_attention(query, reader.key(latents), reader.readout(latents))
    expected = torch.einsum("btr,tkr->btk", read, reader.vectors[target]) + reader.bias[target]
    torch.testing.assert_close(reader(latents, target), expected)


def test_values_are_counted_from_their_bands_mean():
    network = small_network()
    shifts = torch.linspace(-30.0, 30.0, 8)
    network.solve([windows(64).view(64, 5, 8)])
    mask, values = idnn_partition(5, 8), windows()
    mean, std = network.predict(mask.context, values[:, mask.context], mask.target)
    network.solve([windows(64).view(64, 5, 8) + shifts])
    moved = values + shifts.repeat(5)
    moved_mean, moved_std = network.predict(mask.context, moved[:, mask.context], mask.target)
    torch.testing.assert_close(moved_mean, mean + shifts, atol=1e-3, rtol=0)
    torch.testing.assert_close(moved_std, std, atol=1e-3, rtol=0)


@pytest.mark.parametrize("settings", [{}, {"layers": 0}, {"training_masks": "rrc"}])
def test_gradients_reach_every_parameter(settings: dict[str, object]):
    network = small_network(**settings)
    loss = network.training_loss(windows(6).view(6, 5, 8), torch.Generator().manual_seed(0))
    loss.backward()
    assert loss.ndim == 0
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_context_is_an_unordered_set():
    network, values, mask = small_network(), windows(), idnn_partition(5, 8)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    shuffled = mask.context[order]
    for one, other in zip(
        network.predict(mask.context, values[:, mask.context], mask.target),
        network.predict(shuffled, values[:, shuffled], mask.target),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_a_mask_for_all_windows_is_a_mask_for_each():
    network, values, mask = small_network(), windows(), idnn_partition(5, 8)
    each = Partition(mask.context.expand(2, -1), mask.target.expand(2, -1))
    for one, other in zip(
        network.predict(mask.context, values[:, mask.context], mask.target),
        network.predict(each.context, values.gather(1, each.context), each.target),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_the_initial_std_is_about_the_datas():
    network, mask = small_network(), idnn_partition(5, 8)
    _, std_db = network.predict(mask.context, windows()[:, mask.context], mask.target)
    assert std_db.mean().item() == pytest.approx(8.0, abs=1.5)
    assert std_db.min() > 0.1


def test_training_points_are_limited_to_what_was_asked():
    network, seen = small_network(), []
    network.predict = lambda context, y, target: (
        seen.append((context, target)) or (y[:, : len(target)], y[:, : len(target)].abs() + 1)
    )
    for _ in range(10):
        network.training_loss(windows(6).view(6, 5, 8), torch.Generator().manual_seed(0))
    network.training_loss(windows(6).view(6, 5, 8), torch.Generator().manual_seed(0), context_points=9)
    assert all(len(target) <= 8 and len(context) >= 16 for context, target in seen[:10])
    assert len(seen[-1][0]) == 9


def test_a_training_mask_leaves_its_targets_out_of_the_context():
    network = small_network()
    one, other = (network.draw_masks(6, torch.Generator().manual_seed(4), 9) for _ in range(2))
    assert torch.equal(one.context, other.context) and torch.equal(one.target, other.target)
    assert one.context.shape == (9,)
    assert len(set(one.context.tolist() + one.target.tolist())) == 9 + len(one.target)


def test_heads_have_to_divide_the_width():
    with pytest.raises(ValidationError, match="not a multiple of heads"):
        LatentAnpConfig(width=10, heads=4)
