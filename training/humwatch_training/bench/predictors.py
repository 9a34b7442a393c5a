"""Cost of a window: every predictor of the tables beside the straight export of the paper's, in one run.

Weights do not change what a product costs, so the networks are new. All run on one thread and in turn, round after
round, so that a slow moment of the machine meets all of them; the figure reported is the median of the rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from onnx import TensorProto
from onnxruntime.quantization import quantize_dynamic
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from humwatch.arrays import Float32
from humwatch.audio.features import FeatureSpec
from humwatch.onnx_predictor import DEFAULT_BATCH, OnnxPredictor
from humwatch_training.export.folding import fold
from humwatch_training.export.graph import BATCH_OF_KIND, FUSED_OPSET, OPSET, export_graph
from humwatch_training.export.torch_predictor import TorchPredictor
from humwatch_training.fit.systems import DEFAULT_SYSTEM, RECIPES, SYSTEMS, System
from humwatch_training.fit.threads import torch_threads
from humwatch_training.networks.kinds import NetworkConfig, build_network
from humwatch_training.networks.strategies import Strategy
from humwatch_training.networks.strategy_choice import StrategyConfig, build_strategy

STRAIGHT = "anp-idnn, straight export"
"""Reference of all comparisons: the paper's network and mask, exported as torch has them."""
FAST = f"{DEFAULT_SYSTEM}, folded (default)"
"""Predictor that ``export`` writes where nothing else is chosen."""

BATCHES = (1, 8, 32)
"""Batches tried beside the advised one: the best of them counts, for every predictor."""
WINDOWS_HZ = FeatureSpec().frame_rate_hz
"""Windows of a stream in a second at hop 1."""
LEVEL_DB, SPREAD_DB = -40.0, 10.0
GEMM_SIZE = 1024


@dataclass(frozen=True)
class PredictorCost:
    """Cost of one predictor on one core.

    Attributes:
        name: name of the predictor.
        batch: number of windows at a time, the best that was tried.
        window_ms: time of a window, ms, median of the rounds.
        streams_per_core: number of live streams that one core's time is enough for at hop 1, the predictor alone.
        speedup: ratio of ``STRAIGHT``'s time of a window to this predictor's.
        hop_frames: distance of the windows in use, frames.
        streams_per_core_at_hop: number of live streams of one core at that distance.
        mflop: number of floating-point operations of a window's products, 10^6; two a multiply-add.
        gemm_share: share of the GEMM peak that the products would reach if nothing else took time.
    """

    name: str
    batch: int
    window_ms: float
    streams_per_core: float
    speedup: float
    hop_frames: int
    streams_per_core_at_hop: float
    mflop: float
    gemm_share: float


@dataclass(frozen=True)
class PredictorCandidate:
    """A predictor to be measured: float32 (B, L, F) in dB in, anything out."""

    name: str
    predict: Callable[[Float32], object]
    batches: tuple[int, ...]
    hop_frames: int
    mflop: float


@dataclass(frozen=True)
class PredictorCosts:
    """Costs of all predictors, in order, and the fastest float32 matrix product of the same run, GFLOP/s."""

    gemm_peak_gflops: float
    predictors: list[PredictorCost]

    def of(self, name: str) -> PredictorCost:
        """Return the cost of one predictor."""
        return next(cost for cost in self.predictors if cost.name == name)


def mflop_of(strategy: Strategy) -> float:
    """Return the operations of a window's products, 10^6, as torch counts them."""
    config = strategy.network.config
    # as plain products: the counter knows no fused attention of a CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        strategy(torch.full((1, config.n_frames, config.n_mels), config.mean_db))
    return int(counter.get_total_flops()) / 1e6


def predictor_candidates() -> Iterator[PredictorCandidate]:
    """Yield every predictor, each made only when it is needed: an export takes seconds."""
    anp, default = SYSTEMS["anp-idnn"], SYSTEMS[DEFAULT_SYSTEM]
    same_mask = System("latent-anp-idnn", "", "latent-anp", StrategyConfig(name="idnn"), 1)
    yield _eager("anp-idnn, PyTorch eager", anp)
    yield _exported(STRAIGHT, anp, straight=True)
    yield _exported("anp-idnn, fused attention operator", anp, straight=True, opset=FUSED_OPSET)
    yield _exported("anp-idnn, folded", anp)
    yield _eager(f"{default.name}, PyTorch eager", default)
    yield _exported(f"{default.name}, straight export", default, straight=True)
    yield _exported(FAST, default)
    yield _exported(f"{default.name}, folded, dynamic int8", default, change=dynamic_int8)
    yield _exported("latent-anp-idnn, folded", same_mask)
    for name in ("ae", "idnn", "network-free"):
        yield _exported(name, SYSTEMS[name])


