"""What only a machine with a CUDA device can show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet
from humwatch_training.fit.config import FitConfig
from humwatch_training.fit.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


def losses(config: FitConfig, clips: list[Clip]) -> list[float]:
    device = torch.device("cuda" if config.device == "cuda" else "cpu")
    trainer = Trainer.start(config, WindowSet(clips, 5, device), Normalisation.of(clips))
    return [trainer.step().loss for _ in range(5)]


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bf16", 5e-2)])
def test_a_gpu_follows_the_cpu(
    small_config: Callable[..., FitConfig], humming_clip: Callable[..., Clip], precision: str, tolerance: float
) -> None:
    clips = [humming_clip()]
    expected = losses(small_config(device="cpu", precision="float32"), clips)
    got = losses(small_config(device="cuda", precision=precision), clips)
    np.testing.assert_allclose(got, expected, rtol=tolerance)
