import pytest
import torch

from humwatch_training.masks import (
    Partition,
    boot_lattice_partition,
    idnn_partition,
    rrc_partition,
    rrc_target_count,
    sample_rrc,
)


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
