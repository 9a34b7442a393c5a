from functools import cache

import numpy as np
import onnx
import pytest
import torch

from humwatch.onnx_predictor import BATCH_KEY, OnnxPredictor
from humwatch_training.export.folding import FoldedAttention, FoldedLatents, atoms_of, fold, softplus
from humwatch_training.export.graph import BATCH_OF_KIND, PARITY_RTOL, check_parity, export_graph
from humwatch_training.networks.kinds import build_network
from humwatch_training.networks.masks import Partition, block_partitions, comb_partitions
from humwatch_training.networks.strategies import Strategy
from humwatch_training.networks.strategy_choice import STRATEGIES_OF, StrategyConfig, StrategyName, build_strategy
from tests.training.conftest import SMALL_NETWORKS

FOLDED = [(kind, name) for kind in ("anp", "latent_anp") for name in ("idnn", "combs", "blocks", "bands")]
GRAPHS: list[tuple[str, StrategyName]] = [
    ("latent_anp", "bands"),
    ("latent_anp", "idnn"),
    ("anp", "idnn"),
    ("autoencoder", "reconstruct"),
    ("idnn", "interpolate"),
]
"""An export takes seconds: not each mask."""


def stirred(kind: str, name: StrategyName) -> Strategy:
    """A strategy whose network has no weight left at a start value that would hide its place in the sum."""
    torch.manual_seed(0)
    network = build_network(SMALL_NETWORKS[kind].model_copy(update={"mean_db": -40.0, "std_db": 8.0}))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        for buffer_name, buffer in network.named_buffers():
            if buffer_name == "band_mean_db":
                buffer += torch.randn_like(buffer)
    return build_strategy(network, StrategyConfig(name=name))


def windows(count: int) -> torch.Tensor:
    return torch.randn(count, 5, 8, generator=torch.Generator().manual_seed(3)) * 8 - 40


@pytest.mark.parametrize(("kind", "name"), FOLDED)
def test_a_folded_strategy_says_what_the_plain_one_says(kind: str, name: StrategyName):
    plain = stirred(kind, name)
    folded = fold(plain)
    assert isinstance(folded, FoldedLatents if kind == "latent_anp" else FoldedAttention)
    with torch.no_grad():
        for expected, got in zip(plain(windows(6)), folded(windows(6)), strict=True):
            torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-5)


@cache
def exported(kind: str, name: StrategyName) -> bytes:
    return export_graph(stirred(kind, name))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), GRAPHS)
def test_the_graph_of_a_folded_strategy_says_what_torch_says(kind: str, name: StrategyName):
    parity = check_parity(stirred(kind, name), exported(kind, name), windows(9).numpy())
    assert max(parity.mean, parity.std) < PARITY_RTOL == 1e-4


@pytest.mark.slow
def test_a_straight_export_says_the_same_with_more_to_do():
    strategy = stirred("latent_anp", "bands")
    straight = export_graph(strategy, straight=True)
    check_parity(strategy, straight, windows(9).numpy())
    softmaxes = [
        sum(node.op_type == "Softmax" for node in onnx.load_from_string(graph).graph.node)
        for graph in (straight, exported("latent_anp", "bands"))
    ]
    assert softmaxes == [12, 1]  # of each pass, among its latents and by its targets; of all passes at once


@pytest.mark.parametrize("kind", STRATEGIES_OF)
def test_strategies_that_are_not_the_same_for_every_window_stay_as_they_are(kind: str):
    for name in set(STRATEGIES_OF[kind]) - {"idnn", "combs", "blocks", "bands"}:
        strategy = stirred(kind, name)
        assert fold(strategy) is strategy


def test_atoms_are_read_whole_or_not_at_all_and_cover_each_context_once():
    passes = [*comb_partitions(5, 8, 2), *block_partitions(5, 8, 4)]
    atoms, reads = atoms_of(passes, 40)
    assert len(atoms) == 8
    assert reads.shape == (6, 8)
    for partition, row in zip(passes, reads, strict=True):
        read = torch.cat([atom for atom, is_read in zip(atoms, row, strict=True) if is_read])
        assert sorted(read.tolist()) == partition.context.tolist()


def test_bins_that_nobody_reads_are_in_no_atom():
    atoms, reads = atoms_of([Partition(context=torch.tensor([0, 2]), target=torch.tensor([1]))], 4)
    assert [atom.tolist() for atom in atoms] == [[0, 2]]
    assert reads.tolist() == [[True]]


def test_the_softplus_written_out_is_torchs():
    values = torch.tensor([-90.0, -20.0, -3.0, -1e-3, 0.0, 2.0, 30.0, 90.0])
    torch.testing.assert_close(softplus(values), torch.nn.functional.softplus(values), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), GRAPHS)
def test_a_graph_says_how_many_windows_it_is_best_given(kind: str, name: StrategyName):
    properties = {item.key: item.value for item in onnx.load_from_string(exported(kind, name)).metadata_props}
    assert properties == {BATCH_KEY: str(BATCH_OF_KIND[kind])}
    assert OnnxPredictor(exported(kind, name)).batch == BATCH_OF_KIND[kind]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), GRAPHS)
def test_no_window_hears_of_its_company(kind: str, name: StrategyName):
    given = windows(13).numpy()
    predictor = OnnxPredictor(exported(kind, name), max_batch=8)
    assert predictor.is_row_exact(given)
    together = predictor.predict(given)
    order = np.random.default_rng(0).permutation(13)
    shuffled = predictor.predict(given[order])
    np.testing.assert_array_equal(shuffled.mean, together.mean[order])
    np.testing.assert_array_equal(shuffled.std, together.std[order])
    for i in range(13):
        alone = predictor.predict(given[i : i + 1])
        np.testing.assert_array_equal(alone.mean[0], together.mean[i])
        np.testing.assert_array_equal(alone.std[0], together.std[i])
