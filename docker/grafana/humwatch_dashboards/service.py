"""The Service dashboard: whether the service keeps up, and what it costs."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models import common as common_models

from humwatch_dashboards import variables
from humwatch_dashboards.frame import SERVICE_UID, frame, outside
from humwatch_dashboards.palette import BLUE, GREEN, ORANGE, RED, Shown, mapped
from humwatch_dashboards.panels import (
    BYTES,
    COUNT,
    PER_MINUTE,
    PER_SECOND,
    RATIO,
    SECONDS,
    WORD,
    About,
    Question,
    columns,
    figure,
    graph,
    laid_out,
    level_line,
    rows,
    steps,
    with_lines,
)
from humwatch_dashboards.variables import SERVICE

QUANTILES: Final = (0.5, 0.95, 0.99)


def service() -> builders.Dashboard:
    """The dashboard, ready to be built."""
    dashboard = (
        frame(SERVICE_UID, "Humwatch Service", "Whether the service keeps up, and what it costs.", hours=1)
        .with_variable(variables.datasource())
        .with_variable(variables.instance())
        .with_variable(variables.humwatch_url())
        .link(outside("Health", "/healthz", "What the service says is amiss, as JSON."))
    )
    return laid_out(
        dashboard,
        [
            (4, [(3, panel) for panel in (_up(), _uptime(), _streams_now(), _load_now(), *_states_now())]),
            (8, [(12, _end_to_end()), (12, _stages())]),
            (8, [(8, _recordings()), (8, _load()), (8, _lateness())]),
            (8, [(8, _streams()), (8, _queues()), (8, _batches())]),
            (8, [(8, _drops()), (8, _outcomes()), (8, _windows())]),
            (8, [(8, _processor()), (8, _memory()), (8, _files())]),
            (8, [(8, _http()), (8, _problems()), (8, _errors())]),
            (8, [(6, _deliveries()), (6, _pending()), (6, _evidence()), (6, _disk())]),
            (8, [(16, _models()), (8, _build())]),
        ],
    )


def _up() -> stat.Panel:
    about = About(
        "Up",
        "Whether Prometheus reached every service that is chosen at its last scrape. Down: is it running, and does"
        " Prometheus have its key?",
        WORD,
        no_value="not scraped",
    )
    mappings = mapped((Shown("up", 1, "up", GREEN), Shown("down", 0, "DOWN", RED)))
    panel = figure(about, Question(f"min(up{{{SERVICE}}})")).mappings(mappings)
    return panel.color_mode(common_models.BigValueColorMode.BACKGROUND_SOLID)


def _uptime() -> stat.Panel:
    about = About(
        "Running for",
        "How long the youngest service runs. Short again and again: it is restarted; look at its log.",
        SECONDS,
        decimals=0,
    )
    question = Question(f"min(time() - process_start_time_seconds{{{SERVICE}}})")
    return figure(about, question).thresholds(steps(base=BLUE))


def _streams_now() -> stat.Panel:
    about = About("Streams", "Streams that somebody feeds now.", COUNT, decimals=0)
    return figure(about, Question(f"sum(humwatch_live_streams{{{SERVICE}}})")).thresholds(steps(base=BLUE))


def _load_now() -> stat.Panel:
    about = About(
        "Load",
        "Processor time that streams use of what they may use, of the busier of cores and interpreter. At 100 % no more"
        " streams are taken: give it more cores, or fewer streams.",
        RATIO,
        decimals=0,
    )
    question = Question(f"max(humwatch_live_load_ratio{{{SERVICE}}})")
    return figure(about, question).thresholds(steps((0.7, ORANGE), (1, RED)))


def _states_now() -> tuple[stat.Panel, ...]:
    """What should be 0 or low: refused models, unsaved changes, the evidence's quota; and free disk."""
    refused = About(
        "Models refused",
        "Machines whose active bundle failed a check; they go on with the model before, or without. `humwatch models"
        " verify` says why.",
        COUNT,
        decimals=0,
    )
    unsaved = About(
        "Unsaved changes",
        "Alarm events that the disk has not taken yet. Over 0 for long: the disk is full, read-only or locked.",
        COUNT,
        decimals=0,
    )
    quota = About(
        "Evidence of its quota",
        "What sounds and pictures of alarms take of what they may. At 100 % the oldest are deleted.",
        RATIO,
        decimals=0,
    )
    disk = About(
        "Free disk",
        "What is free where alarms and evidence are kept. When it is full, alarms cannot be kept.",
        BYTES,
        decimals=1,
    )
    used = f"max(humwatch_evidence_bytes{{{SERVICE}}} / humwatch_evidence_max_bytes{{{SERVICE}}})"
    low = steps((500e6, ORANGE), (2e9, GREEN), base=RED)
    return (
        figure(refused, Question(f"sum(humwatch_models_refused{{{SERVICE}}})")).thresholds(steps((1, RED))),
        figure(unsaved, Question(f"sum(humwatch_unsaved_changes{{{SERVICE}}})")).thresholds(steps((1, RED))),
        figure(quota, Question(used)).thresholds(steps((0.8, ORANGE))),
        figure(disk, Question(f"min(humwatch_state_free_bytes{{{SERVICE}}})")).thresholds(low),
    )


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
    panel = graph(about, *_quantiles("humwatch_end_to_end_latency_seconds"), budget).min(0)
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
    return graph(about, Question(f"histogram_quantile(0.95, {rate})", "{{stage}}")).min(0)


