from collections.abc import Callable

import pytest
import torch

from humwatch_training.networks.masks import (
    Partition,
    block_partitions,
    boot_lattice_partition,
    comb_partitions,
    hidden_bands,
    hidden_block,
    idnn_partition,
    rrc_partition,
    rrc_target_count,
    sample_hidden,
    sample_rrc,
)

Masks = Callable[[int, int, int], list[Partition]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_covers(partition: Partition, bins: int) -> None:
    for context, target in zip(partition.context, partition.target, strict=True):
        assert sorted(torch.cat([context, target]).tolist()) == list(range(bins))


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_rrc_target_is_the_union_of_distinct_frames_and_bands(columns: int, rows: int):
    partition = rrc_partition(16, 5, 12, columns, rows, generator())
    assert partition.target.shape == (16, rrc_target_count(5, 12, columns, rows))
    assert_covers(partition, 60)
    for target in partition.target:
        mask = torch.zeros(60, dtype=torch.bool)
        mask[target] = True
        window = mask.view(5, 12)
        assert int(window.all(dim=1).sum()) == columns
        assert int(window.all(dim=0).sum()) == rows


def test_rrc_target_counts_of_the_papers_window():
    counts = [rrc_target_count(5, 128, columns, rows) for columns in (1, 2) for rows in (0, 1, 2)]
    assert counts == [128, 132, 136, 256, 259, 262]


def test_rrc_draws_every_count_and_different_places_a_sample():
    source = generator()
    sizes = {sample_rrc(8, 5, 128, source).target.shape[1] for _ in range(60)}
    assert sizes == {128, 132, 136, 256, 259, 262}
    partition = rrc_partition(8, 5, 128, 1, 2, source)
    assert len({tuple(target.tolist()) for target in partition.target}) > 1


def test_rrc_is_repeatable_from_its_seed():
    first, second = (sample_rrc(4, 5, 128, generator(7), 50) for _ in range(2))
    assert torch.equal(first.context, second.context)
    assert torch.equal(first.target, second.target)


def test_a_context_subset_is_distinct_and_outside_the_target():
    partition = sample_rrc(8, 5, 128, generator(), 192)
    assert partition.context.shape == (8, 192)
    for context, target in zip(partition.context.tolist(), partition.target.tolist(), strict=True):
        assert len(set(context)) == 192
        assert not set(context) & set(target)


def test_a_subset_larger_than_the_context_is_the_whole_context():
    partition = sample_rrc(3, 5, 12, generator(), 1000)
    assert_covers(partition, 60)


def test_idnn_predicts_the_middle_frame():
    partition = idnn_partition(5, 128)
    assert partition.target.tolist() == list(range(256, 384))
    assert partition.context.tolist() == [*range(256), *range(384, 640)]


def test_idnn_needs_a_middle_frame():
    with pytest.raises(ValueError, match="no middle frame"):
        idnn_partition(4, 128)


def test_the_boot_lattice_has_48_targets_a_frame_and_covers_every_band():
    partition = boot_lattice_partition(5, 128)
    target = partition.target
    assert target.shape == (240,)
    assert partition.context.shape == (400,)
    assert torch.bincount(target // 128).tolist() == [48] * 5
    assert set((target % 128).tolist()) == set(range(128))
    assert all((3 * (i % 128) + 3 * (i // 128)) % 8 < 3 for i in target.tolist())
    assert sorted(torch.cat([target, partition.context]).tolist()) == list(range(640))


@pytest.mark.parametrize("groups", [2, 3, 4, 8])
@pytest.mark.parametrize("masks", [comb_partitions, block_partitions])
def test_band_masks_predict_every_bin_once_from_the_other_bands(masks: Masks, groups: int):
    passes = masks(5, 12, groups)
    assert len(passes) == groups
    assert sorted(torch.cat([mask.target for mask in passes]).tolist()) == list(range(60))
    for mask in passes:
        assert sorted(torch.cat([mask.context, mask.target]).tolist()) == list(range(60))
        assert not set((mask.context % 12).tolist()) & set((mask.target % 12).tolist())


def test_a_comb_hides_every_nth_band_and_a_block_adjacent_ones():
    assert set((comb_partitions(5, 12, 4)[1].target % 12).tolist()) == {1, 5, 9}
    assert set((block_partitions(5, 12, 4)[1].target % 12).tolist()) == {3, 4, 5}


@pytest.mark.parametrize("groups", [1, 13])
def test_bands_cannot_be_predicted_in_any_number_of_passes(groups: int):
    with pytest.raises(ValueError, match=f"12 bands cannot be predicted in {groups} passes"):
        comb_partitions(5, 12, groups)


def forms_of(hidden: torch.Tensor) -> set[str]:
    """What a mask of one window (5, 128) could have been drawn as."""
    bands = hidden.all(dim=0)
    if not torch.equal(hidden, bands.expand(5, -1)):
        return {"rows and columns"}
    edges = int((bands != bands.roll(1)).sum())
    return {"block"} if edges == 2 else {"bands"}


def test_mixed_training_masks_take_three_forms_in_turn_and_hide_as_many_bins_of_every_window():
    source, forms, sizes = generator(), set(), []
    for _ in range(60):
        hidden = sample_hidden("mixed", 4, 5, 128, source)
        assert hidden.shape == (4, 640)
        counts = set(hidden.sum(dim=1).tolist())
        assert len(counts) == 1
        found = forms_of(hidden[0].view(5, 128))
        forms |= found
        sizes += [count // 5 for count in counts if found != {"rows and columns"}]
    assert forms == {"rows and columns", "bands", "block"}
    assert 8 <= min(sizes) < 16
    assert 56 < max(sizes) <= 64


def test_rrc_training_masks_hide_rows_and_columns_alone():
    source = generator()
    assert {int(sample_hidden("rrc", 4, 5, 128, source)[0].sum()) for _ in range(60)} == {128, 132, 136, 256, 259, 262}


def test_hidden_places_differ_between_windows_and_reach_every_band():
    for draw in (hidden_bands, hidden_block):
        mask = draw(300, 16, 4, generator())
        assert mask.sum(dim=1).tolist() == [4] * 300
        assert mask.sum(dim=0).min() > 40  # 75 are expected of each band
        assert not torch.equal(mask[0], mask[1])