def measure_predictors(
    candidates: Sequence[PredictorCandidate], *, rounds: int, seconds: float, progress: Callable[[int], None]
) -> PredictorCosts:
    """Measure the cost of each predictor; ``STRAIGHT`` has to be among them.

    In each of ``rounds`` every candidate predicts for ``seconds`` with each of its batches, and two matrices are
    multiplied; ``progress`` is called with the number of rounds that are over.
    """
    rng = np.random.default_rng(0)
    windows = rng.normal(LEVEL_DB, SPREAD_DB, (max(max(one.batches) for one in candidates), 5, 128)).astype(np.float32)
    left, right = torch.rand(2, GEMM_SIZE, GEMM_SIZE)
    products_s: list[float] = []
    taken: dict[tuple[str, int], list[float]] = {}
    with torch_threads(1):
        for done in range(rounds):
            products_s.append(_median_run_s(lambda: left @ right, seconds))
            for one in candidates:
                for batch in one.batches:
                    batch_s = _median_run_s(partial(one.predict, windows[:batch]), seconds)
                    taken.setdefault((one.name, batch), []).append(batch_s / batch)
            progress(done + 1)
    peak_gflops = 2e-9 * GEMM_SIZE**3 / min(products_s)
    best = {one.name: min((median(taken[one.name, batch]), batch) for batch in one.batches) for one in candidates}
    straight_s, _ = best[STRAIGHT]
    return PredictorCosts(peak_gflops, [_cost(one, *best[one.name], straight_s, peak_gflops) for one in candidates])


def _cost(one: PredictorCandidate, window_s: float, batch: int, straight_s: float, peak_gflops: float) -> PredictorCost:
    streams = 1.0 / (WINDOWS_HZ * window_s)
    return PredictorCost(
        name=one.name,
        batch=batch,
        window_ms=1e3 * window_s,
        streams_per_core=streams,
        speedup=straight_s / window_s,
        hop_frames=one.hop_frames,
        streams_per_core_at_hop=streams * one.hop_frames,
        mflop=one.mflop,
        gemm_share=1e-3 * one.mflop / window_s / peak_gflops,
    )


def _eager(name: str, system: System) -> PredictorCandidate:
    strategy = _strategy(system)
    predictor = TorchPredictor(strategy, max_batch=max(BATCHES))
    return PredictorCandidate(name, predictor.predict, _batches(system), system.hop_frames, mflop_of(strategy))


def dynamic_int8(graph: bytes) -> bytes:
    """Return a graph whose products are of 8-bit integers, with scales that are found anew for each batch.

    The prediction of a window then depends on its batch: this graph is measured, not exported.
    """
    with TemporaryDirectory() as folder:
        before, after = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        before.write_bytes(graph)
        quantize_dynamic(before, after, per_channel=True, extra_options={"DefaultTensorType": TensorProto.FLOAT})
        return after.read_bytes()


def _exported(
    name: str,
    system: System,
    *,
    straight: bool = False,
    opset: int = OPSET,
    change: Callable[[bytes], bytes] = lambda graph: graph,
) -> PredictorCandidate:
    strategy = _strategy(system)
    graph = change(export_graph(strategy, straight=straight, opset=opset))
    predictor = OnnxPredictor(graph, max_batch=max(BATCHES))
    counted = strategy if straight else fold(strategy)
    return PredictorCandidate(name, predictor.predict, _batches(system), system.hop_frames, mflop_of(counted))


def _batches(system: System) -> tuple[int, ...]:
    """Return the batches to try.

    Large ones are for networks that gain by them: with attention over all points they take seconds.
    """
    advised = BATCH_OF_KIND[RECIPES[system.trains].network.kind]
    return tuple(sorted({advised, *(batch for batch in BATCHES if batch == 1 or advised > DEFAULT_BATCH)}))


def _strategy(system: System) -> Strategy:
    torch.manual_seed(0)
    config: NetworkConfig = RECIPES[system.trains].network.model_copy(update={"mean_db": LEVEL_DB, "std_db": SPREAD_DB})
    return build_strategy(build_network(config), system.strategy)


def _median_run_s(run: Callable[[], object], seconds: float) -> float:
    """Return the median time of a run, s, repeated for ``seconds`` and three times at least."""
    taken = [_seconds(run) for _ in range(3)]
    until_s = time.perf_counter() + seconds - sum(taken)
    while time.perf_counter() < until_s:
        taken.append(_seconds(run))
    return median(taken)


def _seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def table(costs: Sequence[PredictorCost]) -> str:
    """Return the costs as a Markdown table."""
    lines = [
        "| predictor | batch | ms a window | streams a core, hop 1 | times straight export | hop | streams a core |"
        " MFLOP | of GEMM peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cost in costs:
        lines.append(
            f"| {cost.name} | {cost.batch} | {cost.window_ms:.3g} | {cost.streams_per_core:.3g} | {cost.speedup:.3g} |"
            f" {cost.hop_frames} | {cost.streams_per_core_at_hop:.3g} | {cost.mflop:.3g} | {cost.gemm_share:.0%} |"
        )
    return "\n".join(lines)
