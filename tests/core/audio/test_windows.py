from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from humwatch.audio.features import FeatureSpec
from humwatch.audio.windows import Windower, WindowSpec

FEATURES = FeatureSpec()


def frames(count: int) -> np.ndarray:
    """Frames whose every bin holds the frame's number."""
    return np.repeat(np.arange(count, dtype=np.float32)[:, None], 128, axis=1)


def test_ten_seconds_are_one_clip_of_307_windows_and_a_step_is_31() -> None:
    spec = WindowSpec()
    assert (spec.step_windows(FEATURES), spec.clip_windows(FEATURES)) == (31, 307)
    assert spec.windows_in(FEATURES.frames_in(160_000)) == 307


@pytest.mark.parametrize("hop", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 3, 31, 64, 200])
def test_blocks_have_one_shape_however_frames_come(hop: int, size: int) -> None:
    spec = WindowSpec(hop_frames=hop)
    windower = Windower(spec, FEATURES)
    source = frames(200)
    blocks = [block for start in range(0, 200, size) for block in windower.push(source[start : start + size])]
    assert {len(block) for block in blocks} == {spec.step_windows(FEATURES)}
    together = np.concatenate([*blocks, *windower.flush()])
    assert len(together) == spec.windows_in(200)
    expected = np.arange(len(together))[:, None] * hop + np.arange(5)
    assert np.array_equal(together[:, :, 77], expected)


def test_flush_gives_nothing_from_less_than_a_window() -> None:
    windower = Windower(WindowSpec(), FEATURES)
    assert windower.push(frames(4)) == []
    assert windower.flush() == []
    assert windower.push(frames(4)) == []


def test_sample_bounds_are_what_the_windows_depend_on() -> None:
    spec = WindowSpec(hop_frames=2)
    assert spec.sample_bounds(FEATURES, first=3, count=1) == (3072, 3072 + 4 * 512 + 1024)
    assert spec.sample_bounds(FEATURES, first=0, count=4) == (0, 6 * 512 + 4 * 512 + 1024)
    assert WindowSpec().shortest_samples(FEATURES) == 34 * 512 + 1024


def test_a_step_longer_than_a_clip_is_refused() -> None:
    with pytest.raises(ValidationError, match="longer than clip_seconds"):
        WindowSpec(step_seconds=2.0, clip_seconds=1.0)


@pytest.mark.parametrize("hop", [1, 5, 7])
def test_it_tells_how_many_frames_are_missing(hop: int) -> None:
    windower = Windower(WindowSpec(hop_frames=hop), FEATURES)
    for part in (0, 3, 0, 20, 6):
        assert windower.push(frames(min(part, windower.frames_until_block - 1))) == []
        missing = windower.frames_until_block
        assert missing >= 1
        if part:
            assert windower.push(frames(missing - 1)) == []
            assert windower.frames_until_block == 1
            assert len(windower.push(frames(1))) == 1