def _recordings() -> timeseries.Panel:
    about = About(
        "Time to score a recording",
        "From a request's head to the answer: median, 95 % and 99 %.",
        SECONDS,
        no_value="no recordings",
    )
    return graph(about, *_quantiles("humwatch_score_duration_seconds")).min(0)


def _load() -> timeseries.Panel:
    about = About(
        "Load of live streams",
        "Processor time that streams and the event loop use of what they may use: of all processors (cores), and of the"
        " one that runs Python (interpreter). From 100 % (line) on no more streams are taken.",
        RATIO,
        decimals=0,
    )
    question = Question(f"humwatch_live_load_ratio{{{SERVICE}}}", "{{resource}}")
    return with_lines(graph(about, question).min(0), (1, RED))


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


def _processor() -> timeseries.Panel:
    about = About("Processor", "Cores that the service uses.", COUNT, decimals=2)
    return graph(
        about, Question(f"rate(process_cpu_seconds_total{{{SERVICE}}}[$__rate_interval])", "{{instance}}")
    ).min(0)


def _memory() -> timeseries.Panel:
    about = About(
        "Memory", "Memory that the service holds (resident). It should not climb for days.", BYTES, decimals=1
    )
    return graph(about, Question(f"process_resident_memory_bytes{{{SERVICE}}}", "{{instance}}")).min(0)


def _files() -> timeseries.Panel:
    about = About(
        "Open files",
        "Files and connections that are open, and how many may be. It should not climb for days.",
        COUNT,
        decimals=0,
    )
    return graph(about, Question(f"process_open_fds{{{SERVICE}}}", "{{instance}}")).min(0)


def _http() -> timeseries.Panel:
    about = About("HTTP by status", "Requests a second by HTTP status.", PER_SECOND, decimals=2)
    rate = f"sum by (status) (rate(humwatch_http_requests_total{{{SERVICE}}}[$__rate_interval]))"
    return graph(about, Question(rate, "{{status}}")).min(0)


def _problems() -> timeseries.Panel:
    about = About(
        "Recordings refused, by problem code",
        "Recordings without a score, a minute, by the code of the problem that the client was told.",
        PER_MINUTE,
        decimals=1,
    )
    rate = f"60 * sum by (reason) (rate(humwatch_score_rejections_total{{{SERVICE}}}[$__rate_interval]))"
    return graph(about, Question(rate, "{{reason}}")).min(0)


def _errors() -> timeseries.Panel:
    about = About(
        "HTTP errors",
        "Share of requests that failed on the service's side in the 5 minutes before.",
        RATIO,
        no_value="no requests",
        decimals=1,
    )
    return graph(about, Question("job:humwatch_http_errors:ratio_rate5m", "5xx")).min(0)


def _deliveries() -> timeseries.Panel:
    about = About(
        "Webhook deliveries",
        "Attempts to tell other systems, a minute, by outcome: a failed one is tried again, one given up is not.",
        PER_MINUTE,
        no_value="no webhooks",
        decimals=1,
    )
    rate = "60 * sum by (webhook, outcome) (rate(humwatch_webhook_deliveries_total"
    return graph(about, Question(f"{rate}{{{SERVICE}}}[$__rate_interval]))", "{{webhook}}: {{outcome}}")).min(0)


def _pending() -> timeseries.Panel:
    about = About(
        "Webhooks pending",
        "Messages that wait to be delivered. It climbs while a receiver is away; they are kept over a restart.",
        COUNT,
        no_value="no webhooks",
        decimals=0,
    )
    return graph(about, Question(f"humwatch_webhook_pending{{{SERVICE}}}", "{{webhook}}")).min(0)


def _evidence() -> timeseries.Panel:
    about = About(
        "Evidence and its quota",
        "Sounds and pictures of alarms on the disk, and how much they may take. At the quota the oldest are deleted.",
        BYTES,
        decimals=1,
    )
    kept = Question(f"humwatch_evidence_bytes{{{SERVICE}}}", "kept")
    quota = Question(f"humwatch_evidence_max_bytes{{{SERVICE}}}", "quota")
    return graph(about, kept, quota).min(0).override_by_name("quota", level_line(RED))


def _disk() -> timeseries.Panel:
    about = About(
        "Evidence deleted in 24 h",
        "Alarms whose sound and picture were deleted for the quota in the 24 hours before. Many: raise the quota, or"
        " look for the machine that alarms too often.",
        COUNT,
        decimals=0,
    )
    return graph(about, Question(f"sum(increase(humwatch_evidence_purged_total{{{SERVICE}}}[1d]))", "deleted")).min(0)


def _models() -> table.Panel:
    about = About(
        "Models in use",
        "Version and start of the digest of the model of each machine, on each service.",
        WORD,
        no_value="no models",
    )
    shown = (
        ("machine_id", "Machine"),
        ("version", "Version"),
        ("digest", "Digest"),
        ("strategy", "Strategy"),
        ("score", "Score"),
        ("instance", "Service"),
    )
    panel = rows(about, Question(f"humwatch_model_info{{{SERVICE}}}"))
    return columns(panel, shown, hidden=("Value", "Value #A", "__name__", "job"))


def _build() -> table.Panel:
    about = About("Build", "What runs: versions of Humwatch, Python and ONNX Runtime.", WORD)
    panel = rows(about, Question(f"humwatch_build_info{{{SERVICE}}}"))
    shown = (("instance", "Service"), ("version", "Humwatch"), ("python", "Python"), ("onnxruntime", "ONNX Runtime"))
    return columns(panel, shown, hidden=("Value", "Value #A", "__name__", "job"))
