"""Panels of the Service dashboard that say how fast it is, and whether it keeps up."""

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
    About,
    Question,
    Shelf,
    graph,
    latencies,
    level_line,
    with_lines,
)
from humwatch_dashboards.variables import SERVICE

QUANTILES: Final = (0.5, 0.95, 0.99)


def shelves() -> list[Shelf]:
    """The panels, as they stand."""
    return [
        (8, [(12, _end_to_end()), (12, _stages())]),
        (8, [(8, _recordings()), (8, _load()), (8, _lateness())]),
        (8, [(8, _streams()), (8, _queues()), (8, _batches())]),
        (8, [(8, _drops()), (8, _outcomes()), (8, _windows())]),
    ]


def _quantiles(metric: str) -> list[Question]:
    return [
        Question(
            f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{{SERVICE}}}[$__rate_interval])))",
            f"{q:.0%}",
        )
        for q in QUANTILES
    ]


def _end_to_end() -> timeseries.Panel:
    about = About(
        "Latency of live scores",
        "From the arrival of the last sample that a score depends on to the score: median, 95 % and 99 % of streams in"
        " real time, and the budget (stream_latency_s). At half of the budget no more streams are taken.",
        SECONDS,
        no_value="no live scores",
    )
    budget = Question(f"min(humwatch_latency_budget_seconds{{{SERVICE}}})", "budget")
    panel = latencies(about, *_quantiles("humwatch_end_to_end_latency_seconds"), budget)
    return panel.override_by_name("budget", level_line(RED))


def _stages() -> timeseries.Panel:
    about = About(
        "Latency by stage, 95 %",
        "Time that recordings spend in each stage, and a block of live windows in its prediction (live_predict). A long"
        " queue: too many recordings; a long predict: too few cores.",
        SECONDS,
        no_value="nothing was scored",
    )
    rate = f"sum by (le, stage) (rate(humwatch_stage_duration_seconds_bucket{{{SERVICE}}}[$__rate_interval]))"
    return latencies(about, Question(f"histogram_quantile(0.95, {rate})", "{{stage}}"))


def _recordings() -> timeseries.Panel:
    about = About(
        "Time to score a recording",
        "From a request's head to the answer: median, 95 % and 99 %.",
        SECONDS,
        no_value="no recordings",
    )
    return latencies(about, *_quantiles("humwatch_score_duration_seconds"))


def _load() -> timeseries.Panel:
    about = About(
        "Load of live streams",
        "Processor time that streams and the event loop use of what they may use: of all processors (cores), and of the"
        " one that runs Python (interpreter). From 100 % (line) on no more streams are taken.",
        RATIO,
        decimals=0,
    )
    question = Question(f"humwatch_live_load_ratio{{{SERVICE}}}", "{{resource}}")
    return with_lines(graph(about, question).min(0).axis_soft_max(1), (1, RED))


def _lateness() -> timeseries.Panel:
    about = About(
        "Lateness and waiting sound",
        "Latency that 95 % of the scores of the last 5 s kept to, and sound that waits for a worker, of all streams."
        " When both climb, the service does not keep up.",
        SECONDS,
    )
    lateness = Question(f"humwatch_live_lateness_seconds{{{SERVICE}}}", "lateness")
    return graph(about, lateness, Question(f"humwatch_live_waiting_seconds{{{SERVICE}}}", "waiting sound")).min(0)


def _streams() -> timeseries.Panel:
    about = About(
        "Streams, refused and given up",
        "Streams that are fed; and in the 5 minutes before, those that were refused (streams_full: max_streams;"
        " overloaded: no time for them) or closed so that the others come in time.",
        COUNT,
        decimals=0,
    )
    fed = Question(f"sum(humwatch_live_streams{{{SERVICE}}})", "fed")
    refused = f"sum by (reason) (increase(humwatch_streams_refused_total{{{SERVICE}}}[5m]))"
    given_up = Question(f"sum(increase(humwatch_streams_given_up_total{{{SERVICE}}}[5m]))", "given up")
    return graph(about, fed, Question(refused, "refused: {{reason}}"), given_up).min(0)


def _queues() -> timeseries.Panel:
    about = About(
        "Queues",
        "What waits: recordings for a worker, requests of streams and recordings for a run of a model; and recordings"
        " that a worker is busy with. A full line answers 503.",
        COUNT,
        decimals=0,
    )
    return graph(
        about,
        Question(f"sum(humwatch_score_queue_depth{{{SERVICE}}})", "recordings waiting"),
        Question(f"sum(humwatch_scores_in_progress{{{SERVICE}}})", "recordings in work"),
        Question(f"sum(humwatch_predict_queue_depth{{{SERVICE}}})", "waiting for a model"),
    ).min(0)


def _batches() -> timeseries.Panel:
    about = About(
        "Windows in a run",
        "Windows that went through a model in one run: mean, and 95 % of runs. It grows with load: runs are shared.",
        COUNT,
        no_value="nothing was scored",
        decimals=1,
    )
    of = f"humwatch_batch_size_{{part}}{{{{{SERVICE}}}}}[$__rate_interval]"
    total, runs = of.format(part="sum"), of.format(part="count")
    mean = Question(f"sum(rate({total})) / sum(rate({runs}))", "mean")
    buckets = f"sum by (le) (rate({of.format(part='bucket')}))"
    return graph(about, mean, Question(f"histogram_quantile(0.95, {buckets})", "95 %")).min(0)


def _drops() -> timeseries.Panel:
    about = About(
        "Windows dropped",
        "A minute, of all machines: windows without a score because their samples never came (gap), and scores that a"
        " slow client did not get (client_slow). Should be 0.",
        PER_MINUTE,
        decimals=1,
    )
    rate = f"60 * sum by (reason) (rate(humwatch_windows_dropped_total{{{SERVICE}}}[$__rate_interval]))"
    return graph(about, Question(rate, "{{reason}}")).min(0)


def _outcomes() -> timeseries.Panel:
    about = About("Recordings by outcome", "Recordings sent, a minute, by what came of them.", PER_MINUTE, decimals=1)
    rate = f"60 * sum by (outcome) (rate(humwatch_score_requests_total{{{SERVICE}}}[$__rate_interval]))"
    return graph(about, Question(rate, "{{outcome}}")).min(0)


def _windows() -> timeseries.Panel:
    about = About(
        "Windows scored",
        "Windows that went through a model, a second, of all machines. A stream in real time gives 31.",
        PER_SECOND,
        decimals=1,
    )
    return graph(
        about, Question(f"sum(rate(humwatch_windows_scored_total{{{SERVICE}}}[$__rate_interval]))", "windows")
    ).min(0)
