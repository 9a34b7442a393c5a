"""Panels of the Service dashboard for its resources, its requests and deliveries, and its versions."""

from __future__ import annotations

from grafana_foundation_sdk.builders import table, timeseries

from humwatch_dashboards.palette import RED
from humwatch_dashboards.panels import (
    BYTES,
    COUNT,
    PER_MINUTE,
    PER_SECOND,
    RATIO,
    WORD,
    PanelRow,
    PanelText,
    Query,
    columns,
    graph,
    level_line,
    rows,
)
from humwatch_dashboards.variables import SERVICE


def panel_rows() -> list[PanelRow]:
    """Return the panels, row by row."""
    return [
        (8, [(8, _processor()), (8, _memory()), (8, _files())]),
        (8, [(12, _throttled()), (12, _clock())]),
        (8, [(8, _http()), (8, _problems()), (8, _errors())]),
        (8, [(6, _deliveries()), (6, _pending()), (6, _evidence()), (6, _purged())]),
        (8, [(16, _models()), (8, _build())]),
    ]


def _processor() -> timeseries.Panel:
    text = PanelText("Processor", "Cores that the service uses.", COUNT, decimals=2)
    return graph(text, Query(f"rate(process_cpu_seconds_total{{{SERVICE}}}[$__rate_interval])", "{{instance}}")).min(0)


def _throttled() -> timeseries.Panel:
    text = PanelText(
        "Held back by a CPU quota",
        "Share of time in whose periods the CPU quota of the container was used up: all of the service stands still for"
        " the rest of such a period. Above 0 for long: raise the quota, or give processors by number.",
        RATIO,
        decimals=0,
    )
    return graph(text, Query(f"humwatch_cpu_throttled_ratio{{{SERVICE}}}", "{{instance}}")).min(0).max(1)


def _clock() -> timeseries.Panel:
    text = PanelText(
        "Clock set",
        "Times, in the hour before, that the wall clock was set by more than two seconds, or that the box slept. Live"
        " sound is dated anew; often: look at the time service of the box.",
        COUNT,
        decimals=0,
    )
    steps = f"sum by (instance, direction) (increase(humwatch_clock_steps_total{{{SERVICE}}}[1h]))"
    return graph(text, Query(steps, "{{instance}}: {{direction}}")).min(0)


def _memory() -> timeseries.Panel:
    text = PanelText(
        "Memory", "Memory that the service holds (resident). It should not climb for days.", BYTES, decimals=1
    )
    return graph(text, Query(f"process_resident_memory_bytes{{{SERVICE}}}", "{{instance}}")).min(0)


def _files() -> timeseries.Panel:
    text = PanelText(
        "Open files",
        "Files and connections that are open, and how many may be. It should not climb for days.",
        COUNT,
        decimals=0,
    )
    return graph(text, Query(f"process_open_fds{{{SERVICE}}}", "{{instance}}")).min(0)


def _http() -> timeseries.Panel:
    text = PanelText("HTTP by status", "Requests a second by HTTP status.", PER_SECOND, decimals=2)
    rate = f"sum by (status) (rate(humwatch_http_requests_total{{{SERVICE}}}[$__rate_interval]))"
    return graph(text, Query(rate, "{{status}}")).min(0)


def _problems() -> timeseries.Panel:
    text = PanelText(
        "Recordings refused, by problem code",
        "Recordings without a score, a minute, by the code of the problem that the client was told: the eight most"
        " frequent of the last hour.",
        PER_MINUTE,
        decimals=1,
    )
    codes = f"humwatch_score_rejections_total{{{SERVICE}}}"
    rate = f"60 * sum by (reason) (rate({codes}[$__rate_interval]))"
    frequent = f"topk(8, sum by (reason) (increase({codes}[1h] @ end())))"
    return graph(text, Query(f"{rate} and {frequent}", "{{reason}}")).min(0)


def _errors() -> timeseries.Panel:
    text = PanelText(
        "HTTP errors",
        "Share of requests that failed on the service's side in the 5 minutes before.",
        RATIO,
        no_value="no requests",
        decimals=1,
    )
    return graph(text, Query(f"job:humwatch_http_errors:ratio_rate5m{{{SERVICE}}}", "{{instance}}")).min(0)


def _deliveries() -> timeseries.Panel:
    text = PanelText(
        "Webhook deliveries",
        "Attempts to tell other systems, a minute, by outcome: a failed one is tried again, one given up is not.",
        PER_MINUTE,
        no_value="no webhooks",
        decimals=1,
    )
    rate = "60 * sum by (webhook, outcome) (rate(humwatch_webhook_deliveries_total"
    return graph(text, Query(f"{rate}{{{SERVICE}}}[$__rate_interval]))", "{{webhook}}: {{outcome}}")).min(0)


def _pending() -> timeseries.Panel:
    text = PanelText(
        "Webhooks pending",
        "Messages that wait to be delivered. It climbs while a receiver is away; they are kept over a restart.",
        COUNT,
        no_value="no webhooks",
        decimals=0,
    )
    return graph(text, Query(f"humwatch_webhook_pending{{{SERVICE}}}", "{{webhook}}")).min(0)


def _evidence() -> timeseries.Panel:
    text = PanelText(
        "Evidence and its quota",
        "Sounds and pictures of alarms on the disk, and how much they may take. At the quota the oldest are deleted.",
        BYTES,
        decimals=1,
    )
    kept = Query(f"humwatch_evidence_bytes{{{SERVICE}}}", "kept")
    quota = Query(f"humwatch_evidence_max_bytes{{{SERVICE}}}", "quota")
    return graph(text, kept, quota).min(0).override_by_name("quota", level_line(RED))


def _purged() -> timeseries.Panel:
    text = PanelText(
        "Evidence deleted in 24 h",
        "Alarms whose sound and picture were deleted in the 24 hours before, for their age or for room. Many: raise the"
        " quota, or look for the machine that alarms too often.",
        COUNT,
        decimals=0,
    )
    return graph(text, Query(f"sum(increase(humwatch_evidence_purged_total{{{SERVICE}}}[1d]))", "deleted")).min(0)


def _models() -> table.Panel:
    text = PanelText(
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
    panel = rows(text, Query(f"humwatch_model_info{{{SERVICE}}}"))
    return columns(panel, shown, hidden=("Value", "Value #A", "__name__", "job"))


def _build() -> table.Panel:
    text = PanelText("Build", "What runs: versions of Humwatch, Python and ONNX Runtime.", WORD)
    panel = rows(text, Query(f"humwatch_build_info{{{SERVICE}}}"))
    shown = (("instance", "Service"), ("version", "Humwatch"), ("python", "Python"), ("onnxruntime", "ONNX Runtime"))
    return columns(panel, shown, hidden=("Value", "Value #A", "__name__", "job"))
