from __future__ import annotations

import numpy as np
import pytest

from humwatch.audio.sound_blocks import BlockMeter, SoundBlock

RATE_HZ = 16_000


def blocks_of(sound: np.ndarray, sizes: list[int]) -> list[SoundBlock]:
    meter = BlockMeter(RATE_HZ)
    found = []
    for piece in np.split(sound.astype(np.float32), np.cumsum(sizes)):
        found += meter.push(piece)
    return found + meter.flush()


def test_a_block_holds_sums_extremes_and_the_share_at_full_scale() -> None:
    sound = np.tile([0.5, -0.25], 800)
    sound[:3] = 1.0, -1.0, 0.9985
    (block,) = blocks_of(sound, [])
    assert (block.n, block.clipped, block.high, block.low) == (1600, 2, 1.0, -1.0)
    assert block.sum == pytest.approx(sound.sum(), abs=1e-6)
    assert block.sum_squares == pytest.approx((sound**2).sum(), abs=1e-6)
    assert block.level_dbfs == pytest.approx(10 * np.log10(sound.var()), abs=1e-6)
    assert (block.longest, block.held) == (0, ())


@pytest.mark.parametrize("largest", [2, 90, 1_700, 9_000])
def test_every_chunking_gives_the_same_bits(rng: np.random.Generator, largest: int) -> None:
    sound = 0.4 + rng.normal(0.0, 0.05, 20_000)
    sound[5_000:8_600] = 0.0123
    sound[12_000:12_100] = sound[14_000:14_090] = 0.0
    whole = blocks_of(sound, [])
    assert [block.longest for block in whole] == [0, 0, 0, 1400, 3000, 3600, 0, 100, 90, 0, 0, 0, 0]
    assert [len(block.held) for block in whole] == [0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    sizes = rng.integers(0, largest, 2 * 20_000 // largest)
    assert blocks_of(sound, sizes[np.cumsum(sizes) < 20_000].tolist()) == whole


def test_a_stretch_counts_where_it_becomes_long_and_only_behind_sound_that_moved(rng: np.random.Generator) -> None:
    noise = rng.normal(0.0, 0.1, 6_400)
    noise[1_580:1_680] = 0.25
    assert [block.held for block in blocks_of(noise, [])] == [(), (0.25,), (), ()]
    noise[:1_600] = 0.0
    noise[1_700:1_800] = 0.5
    assert [block.held for block in blocks_of(noise, [])] == [(), (), (), ()]


def test_flush_gives_a_shorter_block_and_ends_the_stretch() -> None:
    meter = BlockMeter(RATE_HZ)
    assert meter.push(np.full(1_000, 0.1, np.float32)) == []
    assert [(block.n, block.longest) for block in meter.flush()] == [(1_000, 1_000)]
    assert meter.flush() == []
    assert [block.longest for block in meter.push(np.full(1_600, 0.1, np.float32))] == [1_600]
    meter.reset()
    assert [block.longest for block in meter.push(np.full(1_600, 0.1, np.float32))] == [1_600]
