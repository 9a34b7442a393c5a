from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from humwatch.errors import PredictorError
from humwatch.onnx_predictor import BATCH_KEY, DEFAULT_BATCH, OnnxPredictor

RNG = np.random.default_rng(5)
WINDOWS = RNG.normal(-40.0, 8.0, (9, 3, 4)).astype(np.float32)


def graph(*, batch: str | None = None, across_rows: bool = False) -> bytes:
    """Predict the middle frame as the mean over frames; `across_rows` adds what all windows have in common."""
    nodes = [
        helper.make_node("ReduceMean", ["windows", "frames"], ["by_band"], keepdims=0),
        helper.make_node("ReduceMean", ["by_band", "rows"], ["all"], keepdims=1),
        helper.make_node("Mul", ["all", "share"], ["shared"]),
        helper.make_node("Add", ["by_band", "shared"], ["mean"]),
        helper.make_node("Abs", ["mean"], ["std"]),
        helper.make_node("Identity", ["target"], ["target_index"]),
    ]
    constants = {
        "frames": np.array([1], np.int64),
        "rows": np.array([0], np.int64),
        "share": np.array([1.0 if across_rows else 0.0], np.float32),
        "target": np.arange(4, 8, dtype=np.int64),
    }
    body = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["batch", 3, 4])],
        [
            helper.make_tensor_value_info("target_index", TensorProto.INT64, [4]),
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("std", TensorProto.FLOAT, ["batch", 4]),
        ],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if batch is not None:
        helper.set_model_props(model, {BATCH_KEY: batch})
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def test_a_graph_is_given_the_windows_that_it_asks_for() -> None:
    assert OnnxPredictor(graph(batch="64")).batch == 64
    assert OnnxPredictor(graph()).batch == DEFAULT_BATCH == 2
    assert OnnxPredictor(graph(batch="64"), max_batch=5).batch == 5


@pytest.mark.parametrize("batch", ["0", "-3", "4097", "many", "", "1e3", "९"])
def test_a_batch_that_is_none_is_refused(batch: str) -> None:
    with pytest.raises(PredictorError, match=r"humwatch.batch_windows has to be a number from 1 to 4096"):
        OnnxPredictor(graph(batch=batch))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 9])
def test_windows_are_cut_into_batches_and_put_together_again(count: int) -> None:
    prediction = OnnxPredictor(graph(), max_batch=4).predict(WINDOWS[:count])
    expected = WINDOWS[:count].mean(axis=1)
    assert prediction.target_index.tolist() == [4, 5, 6, 7]
    np.testing.assert_allclose(prediction.mean, expected, rtol=1e-6)
    np.testing.assert_allclose(prediction.std, np.abs(expected), rtol=1e-6)


def test_windows_that_do_not_hear_each_other_are_row_exact() -> None:
    assert OnnxPredictor(graph(), max_batch=8).is_row_exact(WINDOWS[:4])


def test_windows_that_hear_each_other_are_not_row_exact() -> None:
    assert not OnnxPredictor(graph(across_rows=True), max_batch=8).is_row_exact(WINDOWS[:4])


def test_bound_memory_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = OnnxPredictor(graph(), max_batch=8)
    plain = predictor.predict(WINDOWS)
    monkeypatch.setattr(predictor, "_on_gpu", True)  # the way of a GPU: batches of one size, bound memory
    bound = predictor.predict(WINDOWS)
    np.testing.assert_array_equal(bound.mean, plain.mean)
    np.testing.assert_array_equal(bound.std, plain.std)


def test_a_provider_that_is_not_there_is_refused() -> None:
    with pytest.raises(PredictorError, match="CUDAExecutionProvider"):
        OnnxPredictor(graph(), providers=("CUDAExecutionProvider", "CPUExecutionProvider"))
