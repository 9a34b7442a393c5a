from random import Random
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from humwatch_training.errors import StrategyError
from humwatch_training.fit.systems import RECIPES, SYSTEMS
from humwatch_training.networks.kinds import build_network
from humwatch_training.networks.masks import boot_lattice_partition
from humwatch_training.networks.network import NeuralProcess
from humwatch_training.networks.strategies import (
    LikelihoodBootstrap,
    RandomRowsAndColumns,
    Strategy,
    rrc_places,
)
from humwatch_training.networks.strategy_choice import (
    STRATEGIES_OF,
    StrategyConfig,
    StrategyName,
    build_strategy,
    default_hop,
    default_strategy,
    strategy_of_title,
    strategy_title,
)
from tests.training.conftest import SMALL_NETWORKS

EVERY = [(kind, name) for kind, names in STRATEGIES_OF.items() for name in names]
PROCESSES = pytest.mark.parametrize("kind", ["anp", "latent_anp"])


def small_strategy(kind: str, name: StrategyName, groups: int = 2) -> Strategy:
    torch.manual_seed(0)
    config = SMALL_NETWORKS[kind].model_copy(update={"mean_db": -40.0, "std_db": 8.0})
    return build_strategy(build_network(config), StrategyConfig(name=name, groups=groups))


def windows(batch: int, seed: int = 3) -> Tensor:
    return torch.randn(batch, 5, 8, generator=torch.Generator().manual_seed(seed)) * 8 - 40


