"""The metrics of one app, in a registry of its own; every one of them stands in the table."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

from humwatch_service.metrics.exposition import Exposition, Scrape
from humwatch_service.metrics.families import Families
from humwatch_service.metrics.folders import FolderMetrics
from humwatch_service.metrics.lines import LineFamily, LineSet
from humwatch_service.metrics.live import LiveMetrics
from humwatch_service.metrics.shadow import ShadowMetrics
from humwatch_service.metrics.storage import StateMetrics
from humwatch_service.metrics.table import METRICS, PROCESS_METRICS, MetricSpec
from humwatch_service.models.registry import LoadedModel, ModelSet
from humwatch_service.problems import STATUSES

__all__ = ["METRICS", "PROCESS_METRICS", "MetricSpec", "Metrics"]

OUTCOMES: Final = (
    "normal",
    "warning",
    "alarm",
    "unknown",
    "off",
    "refused",
    "overloaded",
    "timed_out",
    "gone",
    "failed",
)
STAGES: Final = ("receive", "queue", "predict", "score", "picture", "live_predict")
METHODS: Final = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")


class Metrics:
    """The metrics of a service. Label values come from tables, settings and loaded models, never from a request.

    Called from any thread, but for ``follow_models``, which belongs to the event loop.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series a counter: when it was first shown
        registry = CollectorRegistry()
        families = self._families = Families(METRICS, registry)
        ProcessCollector(registry=registry)
        self._exposition = Exposition(registry, families.machines.values())
        self.live = LiveMetrics(families)
        self.shadow = ShadowMetrics(families)
        self.folders = FolderMetrics(families)
        self.state = StateMetrics(families)
        self._models: dict[str, _ModelSeries] = {}
        self._rejections = families.counters["score_rejections_total"]
        self._requests = families.counters["http_requests_total"]
        self._stages = {stage: families.histograms["stage_duration_seconds"].labels(stage) for stage in STAGES}
        self._durations = families.histograms["score_duration_seconds"]
        self._batches = families.histograms["batch_size"]
        for code in STATUSES:
            self._rejections.labels(code)
        build = (version("humwatch"), platform.python_version(), _runtime_version())
        families.gauges["build_info"].labels(*build).set(1)

    def watch_queue(self, depth: Callable[[], float], in_progress: Callable[[], float]) -> None:
        """Read the queue's gauges from functions at each scrape."""
        self._families.gauges["score_queue_depth"].set_function(depth)
        self._families.gauges["scores_in_progress"].set_function(in_progress)

    def watch_predictors(self, depth: Callable[[], float]) -> None:
        """Read the gauge of the predictors' queue from a function at each scrape."""
        self._families.gauges["predict_queue_depth"].set_function(depth)

    def watch_readiness(self, ready: Callable[[], bool]) -> None:
        """Read the gauge of readiness from a function at each scrape."""
        self._families.gauges["ready"].set_function(lambda: float(ready()))

    def ran(self, windows: int) -> None:
        """Observe the number of windows of a run of a graph."""
        self._batches.observe(windows)

    def follow_routes(self, routes: Iterable[tuple[str, str]]) -> None:
        """Show each (route template, method) from the start."""
        for route, method in routes:
            self._requests.labels(route, method, "200")

    def follow_models(self, current: ModelSet) -> None:
        """Show the machines that are there, and forget those that are gone."""
        gone = [series for machine_id, series in self._models.items() if machine_id not in current.models]
        self._models = {
            machine_id: self._models.get(machine_id) or _ModelSeries(self._families.machines, machine_id)
            for machine_id in current.models
        }
        for machine_id, model in current.models.items():
            self._models[machine_id].show(model)
        for series in gone:
            series.remove()
        self._families.gauges["models_refused"].set(len(current.refusals))

    def scored(self, machine_id: str, outcome: str) -> None:
        """Count the outcome of a recording, for a machine that is there."""
        series = self._models.get(machine_id)
        if series is not None:
            series.requests[outcome].inc()

    def rejected(self, code: str) -> None:
        """Count a recording without a score."""
        self._rejections.labels(code if code in STATUSES else "internal_error").inc()

    def judged(self, machine_id: str, score: float, raw_score: float) -> None:
        """Keep the score of the last recording or clip that could be judged."""
        series = self._models.get(machine_id)
        if series is not None:
            series.show_score(score, raw_score)

    def unjudged(self, machine_id: str) -> None:
        """Remove the score of a machine that cannot be judged."""
        self.judged(machine_id, math.nan, math.nan)

    def windows(self, machine_id: str, count: int) -> None:
        """Count windows that were predicted."""
        series = self._models.get(machine_id)
        if series is not None:
            series.windows.inc(count)

    def stage(self, stage: str, seconds: float) -> None:
        """Observe the time of a recording in a stage, seconds."""
        self._stages[stage].observe(seconds)

    def answered(self, seconds: float) -> None:
        """Observe the time of a scored recording in all, seconds."""
        self._durations.observe(seconds)

    def responded(self, route: str, method: str, status: int) -> None:
        """Count an HTTP request."""
        known = method if method in METHODS else "other"
        self._requests.labels(route, known, str(status)).inc()

    def render(self) -> str:
        """Return all metrics as plain text (blocking)."""
        return self._exposition.render("plain")[0].decode()

    async def scrape(self, accept: str, accept_encoding: str) -> Scrape:
        """Return all metrics for a scrape; see :class:`humwatch_service.metrics.exposition.Exposition`."""
        return await self._exposition.scrape(accept, accept_encoding)


class _ModelSeries:
    """The series of one machine's model and recordings."""

    def __init__(self, families: Mapping[str, LineFamily], machine_id: str) -> None:
        self._machine_id = machine_id
        self._families = families
        self._series = series = LineSet()
        self._info = LineSet()
        self._digest = ""
        self.requests = {o: series.add(families["score_requests_total"], machine_id, o) for o in OUTCOMES}
        self.windows = series.add(families["windows_scored_total"], machine_id)
        self._ratio = series.add(families["anomaly_score_ratio"], machine_id)
        self._raw = series.add(families["anomaly_score_raw"], machine_id)
        self._warn = series.add(families["anomaly_threshold"], machine_id, "warn")
        series.add(families["anomaly_threshold"], machine_id, "alarm").set(1.0)
        self._provisional = series.add(families["model_provisional"], machine_id)

    def remove(self) -> None:
        """Show none of them any more."""
        self._info.remove()
        self._series.remove()

    def show(self, model: LoadedModel) -> None:
        """Show the model in use; a score of the one before is none of this one."""
        if model.digest == self._digest:
            return
        self._digest = model.digest
        manifest = model.manifest
        self._warn.set(manifest.clip.normalise(manifest.clip.warn.level))
        self._provisional.set(manifest.commissioning is not None and manifest.commissioning.provisional)
        self.show_score(math.nan, math.nan)
        facts = (manifest.version, model.digest, manifest.predictor.strategy, manifest.scoring.kind)
        before, self._info = self._info, LineSet()
        before.remove()
        self._info.add(self._families["model_info"], self._machine_id, *facts).set(1)

    def show_score(self, score: float, raw_score: float) -> None:
        """Show a score."""
        self._ratio.set(score)
        self._raw.set(raw_score)


def _runtime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
