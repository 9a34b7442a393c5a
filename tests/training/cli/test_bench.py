"""What `humwatch-train bench` computes from what it measures; no test here depends on how long anything takes."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from humwatch_training.bench import predictors, service
from humwatch_training.bench.picture import draw_capacity
from humwatch_training.bench.predictors import (
    FAST,
    STRAIGHT,
    WINDOWS_HZ,
    PredictorCandidate,
    measure_predictors,
    mflop_of,
    predictor_candidates,
    table,
)
from humwatch_training.bench.service import measure_service
from humwatch_training.bench.thread_scaling import ThreadScaling
from humwatch_training.bench.training_speed import TrainingSpeed
from humwatch_training.cli.bench import as_result, as_text
from humwatch_training.cli.main import app
from humwatch_training.errors import BenchError
from humwatch_training.fit.systems import RECIPES
from humwatch_training.networks.kinds import build_network
from humwatch_training.networks.strategy_choice import StrategyConfig, build_strategy


class Slow:
    """Stands for a predictor that takes so long a batch, by a clock of its own."""

    def __init__(self, clock: "Clock", seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.batches: set[int] = set()

    def __call__(self, windows: np.ndarray) -> None:
        assert windows.shape[1:] == (5, 128)
        self.batches.add(len(windows))
        self.clock.now_s += self.seconds


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1e-7
        return self.now_s


def timed(clock: Clock, run: Callable[[], object]) -> float:
    begun = clock()
    run()
    return clock() - begun


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> predictors.PredictorCosts:
    clock = Clock()
    monkeypatch.setattr(predictors, "_seconds", lambda run: timed(clock, run))
    straight, fast = Slow(clock, 0.020), Slow(clock, 0.004)
    candidates = [
        PredictorCandidate(STRAIGHT, straight, (1, 2), 16, 600.0),
        PredictorCandidate(FAST, fast, (8,), 5, 14.0),
    ]
    rounds: list[int] = []
    costs = measure_predictors(candidates, rounds=3, seconds=0.0, progress=rounds.append)
    assert rounds == [1, 2, 3]
    assert (straight.batches, fast.batches) == ({1, 2}, {8})
    return costs


def test_the_best_batch_counts_and_all_is_compared_with_the_straight_export(
    measured: predictors.PredictorCosts,
) -> None:
    straight, fast = measured.predictors
    assert (straight.batch, straight.speedup) == (2, 1.0)
    assert straight.window_ms == pytest.approx(10.0, rel=1e-4)
    assert fast.window_ms == pytest.approx(0.5, rel=1e-4)
    assert fast.speedup == pytest.approx(20.0, rel=1e-4)
    assert fast.streams_per_core == pytest.approx(2000 / WINDOWS_HZ, rel=1e-4)
    assert fast.streams_per_core_at_hop == pytest.approx(5 * 2000 / WINDOWS_HZ, rel=1e-4)
    assert fast.gemm_share == pytest.approx(14e6 / 0.5e-3 / (1e9 * measured.gemm_peak_gflops), rel=1e-4)


def test_the_result_says_what_the_issue_of_speed_is_judged_by(measured: predictors.PredictorCosts) -> None:
    speed = TrainingSpeed("latent-anp", 256, 20, 1, 500.0, 6_000.0, 1e-7)
    result = as_result(measured, [speed], None, [ThreadScaling("latent-anp", 256, 2, 50.0, 80.0)])
    assert result["speedup_vs_straight_export"] == pytest.approx(20.0, rel=1e-4)
    assert result["streams_per_core"] == pytest.approx(64.0, rel=1e-4)
    rows: Any = result["predictors"]
    assert [row["name"] for row in rows] == [STRAIGHT, FAST]
    trained: Any = result["training"]
    assert trained[0]["ratio"] == 12.0
    threads: Any = result["training_threads"]
    assert (threads[0]["threads"], threads[0]["steps_per_s"], threads[0]["ratio"]) == (2, 80.0, 1.6)
    json.dumps(result)


CAPACITY: dict[str, Any] = {
    "budget_s": 1.0,
    "processors": 2,
    "sustained_streams": 2,
    "model": {"strategy": "latent-anp-bands2", "hop_frames": 5},
    "levels": [
        {
            "streams": streams,
            "sustained": streams < 4,
            "failed_by": [] if streams < 4 else ["latency"],
            "latency": {"p50_s": 0.01 * streams, "p99_s": None if streams == 4 else 0.02, "lost_scores": 0},
            "service_cores": 0.1 * streams,
            "rss_mb": 200.0,
            "mb_a_stream": 1.5,
        }
        for streams in (1, 4, 2)
    ],
    "score": {
        "clip_s": 10.0,
        "sequential": {"p50_s": 0.05, "p99_s": 0.08, "a_second": 18.0, "errors": {}},
        "concurrent": {"p50_s": 0.30, "p99_s": 0.50, "a_second": 33.0, "errors": {"overloaded": 2}},
    },
}


def test_the_text_has_a_row_for_each_predictor_level_and_load(measured: predictors.PredictorCosts) -> None:
    text = as_text(measured, [], CAPACITY, [ThreadScaling("latent-anp", 256, 2, 50.0, 80.0)])
    assert "steps/s, 2 threads" in text
    assert "| latent-anp | 256 | 50.0 | 80.0 | 1.60 |" in text
    assert f"| {FAST} | 8 | 0.5 | 64 | 20 | 5 | 320 |" in text
    assert "2 streams within 1 s on 2 processors" in text
    assert "| 4 | 40 | - | 0 | 0.40 | 200 | 1.5 | latency |" in text
    assert "| ten at once | 300 | 500 | 33.0 | 2 |" in text
    assert table(measured.predictors) in text


def test_the_curve_is_drawn_as_png(tmp_path: Path) -> None:
    draw_capacity(CAPACITY, tmp_path / "new" / "curve.png")
    assert (tmp_path / "new" / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_operations_are_those_of_the_products() -> None:
    autoencoder = build_strategy(build_network(RECIPES["ae"].network), StrategyConfig(name="reconstruct"))
    products = 2 * (640 * 128 + 3 * 128 * 128 + 128 * 8) * 2  # down and up again, two a multiply-add
    assert mflop_of(autoencoder) == products / 1e6
    anp = build_strategy(build_network(RECIPES["anp"].network), StrategyConfig(name="idnn"))
    assert 550 < mflop_of(anp) < 700  # "about 0.6 GFLOP a window", its attention included


def test_everybody_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictors, "_exported", lambda name, system, **how: name)
    monkeypatch.setattr(predictors, "_eager", lambda name, system: name)
    names = [str(name) for name in predictor_candidates()]
    assert {STRAIGHT, FAST, "ae", "idnn", "network-free", "anp-idnn, PyTorch eager"} <= set(names)
    assert len(names) == len(set(names)) == 12


def answering(monkeypatch: pytest.MonkeyPatch, stdout: str, code: int = 0) -> list[list[str]]:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, code, stdout)

    monkeypatch.setattr(service.subprocess, "run", run)
    return asked


def test_the_service_is_measured_by_its_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, json.dumps(CAPACITY))
    assert measure_service(Path("models"), "fan", seconds=15.0) == CAPACITY
    assert " ".join(asked[0][3:]) == "capacity --models models --machine fan --seconds 15 --score --json"


@pytest.mark.parametrize(
    ("stdout", "code", "reason"),
    [
        ("Traceback", 1, "ended with 1 and without a report"),
        ('{"error": {"code": "machine_not_found", "message": "no such machine"}}', 1, "no such machine"),
    ],
)
def test_a_service_that_cannot_be_measured_is_named(
    monkeypatch: pytest.MonkeyPatch, stdout: str, code: int, reason: str
) -> None:
    answering(monkeypatch, stdout, code)
    with pytest.raises(BenchError, match=reason):
        measure_service(Path("models"), None, seconds=1.0)


def test_the_command_writes_its_json_and_says_its_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def candidates() -> list[PredictorCandidate]:
        return [PredictorCandidate(name, lambda windows: windows.sum(), (1,), 1, 1.0) for name in (STRAIGHT, FAST)]

    monkeypatch.setattr("humwatch_training.cli.bench.predictor_candidates", candidates)
    monkeypatch.setattr("humwatch_training.cli.bench.ROUND_S", 0.001)
    answering(monkeypatch, json.dumps(CAPACITY))
    files = ("--json", str(tmp_path / "out" / "bench.json"), "--picture", str(tmp_path / "curve.png"))
    result = CliRunner().invoke(app, ["bench", "--no-training", "--rounds", "1", *files])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert written["service"]["sustained_streams"] == 2
    assert written["speedup_vs_straight_export"] > 0
    assert (tmp_path / "curve.png").is_file()
    assert "streams a core, hop 1" in result.stdout


def test_a_failed_measurement_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("humwatch_training.cli.bench.predictor_candidates", list)
    monkeypatch.setattr("humwatch_training.cli.bench.measure_predictors", lambda *_, **__: None)
    answering(monkeypatch, "")
    result = CliRunner().invoke(app, ["bench", "--no-training"])
    assert result.exit_code == 1
    assert "without a report" in result.stderr