def answers(strategy: Strategy, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is said, with one row of targets a window."""
    with torch.no_grad():
        target, mean, std = strategy(given)
    return target.expand(len(given), -1), mean, std


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_strategy_gives_one_mean_and_one_positive_std_a_target(kind: str, name: StrategyName):
    target, mean, std = answers(small_strategy(kind, name), windows(6))
    assert target.shape == mean.shape == std.shape
    assert target.dtype == torch.int64
    assert 0 <= int(target.min()) <= int(target.max()) < 40
    assert mean.isfinite().all() and (std > 0).all()


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_window_is_judged_alike_in_any_batch_and_any_order(kind: str, name: StrategyName):
    strategy, given = small_strategy(kind, name), windows(9)
    together = answers(strategy, given)
    backwards = [part.flip(0) for part in answers(strategy, given.flip(0))]
    alone = [torch.cat(parts) for parts in zip(*(answers(strategy, one) for one in given.split(1)), strict=True)]
    for other in (backwards, alone):
        assert torch.equal(together[0], other[0])
        torch.testing.assert_close(together[1], other[1], atol=1e-4, rtol=0)
        torch.testing.assert_close(together[2], other[2], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kind", "name"), [pair for pair in EVERY if pair[1] not in ("constant", "reconstruct")])
def test_what_is_predicted_is_not_seen(kind: str, name: StrategyName):
    """A bin that is changed changes what is said of others, never of itself: it is hidden from its own prediction."""
    strategy, given = small_strategy(kind, name), windows(1)
    target, mean, _ = answers(strategy, given)
    for position in range(0, target.shape[1], 5):
        changed = given.flatten(1).clone()
        changed[0, target[0, position]] += 1.0 / 16  # too little to make boot choose otherwise
        if isinstance(strategy, RandomRowsAndColumns):
            changed[0, target[0, position]] += 64.0 - 1.0 / 16  # a multiple of all 64 keys: the same places
        other, changed_mean, _ = answers(strategy, changed.view_as(given))
        assert torch.equal(target, other)
        assert changed_mean[0, position].item() == pytest.approx(mean[0, position].item(), abs=1e-5)


def test_bands_predict_every_bin_from_near_and_from_far():
    strategy = small_strategy("latent_anp", "bands", groups=2)
    target, _, _ = answers(strategy, windows(2))
    assert strategy.passes == 2 + 4
    assert torch.bincount(target[0]).tolist() == [2] * 40


@pytest.mark.parametrize("name", ["combs", "blocks"])
@pytest.mark.parametrize("groups", [2, 3, 4])
@PROCESSES
def test_band_masks_predict_every_bin_once(kind: str, name: StrategyName, groups: int):
    target, _, _ = answers(small_strategy(kind, name, groups), windows(2))
    assert sorted(target[0].tolist()) == list(range(40))


def test_the_baselines_predict_everything_or_the_middle_frame_with_std_1():
    target, _, std = answers(small_strategy("autoencoder", "reconstruct"), windows(2))
    assert target[0].tolist() == list(range(40))
    assert set(std.flatten().tolist()) == {1.0}
    target, _, std = answers(small_strategy("idnn", "interpolate"), windows(2))
    assert target[0].tolist() == list(range(16, 24))
    assert set(std.flatten().tolist()) == {1.0}


def test_the_constant_answer_is_the_same_for_every_window():
    _, mean, std = answers(small_strategy("constant", "constant"), windows(2))
    assert torch.equal(mean[0], mean[1])
    assert set(mean.flatten().tolist()) == {-40.0}
    assert set(std.flatten().tolist()) == {8.0}


def rrc() -> RandomRowsAndColumns:
    strategy = small_strategy("anp", "rrc")
    assert isinstance(strategy, RandomRowsAndColumns)
    return strategy


def test_rrc_keys_are_exact_sums_of_integers():
    given = windows(200).flatten(1)
    expected = [sum(int(np.floor(float(value) * 1024)) for value in window) % 64 for window in given.numpy()]
    assert rrc().key(given).tolist() == expected
    assert len(set(expected)) > 50


def test_rrc_hides_other_rows_and_columns_of_other_windows():
    target, _, _ = answers(rrc(), windows(64))
    assert len({tuple(row) for row in target.tolist()}) > 20


def test_rrc_places_are_unions_of_one_or_two_columns_and_up_to_two_rows():
    for seed in range(5):
        for places in rrc_places(5, 12, Random(seed)):
            shapes = set()
            for context, target in zip(places.context, places.target, strict=True):
                assert sorted(torch.cat([context, target]).tolist()) == list(range(60))
                mask = torch.zeros(60, dtype=torch.bool)
                mask[target] = True
                window = mask.view(5, 12)
                shapes.add((int(window.all(dim=1).sum()), int(window.all(dim=0).sum())))
            [(columns, rows)] = shapes
            assert columns in (1, 2) and rows in (0, 1, 2)
            assert places.target.shape[1] == columns * 12 + rows * (5 - columns)


def test_rrc_has_three_passes_whose_places_never_change():
    first, again = (rrc_places(5, 128, Random(20211017)) for _ in range(2))
    assert [len(places.target) for places in first] == [64] * 3
    assert all(torch.equal(one.target, other.target) for one, other in zip(first, again, strict=True))
    assert [places.target.shape[1] for places in first] == [132, 132, 259]


def hardest_bins(network: NeuralProcess, window: Tensor) -> set[int]:
    """ANP-Boot's target in plain numpy: one frame and two bands of highest mean NLL over the lattice."""
    n_mels = network.config.n_mels
    lattice = boot_lattice_partition(network.config.n_frames, n_mels)
    values = window.flatten()[None]
    with torch.no_grad():
        mean, std = network.predict(lattice.context, values[:, lattice.context], lattice.target)
    y, mean, std = values[0, lattice.target].numpy(), mean[0].numpy(), std[0].numpy()
    nll = np.log(std) + (y - mean) ** 2 / (2 * std**2)
    frame_of, band_of = np.divmod(lattice.target.numpy(), n_mels)
    by_frame = [nll[frame_of == frame].mean() for frame in range(network.config.n_frames)]
    by_band = [nll[band_of == band].mean() for band in range(n_mels)]
    mask = np.zeros((network.config.n_frames, n_mels), bool)
    mask[np.argmax(by_frame)] = True
    mask[:, np.argsort(by_band)[-2:]] = True
    return set(np.flatnonzero(mask).tolist())


@PROCESSES
def test_boot_scores_the_frame_and_the_two_bands_of_highest_nll(kind: str):
    strategy, given = small_strategy(kind, "boot"), windows(40)
    network = strategy.network
    assert isinstance(network, NeuralProcess)
    target, _, _ = answers(strategy, given)
    assert target.shape == (40, 8 + 2 * 4)
    for window, bins in zip(given, target.tolist(), strict=True):
        assert len(set(bins)) == len(bins)
        assert set(bins) == hardest_bins(network, window)


def test_boot_finds_what_was_put_in():
    given = windows(1) * 0.1 - 36.0
    given[0, 3] += 40.0
    given[0, :, 5] -= 40.0
    strategy = small_strategy("latent_anp", "boot")
    assert isinstance(strategy, LikelihoodBootstrap)
    frame, bands = strategy.hardest(given.flatten(1))
    assert frame.tolist() == [[3]]
    assert 5 in bands[0].tolist()


def test_boots_second_context_is_all_that_is_not_its_target(monkeypatch: pytest.MonkeyPatch):
    strategy, seen = small_strategy("latent_anp", "boot"), []
    network = strategy.network
    assert isinstance(network, NeuralProcess)
    plain = network.predict
    monkeypatch.setattr(network, "predict", lambda *given: seen.append(given) or plain(*given))
    target, _, _ = answers(strategy, windows(7))
    context, values, asked = seen[1]
    assert torch.equal(asked, target)
    assert torch.equal(values, windows(7).flatten(1).gather(1, context))
    for row in torch.cat([context, target], dim=1).tolist():
        assert sorted(row) == list(range(40))


def test_the_papers_window_has_136_hardest_bins_and_504_others():
    strategy = build_strategy(build_network(RECIPES["latent-anp"].network), StrategyConfig(name="boot"))
    target, mean, _ = answers(strategy, torch.randn(2, 5, 128))
    assert target.shape == mean.shape == (2, 136)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_title_names_kind_and_strategy_and_is_understood(kind: str, name: StrategyName):
    network, config = SMALL_NETWORKS[kind], StrategyConfig(name=name, groups=3)
    read = strategy_of_title(network, strategy_title(network, config))
    assert strategy_title(network, read) == strategy_title(network, config)
    assert read.name == name


def test_titles_of_the_systems():
    titles = {name: strategy_title(system.recipe.network, system.strategy) for name, system in SYSTEMS.items()}
    assert titles.pop("latent-anp") == "latent-anp-bands2"
    assert all(name == title for name, title in titles.items())


@pytest.mark.parametrize("title", ["anp-boost", "ae", "anp-bands", "anp-bands1", "latent-anp-idnn", "", "anp-idnn4"])
def test_a_title_of_another_network_is_refused(title: str):
    with pytest.raises(StrategyError, match="no strategy of a network of kind anp"):
        strategy_of_title(SMALL_NETWORKS["anp"], title)


@pytest.mark.parametrize(("kind", "name"), [("autoencoder", "boot"), ("anp", "reconstruct"), ("constant", "idnn")])
def test_a_strategy_that_a_network_cannot_follow_is_refused(kind: str, name: StrategyName):
    with pytest.raises(StrategyError, match=f"cannot be asked by the strategy '{name}'"):
        small_strategy(kind, name)


def test_more_groups_than_bands_are_refused():
    with pytest.raises(StrategyError, match="8 bands cannot be predicted in 9 passes"):
        small_strategy("anp", "bands", groups=9)


def test_every_kind_has_a_default_among_its_strategies():
    assert {kind: default_strategy(config).name for kind, config in SMALL_NETWORKS.items()} == {
        "anp": "idnn",
        "latent_anp": "bands",
        "autoencoder": "reconstruct",
        "idnn": "interpolate",
        "constant": "constant",
    }


def test_one_trained_anp_stands_behind_three_systems():
    assert [name for name, system in SYSTEMS.items() if system.trains == "anp"] == ["anp-idnn", "anp-rrc", "anp-boot"]
    for system in SYSTEMS.values():
        assert system.recipe.name == system.trains
        assert system.strategy.name in STRATEGIES_OF[system.recipe.network.kind]


def test_a_recipe_is_a_specification_with_its_own_budget_or_a_given_one():
    spec = RECIPES["ae"].spec()
    assert (spec.batch_windows, spec.schedule, spec.autoclip_percentile, spec.learning_rate) == (
        512,
        "constant",
        None,
        1e-3,
    )
    assert spec.steps == RECIPES["ae"].steps
    timed = RECIPES["anp"].spec(minutes=2.0, seed=3)
    assert (timed.steps, timed.minutes, timed.seed) == (None, 2.0, 3)


def test_the_hop_lets_every_frame_be_predicted_once():
    hops = {name: default_hop(StrategyConfig(name=name), 5) for name in get_args(StrategyName)}
    assert {name for name, hop in hops.items() if hop == 5} == {"combs", "blocks", "bands", "reconstruct", "constant"}
    assert set(hops.values()) == {1, 5}
