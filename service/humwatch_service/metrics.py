"""Metrics of one app, in a registry of its own; every one of them stands in ``METRICS``."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from humwatch_service.live_metrics import LIVE_METRICS, LiveMetrics, MetricSpec
from humwatch_service.machines import Fleet, Machine
from humwatch_service.problems import STATUSES

OUTCOMES: Final = ("normal", "warning", "alarm", "unknown", "refused", "overloaded", "timed_out", "gone", "failed")
STAGES: Final = ("receive", "queue", "predict", "score", "picture", "live_predict")
LEVELS: Final = ("warn", "alarm")
METHODS: Final = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")

_WINDOWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


METRICS: Final = (
    MetricSpec(
        "humwatch_score_requests_total",
        "counter",
        ("machine_id", "outcome"),
        "Recordings sent for a known machine, by what came of them.",
    ),
    MetricSpec(
        "humwatch_score_duration_seconds", "histogram", (), "From a request's head to the answer of a scored recording."
    ),
    MetricSpec(
        "humwatch_stage_duration_seconds",
        "histogram",
        ("stage",),
        "Time that one recording spends in a stage: receive, queue, predict, score (all but the prediction), picture;"
        " live_predict: that a block of a live stream's windows takes.",
    ),
    MetricSpec("humwatch_windows_scored_total", "counter", ("machine_id",), "Windows that went through a predictor."),
    MetricSpec(
        "humwatch_anomaly_score_ratio",
        "gauge",
        ("machine_id",),
        "Score of the last recording or live clip that could be judged: 0 is the median of normal, 1 the alarm level;"
        " NaN before.",
    ),
    MetricSpec(
        "humwatch_anomaly_score_raw", "gauge", ("machine_id",), "The same score before normalisation; NaN before."
    ),
    MetricSpec(
        "humwatch_anomaly_threshold",
        "gauge",
        ("machine_id", "level"),
        "Levels on the scale of humwatch_anomaly_score_ratio, for clips: warn, and alarm (1).",
    ),
    MetricSpec(
        "humwatch_batch_size",
        "histogram",
        (),
        "Windows that went through a graph in one run, of all streams and recordings that shared it.",
    ),
    MetricSpec("humwatch_predict_queue_depth", "gauge", (), "Requests of streams and recordings that wait for a run."),
    MetricSpec("humwatch_score_queue_depth", "gauge", (), "Recordings that wait for a worker."),
    MetricSpec("humwatch_scores_in_progress", "gauge", (), "Recordings that a worker is busy with."),
    MetricSpec(
        "humwatch_score_rejections_total", "counter", ("reason",), "Recordings without a score, by the problem's code."
    ),
    MetricSpec(
        "humwatch_http_requests_total",
        "counter",
        ("route", "method", "status"),
        "HTTP requests by route template.",
    ),
    MetricSpec(
        "humwatch_model_info",
        "gauge",
        ("machine_id", "version", "digest", "strategy", "score"),
        "1 for each model in use.",
    ),
    MetricSpec("humwatch_models_refused", "gauge", (), "Machines whose active bundle failed a check."),
    MetricSpec("humwatch_build_info", "gauge", ("version", "python", "onnxruntime"), "1, with what is running."),
    *LIVE_METRICS,
)


class Metrics:
    """Counts what a service does. Label values come from tables and the fleet, never from a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for spec in METRICS:
            self._add(spec)
        self._known: dict[str, Machine] = {}
        self.live = LiveMetrics(self._counters, self._gauges, self._histograms)
        self._start()

    def _add(self, spec: MetricSpec) -> None:
        name = spec.name.removeprefix("humwatch_")
        if spec.kind == "counter":
            self._counters[name] = Counter(spec.name, spec.help, spec.labels, registry=self.registry)
        elif spec.kind == "gauge":
            self._gauges[name] = Gauge(spec.name, spec.help, spec.labels, registry=self.registry)
        else:
            self._histograms[name] = Histogram(
                spec.name,
                spec.help,
                spec.labels,
                registry=self.registry,
                buckets=_SECONDS if name.endswith("_seconds") else _WINDOWS,
            )

    def _start(self) -> None:
        for stage in STAGES:
            self._histograms["stage_duration_seconds"].labels(stage)
        for code in STATUSES:
            self._counters["score_rejections_total"].labels(code)
        build = (version("humwatch"), platform.python_version(), _runtime_version())
        self._gauges["build_info"].labels(*build).set(1)

    def watch_queue(self, depth: Callable[[], float], in_progress: Callable[[], float]) -> None:
        """Read the queue's gauges from here whenever they are asked for."""
        self._gauges["score_queue_depth"].set_function(depth)
        self._gauges["scores_in_progress"].set_function(in_progress)

    def watch_predictors(self, depth: Callable[[], float]) -> None:
        """Read the gauge of the predictors' line from here whenever it is asked for."""
        self._gauges["predict_queue_depth"].set_function(depth)

    def ran(self, windows: int) -> None:
        """Note how many windows went through a graph together."""
        self._histograms["batch_size"].observe(windows)

    def follow_routes(self, routes: Iterable[tuple[str, str]]) -> None:
        """Show each (route template, method) from the start."""
        for route, method in routes:
            self._counters["http_requests_total"].labels(route, method, "200")

    def follow_fleet(self, fleet: Fleet) -> None:
        """Show the machines that are there, and forget those that are gone."""
        for machine_id in set(self._known) - set(fleet.machines):
            self._forget(machine_id)
        for machine_id, machine in fleet.machines.items():
            self._show(machine_id, machine)
        self._gauges["models_refused"].set(len(fleet.refusals))
        info = self._gauges["model_info"]
        info.clear()
        for machine_id, machine in fleet.machines.items():
            manifest = machine.manifest
            facts = (manifest.version, machine.digest, manifest.predictor.strategy, manifest.scoring.kind)
            info.labels(machine_id, *facts).set(1)
        self._known = dict(fleet.machines)

    def _show(self, machine_id: str, machine: Machine) -> None:
        for outcome in OUTCOMES:
            self._counters["score_requests_total"].labels(machine_id, outcome)
        self._counters["windows_scored_total"].labels(machine_id)
        clip = machine.manifest.clip
        self._gauges["anomaly_threshold"].labels(machine_id, "warn").set(clip.normalise(clip.warn.level))
        self._gauges["anomaly_threshold"].labels(machine_id, "alarm").set(1.0)
        known = self._known.get(machine_id)
        if known is None or known.digest != machine.digest:
            self._gauges["anomaly_score_ratio"].labels(machine_id).set(float("nan"))
            self._gauges["anomaly_score_raw"].labels(machine_id).set(float("nan"))

    def _forget(self, machine_id: str) -> None:
        for outcome in OUTCOMES:
            self._counters["score_requests_total"].remove(machine_id, outcome)
        for level in LEVELS:
            self._gauges["anomaly_threshold"].remove(machine_id, level)
        self._counters["windows_scored_total"].remove(machine_id)
        for name in ("anomaly_score_ratio", "anomaly_score_raw"):
            self._gauges[name].remove(machine_id)

    def scored(self, machine_id: str, outcome: str) -> None:
        """Count what came of a recording, for a machine that is there."""
        if machine_id in self._known:
            self._counters["score_requests_total"].labels(machine_id, outcome).inc()

    def rejected(self, code: str) -> None:
        """Count a recording without a score."""
        self._counters["score_rejections_total"].labels(code if code in STATUSES else "internal_error").inc()

    def judged(self, machine_id: str, score: float, raw_score: float) -> None:
        """Keep the score of the last recording that could be judged."""
        if machine_id in self._known:
            self._gauges["anomaly_score_ratio"].labels(machine_id).set(score)
            self._gauges["anomaly_score_raw"].labels(machine_id).set(raw_score)

    def windows(self, machine_id: str, count: int) -> None:
        """Count windows that were predicted."""
        if machine_id in self._known:
            self._counters["windows_scored_total"].labels(machine_id).inc(count)

    def stage(self, stage: str, seconds: float) -> None:
        """Note how long a recording spent in a stage."""
        self._histograms["stage_duration_seconds"].labels(stage).observe(seconds)

    def answered(self, seconds: float) -> None:
        """Note how long a scored recording took in all."""
        self._histograms["score_duration_seconds"].observe(seconds)

    def responded(self, route: str, method: str, status: int) -> None:
        """Count an HTTP request."""
        known = method if method in METHODS else "other"
        self._counters["http_requests_total"].labels(route, known, str(status)).inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """All metrics as text (blocking), and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def _runtime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
