"""Panels of the Service dashboard for its latencies, its load and its queues."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import timeseries

from humwatch_dashboards.palette import RED
from humwatch_dashboards.panels import (
    COUNT,
    PER_MINUTE,
    PER_SECOND,
    RATIO,
    SECONDS,
    PanelRow,
    PanelText,
    Query,
    graph,
    latencies,
    level_line,
    with_lines,
)
from humwatch_dashboards.variables import SERVICE

QUANTILES: Final = (0.5, 0.95, 0.99)


def panel_rows() -> list[PanelRow]:
    """Return the panels, row by row."""
    return [
        (8, [(12, _end_to_end()), (12, _stages())]),
        (8, [(8, _recordings()), (8, _load()), (8, _lateness())]),
        (8, [(8, _streams()), (8, _queues()), (8, _batches())]),
        (8, [(8, _drops()), (8, _outcomes()), (8, _windows())]),
    ]


def _quantiles(metric: str) -> list[Query]:
    return [
        Query(
            f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{{SERVICE}}}[$__rate_interval])))",
            f"{q:.0%}",
        )
        for q in QUANTILES
    ]


def _end_to_end() -> timeseries.Panel:
    text = PanelText(
        "Latency of live scores",
        "From the arrival of the last sample that a score depends on to the score: median, 95 % and 99 % of streams in"
        " real time, and the budget (stream_latency_s). At half of the budget no more streams are taken.",
        SECONDS,
        no_value="no live scores",
    )
    budget = Query(f"min(humwatch_latency_budget_seconds{{{SERVICE}}})", "budget")
    panel = latencies(text, *_quantiles("humwatch_end_to_end_latency_seconds"), budget)
    return panel.override_by_name("budget", level_line(RED))


def _stages() -> timeseries.Panel:
    text = PanelText(
        "Latency by stage, 95 %",
        "Time that recordings spend in each stage, and a block of live windows in its prediction (live_predict). A long"
        " queue: too many recordings; a long predict: too few cores.",
        SECONDS,
        no_value="nothing was scored",
    )
    rate = f"sum by (le, stage) (rate(humwatch_stage_duration_seconds_bucket{{{SERVICE}}}[$__rate_interval]))"
    return latencies(text, Query(f"histogram_quantile(0.95, {rate})", "{{stage}}"))


def _recordings() -> timeseries.Panel:
    text = PanelText(
        "Time to score a recording",
        "From a request's head to the answer: median, 95 % and 99 %.",
        SECONDS,
        no_value="no recordings",
    )
    return latencies(text, *_quantiles("humwatch_score_duration_seconds"))


def _load() -> timeseries.Panel:
    text = PanelText(
        "Load of live streams",
        "Processor time that streams and the event loop use of what they may use: of all processors (cores), and of the"
        " one that runs Python (interpreter). From 100 % (line) on no more streams are taken.",
        RATIO,
        decimals=0,
    )
    query = Query(f"humwatch_live_load_ratio{{{SERVICE}}}", "{{resource}}")
    return with_lines(graph(text, query).min(0).axis_soft_max(1), (1, RED))


def _lateness() -> timeseries.Panel:
    text = PanelText(
        "Lateness and waiting sound",
        "Latency that 95 % of the scores of the last 5 s kept to, and sound that waits for a worker, of all streams."
        " When both climb, the service does not keep up.",
        SECONDS,
    )
    lateness = Query(f"humwatch_live_lateness_seconds{{{SERVICE}}}", "lateness")
    return graph(text, lateness, Query(f"humwatch_live_waiting_seconds{{{SERVICE}}}", "waiting sound")).min(0)


def _streams() -> timeseries.Panel:
    text = PanelText(
        "Streams, refused and given up",
        "Streams that are fed; and in the 5 minutes before, those that were refused (streams_full: max_streams;"
        " overloaded: no time for them) or closed so that the others come in time.",
        COUNT,
        decimals=0,
    )
    fed = Query(f"sum(humwatch_live_streams{{{SERVICE}}})", "fed")
    refused = f"sum by (reason) (increase(humwatch_streams_refused_total{{{SERVICE}}}[5m]))"
    given_up = Query(f"sum(increase(humwatch_streams_given_up_total{{{SERVICE}}}[5m]))", "given up")
    return graph(text, fed, Query(refused, "refused: {{reason}}"), given_up).min(0)


def _queues() -> timeseries.Panel:
    text = PanelText(
        "Queues",
        "What waits: recordings for a worker, requests of streams and recordings for a run of a model; and recordings"
        " that a worker is busy with. A full line answers 503.",
        COUNT,
        decimals=0,
    )
    return graph(
        text,
        Query(f"sum(humwatch_score_queue_depth{{{SERVICE}}})", "recordings waiting"),
        Query(f"sum(humwatch_scores_in_progress{{{SERVICE}}})", "recordings in work"),
        Query(f"sum(humwatch_predict_queue_depth{{{SERVICE}}})", "waiting for a model"),
    ).min(0)


def _batches() -> timeseries.Panel:
    text = PanelText(
        "Windows in a run",
        "Windows that went through a model in one run: mean, and 95 % of runs. It grows with load: runs are shared.",
        COUNT,
        no_value="nothing was scored",
        decimals=1,
    )
    of = f"humwatch_batch_size_{{part}}{{{{{SERVICE}}}}}[$__rate_interval]"
    total, runs = of.format(part="sum"), of.format(part="count")
    mean = Query(f"sum(rate({total})) / sum(rate({runs}))", "mean")
    buckets = f"sum by (le) (rate({of.format(part='bucket')}))"
    return graph(text, mean, Query(f"histogram_quantile(0.95, {buckets})", "95 %")).min(0)


def _drops() -> timeseries.Panel:
    text = PanelText(
        "Windows dropped",
        "A minute, of all machines: windows without a score because their samples never came (gap), and scores that a"
        " slow client did not get (client_slow). Should be 0.",
        PER_MINUTE,
        decimals=1,
    )
    rate = f"60 * sum by (reason) (rate(humwatch_windows_dropped_total{{{SERVICE}}}[$__rate_interval]))"
    return graph(text, Query(rate, "{{reason}}")).min(0)


def _outcomes() -> timeseries.Panel:
    text = PanelText(
        "Recordings by outcome", "Recordings sent, a minute, by what came of them.", PER_MINUTE, decimals=1
    )
    rate = f"60 * sum by (outcome) (rate(humwatch_score_requests_total{{{SERVICE}}}[$__rate_interval]))"
    return graph(text, Query(rate, "{{outcome}}")).min(0)


def _windows() -> timeseries.Panel:
    text = PanelText(
        "Windows scored",
        "Windows that went through a model, a second, of all machines. A stream in real time gives 31.",
        PER_SECOND,
        decimals=1,
    )
    return graph(
        text, Query(f"sum(rate(humwatch_windows_scored_total{{{SERVICE}}}[$__rate_interval]))", "windows")
    ).min(0)
