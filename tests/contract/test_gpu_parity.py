"""What only a machine with a CUDA device and onnxruntime-gpu can show: the same predictions as on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from humwatch.bundle.bundle import GOLDEN_TOLERANCE
from humwatch.bundle.repository import ModelRepository
from humwatch.onnx_predictor import CPU, CUDA, GPU_BATCHES, OnnxPredictor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        CUDA not in onnxruntime.get_available_providers(), reason="this ONNX Runtime has no CUDA provider"
    ),
]

ROOT = Path(__file__).parents[2]


def test_a_gpu_says_what_a_cpu_says_in_any_company() -> None:
    bundle = ModelRepository(ROOT / "models").read("fan-id_00")
    on_cpu, on_gpu = (OnnxPredictor(bundle.graph, providers=names) for names in ((CPU,), (CUDA, CPU)))
    assert on_gpu.batch == GPU_BATCHES * on_cpu.batch
    bundle.golden.check(on_gpu)
    rng = np.random.default_rng(0)
    windows = rng.normal(-40.0, 8.0, (3 * on_gpu.batch + 1, 5, 128)).astype(np.float32)
    expected, got = on_cpu.predict(windows), on_gpu.predict(windows)
    np.testing.assert_array_equal(got.target_index, expected.target_index)
    np.testing.assert_allclose(got.mean, expected.mean, rtol=0, atol=GOLDEN_TOLERANCE)
    np.testing.assert_allclose(got.std, expected.std, rtol=0, atol=GOLDEN_TOLERANCE)
    assert on_gpu.is_row_exact(windows[:64])
